"""Reads back, exactly, a MEDS data set that `writer.write` made of Records.

Every row of the canonical tables is an event whose `ehr_jax_table` names the table; the further
columns hold what the schema's own five do not.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tables, tally
from ehr_jax.records.meds import files

ABOUT = "ehr_jax.json"  # in metadata/: marks a data set in this layout
LAYOUT = 2

COLUMNS = files.EVENTS | {
    "visit_id": pl.Int64,
    "stay_id": pl.Int64,
    "unit": pl.String,  # of a measurement
    "ehr_jax_table": pl.String,
    "ehr_jax_time": tables.TIME,  # the canonical time; null where the Records have none
    "ehr_jax_name": pl.String,  # sex, disposition, unit, attribute, variable or category
    "ehr_jax_value": pl.Float64,  # a number that float32 cannot hold
    "ehr_jax_position": pl.Int32,  # of a code, or the order of a visit
    "ehr_jax_flag": pl.Boolean,  # a note's date_only, a visit's readmitted_30d
}

# The parts of HOSPITAL_ADMISSION//planned//transferred//emergency.
PLANNED = {True: "ELECTIVE", False: "UNPLANNED", None: "UNKNOWN"}
TRANSFERRED = {True: "TRANSFER FROM HOSPITAL", False: "OTHER", None: "UNKNOWN"}
EMERGENCY = {True: "EMERGENCY DEPARTMENT", False: "HOSPITAL", None: "UNKNOWN"}
ADMISSION = {"planned": PLANNED, "transferred_in": TRANSFERRED, "emergency": EMERGENCY}

_EAGER = ("patients", "births", "deaths", "visits", "ends", "stays", "stay ends", "codes")
_EAGER += ("attributes",)
_LAZY = ("measurements", "notes")
_CODES = files.CODES | {"ehr_jax_code": pl.String, "ehr_jax_kind": pl.String}


def read(
    root: str | pathlib.Path, shards: list[pathlib.Path], about: dict[str, Any]
) -> tables.Records:
    """Returns the Records that were written; `about` is the content of metadata/ehr_jax.json.

    Raises RecordsError for another layout, a column that was dropped, or tables that do not fit.
    """
    if about.get("layout") != LAYOUT:
        raise errors.RecordsError(
            f"metadata/{ABOUT}: the 'layout' is not {LAYOUT}, which alone this version reads; "
            "remove the file to read the data set by the conventions of others"
        )
    _check_about(about)
    for path in shards:
        if lacking := [n for n in COLUMNS if n not in files.columns_of(root, path)]:
            raise errors.RecordsError(
                f"{path.name}: column '{lacking[0]}' is missing, which metadata/{ABOUT} promises; "
                "remove that file to read the data set by the conventions of others"
            )
    events = files.scan(root, shards, COLUMNS)
    oddities = _accounted(events, about["oddities"])
    small = events.filter(pl.col("ehr_jax_table").is_in(_EAGER)).collect(engine="streaming")
    of = {table: small.filter(ehr_jax_table=table) for table in _EAGER}
    names = files.codes(root, _CODES).drop_nulls("ehr_jax_code")
    return tables.check(
        tables.Records(
            source=about["source"],
            patients=_patients(of["patients"], of["births"], of["deaths"]),
            visits=_visits(of["visits"], of["ends"]),
            stays=_stays(of["stays"], of["stay ends"]),
            codes=_codes(of["codes"], names),
            code_names=_select(
                names, tables.CODE_NAMES, code="ehr_jax_code", kind="ehr_jax_kind",
                name="description",
            ),
            attributes=_select(
                of["attributes"], tables.ATTRIBUTES, name="ehr_jax_name", text="text_value",
                number=_NUMBER, time="ehr_jax_time",
            ),
            measurements=_select(
                events.filter(pl.col("ehr_jax_table") == "measurements"), tables.MEASUREMENTS,
                time="ehr_jax_time", variable="ehr_jax_name", value=_NUMBER,
            ),
            notes=_select(
                events.filter(pl.col("ehr_jax_table") == "notes"), tables.NOTES,
                time="ehr_jax_time", date_only="ehr_jax_flag", category="ehr_jax_name",
                text="text_value",
            ),
            terms=about["terms"],
            oddities=tally.standing(oddities),
            accounts=oddities.tables,
            given_split=files.splits(root, {}),
            dated=about["dated"],
        )
    )  # fmt: skip


def _accounted(events: pl.LazyFrame, oddities: Mapping[str, int]) -> tally.Ledger:
    """The oddities that were written, and an account of the events: those of no table are lost."""
    ledger = tally.Ledger()
    ledger.update(oddities)
    of_table = pl.col("ehr_jax_table").is_in([*_EAGER, *_LAZY]).fill_null(False)
    counted = events.select(read=pl.len(), kept=of_table.sum()).collect(engine="streaming")
    read, kept = counted.row(0)
    ledger.begin("events", read)
    ledger.leave_out(
        "events", f"events of no table that metadata/{ABOUT} knows, left out", read - kept
    )
    return ledger


def _check_about(about: dict[str, Any]) -> None:
    counts = about.get("oddities")
    sound = {
        "source": re.fullmatch(r"\w{1,40}", _text(about.get("source"))),
        "terms": _text(about.get("terms")),
        "dated": isinstance(about.get("dated"), bool),
        "oddities": isinstance(counts, dict) and all(type(n) is int for n in counts.values()),
    }
    for key, holds in sound.items():
        if not holds:
            raise errors.RecordsError(
                f"metadata/{ABOUT}: '{key}' is missing or not what was written; remove the file to "
                "read the data set by the conventions of others"
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_NUMBER = pl.coalesce("ehr_jax_value", pl.col("numeric_value").cast(pl.Float64))


def _select(frame, schema, **columns):
    """Returns `frame` in `schema`; `columns` says which of its are called otherwise."""
    return tables.conform(frame.with_columns(**columns), schema)


def _patients(people, births, deaths) -> pl.DataFrame:
    found = people.select("subject_id", sex="ehr_jax_name")
    found = found.join(births.select("subject_id", birth_time="time"), on="subject_id", how="left")
    found = found.join(deaths.select("subject_id", death_time="time"), on="subject_id", how="left")
    return tables.conform(found.sort("subject_id"), tables.PATIENTS)


def _visits(admissions: pl.DataFrame, discharges: pl.DataFrame) -> pl.DataFrame:
    ended = discharges.select(
        "visit_id", end="ehr_jax_time", place="ehr_jax_name", back="ehr_jax_flag"
    )
    parts = pl.col("code").str.split("//").list
    flags = {}
    for place, (name, words) in enumerate(ADMISSION.items(), 1):
        flag = {word: value for value, word in words.items()}
        said = admissions.select(parts.get(place, null_on_oob=True)).to_series()
        if odd := (~said.is_in(list(flag)).fill_null(False)).sum():
            raise errors.RecordsError(
                f"data: {odd} admission(s) have another code than HOSPITAL_ADMISSION//planned//"
                f"transferred//emergency, which metadata/{ABOUT} promises; remove that file to "
                "read the data set by the conventions of others"
            )
        flags[name] = parts.get(place).replace_strict(flag, return_dtype=pl.Boolean)
    return _select(
        admissions.join(ended, on="visit_id", how="left").sort("subject_id", "ehr_jax_position"),
        tables.VISITS,
        order="ehr_jax_position",
        start="ehr_jax_time",
        age="numeric_value",
        disposition=pl.coalesce("place", "ehr_jax_name"),
        **flags,
        readmitted_30d=pl.coalesce("back", "ehr_jax_flag"),
    )


def _stays(began: pl.DataFrame, ended: pl.DataFrame) -> pl.DataFrame:
    ends = ended.select("stay_id", end="ehr_jax_time")
    joined = began.join(ends, on="stay_id", how="left", maintain_order="left").drop("unit")
    return tables.sorted_stays(joined.with_columns(start="ehr_jax_time", unit="ehr_jax_name"))


def _codes(events: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    joined = events.join(names, on="code", how="left", maintain_order="left")
    if lost := joined["ehr_jax_code"].null_count():
        raise errors.RecordsError(
            f"metadata/codes.parquet: {lost} event(s) have a code without 'ehr_jax_code'; the file "
            "is not the one that was written with the shards"
        )
    columns = {"time": "ehr_jax_time", "code": "ehr_jax_code", "position": "ehr_jax_position"}
    return _select(joined, tables.CODES, **columns)
