import dataclasses
import datetime

import hospital
import polars as pl
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import given, summary
from ehr_jax.cohorts import spec as specs
from ehr_jax.features import known

visit, day = hospital.visit, hospital.day


def rows(*found) -> pl.DataFrame:
    """Rows of (subject, day or None, label or None)."""
    listed = [(subject, None if at is None else day(at), label) for subject, at, label in found]
    return pl.DataFrame(listed, schema=given.ROWS, orient="row")


def given_rows(frame: pl.DataFrame, **excluded) -> given.Given:
    return given.Given(frame, "query:x", "death", "One.", specs.Query("x.yaml", "all"), excluded)


def placed(records, *found) -> tuple[dict, dict]:
    """The visit of each sample with its day and label, and the counts that are not 0."""
    frame, excluded = given.place(records, rows(*found))
    days = (pl.col("prediction_time") - hospital.DAY_ONE).dt.total_seconds() / 86_400
    table = frame.select("visit_id", days.alias("day"), "label")
    counts = {reason: n for reason, n in excluded.items() if n}
    return {number: (at, label) for number, at, label in table.iter_rows()}, counts


def test_a_sample_belongs_to_the_visit_that_holds_its_time_and_others_are_counted():
    records = hospital.records([visit(1, 0, 5), visit(1, 10, 12), visit(2, 3, 4)])
    found, counts = placed(
        records,
        (1, 0, False), (1, 12, True), (1, 7, True), (1, 13, True), (2, 2, False), (9, 1, True),
    )  # fmt: skip
    assert found == {0: (0, False), 1: (12, True)}
    assert counts == {given.OUTSIDE: 2, given.BEFORE: 2}


@pytest.mark.parametrize("label", [2, -1, 0.5, float("nan")])
def test_a_label_other_than_0_and_1_is_refused_with_its_row(label):
    frame = rows((1, 3, True), (1, 4, None)).with_columns(
        label=pl.Series([1.0, label], strict=False)
    )
    with pytest.raises(
        errors.CohortError, match=f"row 2 of the samples has the label {float(label)}"
    ):
        given.checked(frame)
    sound = given.checked(frame.with_columns(label=pl.Series([1, None])))
    assert sound["label"].to_list() == [True, None]


def test_a_sample_at_or_after_the_death_is_left_out():
    records = hospital.records([visit(1, 0, 9, disposition="died")], deaths={1: day(5)})
    found, counts = placed(records, (1, 4, True), (1, 5, True), (1, 6, False))
    assert found == {0: (4, True)} and counts == {given.DEAD: 2}


def test_the_first_time_of_a_visit_is_its_sample():
    records = hospital.records([visit(1, 0, 9)])
    found, counts = placed(records, (1, 5, True), (1, 3, False), (1, 8, True))
    assert found == {0: (3, False)} and counts == {given.LATER: 2}


def test_a_row_said_twice_counts_once_and_a_contradiction_not_at_all():
    records = hospital.records([visit(1, 0, 9), visit(2, 0, 9)])
    found, counts = placed(
        records, (1, 3, True), (1, 3, True), (2, 4, True), (2, 4, False), (2, None, True),
        (2, 6, None),
    )  # fmt: skip
    assert found == {0: (3, True)}
    assert counts == {given.REPEATED: 1, given.CONTRADICTED: 2, given.INCOMPLETE: 2}


def test_where_visits_touch_the_moment_is_of_the_one_that_ends():
    records = hospital.records([visit(1, 0, 5), visit(1, 5, 9)])
    assert placed(records, (1, 5, True))[0] == {0: (5, True)}


def test_of_visits_that_overlap_a_sample_is_of_the_last_to_begin():
    records = hospital.records([visit(1, 0, 9), visit(1, 3, 5)])
    assert placed(records, (1, 4, True), (1, 7, False))[0] == {1: (4, True), 0: (7, False)}


def test_a_visit_without_an_end_holds_nothing():
    records = hospital.records([visit(1, 0, None)])
    assert placed(records, (1, 1, True)) == ({}, {given.OUTSIDE: 1})


