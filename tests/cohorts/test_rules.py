"""Who is left out by a rule at its very edge, and where what it asks is unknown."""

import datetime
import types

import polars as pl
import pytest

from ehr_jax.cohorts import deaths, rules
from tests import hospital

SPEC = types.SimpleNamespace(after_hours=24)
T = datetime.datetime(2100, 1, 2)


def left_out(rule: str, **values) -> bool:
    frame = pl.DataFrame({name: [value] for name, value in values.items()})
    return frame.select(rules.RULES[rule].holds(SPEC).fill_null(False)).item()


@pytest.mark.parametrize(
    ("rule", "age", "out"),
    [
        ("under_18", 17.9, True),
        ("under_18", 18.0, False),
        ("under_18_or_unknown", 18.0, False),
        ("under_18_or_unknown", 17.9, True),
    ],
)
def test_who_is_18_is_no_child(rule, age, out):
    assert left_out(rule, age=age) == out


def test_an_unknown_age_is_left_out_only_where_the_rule_says_so():
    ages = pl.DataFrame({"age": [None]}, schema={"age": pl.Float64})
    for rule, out in (("under_18", None), ("under_18_or_unknown", True)):
        assert ages.select(rules.RULES[rule].holds(SPEC)).item() is out


def test_a_stay_of_unknown_length_is_short_and_one_that_ends_at_the_prediction_is_not():
    ends = {"index_end": [None, T, T - datetime.timedelta(seconds=1)], "prediction_time": [T] * 3}
    out = pl.DataFrame(ends).select(out=rules.RULES["short_stay"].holds(SPEC))
    assert out["out"].to_list() == [True, False, True]


def test_a_death_in_hospital_of_unknown_time_is_at_once():
    records = hospital.records([hospital.visit(1, 0, None, disposition="died")])
    samples = pl.DataFrame({"visit_id": [0], "subject_id": [1], "prediction_time": [T]})
    assert deaths.within(records, samples, (1,)).tolist() == [[True]]


def test_where_times_do_not_compare_a_death_after_several_visits_tells_nothing():
    visits = [hospital.visit(1, 0, 2), hospital.visit(1, 0, 3)]
    records = hospital.records(visits, deaths={1: hospital.day(9)})
    assert deaths.told_after_hospital(records)
    undated = types.SimpleNamespace(visits=records.visits, patients=records.patients, dated=False)
    assert not deaths.told_after_hospital(undated)
