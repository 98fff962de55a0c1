"""Records that differ from others only in what a sample may not see.

Of the rows that are chosen half are dropped and half get other values, and rows of known kinds are
added, so that neither a value nor the mere presence of a row may tell.
"""

import dataclasses
import datetime

import polars as pl

from ehr_jax.audit import moments
from ehr_jax.records.common import tables

CHANGED = "AUDIT:CHANGED"  # a code that no source has
INSTANT = datetime.timedelta(microseconds=1)
DAY = datetime.timedelta(days=1)
FEW, MANY = 5, 200  # kinds of codes and attributes, and of measurements, that are added


def future(records: tables.Records, focal: pl.DataFrame, at_discharge: bool) -> tables.Records:
    """Changes all that became known after the prediction time of each patient's sample.

    Rows are added one microsecond after it too. Deaths, ends of visits, dispositions, stays and
    later visits change; starts and order of the sample's own and of earlier visits stay.

    Args:
      records: measurements and notes in memory.
      focal: one sample a patient.
    """
    times = focal.select("visit_id", time="prediction_time").drop_nulls()
    fresh = times.with_columns(pl.col("time") + INSTANT)
    marked = {
        name: moments.late(name, _table(records, name), records, focal, at_discharge)
        for name in moments.CLOCKED
    }
    made = _with_rows(records, marked, fresh)
    note = _a_note(records)
    if note is not None:
        dated = times.with_columns(pl.col("time").dt.truncate("1d"), date_only=pl.lit(True))
        if at_discharge:
            dated = dated.with_columns(pl.col("time") + DAY)
        rows = dated.with_columns(category=pl.lit("Nursing"), text=pl.lit(note))
        if not at_discharge:
            summary = times.with_columns(pl.col("time") - INSTANT, date_only=pl.lit(False))
            summary = summary.with_columns(category=pl.lit("Discharge summary"), text=pl.lit(note))
            rows = pl.concat([rows, summary])
        notes = pl.concat([_table(made, "notes"), tables.conform(rows, tables.NOTES)])
        made = dataclasses.replace(made, notes=notes.lazy())
    return _course_after(made, focal)


def people(records: tables.Records, subjects: pl.Series) -> tables.Records:
    """Changes everything that is recorded of these patients, and adds rows of other kinds."""
    of_patient = pl.col("subject_id").is_in(subjects.implode())
    visits = records.visits.filter(of_patient)
    of_visit = pl.col("visit_id").is_in(visits["visit_id"].implode())
    marked = {name: _table(records, name).select(of_visit).to_series() for name in moments.CLOCKED}
    fresh = visits.select("visit_id", time=pl.col("start"))
    made = _with_rows(records, marked, fresh)
    other = pl.when(of_patient)
    sex = other.then(pl.when(pl.col("sex") == "F").then(pl.lit("M")).otherwise(pl.lit("F")))
    shift = datetime.timedelta(days=1000)
    return dataclasses.replace(
        made,
        patients=records.patients.with_columns(
            sex=sex.otherwise("sex"),
            birth_time=other.then(pl.col("birth_time") - shift).otherwise("birth_time"),
            death_time=other.then(pl.col("death_time") + shift).otherwise("death_time"),
        ),
        visits=records.visits.with_columns(
            age=other.then(pl.col("age") + 7).otherwise("age"),
            disposition=other.then(_other_disposition()).otherwise("disposition"),
            planned=other.then(~pl.col("planned")).otherwise("planned"),
            transferred_in=other.then(~pl.col("transferred_in")).otherwise("transferred_in"),
        ),
        stays=records.stays.filter(~of_visit),
    )


def _course_after(records: tables.Records, focal: pl.DataFrame) -> tables.Records:
    placed = moments.of_visits(records, focal)
    time, after = pl.col("prediction_time"), pl.col("after")
    ends_later = (pl.col("end") > time).fill_null(False) & (after <= 0)
    later = (after > 0).fill_null(True)
    changed = later | ends_later
    visits = records.visits.join(placed, on="visit_id", how="left", maintain_order="left")
    visits = visits.with_columns(
        start=pl.when(later).then(pl.col("start") + DAY).otherwise("start"),
        end=pl.when(changed).then(pl.col("end") + 2 * DAY).otherwise("end"),
        age=pl.when(later).then(pl.col("age") + 1).otherwise("age"),
        disposition=pl.when(changed).then(_other_disposition()).otherwise("disposition"),
        readmitted_30d=~pl.col("readmitted_30d"),
    )
    stays = records.stays.join(placed, on="visit_id", how="left", maintain_order="left")
    begins = ((pl.col("start") > time) | (after > 0)).fill_null(False)
    stays = stays.with_columns(
        start=pl.when(begins).then(pl.col("start") + DAY).otherwise("start"),
        end=pl.when((pl.col("end") > time) | (after > 0))
        .then(pl.col("end") + 2 * DAY)
        .otherwise("end"),
    )
    patients = records.patients.join(
        focal.select("subject_id", "prediction_time"), on="subject_id", how="left"
    )
    unknown = (pl.col("death_time").is_null() | (pl.col("death_time") > time)) & time.is_not_null()
    moved = pl.coalesce(pl.col("death_time") + 100 * DAY, time + DAY)
    patients = patients.with_columns(
        death_time=pl.when(unknown).then(moved).otherwise("death_time")
    )
    return dataclasses.replace(
        records,
        visits=tables.conform(visits, tables.VISITS),
        stays=tables.conform(stays, tables.STAYS),
        patients=tables.conform(patients, tables.PATIENTS),
    )


