"""What happens within the visits of an OMOP data set: ICU stays, measurements and notes.

The tables may be large: measurements and notes are read when their frames are collected. The CDM
does not say when a value or note was stored, so each is known when it was taken or written.
"""

import pathlib
import re

import polars as pl

from ehr_jax.records.common import encounters, reading, tables, tally, when
from ehr_jax.records.omop import vocabulary


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
    moves = kept.collect(engine="streaming")
    rule = "visit_detail rows repeating an id, the first kept, the others left out"
    moves = oddities.sift("visit_detail", moves, pl.col("move_id").is_first_distinct(), rule)
    return encounters.join_moves(moves)


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
    concept = vocabulary.not_zero("measurement_concept_id")
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
