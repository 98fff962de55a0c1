"""Reading one table of a source: found by name, checked, typed, and lazy where it is large.

`find_table` finds the file, `scan` reads it in batches when the result is asked for (a gzip'd CSV
is decompressed as it is read, so memory stays flat whatever the size), and `read` is `scan` for
tables that fit in memory, with every row's number of fields checked first. All three raise
RecordsError for what a user can mend, also while a lazy frame is being collected.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
from polars.io import plugins

from ehr_jax import errors
from ehr_jax.records import damage, tables

# Where two files hold the same table the first kind wins: it is the quickest to read.
SUFFIXES = (".parquet", ".csv", ".csv.gz")

_ROW = "__row__"


def find_table(root: str | pathlib.Path, stem: str, required: bool = True) -> pathlib.Path | None:
    """Returns the file that holds table `stem` in the folder `root`, whatever its letter case.

    Returns None for a missing table that is not `required`.
    Raises RecordsError for a missing folder or a missing required table.
    """
    folder = pathlib.Path(root).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise errors.RecordsError(f"{folder}: this data folder {what}; check the path")
    held = {path.name.lower(): path for path in sorted(folder.iterdir())}
    for suffix in SUFFIXES:
        if stem.lower() + suffix in held:
            return held[stem.lower() + suffix]
    if not required:
        return None
    stems = {re.sub(r"\.(parquet|csv\.gz|csv)$", "", name): path for name, path in held.items()}
    near = errors.did_you_mean(stem.lower(), stems)
    for name, path in stems.items():
        near = near.replace(f"'{name}'", f"'{path.name}'")
    raise errors.RecordsError(
        f"{folder}: table '{stem}' is missing (.parquet, .csv or .csv.gz, in any letter "
        f"case).{near} The folder holds {_listed([path.name for path in held.values()])}."
    )


def read(
    path: str | pathlib.Path, columns: Mapping[str, pl.DataType], optional: Iterable[str] = ()
) -> pl.DataFrame:
    """Reads a whole table as `scan` does, with every row's number of fields checked first."""
    frame = scan(path, columns, optional)
    if not damage.is_parquet(path):
        damage.check_widths(pathlib.Path(path))
    return frame.collect(engine="streaming")


def scan(
    path: str | pathlib.Path, columns: Mapping[str, pl.DataType], optional: Iterable[str] = ()
) -> pl.LazyFrame:
    """Returns the wanted `columns` (lower-case name to dtype) of a table, read when collected.

    Text is kept as it stands; an empty or blank field is null. Columns of dtype Int64, Float64 and
    `tables.TIME` are parsed; a time may be a date alone (its midnight), a parquet file's length of
    time is a number of hours. An absent `optional` column is null throughout. Rows keep the file's
    order.

    Raises RecordsError at once for an empty or unreadable file and for a missing column; while
    being collected, for a damaged file and for the first value that does not parse.
    """
    path = pathlib.Path(path)
    header = _header(path)
    optional = set(optional)
    for name in columns:
        if name not in header and name not in optional:
            raise errors.RecordsError(
                f"{path.name}: column '{name}' is missing.{errors.did_you_mean(name, header)} "
                f"The file has {_listed(list(header))}. Did the export rename it?"
            )
    if not damage.is_parquet(path):
        damage.check_ending(path, len(header))

    def batches(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        wanted = {n: t for n, t in columns.items() if with_columns is None or n in with_columns}
        try:
            for raw in _raw(path, header, wanted, n_rows).collect_batches(maintain_order=True):
                batch = _typed(path, raw, wanted)
                yield batch if predicate is None else batch.filter(predicate)
        except damage.ERRORS as error:
            raise damage.explained(path, error) from None

    return plugins.register_io_source(batches, schema=dict(columns))


def columns(path: str | pathlib.Path) -> tuple[str, ...]:
    """Returns the names of a table's columns, in lower case."""
    return tuple(_header(pathlib.Path(path)))


def terms(root: str | pathlib.Path) -> str:
    """Returns what binds the data of the folder `root`, by the first line of its LICENSE.txt."""
    folder = pathlib.Path(root).expanduser()
    paths = [path for path in folder.iterdir() if path.name.lower() == "license.txt"]
    text = paths[0].read_text(encoding="utf-8", errors="replace").strip() if paths else ""
    if not text:
        return "No LICENSE.txt in the data folder: the terms under which the data was given bind."
    return f"LICENSE.txt of the data folder: {text.splitlines()[0].strip('# ')}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:20])
    return (f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown) or "nothing"


def _tidy(name: str) -> str:
    return name.strip(" \t\r\n'\"\ufeff").lower()


def _header(path: pathlib.Path) -> dict[str, str]:
    """Returns the columns of a table: lower-case name to the name polars knows it by."""
    try:
        lazy = (
            pl.scan_parquet(path)
            if damage.is_parquet(path)
            else pl.scan_csv(path, infer_schema=False, **damage.dialect(path))
        )
        found = lazy.collect_schema().names()
    except damage.ERRORS as error:
        raise damage.explained(path, error) from None
    header = {}
    for name in found:
        tidy = _tidy(re.sub(r"_duplicated_\d+$", "", name))
        if tidy in header:
            raise errors.RecordsError(
                f"{path.name}: the header names column '{tidy}' twice; keep one of them"
            )
        header[tidy] = name
    return header


def _raw(path, header, wanted, n_rows) -> pl.LazyFrame:
    present = [pl.col(header[name]).alias(name) for name in wanted if name in header]
    if damage.is_parquet(path):
        lazy = pl.scan_parquet(path, n_rows=n_rows, row_index_name=_ROW)
    else:
        known = damage.dialect(path)
        lazy = pl.scan_csv(path, infer_schema=False, n_rows=n_rows, row_index_name=_ROW, **known)
    return lazy.select(_ROW, *present)


def _typed(
    path: pathlib.Path, raw: pl.DataFrame, wanted: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    typed = []
    for name, dtype in wanted.items():
        if name in raw.columns:
            typed.append(_parsed(path, raw[_ROW], raw[name], dtype))
        else:
            typed.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, raw.height))
    return pl.DataFrame(typed, height=raw.height)


