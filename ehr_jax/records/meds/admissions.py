"""Where the visits and ICU stays of a MEDS data set begin and end, and which visit has an event."""

import datetime

import polars as pl

from ehr_jax.records.common import ages, attributes, deaths, encounters, tables, when
from ehr_jax.records.meds import patterns
from ehr_jax.records.mimic import mimic4

_NEVER = datetime.datetime(9999, 1, 1)


def visits(facts: pl.DataFrame, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns `tables.VISITS`, all but the age, the columns of mimic4.ATTRIBUTES and `death`, when
    the patient died.

    Args:
      facts: events of the roles "admission", "discharge" and "death", with their meanings.
    """
    found = _paired(facts, "admission", "discharge", "visit_id", oddities)
    told = deaths_told(facts)
    found = _ended(found.join(told, on="subject_id", how="left"), oddities)
    found = deaths.settle(found.with_columns(survived=pl.lit(False)), oddities)
    kind, source = patterns.part(pl.col("code"), 1), patterns.part(pl.col("code"), 2)
    known = ~source.str.contains(attributes.NO_VALUE)
    # Of a visit that ended nobody knows where, a data set that tells deaths tells who lived.
    lost = (pl.col("stated") == "unknown") & pl.lit(not told.is_empty())
    upper, source = kind.str.to_uppercase(), source.str.to_uppercase()
    return found.sort("subject_id", "start", "visit_id").with_columns(
        order=pl.int_range(pl.len()).over("subject_id"),
        disposition=pl.when("died")
        .then(pl.lit("died"))
        .when(pl.col("end").is_null())
        .then(pl.lit("unknown"))
        .when(lost)
        .then(pl.lit("other"))
        .otherwise("stated"),
        planned=upper.is_in(mimic4.PLANNED),
        transferred_in=pl.when(known).then(source.str.starts_with("TRANSFER FROM HOSP")),
        emergency=upper.is_in(mimic4.EMERGENCY).fill_null(False),
        readmitted_30d=pl.lit(None, pl.Boolean),
        admission_type=upper,
        admission_location=source,
    )


def deaths_told(facts: pl.DataFrame) -> pl.DataFrame:
    """Returns (subject_id, death_first, death_time) of the events of role "death".

    A death at midnight is a date alone, which may mean any moment of that day.
    """
    told = facts.filter(role="death").drop_nulls("time")
    told = told.group_by("subject_id").agg(death_first=pl.col("time").min())
    time = pl.col("death_first")
    day_end = when.end_of_day(time)
    return told.with_columns(
        death_time=pl.when(time.dt.time() == pl.time(0)).then(day_end).otherwise(time)
    )


def _ended(found: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns the visits with mended ends, null where the discharge is not known, and `stated`."""
    start, end, place = pl.col("start"), pl.col("end"), pl.col("to_right")
    still = encounters.still_there(place)
    stated = pl.when(~still).then(patterns.disposition(place)).otherwise(pl.lit("unknown"))
    # Some discharges of the dead are a date alone, the midnight before the death.
    died = pl.col("death_first")
    midnight = (end < died) & (end == died.dt.truncate("1d")) & (stated == "died")
    midnight = midnight.fill_null(False)
    odd = found.select(midnight.sum().alias("midnight"), early=(end < start).sum())
    oddities["discharges at midnight of the day of death, set to the death"] = odd["midnight"][0]
    oddities["discharges before admission, set to the admission"] = odd["early"][0]
    days = when.last_moment(start, end)
    rule = "visits of dates without clock times, ending with their last day"
    oddities[rule] = int(found.select((~midnight & (days > end)).sum()).item())
    mended = pl.when(midnight).then(died).otherwise(pl.max_horizontal(start, days))
    found = found.with_columns(end=pl.when(end.is_not_null() & ~still).then(mended), stated=stated)
    return when.believed_visits(found, "admissions", "visits", oddities)


def _paired(facts: pl.DataFrame, enter: str, leave: str, key: str, oddities: dict) -> pl.DataFrame:
    """Returns the events of role `enter` with `start`, and `end` and `to_right` of their own exits.

    By `key` where any of them has one, else in order of time, `key` then being numbers from 0.
    """
    begun, ended = facts.filter(role=enter), facts.filter(role=leave)
    oddities[f"events of {enter} without a time, left out"] = begun["time"].null_count()
    begun = begun.drop_nulls("time").rename({"time": "start"}).sort("subject_id", "start")
    ended = ended.drop_nulls("time").select("subject_id", key, "to", end="time")
    ended = ended.sort("subject_id", "end")
    if begun[key].is_not_null().any():
        named = begun.drop_nulls(key)
        kept = named.unique(key, keep="first", maintain_order=True)
        last = ended.drop_nulls(key).unique(key, keep="last", maintain_order=True)
        oddities[f"events of {enter} without a {key}, left out"] = begun.height - named.height
        oddities[f"events of {enter} repeating a {key}, left out"] = named.height - kept.height
        return kept.join(last.drop("subject_id"), on=key, how="left", maintain_order="left")
    numbered = begun.drop(key).with_row_index(key).with_columns(pl.col(key).cast(pl.Int64))
    found = numbered.with_columns(end="start").join_asof(
        ended.drop(key).with_columns(at="end"),
        on="end",
        by="subject_id",
        strategy="forward",
        allow_exact_matches=False,  # an exit at this very time is that of the one before
        check_sortedness=False,
    )
    # An exit is that of the last entry before it; an earlier entry has none.
    own = pl.col("at").is_not_null() & pl.struct("subject_id", "at").is_last_distinct()
    return found.with_columns(
        end=pl.when(own).then("at"), to_right=pl.when(own).then("to_right")
    ).drop("at")


def aged(visits: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """Returns `visits` with the age in years, as `patients` know their births.

    A birth at the first moment of a year is known by that year alone, as in MIMIC-IV: the age is
    then the calendar years since (inferred).
    """
    births = patients.select("subject_id", "birth_time")
    joined = visits.join(births, on="subject_id", how="left", maintain_order="left")
    born, start = pl.col("birth_time"), pl.col("start")
    exact = ages.years(born, start)
    by_year = born == born.dt.truncate("1y")
    return joined.with_columns(
        age=pl.when(by_year).then(start.dt.year() - born.dt.year()).otherwise(exact)
    )


def spans(visits: pl.DataFrame) -> pl.DataFrame:
    """Returns (visit_id, subject_id, end, since, until, whole), one row a visit.

    An event that names no visit is of the one within whose `since` and `until` it lies, the first
    moment counting only where `whole`. The spans of a patient do not overlap: of visits that touch
    the moment goes to the one that ends; one that begins within another cuts that short.
    """
    following = pl.col("since").shift(-1).over("subject_id")
    cut = visits.select("visit_id", "subject_id", "end", since="start").with_columns(
        until=pl.coalesce(pl.min_horizontal("end", following), pl.lit(_NEVER, tables.TIME))
    )
    before = pl.col("until").shift(1).over("subject_id")
    return cut.with_columns(whole=(before != pl.col("since")).fill_null(True))


def linked(events: pl.LazyFrame, spans: pl.DataFrame) -> pl.LazyFrame:
    """Returns the events that belong to a visit, each with its visit_id and the visit's `end`."""
    ends = spans.lazy().select("visit_id", "end")
    named = events.join(ends, on="visit_id", maintain_order="left")
    inside = pl.col("time").is_between("since", "until", closed="right")
    inside |= pl.col("whole") & (pl.col("time") == pl.col("since"))
    timed = (
        events.filter(pl.col("visit_id").is_null() & pl.col("time").is_not_null())
        .drop("visit_id")
        .join(spans.lazy(), on="subject_id", maintain_order="left")
        .filter(inside)
    )
    return pl.concat([named, timed.select(named.collect_schema().names())])


def stays(facts: pl.DataFrame, spans: pl.DataFrame, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns `tables.STAYS`; `facts` are events of the roles "unit entry" and "unit exit"."""
    found = _paired(facts, "unit entry", "unit exit", "stay_id", oddities)
    found = found.rename({"start": "time", "end": "left"})
    held = linked(found.lazy(), spans).collect()
    oddities["ICU stays of no visit, left out"] = found.height - held.height
    held = tables.conform(
        held.with_columns(start="time", end="left", unit="to").sort("stay_id"), tables.STAYS
    )
    visits = spans.select("visit_id", "end", start="since")
    return tables.sorted_stays(when.stays(held, visits, "ICU stays", oddities))
