"""MIMIC-IV's files: where a table lies, and the large tables, lazily.

Measurements (labevents, chartevents, outputevents) and notes (MIMIC-IV-Note) are read when their
frame is collected, in batches; filter by `variable` first, and collect with `engine="streaming"`.
"""

import pathlib

import polars as pl

from ehr_jax.records import mimic3_events, reading, tables

# The folders of the release; 1.x kept admissions and patients in `core`.
MODULES = ("hosp", "core", "icu", "note")
# Table, prefix of its variables, column of its number. Charted and output items share a dictionary.
MEASURED = (
    ("labevents", "LAB:", "valuenum"),
    ("chartevents", "CHART:", "valuenum"),
    ("outputevents", "CHART:", "value"),
)
# A discharge summary tells the whole stay: this category keeps it from outcomes inside the stay.
NOTES = {"discharge": "Discharge summary", "radiology": "Radiology"}


def home(root: str | pathlib.Path) -> pathlib.Path:
    """Returns the folder of the release: `root`, or its parent where `root` is `hosp` or such."""
    folder = pathlib.Path(root).expanduser()
    return folder.parent if folder.name.lower() in MODULES else folder


def find_table(root: str | pathlib.Path, stem: str, required: bool = True) -> pathlib.Path | None:
    """Returns the file of table `stem` in a module's folder or in `root` itself.

    Raises RecordsError as `reading.find_table` does.
    """
    reading.find_table(root, stem, required=False)  # is there a folder?
    held = sorted(path for path in home(root).iterdir() if path.is_dir())
    modules = [path for name in MODULES for path in held if path.name.lower() == name]
    for folder in (*modules, home(root)):
        if path := reading.find_table(folder, stem, required=False):
            return path
    return reading.find_table(modules[0] if modules else root, stem, required)


def measurements(root: str | pathlib.Path, visits: pl.DataFrame) -> pl.LazyFrame:
    """Returns the numeric observations of `visits` as `tables.MEASUREMENTS`.

    `variable` is "LAB:<itemid>" or "CHART:<itemid>", the latter for outputs too
    (`measurement_names` says what they are). Left out: rows without a number, time or hadm_id (a
    quarter of the laboratory rows are of outpatients or of the time before admission). A missing
    table gives no rows.
    """
    found = [
        mimic3_events.numbers(path, prefix, visits, stay="stay_id", value=value)
        for stem, prefix, value in MEASURED
        if (path := find_table(root, stem, required=False))
    ]
    return pl.concat(found) if found else tables.empty(tables.MEASUREMENTS).lazy()


def measurement_names(root: str | pathlib.Path) -> pl.DataFrame:
    """Returns the columns `variable`, `name` and `unit` (null where unsaid) of what is measured."""
    return mimic3_events.names_of(
        {
            "LAB:": find_table(root, "d_labitems", required=False),
            "CHART:": find_table(root, "d_items", required=False),
        }
    )


def notes(root: str | pathlib.Path, visits: pl.DataFrame) -> pl.LazyFrame:
    """Returns the notes of `visits` as `tables.NOTES`; no rows where MIMIC-IV-Note is not there.

    `time` is charttime. A midnight is taken as a date without a clock time: so every discharge
    summary has it, the day of discharge. Left out: notes without text, hadm_id or charttime.
    """
    found = [
        _notes(path, category, visits)
        for stem, category in NOTES.items()
        if (path := find_table(root, stem, required=False))
    ]
    return pl.concat(found) if found else tables.empty(tables.NOTES).lazy()


def _notes(path: pathlib.Path, category: str, visits: pl.DataFrame) -> pl.LazyFrame:
    time = pl.col("charttime")
    columns = {"hadm_id": pl.Int64, "charttime": tables.TIME, "text": pl.String}
    return (
        reading.scan(path, columns)
        .drop_nulls(["hadm_id", "charttime", "text"])
        .select(
            pl.col("hadm_id").alias("visit_id"),
            time.alias("time"),
            (time == time.dt.truncate("1d")).alias("date_only"),
            pl.lit(category).alias("category"),
            "text",
        )
        .join(visits.lazy().select("visit_id"), on="visit_id", how="semi")
    )