SAMPLES = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 20), st.sampled_from([True, False, None])),
    max_size=30,
)
VISITS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 15), st.integers(0, 6)), min_size=1, max_size=8
)


@settings(max_examples=80)
@drawn(SAMPLES, VISITS, st.randoms(use_true_random=False))
def test_every_row_is_a_sample_in_its_visit_or_counted_in_any_order(found, stays, random):
    ordered = sorted(stays)
    records = hospital.records([visit(who, at, at + long) for who, at, long in ordered])
    frame, excluded = given.place(records, rows(*found))
    assert frame.height + sum(excluded.values()) == len(found)
    assert frame["visit_id"].is_unique().all()
    of_visit = frame.join(records.visits, on="visit_id")
    assert of_visit.select(pl.col("prediction_time").is_between("start", "end").all()).item()
    owners = of_visit.select("subject_id", "prediction_time", "label").rows()
    assert set(owners) <= set(rows(*found).rows())
    random.shuffle(found)
    again, counts = given.place(records, rows(*found))
    assert again.sort("visit_id").equals(frame.sort("visit_id")) and counts == excluded


def wards(count: int = 30):
    """Patients of one visit of nine days each, a third of them to be positive."""
    records = hospital.records([visit(who, 0, 9, "4280") for who in range(count)])
    return records, [(who, 2.0, who % 3 == 0) for who in range(count)]


def test_the_cohort_keeps_the_contract_and_tells_what_found_it():
    records, found = wards()
    cohort = given.build(records, given_rows(rows(*found, (0, -1, True)), mist=4))
    assert cohort.samples["sample_id"].to_list() == list(range(30))
    assert cohort.samples["label.death"].sum() == 10 and cohort.samples["labelled"].all()
    assert not cohort.at_discharge and cohort.protocol == "strict"
    told = summary.summary(cohort)
    assert told["spec"] == {"file": "x.yaml", "text": "all"}
    assert told["excluded"]["mist"] == 4 and told["excluded"][given.BEFORE] == 1
    assert told["patients_in_several_splits"] == 0
    assert all(part["positives"]["death"] for part in told["splits"].values())
    # Codes billed at discharge are unknown on the second day.
    assert known.codes(records, cohort).is_empty()


def test_samples_at_discharge_alone_make_a_cohort_at_discharge():
    records, found = wards()
    at_end = [(who, 9.0, label) for who, _, label in found]
    cohort = given.build(records, given_rows(rows(*at_end)))
    assert cohort.at_discharge and known.codes(records, cohort).height == 30
    cohort = given.build(records, given_rows(rows(*at_end[1:], found[0])))
    assert not cohort.at_discharge


def test_samples_in_no_visit_are_an_error_that_counts_them():
    records, _ = wards()
    with pytest.raises(errors.CohortError, match=r"no sample lies in a visit.*first visit: 1\)"):
        given.build(records, given_rows(rows((1, -3, True))))


def test_records_without_dates_that_compare_are_refused():
    records, found = wards()
    offsets = dataclasses.replace(records, dated=False)
    with pytest.raises(errors.CohortError, match="compare within a visit only"):
        given.build(offsets, given_rows(rows(*found)))


def test_the_source_split_is_used_where_it_is_asked_for():
    records, found = wards()
    with pytest.raises(errors.CohortError, match="assigns no patient to a split"):
        given.build(records, given_rows(rows(*found)), split="source")
    names = ["train"] * 15 + ["validation"] * 6 + ["test"] * 9
    split = pl.DataFrame({"subject_id": range(30), "split": names})
    records = dataclasses.replace(records, given_split=split)
    cohort = given.build(records, given_rows(rows(*found)), split="source")
    assert cohort.samples.sort("subject_id")["split"].to_list() == names


def test_a_prediction_time_is_exact_to_the_microsecond():
    records = hospital.records([visit(1, 0, 5)])
    late = day(5) + datetime.timedelta(microseconds=1)
    frame = pl.DataFrame([(1, late, True)], schema=given.ROWS, orient="row")
    assert given.place(records, frame)[0].is_empty()
