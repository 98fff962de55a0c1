"""MIMIC-III's large tables, lazily: measurements (LABEVENTS, CHARTEVENTS) and notes (NOTEEVENTS).

CHARTEVENTS has 330 million rows in the full release. Nothing is read before the frame is collected,
and then in batches; filter by `variable` first, and collect with `engine="streaming"`.
"""

import pathlib
from collections.abc import Mapping

import polars as pl

from ehr_jax.records import reading, tables

# Of what the charts say in words, what reads as a number: capillary refill, 1 where it is slow.
WORDS = {
    "Normal <3 secs": 0.0,
    "Normal <3 Seconds": 0.0,
    "Brisk": 0.0,
    "Abnormal >3 secs": 1.0,
    "Abnormal >3 Seconds": 1.0,
    "Delayed": 1.0,
}


def measurements(root: str | pathlib.Path, visits: pl.DataFrame) -> pl.LazyFrame:
    """Returns the numeric observations of `visits` as `tables.MEASUREMENTS`.

    `variable` is "LAB:<itemid>" or "CHART:<itemid>" (`measurement_names` says what they are). Left
    out: rows without a number, time or hadm_id (a fifth of the laboratory rows are of outpatients),
    and charted values marked as an error. A missing table gives no rows.
    """
    found = [
        numbers(path, prefix, visits, stay="icustay_id")
        for stem, prefix in (("LABEVENTS", "LAB:"), ("CHARTEVENTS", "CHART:"))
        if (path := reading.find_table(root, stem, required=False))
    ]
    return pl.concat(found) if found else tables.empty(tables.MEASUREMENTS).lazy()


def numbers(
    path: pathlib.Path, prefix: str, visits: pl.DataFrame, stay: str, value: str = "valuenum"
) -> pl.LazyFrame:
    """Returns one table's numeric rows of `visits` as `tables.MEASUREMENTS`.

    `stay` and `value` name the columns of the ICU stay, which may be absent, and of the number. A
    charted value without a number counts by `WORDS`.
    """
    ids = dict.fromkeys(("hadm_id", stay, "itemid", "error"), pl.Int64)
    values = {"charttime": tables.TIME, value: pl.Float64, "valueuom": pl.String}
    worded = value == "valuenum" and prefix == "CHART:"
    words = {"value": pl.String} if worded else {}
    # LABEVENTS knows neither ICU stays nor errors.
    optional = (stay, "error", "valueuom", *words)
    made = {"variable": (prefix, "itemid")}
    rows = reading.scan(path, ids | values | words, optional, made)
    if worded:
        # `replace_strict` would hold every row before it looks at the first.
        told = pl.coalesce(
            pl.when(pl.col("value") == word).then(number) for word, number in WORDS.items()
        )
        rows = rows.with_columns(pl.coalesce(value, told))
    return (
        rows.filter(pl.col("error").is_null() | (pl.col("error") != 1))
        .drop_nulls(["hadm_id", "variable", "charttime", value])
        .select(
            pl.col("hadm_id").alias("visit_id"),
            pl.col(stay).alias("stay_id"),
            pl.col("charttime").alias("time"),
            "variable",
            pl.col(value).alias("value"),
            pl.col("valueuom").alias("unit"),
        )
        # Quicker than a semi-join, and asked while the file is read.
        .filter(pl.col("visit_id").is_in(visits["visit_id"].implode()))
    )


def measurement_names(root: str | pathlib.Path) -> pl.DataFrame:
    """Returns the columns `variable`, `name` and `unit` (null where unsaid) of what is measured."""
    return names_of(
        {
            "LAB:": reading.find_table(root, "D_LABITEMS", required=False),
            "CHART:": reading.find_table(root, "D_ITEMS", required=False),
        }
    )


def names_of(dictionaries: Mapping[str, pathlib.Path | None]) -> pl.DataFrame:
    """Returns `measurement_names` from the dictionary file of each prefix, None where absent."""
    found = [pl.DataFrame(schema=dict.fromkeys(("variable", "name", "unit"), pl.String))]
    for prefix, path in dictionaries.items():
        if path:
            schema = {"itemid": pl.Int64} | dict.fromkeys(("label", "fluid", "unitname"), pl.String)
            raw = reading.read(path, schema, optional=("fluid", "unitname"))
            label = pl.concat_str(
                pl.col("label").str.strip_chars(),
                pl.concat_str(pl.lit(" ("), pl.col("fluid").str.to_lowercase(), pl.lit(")")),
                ignore_nulls=True,
            )
            found.append(
                raw.drop_nulls(["itemid", "label"]).select(
                    (prefix + pl.col("itemid").cast(pl.String)).alias("variable"),
                    label.alias("name"),
                    pl.col("unitname").alias("unit"),
                )
            )
    return pl.concat(found)


def notes(root: str | pathlib.Path, visits: pl.DataFrame) -> pl.LazyFrame:
    """Returns the notes of `visits` as `tables.NOTES`; no rows where the table is missing.

    `time` is charttime, else chartdate at midnight with `date_only` set: discharge summaries have
    only the date. Left out: notes marked as an error, without text, hadm_id or any date.
    """
    path = reading.find_table(root, "NOTEEVENTS", required=False)
    if path is None:
        return tables.empty(tables.NOTES).lazy()
    times = {"charttime": tables.TIME, "chartdate": tables.TIME}
    columns = {"hadm_id": pl.Int64, "iserror": pl.Int64, "category": pl.String, "text": pl.String}
    return (
        reading.scan(path, columns | times)
        .filter(pl.col("iserror").is_null() | (pl.col("iserror") != 1))
        .select(
            pl.col("hadm_id").alias("visit_id"),
            pl.coalesce("charttime", pl.col("chartdate").dt.truncate("1d")).alias("time"),
            pl.col("charttime").is_null().alias("date_only"),
            pl.col("category").str.strip_chars(),
            "text",
        )
        .drop_nulls(["visit_id", "time", "text"])
        .join(visits.lazy().select("visit_id"), on="visit_id", how="semi")
    )
