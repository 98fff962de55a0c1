"""Reading one table of a source: found by name, checked, typed, and lazy where it is large.

`find_table` finds the file, `scan` reads it in batches when the result is asked for (a gzip'd CSV
is decompressed as it is read, so memory stays flat whatever the size; a bar shows how far a large
table is read), and `read` is `scan` for tables that fit in memory, with every row's number of
fields checked first. All three raise RecordsError for what a user can mend, also while a lazy frame
is being collected.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
from polars.io import plugins

from ehr_jax import errors
from ehr_jax.records import damage, reading_progress, tables

# Where two files hold the same table the first kind wins: it is the quickest to read.
SUFFIXES = (".parquet", ".csv", ".csv.gz")

_ROW = "__row__"
_BATCH_BYTES = 1 << 24  # of text parsed at once: much work a call, little memory


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
        f"case).{near} The folder holds {damage.listed(path.name for path in held.values())}."
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
    path: str | pathlib.Path,
    columns: Mapping[str, pl.DataType],
    optional: Iterable[str] = (),
    made: Mapping[str, tuple[str, str]] | None = None,
) -> pl.LazyFrame:
    """Returns the wanted `columns` (lower-case name to dtype) of a table, read when collected.

    Text is kept as it stands; an empty or blank field is null. Columns of dtype Int64, Float64 and
    `tables.TIME` are parsed; a time may be a date alone (its midnight), a parquet file's length of
    time is a number of hours. An absent `optional` column is null throughout. Rows keep the file's
    order.

    `made` adds text columns: name to (prefix, which of the Int64 `columns` follows it). Where a
    filter names the values of such a column (`==`, `is_in`), other rows are dropped before they are
    parsed: of a large table of which few items are wanted, the rest costs little.

    Raises RecordsError at once for an empty or unreadable file and for a missing column; while
    being collected, for a damaged file, for one that changed since, and for the first value that
    does not parse.
    """
    path = pathlib.Path(path)
    header = _header(path)
    optional = set(optional)
    for name in columns:
        if name not in header and name not in optional:
            raise errors.RecordsError(
                f"{path.name}: column '{name}' is missing.{errors.did_you_mean(name, header)} "
                f"The file has {damage.columns(header)}. Did the export rename it?"
            )
    if not damage.is_parquet(path):
        damage.check_ending(path, len(header))

    made, since = made or {}, damage.stamp(path)
    schema = dict(columns) | dict.fromkeys(made, pl.String)

    def batches(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        asked = [name for name in schema if with_columns is None or name in with_columns]
        needed = {made[name][1] if name in made else name for name in asked}
        wanted = {name: dtype for name, dtype in columns.items() if name in needed}
        raw = _raw(path, header, wanted, n_rows)
        for part in [] if predicate is None else _conjuncts(predicate):
            if (numbers := _numbers_asked(part, made)) is not None:
                # What is no number as it stands is left to the parser.
                found = pl.col(made[numbers.name][1]).cast(pl.Int64, strict=False)
                raw = raw.filter(found.is_in(numbers.implode()) | found.is_null())
        with damage.unchanged(path, since), reading_progress.watch(path) as reached:
            try:
                for text in _gathered(raw.collect_batches(maintain_order=True)):
                    batch = _typed(path, text, wanted)
                    batch = batch.select(_made(*made[n], n) if n in made else n for n in asked)
                    yield batch if predicate is None else batch.filter(predicate)
                    if text.height:
                        reached(text[_ROW][-1] + 1)
            except damage.ERRORS as error:
                raise damage.explained(path, error) from None

    return plugins.register_io_source(batches, schema=schema)


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


def _tidy(name: str) -> str:
    return name.strip(" \t\r\n'\"\ufeff").lower()


def _header(path: pathlib.Path) -> dict[str, str]:
    """Returns the columns of a table: lower-case name to the name polars knows it by."""
    try:
        lazy = (
            pl.scan_parquet(path, glob=False)
            if damage.is_parquet(path)
            else pl.scan_csv(path, infer_schema=False, glob=False, **damage.dialect(path))
        )
        found = lazy.collect_schema().names()
    except damage.ERRORS as error:
        raise damage.explained(path, error) from None
    header = {}
    for name in found:
        tidy = _tidy(re.sub(r"_duplicated_\d+$", "", name))
        if tidy in header:
            which = "one column" if damage.reads_like_value(tidy) else f"column '{tidy}'"
            raise errors.RecordsError(
                f"{path.name}: the header names {which} twice; keep one of them"
            )
        header[tidy] = name
    return header


def _raw(path, header, wanted, n_rows) -> pl.LazyFrame:
    present = [pl.col(header[name]).alias(name) for name in wanted if name in header]
    if damage.is_parquet(path):
        lazy = pl.scan_parquet(path, n_rows=n_rows, row_index_name=_ROW, glob=False)
    else:
        known = damage.dialect(path)
        known |= {"n_rows": n_rows, "row_index_name": _ROW}
        lazy = pl.scan_csv(path, infer_schema=False, glob=False, **known)
    return lazy.select(_ROW, *present)


def _gathered(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Joins batches, which are some thousand rows each, to `_BATCH_BYTES`."""
    held, size = [], 0
    for batch in batches:
        held.append(batch)
        size += batch.estimated_size()
        if size >= _BATCH_BYTES:
            yield pl.concat(held)
            held, size = [], 0
    if held:
        yield pl.concat(held)


def _conjuncts(predicate: pl.Expr) -> list[pl.Expr]:
    """Returns the parts that must all hold; the predicate itself where it is not taken apart."""
    parts = predicate.meta.pop()
    if len(parts) == 2:
        for left, right in (parts, parts[::-1]):
            if (left & right).meta.eq(predicate):
                return _conjuncts(left) + _conjuncts(right)
    return [predicate]


def _numbers_asked(part: pl.Expr, made: Mapping) -> pl.Series | None:
    """Returns the numbers that a part of a filter names of one `made` column; None if it does not.

    Their name is that of the column.
    """
    name, *others = set(part.meta.root_names()) or {None}
    constants = [each for each in part.meta.pop() if not each.meta.root_names()]
    if name not in made or others or len(constants) != 1:
        return None
    (constant,) = constants
    column = pl.col(name)
    ways = (column.is_in(constant), column == constant, constant == column)
    if not any(part.meta.eq(way) for way in ways):
        return None
    values = pl.select(constant).to_series()
    values = values.explode() if values.dtype == pl.List else values
    prefix, _ = made[name]
    values = values.drop_nulls().cast(pl.String)
    values = values.filter(values.str.starts_with(prefix)).str.strip_prefix(prefix)
    return values.cast(pl.Int64, strict=False).drop_nulls().unique().alias(name)


def _made(prefix: str, column: str, name: str) -> pl.Expr:
    return (prefix + pl.col(column).cast(pl.String)).alias(name)


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
