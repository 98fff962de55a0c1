"""What a sample may know, and when."""

import dataclasses
import datetime

import hospital
import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import known
from ehr_jax.records.common import tables

NOON = hospital.day(2.5)


def make(at_discharge: bool, protocol: str = "strict") -> tuple[tables.Records, cohorts.Cohort]:
    records = hospital.records([hospital.visit(7, 0, 2.5, "4280", "25000")])
    samples = pl.DataFrame(
        [
            {
                "sample_id": 0,
                "subject_id": 7,
                "visit_id": 0,
                "prediction_time": NOON if at_discharge else hospital.day(1),
                "split": "train",
                "labelled": True,
                "label.x": True,
            }
        ],
        schema=cohorts.SAMPLES | {"label.x": pl.Boolean},
    )
    return records, cohorts.Cohort("t", protocol, "", ("x",), samples, at_discharge, {})


def with_notes(records: tables.Records, *notes: tuple) -> tables.Records:
    rows = [
        {"visit_id": 0, "time": time, "date_only": date_only, "category": category, "text": text}
        for time, date_only, category, text in notes
    ]
    frame = pl.DataFrame(rows, schema=tables.NOTES).lazy()
    return dataclasses.replace(records, notes=frame)


def test_billing_codes_are_known_at_discharge_only():
    assert known.codes(*make(at_discharge=True)).height == 2
    assert known.codes(*make(at_discharge=False)).height == 0


def test_a_timed_code_is_known_from_its_time_on():
    records, cohort = make(at_discharge=False)
    times = [hospital.day(0.5), hospital.day(1.5)]
    records = dataclasses.replace(records, codes=records.codes.with_columns(time=pl.Series(times)))
    assert known.codes(records, cohort)["code"].to_list() == ["ICD9CM:4280"]


def test_last_measurement_is_the_last_before_the_prediction():
    records, cohort = make(at_discharge=False)
    rows = [
        {"visit_id": 0, "stay_id": None, "time": hospital.day(d), "variable": "hr", "value": v}
        | {"unit": ""}
        for d, v in ((0.1, 80.0), (0.9, 95.0), (1.1, 300.0))
    ]  # fmt: skip
    records = dataclasses.replace(
        records, measurements=pl.DataFrame(rows, schema=tables.MEASUREMENTS).lazy()
    )
    assert known.last_measurements(records, cohort)["number"].to_list() == [95.0]


def test_strict_takes_no_note_dated_after_the_day_of_discharge():
    records, cohort = make(at_discharge=True)
    records = with_notes(
        records,
        (hospital.day(0.2), False, "Physician", "in time"),
        (hospital.day(2), True, "Discharge summary", "summary"),
        (hospital.day(3), True, "Discharge summary", "addendum"),
        (hospital.day(2.9), False, "Nursing", "after leaving"),
    )
    assert known.notes(records, cohort)["text"].to_list() == ["in time\n\nsummary"]


def test_paper_takes_every_note_of_the_visit():
    records, cohort = make(at_discharge=True, protocol="paper")
    records = with_notes(records, (hospital.day(3), True, "Discharge summary", "addendum"))
    assert known.notes(records, cohort)["text"].to_list() == ["addendum"]


def test_inside_the_stay_a_dated_note_counts_from_the_end_of_its_day_and_no_summary_does():
    records, cohort = make(at_discharge=False)
    records = with_notes(
        records,
        (hospital.day(0), True, "Radiology", "first day"),
        (hospital.day(1), True, "Radiology", "second day"),
        (hospital.day(0), True, "Discharge summary", "from the end"),
        (hospital.day(1) + datetime.timedelta(minutes=1), False, "Nursing", "late"),
    )
    assert known.notes(records, cohort)["text"].to_list() == ["first day"]


