"""What is late is late to the microsecond, what is changed is that alone, and bits are compared."""

import datetime

import numpy as np
import polars as pl
import pytest

from ehr_jax.audit import alter, building, moments, subset
from ehr_jax.cohorts import tasks
from ehr_jax.records.common import tables
from ehr_jax.synthetic import hospital as synthetic
from tests import hospital

T = hospital.day(2)
INSTANT = datetime.timedelta(microseconds=1)
FOCAL = pl.DataFrame(
    {"subject_id": [1], "visit_id": [1], "prediction_time": [T]},
    schema_overrides={"prediction_time": tables.TIME},
)


@pytest.fixture(scope="module")
def records():
    visits = [hospital.visit(1, 0, 1, "A"), hospital.visit(1, 1.5, 4, "B"),
              hospital.visit(1, 6, 8, "C"), hospital.visit(2, 0, 1, "D")]  # fmt: skip
    return hospital.records(visits)


def codes(records, visit: int, time) -> bool:
    rows = pl.DataFrame(
        {"visit_id": [visit], "code": ["X"], "time": [time], "position": [1]}, schema=tables.CODES
    )
    return moments.late("codes", rows, records, FOCAL, False).to_list()[0]


@pytest.mark.parametrize(
    ("visit", "time", "late"),
    [
        (1, T, False),
        (1, T + INSTANT, True),
        (1, T - INSTANT, False),
        (1, None, True),  # known at the end, day 4
        (0, None, False),  # an earlier visit, over by then
        (0, T + INSTANT, True),
        (2, T - INSTANT, True),  # of a later visit nothing is known
        (3, None, True),  # of a patient without a sample
    ],
)
def test_a_code_is_late_after_the_prediction_time(records, visit, time, late):
    assert codes(records, visit, time) == late


@pytest.mark.parametrize(
    ("time", "date_only", "category", "at_discharge", "late"),
    [
        (T, False, None, False, False),
        (T + INSTANT, False, None, False, True),
        (hospital.day(1), True, None, False, False),  # its day ends at the prediction time
        (hospital.day(2), True, None, False, True),
        (hospital.day(2), True, None, True, False),
        (hospital.day(3), True, None, True, True),
        (T - INSTANT, False, "Discharge summary", False, True),
        (T - INSTANT, False, "Discharge summary", True, False),
    ],
)
def test_a_note_is_late_by_its_clock_or_its_day(
    records, time, date_only, category, at_discharge, late
):
    row = {"visit_id": [1], "time": [time], "date_only": [date_only], "category": [category],
           "text": ["t"]}  # fmt: skip
    rows = pl.DataFrame(row, schema=tables.NOTES)
    assert moments.late("notes", rows, records, FOCAL, at_discharge).to_list() == [late]


def test_the_future_changes_and_the_past_stays():
    records = synthetic.generate(60, 1)
    cohort = tasks.build(records, "mortality", split="none")
    focal = subset.one_each(cohort.samples, cohort.samples["subject_id"].unique())
    some = subset.in_memory(subset.records_of(records, focal["subject_id"]))
    made = tables.check(alter.future(some, focal, False))
    for name in moments.CLOCKED:
        before, after = (getattr(one, name).lazy().collect() for one in (some, made))
        early = before.filter(~moments.late(name, before, some, focal, False))
        kept = after.filter(~moments.late(name, after, some, focal, False))
        assert early.sort(early.columns).equals(kept.sort(kept.columns)), name
        if before.height > early.height:
            assert not before.sort(before.columns).equals(after.sort(after.columns)), name
    late = made.measurements.collect().join(focal, on="visit_id")
    assert (late["time"] == late["prediction_time"] + INSTANT).any()


def test_other_people_change_and_these_stay():
    records = subset.in_memory(synthetic.generate(40, 2))
    others = records.patients["subject_id"].head(20)
    made = tables.check(alter.people(records, others))
    visits = records.visits.filter(~pl.col("subject_id").is_in(others.implode()))["visit_id"]
    for name in moments.CLOCKED:
        before, after = (
            getattr(one, name).lazy().filter(pl.col("visit_id").is_in(visits.implode())).collect()
            for one in (records, made)
        )
        assert before.equals(after), name
    changed = records.patients["sex"] != made.patients["sex"]
    assert changed.to_list() == records.patients["subject_id"].is_in(others.implode()).to_list()


def test_patients_are_chosen_from_every_split_in_its_share():
    cohort = tasks.build(synthetic.generate(300, 3), "mortality")
    chosen = subset.choose(cohort, 50)
    again = subset.choose(cohort, 50)
    split = cohort.samples.filter(pl.col("subject_id").is_in(chosen.implode()))
    assert chosen.equals(again) and 50 <= chosen.len() <= 53
    whole = cohort.samples.group_by("split").agg(pl.col("subject_id").n_unique()).sort("split")
    some = split.group_by("split").agg(pl.col("subject_id").n_unique()).sort("split")
    share = some["subject_id"] / whole["subject_id"]
    assert share.max() - share.min() < 0.1
    assert split["label.mortality"].mean() > cohort.samples["label.mortality"].mean()


def test_rows_differ_by_any_bit_and_not_by_padding():
    one = np.zeros((3, 2, 2), np.float32)
    other = np.zeros((3, 4, 2), np.float32)
    other[1, 0, 1] = np.float32(1e-45)
    assert building.rows_that_differ(one, other).tolist() == [False, True, False]
    nan = np.full((2, 1), np.nan, np.float32)
    assert not building.rows_that_differ(nan, nan.copy()).any()
    assert building.rows_that_differ(one, np.zeros((3, 2, 3), np.float32)).all()
    assert building.same(nan, nan) and not building.same(nan, nan[:1])


def test_one_sample_a_patient_is_an_early_or_a_late_one():
    people = pl.DataFrame({"subject_id": [k for k in range(40) for _ in range(3)]})
    samples = people.with_columns(order=pl.int_range(pl.len()).over("subject_id"))
    chosen = subset.one_each(samples, people["subject_id"].unique())
    assert chosen["subject_id"].to_list() == list(range(40))
    assert set(chosen["order"]) == {0, 1, 2}
