"""A patient's death, decided once for all visits."""

import datetime

import polars as pl

from ehr_jax.records.common import deaths, tables

DAY = datetime.timedelta(days=1)
ZERO = datetime.datetime(2100, 1, 1, 10)


def settled(*visits, death=None, day_only=False):
    """The days of death and, by visit, whether it ended in it: visits are (start, end, stated)."""
    rows = [
        {"subject_id": 1, "visit_id": k, "start": ZERO + start * DAY, "stated": stated,
         "end": None if end is None else ZERO + end * DAY}
        for k, (start, end, stated) in enumerate(visits)
    ]  # fmt: skip
    schema = {"start": tables.TIME, "end": tables.TIME}
    first = None if death is None else ZERO + death * DAY
    last = first
    if day_only and first is not None:
        first = first.replace(hour=0)
        last = first + DAY - datetime.timedelta(seconds=1)
    frame = pl.DataFrame(rows, schema_overrides=schema).with_columns(
        death_first=pl.lit(first, tables.TIME), death_time=pl.lit(last, tables.TIME),
        survived=pl.lit(False),
    )  # fmt: skip
    found = deaths.settle(frame, {}).sort("visit_id")
    moment = found["death"][0]
    return (moment and (moment - ZERO) / DAY), found["died"].to_list()


def test_a_death_that_a_visit_states_is_neither_moved_nor_lost():
    assert settled((0, 5, "died"), (5.01, 7, "unknown")) == (5, [True, False])
    assert settled((0, 5, "died"), (300, 305, "home")) == (5, [True, False])
    assert settled((0, 5, "died"), (5.01, 7, "died")) == (5, [True, True])


def test_a_date_before_a_later_visit_is_not_believed():
    assert settled((0, 5, "home"), (100, 105, "home"), death=50) == (None, [False, False])


def test_a_silent_visit_that_ends_at_the_death_holds_it_though_a_donor_is_admitted_after():
    assert settled((0, 5, "unknown"), (5.01, 7, "other"), death=5) == (5, [True, False])


def test_a_nested_visit_does_not_hide_the_death_of_the_one_around_it():
    assert settled((0, 10, "home"), (3, 4, "died")) == (4, [True, True])


def test_a_visit_without_an_end_is_no_death():
    assert settled((0, None, "unknown"), death=3) == (3, [False])
