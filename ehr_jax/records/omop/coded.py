"""Codes of the visits of an OMOP data set: what was diagnosed, done and prescribed.

The tables may be large: they are read in batches, and only what is distinct is kept.
"""

import pathlib
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
            *(vocabulary.not_zero(column).alias(name) for name, column in ids.items()),
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
