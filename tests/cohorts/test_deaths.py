"""Deaths within days: counted from the prediction time, by times that compare."""

import dataclasses

import hospital
import polars as pl

from ehr_jax.cohorts import deaths

visit, day = hospital.visit, hospital.day
SECOND = 1 / 86_400


def test_deaths_count_from_the_prediction_time_in_hospital_or_after():
    records = hospital.records(
        [
            visit(1, 0, 5, disposition="died"),  # at the end, where no time is told
            visit(2, 0, 5),
            visit(3, 0, 5),
            visit(4, 0, 5),
        ],
        deaths={2: day(32), 3: day(32 + SECOND)},
    )
    samples = records.visits.select("subject_id", "visit_id", prediction_time=pl.lit(day(2)))
    found = deaths.within(records, samples, (2, 3, 30, 31))
    assert found.tolist() == [
        [False, True, True, True],
        [False, False, True, True],
        [False, False, False, True],
        [False, False, False, False],
    ]
    assert deaths.told_after_hospital(records)


def test_where_times_do_not_compare_a_patient_of_several_visits_dies_in_hospital_alone():
    records = hospital.records(
        [visit(1, 0, 5), visit(1, 400, 405, disposition="died"), visit(2, 0, 5)],
        deaths={1: day(404), 2: day(10)},
    )
    samples = records.visits.select(
        "subject_id", "visit_id", prediction_time=pl.col("start") + pl.duration(days=2)
    )
    dated = deaths.within(records, samples, (30, 1000))
    assert dated.tolist() == [[False, True], [True, True], [True, True]]
    undated = deaths.within(dataclasses.replace(records, dated=False), samples, (30, 1000))
    assert undated.tolist() == [[False, False], [True, True], [True, True]]


def test_deaths_in_hospital_alone_are_none_after_it():
    records = hospital.records([visit(1, 0, 5, disposition="died")], deaths={1: day(5)})
    assert not deaths.told_after_hospital(records)
