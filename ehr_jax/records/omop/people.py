"""The persons of an OMOP data set: sex, birth, origin, and when they died."""

import pathlib

import polars as pl

from ehr_jax.records.common import reading, repeats, tables, tally, when
from ehr_jax.records.omop import vocabulary


def read(root: str | pathlib.Path, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns subject_id, sex, birth_time, race_id, race, ethnicity_id, ethnicity, dead,
    death_first and death_time, the first and last moment that the told death may mean."""
    path = reading.find_table(root, "person")
    parts = ("year_of_birth", "month_of_birth", "day_of_birth")
    schema = dict.fromkeys(("person_id", "gender_concept_id", *parts), pl.Int64)
    optional = {"birth_datetime": tables.TIME}
    for name in ("race", "ethnicity"):
        optional |= {f"{name}_concept_id": pl.Int64, f"{name}_source_value": pl.String}
    optional["gender_source_value"] = pl.String
    raw = reading.read(path, schema | optional, optional=(*optional, *parts[1:]))
    oddities.begin("person", raw.height)
    named = pl.col("person_id").is_not_null()
    raw = oddities.sift("person", raw, named, "person rows without a person_id, left out")
    distinct = repeats.once(raw, "person_id", "person", oddities, path.name)
    year, month, day = (
        pl.when(pl.col(name).is_between(low, high)).then(name)
        for name, low, high in zip(parts, (1800, 1, 1), (2300, 12, 31), strict=True)
    )
    first = pl.datetime(year, month.fill_null(7), 1, time_unit="us")
    middle = pl.when(month.is_null()).then(1).otherwise(day.fill_null(15))
    text = pl.col("gender_source_value").str.strip_chars().str.to_uppercase().str.slice(0, 1)
    told = pl.col("gender_concept_id").replace_strict(
        vocabulary.SEXES, default=None, return_dtype=pl.String
    )
    found = distinct.select(
        pl.col("person_id").alias("subject_id"),
        pl.coalesce(told, pl.when(text.is_in(["F", "M"])).then(text)).alias("sex"),
        pl.coalesce("birth_datetime", first + pl.duration(days=middle - 1)).alias("birth_time"),
        *(
            pl.col(f"{name}_concept_id").replace(0, None).alias(f"{name}_id")
            for name in ("race", "ethnicity")
        ),
        *(pl.col(f"{name}_source_value").alias(name) for name in ("race", "ethnicity")),
    )
    return found.join(_deaths(root, oddities), on="subject_id", how="left").with_columns(
        pl.col("dead").fill_null(False)
    )


def _deaths(root, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns subject_id, dead (true), death_first and death_time (of a day alone its last)."""
    path = reading.find_table(root, "death", required=False)
    schema = {"person_id": pl.Int64, "death_date": tables.TIME, "death_datetime": tables.TIME}
    empty = pl.DataFrame(schema=schema)
    raw = reading.read(path, schema, optional=("death_datetime",)) if path else empty
    known, _ = when.known(pl.col("death_datetime"), pl.col("death_date"))
    rows = raw.select(
        pl.col("person_id").alias("subject_id"),
        pl.lit(True).alias("dead"),
        pl.coalesce("death_datetime", "death_date").alias("death_first"),
        known.alias("death_time"),
    )
    oddities.begin("death", rows.height)
    named = pl.col("subject_id").is_not_null()
    rows = oddities.sift("death", rows, named, "death rows without a person_id, left out")
    rows = rows.sort("death_time", nulls_last=True)
    first = pl.col("subject_id").is_first_distinct()
    rule = "death rows repeating a person, the earliest kept, the others left out"
    return oddities.sift("death", rows, first, rule)