def _with_rows(records: tables.Records, marked: dict, fresh: pl.DataFrame) -> tables.Records:
    """Changes or drops the marked rows, and adds rows of the kinds there are to `fresh` visits."""
    made = {}
    for name in moments.CLOCKED:
        table = _table(records, name)
        changed = table.filter(marked[name]).gather_every(2)
        rows = [table.filter(~marked[name]), _CHANGE[name](changed)]
        kinds = _KINDS[name](table)
        if kinds.height:
            rows.append(kinds.drop("visit_id", "time").join(fresh, how="cross"))
        schema = getattr(tables, name.upper())
        made[name] = pl.concat([tables.conform(part, schema) for part in rows])
    names = pl.DataFrame(
        {"code": [CHANGED], "kind": ["diagnosis"], "name": ["changed by the audit"]}
    )
    return dataclasses.replace(
        records,
        codes=made["codes"],
        code_names=pl.concat([records.code_names, tables.conform(names, tables.CODE_NAMES)]),
        attributes=made["attributes"],
        measurements=made["measurements"].lazy(),
        notes=made["notes"].lazy(),
        scores=made["scores"],
    )


def _table(records: tables.Records, name: str) -> pl.DataFrame:
    return getattr(records, name).lazy().collect()


def _other_codes(rows: pl.DataFrame) -> pl.DataFrame:
    other = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit(CHANGED))
    return rows.with_columns(code=other.otherwise(pl.col("code").shift(1, fill_value=CHANGED)))


def _other_attributes(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("text") + " changed", pl.col("number") * 2 + 1)


def _other_notes(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(text=pl.col("text").shift(1, fill_value="") + " changed")


_CHANGE = {
    "codes": _other_codes,
    "attributes": _other_attributes,
    "measurements": lambda rows: rows.with_columns(pl.col("value") * 1.7 + 3),
    "notes": _other_notes,
    "scores": lambda rows: rows.with_columns(probability=1 - pl.col("probability")),
}


def _common_codes(table: pl.DataFrame) -> pl.DataFrame:
    counts = table.group_by("code").agg(pl.first("visit_id", "time", "position"), n=pl.len())
    common = counts.sort("n", "code", descending=[True, False]).head(FEW).drop("n")
    return pl.concat([common, common.head(1).with_columns(code=pl.lit(CHANGED))])


def _attributes(table: pl.DataFrame) -> pl.DataFrame:
    rows = table.unique(["name", "text"], keep="first", maintain_order=True).sort("name", "text")
    return rows.group_by("name", maintain_order=True).tail(1).head(MANY)


def _measurements(table: pl.DataFrame) -> pl.DataFrame:
    # A usual value of each variable, which no limit leaves out.
    usual = pl.col("value").quantile(0.9, "nearest")
    counts = table.group_by("variable").agg(
        usual, pl.first("visit_id", "time"), pl.col("unit").drop_nulls().first(), n=pl.len()
    )
    rows = counts.sort("n", "variable", descending=[True, False]).head(MANY)
    return rows.with_columns(stay_id=pl.lit(None, pl.Int64))


def _notes(table: pl.DataFrame) -> pl.DataFrame:
    rows = table.drop_nulls("text").sort("visit_id", "time", "text").head(1)
    return rows.with_columns(date_only=pl.lit(False), category=pl.lit("Nursing"))


def _scores(table: pl.DataFrame) -> pl.DataFrame:
    rows = table.unique("name", keep="first", maintain_order=True)
    return rows.with_columns(probability=1 - pl.col("probability"))


_KINDS = {
    "codes": _common_codes,
    "attributes": _attributes,
    "measurements": _measurements,
    "notes": _notes,
    "scores": _scores,
}


def _a_note(records: tables.Records) -> str | None:
    rows = _notes(_table(records, "notes"))
    return rows["text"][0] if rows.height else None


def _other_disposition() -> pl.Expr:
    return pl.when(pl.col("disposition") == "died").then(pl.lit("home")).otherwise(pl.lit("died"))
