"""What happens within the visits of an OMOP data set: ICU stays, codes, measurements and notes.

The tables may be large. ICU stays and codes are read in batches and only what is distinct is kept;
measurements and notes are read when their frames are collected. The CDM does not say when a value
or note was stored, so each is known when it was taken or written.
"""

import pathlib
import re
from typing import NamedTuple

import polars as pl

from ehr_jax.records.common import encounters, icd9, reading, tables, tally, when
from ehr_jax.records.omop import source_values, vocabulary


class _Table(NamedTuple):
    stem: str
    kind: str
    prefix: str  # of its columns on concepts
    time: str  # its column of dates; with "datetime" for "date" that of clock times


_CODED = (
    _Table("condition_occurrence", "diagnosis", "condition", "condition_start_date"),
    _Table("procedure_occurrence", "procedure", "procedure", "procedure_date"),
    _Table("drug_exposure", "drug", "drug", "drug_exposure_start_date"),
)

# What becomes of a row of such a table, by its visit.
_OF_VISIT = {
    "no visit": "rows without a visit, left out",
    "unknown": "rows of unknown visits, left out",
    "no part": "rows of visits that take no part, left out",
    "no code": "rows without a concept or source value, left out",
    "far": when.left_out("rows"),
}


def moves(
    root: str | pathlib.Path,
    visits: pl.DataFrame,
    concepts: vocabulary.Concepts,
    oddities: tally.Ledger,
) -> pl.DataFrame:
    """Returns the time of `visits` in intensive care: move_id, visit_id, subject_id, start, end,
    unit, and the stay_id of the moves that are one stay.

    Such moves are the rows of VISIT_DETAIL whose source concept, concept or care site says so.
    """
    path = reading.find_table(root, "visit_detail", required=False)
    if path is None:
        kinds = tables.STAYS | {"move_id": pl.Int64}
        return pl.DataFrame(schema=kinds)
    ids = ("visit_detail_id", "visit_occurrence_id", "visit_detail_concept_id")
    optional = ("visit_detail_source_concept_id", "care_site_id")
    sides = {"start": tables.TIME, "end": tables.TIME}
    times = [f"visit_detail_{side}_{form}" for side in sides for form in ("date", "datetime")]
    schema = dict.fromkeys((*ids, *optional), pl.Int64) | dict.fromkeys(times, tables.TIME)
    names = concepts.names() | vocabulary.INTENSIVE
    units = {i: name for i, name in names.items() if _is_intensive(i, name)}
    unit = pl.coalesce(
        vocabulary.name_of("visit_detail_source_concept_id", units),
        vocabulary.name_of("visit_detail_concept_id", units),
        vocabulary.name_of("care_site_id", _intensive_sites(root, units)),
    )
    rows = reading.scan(path, schema, optional=(*optional, *times[1::2]))
    rows = rows.select(
        pl.col("visit_detail_id").alias("move_id"),
        pl.col("visit_occurrence_id").alias("visit_id"),
        pl.coalesce(times[1], times[0]).alias("start"),
        pl.coalesce(times[3], when.end_of_day(pl.col(times[2]))).alias("end"),
        unit.alias("unit"),
    )
    owners = visits.select("visit_id", "subject_id")
    rules = {
        "visit_detail rows outside intensive care, left out": pl.col("unit").is_null(),
        "visit_detail rows without an id, visit or start, left out": pl.any_horizontal(
            pl.col("move_id", "visit_id", "start").is_null()
        ),
        "visit_detail rows of visits that take no part or are unknown, left out": pl.col(
            "subject_id"
        ).is_null(),
    }
    fault = pl.coalesce(pl.when(holds).then(pl.lit(rule)) for rule, holds in rules.items())

    def judge(batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        held = batch.join(owners, on="visit_id", how="left", maintain_order="left")
        held = held.with_columns(fault=fault)
        counts = dict(held["fault"].drop_nulls().value_counts().rows())
        return held.filter(pl.col("fault").is_null()), counts

    schema = dict(rows.collect_schema()) | {"subject_id": pl.Int64}
    kept = tally.streamed(rows, schema, judge, oddities, "visit_detail")
    return encounters.join_moves(kept.collect(engine="streaming"))


def _is_intensive(concept: int, name: str | None) -> bool:
    return concept in vocabulary.INTENSIVE or bool(name and re.search(encounters.INTENSIVE, name))


def _intensive_sites(root, units: dict[int, str]) -> dict[int, str]:
    """Returns the names of the care sites that are intensive care, by their ids."""
    path = reading.find_table(root, "care_site", required=False)
    if path is None:
        return {}
    schema = {"care_site_id": pl.Int64, "care_site_name": pl.String}
    optional = {"place_of_service_concept_id": pl.Int64}
    raw = reading.read(path, schema | optional, optional=(*optional, "care_site_name"))
    place = vocabulary.name_of("place_of_service_concept_id", units)
    named = pl.col("care_site_name").str.contains(encounters.INTENSIVE)
    unit = pl.coalesce(pl.when(named).then("care_site_name"), place)
    return dict(raw.select("care_site_id", unit).drop_nulls().rows())


def collect(root: str | pathlib.Path, visits: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns what the coded tables hold of the visits that take part, each thing once.

    Columns kind, visit_id, concept, source_concept, source_value, time (null where the visit's end
    tells it) and n, the number of rows. A row is known at its time where its type is one of
    `vocabulary.CHARTED` and it is not a condition or procedure stamped with the visit's start,
    the start's day alone or an earlier time, which is how bills are dated; else at the visit's end.
    None is known later. Rows dated far outside their visit are left out.
    """
    found = []
    for table in _CODED:
        path = reading.find_table(root, table.stem, required=table.kind == "diagnosis")
        if path is None:
            oddities[f"{table.stem} is missing: no {table.kind} codes"] = 1
            continue
        found.append(_distinct(path, table, visits, oddities))
    return pl.concat(found)


def _distinct(path: pathlib.Path, table: _Table, visits: pl.DataFrame, oddities) -> pl.DataFrame:
    concept, source = f"{table.prefix}_concept_id", f"{table.prefix}_source_concept_id"
    value, form = f"{table.prefix}_source_value", f"{table.prefix}_type_concept_id"
    clock = table.time.replace("date", "datetime")
    schema = dict.fromkeys(("visit_occurrence_id", concept, form, source), pl.Int64)
    schema |= {table.time: tables.TIME, clock: tables.TIME, value: pl.String}
    rows = reading.scan(path, schema, optional=(source, value, clock))
    reading.check_widths(path)
    stated = pl.coalesce(clock, table.time)
    time, day_only = when.known(pl.col(clock), pl.col(table.time))
    first = pl.when(day_only).then(stated.dt.truncate("1d")).otherwise(stated)
    charted = pl.col(form).is_in(vocabulary.CHARTED)
    if table.kind != "drug":
        charted &= ~when.sums_up(first, pl.col("start"))
    late = charted & (time > pl.col("end"))
    before = when.ONSET_DAYS if table.kind == "diagnosis" else when.EVENT_DAYS
    ids = {"concept": concept, "source_concept": source}
    key = ("visit_id", *ids, "source_value")
    state = (
        pl.when(pl.col("visit_id").is_null())
        .then(pl.lit("no visit"))
        .when(pl.col("part").is_null())
        .then(pl.lit("unknown"))
        .when(~pl.col("part"))
        .then(pl.lit("no part"))
        .when(pl.all_horizontal(pl.col(*key[1:]).is_null()))
        .then(pl.lit("no code"))
        .when(when.is_far(stated, pl.col("start"), pl.col("end"), before))
        .then(pl.lit("far"))
        .otherwise(pl.lit("kept"))
    )
    groups = (
        rows.rename({"visit_occurrence_id": "visit_id"})
        .join(visits.lazy().select("visit_id", "part", "start", "end"), on="visit_id", how="left")
        .with_columns(
            *(_not_zero(column).alias(name) for name, column in ids.items()),
            pl.col(value).str.strip_chars().alias("source_value"),
        )
        .with_columns(
            state=state,
            time=pl.when(charted).then(pl.min_horizontal(time, "end")),
            late=late,
        )
        .with_columns(pl.when(pl.col("state") == "kept").then(name).alias(name) for name in key)
        .group_by("state", *key)
        .agg(pl.col("time").min(), pl.len().alias("n"), pl.col("late").sum())
        .collect(engine="streaming")
    )
    counts = dict(groups.group_by("state").agg(pl.col("n").sum()).rows())
    oddities.begin(table.stem, sum(counts.values()))
    for name, rule in _OF_VISIT.items():
        oddities.leave_out(table.stem, f"{table.stem} {rule}", counts.get(name, 0))
    unknown = counts.get("unknown", 0)
    matched = sum(counts.values()) - unknown - counts.get("no visit", 0)
    if visits.height:
        tally.require_match(table.stem, matched, unknown)
    kept = groups.filter(pl.col("state") == "kept")
    oddities[f"{table.stem} rows after the visit's end, taken as known there"] = kept["late"].sum()
    return kept.select(pl.lit(table.kind).alias("kind"), *key, "time", pl.col("n").cast(pl.Int64))


def codes(
    found: pl.DataFrame, concepts: vocabulary.Concepts, titles: icd9.Titles, oddities: dict
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns `tables.CODES` and `tables.CODE_NAMES` of what `collect` found.

    A row's code is that of its source concept where the vocabulary has it in an edition of ICD,
    else that of its concept ("SNOMED:38341003"); "OMOP:<concept_id>" where the vocabulary does not
    have the concept; without a concept that of the source concept, else "SOURCE:<source value>".
    Where no vocabulary names the concept and the source value is an ICD code, that is the code
    (`source_values`), and `titles` name it.
    """
    known_to = concepts.table.select("concept_id", "code", "name", "icd")
    rows = found.join(known_to, left_on="concept", right_on="concept_id", how="left").join(
        known_to, left_on="source_concept", right_on="concept_id", how="left", suffix="_source"
    )
    by_source = pl.col("icd_source").fill_null(False) | (
        pl.col("concept").is_null() & pl.col("code_source").is_not_null()
    )
    rows = rows.with_columns(
        code=pl.when(by_source).then("code_source").otherwise("code"),
        name=pl.when(by_source).then("name_source").otherwise("name"),
    )
    rows = _with_source_codes(rows, titles, oddities)
    as_id = "OMOP:" + pl.col("concept").cast(pl.String)
    source_id = "OMOP:" + pl.col("source_concept").cast(pl.String)
    rows = rows.select(
        "kind",
        "visit_id",
        "time",
        "n",
        pl.coalesce("code", as_id, "SOURCE:" + pl.col("source_value"), source_id).alias("code"),
        "name",
        pl.coalesce("name_source", "source_value").alias("said"),
    )
    for table in _CODED:
        of = rows.filter(kind=table.kind)
        for prefix, rule in (
            ("OMOP:", "concepts that no vocabulary table names, kept as their id"),
            ("SOURCE:", "rows without a concept, kept as their source value"),
        ):
            of_prefix = of.filter(pl.col("code").str.starts_with(prefix))
            n = of_prefix["code"].n_unique() if prefix == "OMOP:" else of_prefix["n"].sum()
            oddities[f"{table.stem} {rule}"] = n
        oddities[f"{table.stem} rows repeating a code of the visit, the earliest kept"] = (
            of["n"].sum() - of.select("visit_id", "code").n_unique()
        )
    return encounters.codes(rows, oddities)


def _with_source_codes(rows: pl.DataFrame, titles: icd9.Titles, oddities: dict) -> pl.DataFrame:
    """Returns `rows` with a code by their source value where a vocabulary gives none."""
    parts = [rows.filter(pl.col("kind") == "drug")]
    for table in _CODED:
        if table.kind != "drug":
            of = rows.filter(kind=table.kind)
            coded = source_values.coded(of, table.kind, table.stem, oddities)
            names = {code: icd9.code_name(code, titles) for code in coded.drop_nulls().unique()}
            name = coded.replace_strict(names, default=None, return_dtype=pl.String)
            parts.append(
                of.with_columns(
                    code=pl.coalesce("code", coded.alias("by_value")),
                    name=pl.coalesce("name", name.alias("by_value")),
                )
            )
    return pl.concat(parts)


def measurements(
    root: str | pathlib.Path,
    visits: pl.DataFrame,
    moves: pl.DataFrame,
    concepts: vocabulary.Concepts,
    oddities: dict[str, int],
) -> pl.LazyFrame:
    """Returns the numeric rows of MEASUREMENT as `tables.MEASUREMENTS`, none without the table.

    `variable` is the concept's code ("LOINC:2951-2", or "OMOP:<concept_id>" without a vocabulary),
    or "SOURCE:<source value>" for a row without a concept. `unit` is as the source writes it. A row
    with a date alone has the end of that day for its time. Rows far outside their visit are left
    out, and counted when the frame is collected.
    """
    path = reading.find_table(root, "measurement", required=False)
    if path is None:
        return tables.empty(tables.MEASUREMENTS).lazy()
    ids = dict.fromkeys(("visit_occurrence_id", "measurement_concept_id"), pl.Int64)
    optional = dict.fromkeys(("visit_detail_id", "unit_concept_id"), pl.Int64)
    optional |= dict.fromkeys(("unit_source_value", "measurement_source_value"), pl.String)
    optional["measurement_datetime"] = tables.TIME
    values = {"measurement_date": tables.TIME, "value_as_number": pl.Float64}
    worded = ("value_as_number",)
    rows = reading.scan(path, ids | values | optional, optional=optional, worded=worded)
    time, _ = when.known(pl.col("measurement_datetime"), pl.col("measurement_date"))
    concept = _not_zero("measurement_concept_id")
    known_to = concepts.table.lazy().select("concept_id", "code", "name")
    source = pl.col("measurement_source_value").str.strip_chars()
    rows = (
        rows.with_columns(concept_id=concept)
        .join(known_to.drop("name"), on="concept_id", how="left")
        .join(
            known_to.select(pl.col("concept_id").alias("unit_concept_id"), "name"),
            on="unit_concept_id",
            how="left",
        )
        .join(
            moves.lazy().select(pl.col("move_id").alias("visit_detail_id"), "stay_id"),
            on="visit_detail_id",
            how="left",
        )
        .select(
            pl.col("visit_occurrence_id").alias("visit_id"),
            "stay_id",
            time.alias("time"),
            pl.coalesce(
                "code", "OMOP:" + pl.col("concept_id").cast(pl.String), "SOURCE:" + source
            ).alias("variable"),
            pl.col("value_as_number").alias("value"),
            pl.coalesce("unit_source_value", "name").alias("unit"),
        )
    )
    faults = {
        "without a visit": pl.col("visit_id").is_null(),
        "without a number, time or concept": pl.any_horizontal(
            pl.col("variable", "time", "value").is_null()
        ),
    }
    return when.within(rows, tables.MEASUREMENTS, visits, "measurement rows", oddities, faults)


def notes(root: str | pathlib.Path, visits: pl.DataFrame, oddities: dict[str, int]) -> pl.LazyFrame:
    """Returns the rows of NOTE with text as `tables.NOTES`, none where the table is missing.

    A note without a clock time, or with one of exactly midnight, is `date_only`. Notes far outside
    their visit are left out, and counted when the frame is collected.
    """
    path = reading.find_table(root, "note", required=False)
    if path is None:
        return tables.empty(tables.NOTES).lazy()
    schema = {"visit_occurrence_id": pl.Int64, "note_date": tables.TIME, "note_text": pl.String}
    optional = {"note_datetime": tables.TIME}
    optional |= dict.fromkeys(("note_title", "note_source_value"), pl.String)
    time = pl.coalesce("note_datetime", "note_date")
    rows = reading.scan(path, schema | optional, optional=optional).select(
        pl.col("visit_occurrence_id").alias("visit_id"),
        time.alias("time"),
        when.is_midnight(time).alias("date_only"),
        pl.coalesce("note_title", "note_source_value", pl.lit("Note"))
        .str.strip_chars()
        .alias("category"),
        pl.col("note_text").alias("text"),
    )
    faults = {
        "without a visit": pl.col("visit_id").is_null(),
        "without a time or text": pl.any_horizontal(pl.col("time", "text").is_null()),
    }
    return when.within(rows, tables.NOTES, visits, "note rows", oddities, faults)


def _not_zero(column: str) -> pl.Expr:
    # `replace` would hold every row before it looks at the first.
    return pl.when(pl.col(column) != 0).then(pl.col(column))
