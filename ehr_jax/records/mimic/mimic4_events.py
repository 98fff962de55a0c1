"""MIMIC-IV's files: where a table lies, and the large tables, lazily.

Measurements (labevents, chartevents, outputevents) and notes (MIMIC-IV-Note) are read when their
frame is collected, in batches; filter by `variable` first, and collect with `engine="streaming"`.
Each is known from the later of its charttime and storetime on.
"""

import pathlib

import polars as pl

from ehr_jax.records.common import reading, tables, when
from ehr_jax.records.mimic import mimic3_events

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


def measurements(
    root: str | pathlib.Path, visits: pl.DataFrame, oddities: dict[str, int]
) -> pl.LazyFrame:
    """Returns the numeric observations of `visits` as `tables.MEASUREMENTS`.

    `variable` is "LAB:<itemid>" or "CHART:<itemid>", the latter for outputs too
    (`measurement_names` says what they are). Left out: rows without a number, time or hadm_id (a
    quarter of the laboratory rows are of outpatients or of the time before admission), and rows far
    outside their visit, which are counted when the frame is collected. A missing table gives no
    rows.
    """
    found = [
        mimic3_events.numbers(path, stem, prefix, visits, oddities, stay="stay_id", value=value)
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


def notes(root: str | pathlib.Path, visits: pl.DataFrame, oddities: dict[str, int]) -> pl.LazyFrame:
    """Returns the notes of `visits` as `tables.NOTES`; no rows where MIMIC-IV-Note is not there.

    `time` is the later of charttime and storetime. A midnight is taken as a date without a clock
    time: every discharge summary has that for its charttime, the day of discharge, and is known
    when it was stored, often days later. Left out: notes without text, hadm_id or charttime, and,
    counted when the frame is collected, notes far outside their visit.
    """
    found = [
        _notes(path, stem, category, visits, oddities)
        for stem, category in NOTES.items()
        if (path := find_table(root, stem, required=False))
    ]
    return pl.concat(found) if found else tables.empty(tables.NOTES).lazy()


def _notes(
    path: pathlib.Path, stem: str, category: str, visits: pl.DataFrame, oddities: dict[str, int]
) -> pl.LazyFrame:
    mimic3_events.tell_without_storetime(path, stem, oddities)
    times = dict.fromkeys(("charttime", "storetime"), tables.TIME)
    time = pl.max_horizontal("charttime", "storetime")
    rows = reading.scan(
        path, {"hadm_id": pl.Int64, **times, "text": pl.String}, ("storetime",)
    ).select(
        pl.col("hadm_id").alias("visit_id"),
        pl.col("charttime").alias("taken"),
        time.alias("time"),
        when.is_midnight(time).alias("date_only"),
        pl.lit(category).alias("category"),
        "text",
    )
    faults = {
        "without a hadm_id": pl.col("visit_id").is_null(),
        "without a time or text": pl.any_horizontal(pl.col("taken", "text").is_null()),
    }
    return when.within(rows, tables.NOTES, visits, f"{stem} rows", oddities, faults)
