"""When things are known, and which times are not believed."""

import datetime

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records.common import tables, tally, when

at = datetime.datetime
VISITS = pl.DataFrame(
    [(1, at(2150, 1, 2, 10), at(2150, 1, 9, 12)), (2, at(2150, 1, 2, 10), None)],
    schema={"visit_id": pl.Int64, "start": tables.TIME, "end": tables.TIME},
    orient="row",
)
# Of a visit from 2 to 9 January 2150: is the event believed?
EVENTS = {
    at(50, 1, 4): False,
    at(2149, 1, 4): False,
    at(2149, 12, 3, 9, 59): False,
    at(2149, 12, 3, 10): True,
    at(2150, 1, 4): True,
    at(2150, 2, 8, 12): True,
    at(2150, 2, 8, 12, 1): False,
    at(2151, 1, 4): False,
    at(9999, 12, 31): False,
    None: True,
}


def measured(*rows: tuple) -> pl.LazyFrame:
    """Measurements of (visit, time)."""
    frame = pl.DataFrame(
        [(visit, None, time, "LAB:1", 1.0, None) for visit, time in rows],
        schema=tables.MEASUREMENTS,
        orient="row",
    )
    return frame.lazy()


@pytest.mark.parametrize("time", EVENTS, ids=str)
def test_event_is_believed_within_thirty_days_of_its_visit(time):
    oddities = tally.Ledger()
    rows = when.within(measured((1, time)), tables.MEASUREMENTS, VISITS, "rows", oddities)
    assert rows.collect().height == EVENTS[time]
    assert sum(oddities.values()) == 1 - EVENTS[time]
    frame = VISITS.filter(visit_id=1).with_columns(time=pl.lit(time, tables.TIME))
    assert when.near(frame, "rows", oddities, "time").height == EVENTS[time]


def test_visit_without_an_end_holds_events_of_a_year():
    rows = measured((2, at(2150, 12, 1)), (2, at(2149, 11, 1)), (2, at(2151, 6, 1)))
    found = when.within(rows, tables.MEASUREMENTS, VISITS, "rows", tally.Ledger()).collect()
    assert found["time"].to_list() == [at(2150, 12, 1)]


def test_value_taken_a_year_before_is_left_out_though_it_was_stored_in_the_visit():
    rows = measured((1, at(2150, 1, 4)), (1, at(2150, 1, 5)))
    rows = rows.with_columns(taken=pl.Series([at(2149, 1, 4), at(2150, 1, 5)], dtype=tables.TIME))
    found = when.within(rows, tables.MEASUREMENTS, VISITS, "rows", tally.Ledger()).collect()
    assert found["time"].to_list() == [at(2150, 1, 5)]


def test_rows_of_other_visits_are_left_out_and_counted():
    oddities = tally.Ledger()
    lazy = measured((3, VISITS["start"][0]), (1, VISITS["start"][0]))
    rows = when.within(lazy, tables.MEASUREMENTS, VISITS, "x", oddities)
    assert rows.collect().height == 1
    assert oddities == {"x of unknown visits, left out": 1}


def test_of_equal_rows_the_first_is_kept_where_asked_for():
    times = [at(2150, 1, 4), at(2150, 1, 4), at(2150, 1, 5), at(2150, 1, 5), at(2150, 1, 5)]
    lazy, oddities = measured(*((1, time) for time in times)), tally.Ledger()
    kept = when.within(lazy, tables.MEASUREMENTS, VISITS, "x", oddities, once=("time",)).collect()
    assert kept["time"].to_list() == [at(2150, 1, 4), at(2150, 1, 5)]
    assert oddities == {"x standing more than once, taken once": 3}
    assert when.within(lazy, tables.MEASUREMENTS, VISITS, "x", oddities).collect().height == 5


