"""The values of a table: from what a file holds to text, whole numbers, numbers and clock times.

What does not parse is told by file, row and column, and repeated only where it can be nothing of a
patient. No value becomes another one: what a type cannot hold exactly is refused.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tables

ROW = "__row__"  # the column of a row's number in its file, from 0


class Marks(NamedTuple):
    """Texts that stand for no value."""

    missing: tuple[str, ...] = ()  # in any column, whatever the blanks around them
    worded: frozenset[str] = frozenset()  # columns in which a text that is no number is NaN


_NONE = Marks()


def typed(
    path: pathlib.Path,
    raw: pl.DataFrame,
    wanted: Mapping[str, pl.DataType],
    marks: Marks = _NONE,
) -> pl.DataFrame:
    """Returns the `wanted` columns (name to dtype) of rows as a file has them, numbered by ROW;
    null throughout where a column is absent.

    Raises RecordsError for the first value that does not parse.
    """
    columns = []
    for name, dtype in wanted.items():
        if name in raw.columns:
            found = _without(raw[name], marks.missing)
            lenient = name in marks.worded and found.dtype == pl.String
            parsed = _numbers(found) if lenient else _parsed(path, raw[ROW], found, dtype)
            columns.append(parsed)
        else:
            columns.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, raw.height))
    return pl.DataFrame(columns, height=raw.height)


def tidy(text: pl.Expr) -> pl.Expr:
    """Returns words of a source as they are compared: in small letters, without blanks around."""
    return text.str.strip_chars().str.to_lowercase()


def _parsed(path: pathlib.Path, rows: pl.Series, found: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Returns column `found` as `dtype`, or raises RecordsError for the first value that is not.

    A parquet file brings types of its own, which are taken as they are where that loses nothing.
    """
    name = found.name
    try:
        return _converted(path, rows, found, dtype)
    except pl.exceptions.PolarsError:
        raise errors.RecordsError(
            f"{path.name}: column '{name}' is of type {found.dtype}, which cannot be read as "
            f"{_EXPECTED.get(dtype, 'text')}; write it again as {_EXPECTED.get(dtype, 'text')}"
        ) from None


def _converted(path, rows: pl.Series, found: pl.Series, dtype: pl.DataType) -> pl.Series:
    name = found.name
    if dtype == tables.TIME and found.dtype in (pl.Date, pl.Datetime):
        return _clock_times(path, found)
    if dtype == pl.Int64 and found.dtype.is_integer():
        whole = found.cast(dtype, strict=False)
        _check_parsed(path, rows, found.cast(pl.String), whole, dtype)
        return whole
    if dtype == pl.Int64 and found.dtype.is_float():
        _check_exact(path, rows, found)
    if dtype == pl.Float64 and found.dtype == pl.Duration:
        return found.dt.total_microseconds() / 3.6e9
    if dtype == pl.Float64 and found.dtype.is_numeric():
        return _finite(found.cast(dtype))
    if found.dtype == pl.String and dtype in _PLAIN:
        parsed = found.to_frame().select(_PLAIN[dtype](pl.col(name))).to_series()
        if parsed.null_count() == found.null_count():
            return _finite(parsed) if dtype == pl.Float64 else parsed
    text = found.cast(pl.String)
    trimmed = text.str.strip_chars()
    blank = trimmed == ""
    if dtype == pl.String:
        return text.set(blank, None)
    text = trimmed.set(blank, None)
    parsed = text.to_frame().select(_PARSERS[dtype](pl.col(name))).to_series()
    _check_parsed(path, rows, text, parsed, dtype)
    return _finite(parsed) if dtype == pl.Float64 else parsed


def _check_parsed(path, rows: pl.Series, text: pl.Series, parsed: pl.Series, dtype) -> None:
    """Raises RecordsError for the first text that became no value."""
    if parsed.null_count() <= text.null_count():
        return
    name, at = text.name, (text.is_not_null() & parsed.is_null()).arg_true()[0]
    shown, reason = _shown(name, text[at]), f"is not {_EXPECTED[dtype]}"
    if dtype == pl.Int64 and re.fullmatch(r"[-+]?\d+(\.0+)?", text[at]):
        reason = "is beyond the whole numbers of 64 bits with a sign, which identifiers are here"
    raise errors.RecordsError(
        f"{path.name}: row {rows[at] + 1} (the header not counted), column '{name}': "
        f"{shown} {reason}" + ("; number them anew in every table" * name.endswith("_id"))
    )


