"""The files of PhysioNet 2012: which sets a folder holds, and their rows in one form.

A set is the official folder of one text file a stay, that folder as .tar.gz or .zip, or all stays
in one table with a leading RecordID column. Whatever it is, `batches` gives the same rows.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import archives, reading

LETTERS = "abc"

# What `batches` yields. `time` is minutes since the start of intensive care.
ROWS = {
    "record_id": pl.Int64,
    "minutes": pl.Int64,
    "parameter": pl.String,
    "value": pl.Float64,
}

_HEADER = b"time,parameter,value"
_STAYS_A_BATCH = 256


class Set(NamedTuple):
    letter: str  # one of LETTERS
    path: pathlib.Path  # a folder, an archive or a table
    outcomes: pathlib.Path | None  # None where no set of the folder has any


def find_sets(root: str | pathlib.Path) -> list[Set]:
    """Returns the sets of the folder `root`, by letter; of several forms of a set the first.

    Raises RecordsError for no set at all, and for a set without its outcomes beside one with them.
    """
    tables_found = {letter: reading.find_table(root, f"set-{letter}", False) for letter in LETTERS}
    folder = pathlib.Path(root).expanduser()
    held = {path.name.lower(): path for path in sorted(folder.iterdir())}
    sets = []
    for letter, table in tables_found.items():
        forms = [held.get(f"set-{letter}{suffix}") for suffix in ("", *archives.SUFFIXES)]
        forms = [form for form in (forms[0], table, *forms[1:]) if form is not None]
        if not forms:
            continue
        outcomes = held.get(f"outcomes-{letter}.txt") or held.get(f"outcomes-{letter}.csv")
        sets.append(Set(letter, forms[0], outcomes))
    for found in sets:
        if found.outcomes is None and any(other.outcomes for other in sets):
            raise errors.RecordsError(
                f"{folder}: '{found.path.name}' is there and 'Outcomes-{found.letter}.txt' is not, "
                "while another set has its outcomes; put it beside the set, or each kind of set "
                "into a folder of its own"
            )
    if not sets:
        raise errors.RecordsError(
            f"{folder}: no set of PhysioNet 2012. Expected the folder 'set-a', 'set-a.tar.gz', "
            "'set-a.zip' or 'set-a.csv.gz' (or of b or c) with 'Outcomes-a.txt' beside it; give "
            "the folder that holds them"
        )
    return sets


def batches(found: Set) -> Iterator[pl.DataFrame]:
    """Yields the rows of a set as ROWS, in the set's order; a blank field is null.

    Raises RecordsError for a damaged file and for the first field that does not parse, named by
    the number of its row (and of its file, in order of name or as the archive has them).
    """
    name = found.path.name
    if found.path.is_dir() or name.lower().endswith(archives.SUFFIXES):
        for raw in _of_stays(found.path):
            yield _typed(name, raw)
        return
    columns = dict.fromkeys(("recordid", "time", "parameter", "value"), pl.String)
    row = 0
    for raw in reading.scan(found.path, columns).collect_batches(maintain_order=True):
        numbered = raw.rename({"recordid": "record_id"}).with_columns(
            pl.int_range(row + 1, row + raw.height + 1, dtype=pl.Int64).alias("row"),
            pl.lit(None, pl.Int64).alias("file"),
        )
        row += raw.height
        yield _typed(name, numbered)


def _of_stays(path: pathlib.Path) -> Iterator[pl.DataFrame]:
    """Yields the rows of one text file a stay, as text, many stays at a time."""
    stays: list[tuple[int, str, str]] = []
    for position, (name, content) in enumerate(archives.files(path, r"\d+\.txt"), 1):
        header, _, body = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
        if header.strip().lower() != _HEADER:
            raise errors.RecordsError(
                f"{path.name}: file {position} does not begin with the header "
                "'Time,Parameter,Value'; is it a file of a stay?"
            )
        try:
            stays.append((position, name.removesuffix(".txt"), body.decode()))
        except UnicodeDecodeError:
            raise errors.RecordsError(
                f"{path.name}: file {position} is not UTF-8 text; fetch it again"
            ) from None
        if len(stays) == _STAYS_A_BATCH:
            yield _lines(path, stays)
            stays = []
    if stays:
        yield _lines(path, stays)


def _lines(path: pathlib.Path, stays: list[tuple[int, str, str]]) -> pl.DataFrame:
    schema = {"file": pl.Int64, "record_id": pl.String, "line": pl.String}
    lines = (
        pl.DataFrame(stays, schema=schema, orient="row")
        .with_columns(pl.col("line").str.strip_chars_end("\r\n").str.split("\n"))
        .with_columns(pl.int_ranges(1, pl.col("line").list.len() + 1).alias("row"))
        .explode("line", "row")
        .with_columns(pl.col("line").str.strip_chars_end("\r"))
        .filter(pl.col("line") != "")
    )
    odd = lines.filter(pl.col("line").str.count_matches(",", literal=True) != 2)
    if not odd.is_empty():
        where = _where(path.name, odd, 0)
        fields = odd["line"][0].count(",") + 1
        raise errors.RecordsError(
            f"{where} has {fields} field(s), expected Time, Parameter and Value; was the file cut "
            "short? Fetch it again"
        )
    parts = pl.col("line").str.splitn(",", 3).struct.rename_fields(["time", "parameter", "value"])
    return lines.with_columns(parts).unnest("line")


def _typed(name: str, raw: pl.DataFrame) -> pl.DataFrame:
    raw = raw.with_columns(
        pl.col("record_id", "time", "parameter", "value").str.strip_chars().replace("", None)
    )
    time = pl.col("time")
    hours = time.str.head(-3).cast(pl.Int64, strict=False)
    minutes = time.str.tail(2).cast(pl.Int64, strict=False)
    clock = (time.str.slice(-3, 1) == ":") & hours.is_between(0, 999) & minutes.is_between(0, 59)
    number = pl.col("value").cast(pl.Float64, strict=False)
    typed = raw.select(
        "file",
        "row",
        pl.col("record_id").cast(pl.Int64, strict=False),
        pl.when(clock).then(hours * 60 + minutes).alias("minutes"),
        "parameter",
        # Written "nan" or "inf" there is no value.
        pl.when(number.is_finite()).then(number).alias("value"),
    )
    _check(name, raw, "record_id", typed["record_id"].is_null(), "a whole number")
    _check(name, raw, "time", typed["minutes"].is_null(), "hours and minutes as HH:MM")
    unread = raw.select(pl.col("value").is_not_null() & number.is_null()).to_series()
    _check(name, raw, "value", unread, "a number")
    return typed.select(*ROWS)


_COLUMNS = {"record_id": "RecordID", "time": "Time", "value": "Value"}


def _check(name: str, raw: pl.DataFrame, column: str, bad: pl.Series, expected: str) -> None:
    if bad.any():
        at = bad.arg_true()[0]
        found = raw[column][at] or ""
        # Only what looks like a clock time or a number is repeated, and no identifier.
        plain = re.fullmatch(r"[-+0-9.:]{1,16}", found) and not re.search(r"\d{5}", found)
        plain = plain and column != "record_id"
        found = f"'{found}'" if plain else f"a text of {len(found)} character(s)"
        raise errors.RecordsError(
            f"{_where(name, raw, at)}, column '{_COLUMNS[column]}': {found} is not {expected}"
        )


def _where(name: str, raw: pl.DataFrame, at: int) -> str:
    file, row = raw["file"][at], raw["row"][at]
    # A stay's file is called by its patient, so it is told by its place instead.
    return f"{name}: " + (f"file {file}, " if file else "") + f"row {row} (the header not counted)"