# The start and end of a visit; what is kept of it.
VISITS_BELIEVED = {
    "a week": ((at(2150, 1, 2), at(2150, 1, 9)), True),
    "in the year 1": ((at(1, 1, 2), at(1, 1, 9)), None),
    "on the first day of a table calculation": ((at(1899, 12, 30), None), None),
    "in the year 9999": ((at(9999, 12, 31), at(9999, 12, 31, 23)), None),
    "of a century": ((at(2050, 1, 2), at(2150, 1, 9)), False),
    "without an end": ((at(2150, 1, 2), None), False),
}


@pytest.mark.parametrize("case", VISITS_BELIEVED)
def test_visit_of_an_impossible_year_is_left_out_and_one_of_a_century_has_no_end(case):
    (start, end), ends = VISITS_BELIEVED[case]
    schema = {"start": tables.TIME, "end": tables.TIME}
    sound = (at(2150, 1, 2), at(2150, 1, 9))
    oddities = tally.Ledger()
    frame = pl.DataFrame([sound, (start, end)], schema=schema, orient="row")
    kept = when.believed_visits(frame, "t", "visits", oddities)
    assert kept.rows()[1:] == ([] if ends is None else [(start, end if ends else None)])
    assert sum(oddities.values()) == (ends is None or (not ends and end is not None))


def test_records_of_another_time_are_refused():
    frame = pl.DataFrame({"start": [at(2500, 1, 1)], "end": [at(2500, 1, 2)]})
    with pytest.raises(errors.RecordsError, match="every one of its 1 visits begins before 1900"):
        when.believed_visits(frame, "t", "visits", tally.Ledger())


# Stay of the visit from 2 to 9 January: its two ends; those of the stay that is kept, if any.
STAYS = {
    "within": ((at(2150, 1, 3), at(2150, 1, 5)), (at(2150, 1, 3), at(2150, 1, 5))),
    "hours before": ((at(2150, 1, 2), at(2150, 1, 3)), (at(2150, 1, 2), at(2150, 1, 3))),
    "hours after": ((at(2150, 1, 9), at(2150, 1, 10)), (at(2150, 1, 9), at(2150, 1, 10))),
    "without an end": ((at(2150, 1, 3), None), (at(2150, 1, 3), None)),
    "two thousand years before": ((at(50, 1, 3), at(2150, 1, 5)), None),
    "a year before": ((at(2149, 1, 3), at(2149, 1, 5)), None),
    "a week before": ((at(2149, 12, 26), at(2149, 12, 28)), None),
    "a week after": ((at(2150, 1, 16), at(2150, 1, 18)), None),
    "a year after": ((at(2151, 1, 3), None), None),
    "backwards": ((at(2150, 1, 3), at(2150, 1, 2, 12)), (at(2150, 1, 3), None)),
    "without end in sight": ((at(2150, 1, 3), at(9999, 12, 31)), (at(2150, 1, 3), None)),
}


@pytest.mark.parametrize("place", STAYS)
def test_stay_lies_in_its_visit_or_is_left_out_and_counted(place):
    given, wanted = STAYS[place]
    row = {"stay_id": 5, "visit_id": 1, "subject_id": 1, "unit": "MICU"}
    row |= dict(zip(("start", "end"), given, strict=True))
    oddities = tally.Ledger()
    found = when.stays(pl.DataFrame([row], schema=tables.STAYS), VISITS, "stays", oddities)
    assert found.select("start", "end").rows() == ([wanted] if wanted else [])
    assert sum(oddities.values()) == (wanted != given)


@pytest.mark.parametrize(
    "clock, date, wanted",
    [
        (at(2020, 1, 3, 8), at(2020, 1, 3), (at(2020, 1, 3, 8), False)),
        (None, at(2020, 1, 3), (at(2020, 1, 3, 23, 59, 59), True)),
        (at(2020, 1, 3), at(2020, 1, 3), (at(2020, 1, 3, 23, 59, 59), True)),
    ],
)
def test_day_alone_is_known_at_its_end(clock, date, wanted):
    frame = pl.DataFrame(
        {"clock": [clock], "date": [date]}, schema_overrides={"clock": tables.TIME}
    )
    time, day_only = when.known(pl.col("clock"), pl.col("date"))
    assert frame.select(time.alias("time"), day_only.alias("day")).row(0) == wanted