def _check_exact(path, rows: pl.Series, numbers: pl.Series) -> None:
    """Raises RecordsError for a whole number that floats of its type cannot tell from the next."""
    most = 2.0**24 if numbers.dtype == pl.Float32 else 2.0**53
    inexact = (numbers.abs() > most).fill_null(False) & numbers.is_finite().fill_null(False)
    if inexact.any():
        at = inexact.arg_true()[0]
        raise errors.RecordsError(
            f"{path.name}: row {rows[at] + 1} (the header not counted), column '{numbers.name}' is "
            f"of type {numbers.dtype} and holds a number beyond {most:.0f}, of which the last "
            "digits are lost; write the column as whole numbers from its source"
        )


def _clock_times(path: pathlib.Path, found: pl.Series) -> pl.Series:
    """Returns dates and times of a parquet file as clock times; UTC is a clock like any other.

    Raises RecordsError for another zone: beside times without one, or of a second zone, its hours
    would mean something else.
    """
    zone = getattr(found.dtype, "time_zone", None)
    if zone not in (None, "UTC", "Etc/UTC", "+00:00"):
        raise errors.RecordsError(
            f"{path.name}: column '{found.name}' holds times of the zone {zone}; times are read as "
            "the hospital's clock. Write it without a zone (polars: dt.replace_time_zone(None)), "
            "and so in every table"
        )
    return found.dt.replace_time_zone(None).cast(tables.TIME) if zone else found.cast(tables.TIME)


def _without(found: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    """Returns a column in which the texts `missing` are null."""
    if not missing or found.dtype != pl.String:
        return found
    return found.set(found.str.strip_chars().is_in(list(missing)).fill_null(False), None)


def _numbers(text: pl.Series) -> pl.Series:
    """Returns numbers, NaN for a text that is none, null for a blank one and for "nan" or "inf"."""
    text = text.str.strip_chars()
    parsed = text.cast(pl.Float64, strict=False)
    wordy = text.is_not_null() & (text != "") & parsed.is_null()
    return _finite(parsed).set(wordy, float("nan"))


def _finite(number: pl.Series) -> pl.Series:
    # "nan" and "inf" are how some exports write that there is no value.
    return number.set(~number.is_finite(), None)


def _whole(text: pl.Expr) -> pl.Expr:
    # "142345.0" is what pandas writes for a whole number in a column with gaps.
    return text.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)


def _time(text: pl.Expr) -> pl.Expr:
    length = text.str.len_bytes()
    rest = pl.when(length == 10).then(pl.lit(" 00:00:00"))
    rest = rest.when(length == 16).then(pl.lit(":00")).otherwise(pl.lit(""))
    full = pl.concat_str(text.str.replace("T", " ", literal=True).str.strip_suffix("Z"), rest)
    return full.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)


# What most files hold throughout; where a value is written otherwise, the parsers take over.
_PLAIN = {
    pl.Int64: lambda text: text.cast(pl.Int64, strict=False),
    pl.Float64: lambda text: text.cast(pl.Float64, strict=False),
    tables.TIME: lambda text: text.str.to_datetime(
        "%Y-%m-%d %H:%M:%S", time_unit="us", strict=False
    ),
}
_PARSERS = {
    pl.Int64: _whole,
    pl.Float64: lambda text: text.cast(pl.Float64, strict=False),
    tables.TIME: _time,
}
_EXPECTED = {
    pl.Int64: "a whole number",
    pl.Float64: "a number",
    tables.TIME: "a date or time (YYYY-MM-DD or YYYY-MM-DD HH:MM:SS)",
}


def _shown(column: str, value: str) -> str:
    # A cell of a shifted row may hold anything, a name or note text too: only what looks like a
    # date or a number is repeated, and nothing of a column that identifies somebody.
    private = column.endswith(("_id", "_nbr", "stayid"))
    private = private or column in ("dob", "dod", "dod_hosp", "dod_ssn")
    private = private or re.search(r"\d{5}", value)
    if not private and re.fullmatch(r"[-+0-9.:/, TZ]{1,32}", value):
        return f"'{value}'"
    return f"a text of {len(value)} character(s)"
