"""MIMIC-III's large tables, lazily: measurements (LABEVENTS, CHARTEVENTS) and notes (NOTEEVENTS).

CHARTEVENTS has 330 million rows in the full release. Nothing is read before the frame is collected,
and then in batches; filter by `variable` first, and collect with `engine="streaming"`.

A value, charted ones too, is known once it is stored: `time` is the later of charttime and
storetime. Nurses confirm what monitors send, and until then no table holds it. LABEVENTS has no
storetime, so that a result there counts as known when its specimen was drawn.
"""

import pathlib
from collections.abc import Mapping

import polars as pl

from ehr_jax.records.common import reading, tables, when

# Of what the charts say in words, what reads as a number: capillary refill, 1 where it is slow.
WORDS = {
    "Normal <3 secs": 0.0,
    "Normal <3 Seconds": 0.0,
    "Brisk": 0.0,
    "Abnormal >3 secs": 1.0,
    "Abnormal >3 Seconds": 1.0,
    "Delayed": 1.0,
}


def measurements(
    root: str | pathlib.Path, visits: pl.DataFrame, oddities: dict[str, int]
) -> pl.LazyFrame:
    """Returns the numeric observations of `visits` as `tables.MEASUREMENTS`.

    `variable` is "LAB:<itemid>" or "CHART:<itemid>" (`measurement_names` says what they are). Left
    out: rows without a number, time or hadm_id (a fifth of the laboratory rows are of outpatients),
    charted values marked as an error, and rows far outside their visit, which are counted when the
    frame is collected. A missing table gives no rows.
    """
    found = [
        numbers(path, stem, prefix, visits, oddities, stay="icustay_id")
        for stem, prefix in (("LABEVENTS", "LAB:"), ("CHARTEVENTS", "CHART:"))
        if (path := reading.find_table(root, stem, required=False))
    ]
    return pl.concat(found) if found else tables.empty(tables.MEASUREMENTS).lazy()


def numbers(
    path: pathlib.Path,
    stem: str,
    prefix: str,
    visits: pl.DataFrame,
    oddities: dict[str, int],
    stay: str,
    value: str = "valuenum",
) -> pl.LazyFrame:
    """Returns the numeric rows of table `stem` of `visits` as `tables.MEASUREMENTS`.

    `stay` and `value` name the columns of the ICU stay, which may be absent, and of the number. A
    charted value without a number counts by `WORDS`.
    """
    ids = dict.fromkeys(("hadm_id", stay, "itemid", "error"), pl.Int64)
    values = dict.fromkeys(("charttime", "storetime"), tables.TIME)
    values |= {value: pl.Float64, "valueuom": pl.String}
    worded = value == "valuenum" and prefix == "CHART:"
    words = {"value": pl.String} if worded else {}
    # LABEVENTS knows neither ICU stays nor errors.
    optional = (stay, "error", "valueuom", "storetime", *words)
    if stem != "LABEVENTS":
        tell_without_storetime(path, stem, oddities)
    made = {"variable": (prefix, "itemid")}
    rows = reading.scan(path, ids | values | words, optional, made, worded=(value,))
    if worded:
        # `replace_strict` would hold every row before it looks at the first.
        told = pl.coalesce(
            pl.when(pl.col("value") == word).then(number) for word, number in WORDS.items()
        )
        rows = rows.with_columns(pl.coalesce(value, told))
    rows = rows.select(
        pl.col("hadm_id").alias("visit_id"),
        pl.col(stay).alias("stay_id"),
        pl.max_horizontal("charttime", "storetime").alias("time"),
        pl.col("charttime").alias("taken"),
        "variable",
        pl.col(value).alias("value"),
        pl.col("valueuom").alias("unit"),
        "error",
    )
    faults = {
        "marked as an error": pl.col("error") == 1,
        "without a hadm_id": pl.col("visit_id").is_null(),
        "without a number, time or item": pl.any_horizontal(
            pl.col("variable", "taken", "value").is_null()
        ),
    }
    return when.within(rows, tables.MEASUREMENTS, visits, f"{stem} rows", oddities, faults)


def tell_without_storetime(path: pathlib.Path, stem: str, oddities: dict[str, int]) -> None:
    """Notes in `oddities` that table `stem` does not say when its rows were stored."""
    if "storetime" not in reading.columns(path):
        oddities[f"{stem} has no storetime: its rows count as known at their charttime"] = 1


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


def notes(root: str | pathlib.Path, visits: pl.DataFrame, oddities: dict[str, int]) -> pl.LazyFrame:
    """Returns the notes of `visits` as `tables.NOTES`; no rows where the table is missing.

    `time` is the later of storetime and charttime, or of chartdate at midnight where there is no
    charttime; `date_only` where that midnight stands: discharge summaries have only the date. Left
    out: notes marked as an error, without text, hadm_id or any date, and, counted when the frame is
    collected, notes far outside their visit.
    """
    path = reading.find_table(root, "NOTEEVENTS", required=False)
    if path is None:
        return tables.empty(tables.NOTES).lazy()
    times = dict.fromkeys(("charttime", "chartdate", "storetime"), tables.TIME)
    columns = {"hadm_id": pl.Int64, "iserror": pl.Int64, "category": pl.String, "text": pl.String}
    tell_without_storetime(path, "NOTEEVENTS", oddities)
    taken = pl.coalesce("charttime", pl.col("chartdate").dt.truncate("1d"))
    stored = (pl.col("storetime") > taken).fill_null(False)
    rows = reading.scan(path, columns | times, optional=("storetime",)).select(
        pl.col("hadm_id").alias("visit_id"),
        taken.alias("taken"),
        pl.when(stored).then("storetime").otherwise(taken).alias("time"),
        (pl.col("charttime").is_null() & ~stored).alias("date_only"),
        pl.col("category").str.strip_chars(),
        "text",
        "iserror",
    )
    faults = {
        "marked as an error": pl.col("iserror") == 1,
        "without a hadm_id": pl.col("visit_id").is_null(),
        "without a time or text": pl.any_horizontal(pl.col("time", "text").is_null()),
    }
    return when.within(rows, tables.NOTES, visits, "NOTEEVENTS rows", oddities, faults)