def test_codes_of_earlier_visits_are_of_those_over_by_the_prediction_time():
    records = hospital.records(
        [
            hospital.visit(7, 0, 1, "4280"),
            hospital.visit(7, 2, 5, "25000"),
            hospital.visit(7, 3, 4, "486"),
            hospital.visit(8, 0, 1, "41401"),
        ]
    )
    # Of the patient's visits the second is not over when the third begins and ends.
    cohort = of_visits(records, (2, hospital.day(4)), (1, hospital.day(5)))
    found = known.earlier_codes(records, cohort).sort("sample_id")
    assert found.rows() == [(0, "ICD9CM:4280"), (1, "ICD9CM:4280")]
    undated = dataclasses.replace(records, dated=False)
    assert known.earlier_codes(undated, cohort).sort("sample_id", "code").rows() == [
        (0, "ICD9CM:25000"),
        (0, "ICD9CM:4280"),
        (1, "ICD9CM:4280"),
    ]


def test_an_earlier_visit_that_ends_at_the_prediction_time_is_over():
    records = hospital.records([hospital.visit(7, 2, 5, "25000"), hospital.visit(7, 3, 6, "486")])
    at, before = hospital.day(5), hospital.day(5) - datetime.timedelta(microseconds=1)
    found = known.earlier_codes(records, of_visits(records, (1, at), (1, before)))
    assert found.rows() == [(0, "ICD9CM:25000")]


def of_visits(records: tables.Records, *visits: tuple) -> cohorts.Cohort:
    samples = pl.DataFrame(
        [
            {
                "sample_id": k,
                "subject_id": 7,
                "visit_id": visit,
                "prediction_time": time,
                "split": "train",
                "labelled": True,
                "label.x": True,
            }
            for k, (visit, time) in enumerate(visits)
        ],
        schema=cohorts.SAMPLES | {"label.x": pl.Boolean},
    )
    return cohorts.Cohort("t", "strict", "", ("x",), samples, True, {})


def test_what_is_known_at_exactly_the_prediction_time_is_known():
    records, cohort = make(at_discharge=False)
    (at,) = cohort.samples["prediction_time"]
    after = at + datetime.timedelta(microseconds=1)
    fact = {"visit_id": 0, "text": "yes", "number": None}
    facts = [fact | {"name": "in time", "time": at}, fact | {"name": "late", "time": after}]
    value = {"visit_id": 0, "stay_id": None, "unit": None, "variable": "hr"}
    values = [value | {"time": at, "value": 1.0}, value | {"time": after, "value": 2.0}]
    records = dataclasses.replace(
        with_notes(records, (at, False, "Nursing", "in time"), (after, False, "Nursing", "late")),
        codes=records.codes.with_columns(time=pl.Series([at, after])),
        attributes=pl.DataFrame(facts, schema=tables.ATTRIBUTES),
        measurements=pl.DataFrame(values, schema=tables.MEASUREMENTS).lazy(),
    )
    assert known.codes(records, cohort)["code"].to_list() == ["ICD9CM:4280"]
    assert known.attributes(records, cohort)["name"].to_list() == ["in time"]
    assert known.last_measurements(records, cohort)["number"].to_list() == [1.0]
    assert known.notes(records, cohort)["text"].to_list() == ["in time"]


def test_a_note_whose_row_stands_twice_is_one_note():
    records, cohort = make(at_discharge=False)
    note = (hospital.day(0.5), False, "Nursing", "calm")
    records = with_notes(records, note, note, (hospital.day(0.6), False, "Nursing", "calm"))
    assert known.notes(records, cohort)["text"].to_list() == ["calm\n\ncalm"]


def test_a_value_whose_row_stands_twice_changes_nothing():
    records, cohort = make(at_discharge=False)
    row = {"visit_id": 0, "time": hospital.day(0.5), "variable": "hr", "value": 80.0}
    once, twice = (
        dataclasses.replace(
            records,
            measurements=pl.DataFrame([row] * n, schema=tables.MEASUREMENTS).lazy(),
        )
        for n in (1, 2)
    )
    assert known.last_measurements(once, cohort).equals(known.last_measurements(twice, cohort))