def _parsed(path: pathlib.Path, rows: pl.Series, found: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Returns column `found` as `dtype`, or raises RecordsError for the first value that is not.

    A parquet file brings types of its own, which are taken as they are where that loses nothing.
    """
    name = found.name
    if dtype == tables.TIME and found.dtype.is_temporal():
        zoned = getattr(found.dtype, "time_zone", None)
        return (found.dt.replace_time_zone(None) if zoned else found).cast(tables.TIME)
    if dtype == pl.Int64 and found.dtype.is_integer():
        return found.cast(dtype)
    if dtype == pl.Float64 and found.dtype == pl.Duration:
        return found.dt.total_microseconds() / 3.6e9
    if dtype == pl.Float64 and found.dtype.is_numeric():
        return _finite(found.cast(dtype))
    text = found.cast(pl.String)
    trimmed = text.str.strip_chars()
    blank = trimmed == ""
    if dtype == pl.String:
        return text.set(blank, None)
    text = trimmed.set(blank, None)
    parsed = text.to_frame().select(_PARSERS[dtype](pl.col(name))).to_series()
    if parsed.null_count() > text.null_count():
        at = (text.is_not_null() & parsed.is_null()).arg_true()[0]
        raise errors.RecordsError(
            f"{path.name}: row {rows[at] + 1} (the header not counted), column '{name}': "
            f"{_shown(name, text[at])} is not {_EXPECTED[dtype]}"
        )
    return _finite(parsed) if dtype == pl.Float64 else parsed


def _finite(number: pl.Series) -> pl.Series:
    # "nan" and "inf" are how some exports write that there is no value.
    return number.set(~number.is_finite(), None)


def _whole(text: pl.Expr) -> pl.Expr:
    # "142345.0" is what pandas writes for a whole number in a column with gaps.
    return text.str.strip_suffix(".0").cast(pl.Int64, strict=False)


def _time(text: pl.Expr) -> pl.Expr:
    length = text.str.len_bytes()
    rest = pl.when(length == 10).then(pl.lit(" 00:00:00"))
    rest = rest.when(length == 16).then(pl.lit(":00")).otherwise(pl.lit(""))
    full = pl.concat_str(text.str.replace("T", " ", literal=True).str.strip_suffix("Z"), rest)
    return full.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)


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
    private = private or (len(value) > 4 and value.isdigit())
    if not private and re.fullmatch(r"[-+0-9.:/, TZ]{1,32}", value):
        return f"'{value}'"
    return f"a text of {len(value)} character(s)"
