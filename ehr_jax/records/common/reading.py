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
from ehr_jax.records.common import damage, parsing, parts, reading_progress

_BATCH_BYTES = 1 << 24  # of text parsed at once: much work a call, little memory


def data_folder(root: str | pathlib.Path) -> pathlib.Path:
    """Returns the folder of a source with `~` expanded; RecordsError where there is none."""
    folder = pathlib.Path(root).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise errors.RecordsError(
            f"{folder}: this data folder {what}; check the path (config.data.root, or EHR_JAX_DATA "
            "where that is '')"
        )
    return folder


def find_table(root: str | pathlib.Path, stem: str, required: bool = True) -> pathlib.Path | None:
    """Returns the file, or folder of parts (see `parts`), that holds table `stem` in the folder
    `root`, whatever its letter case.

    Returns None for a missing table that is not `required`.
    Raises RecordsError for a missing folder or a missing required table.
    """
    folder = data_folder(root)
    held = {path.name.lower(): path for path in sorted(folder.iterdir())}
    for suffix in (*parts.SUFFIXES, ""):
        path = held.get(stem.lower() + suffix)
        if path and (suffix or (path.is_dir() and parts.is_table(path))):
            return path
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
    path: str | pathlib.Path,
    columns: Mapping[str, pl.DataType],
    optional: Iterable[str] = (),
    missing: Iterable[str] = (),
) -> pl.DataFrame:
    """Reads a whole table as `scan` does, with every row's number of fields checked first."""
    frame = scan(path, columns, optional, missing=missing)
    check_widths(path)
    return frame.collect(engine="streaming")


def check_widths(path: str | pathlib.Path) -> None:
    """Raises RecordsError for the first row of a CSV, or of its parts, of another width."""
    path = pathlib.Path(path)
    for part in parts.of(path):
        if not damage.is_parquet(part):
            with parts.told_of(path, part):
                damage.check_widths(part)


def scan(
    path: str | pathlib.Path,
    columns: Mapping[str, pl.DataType],
    optional: Iterable[str] = (),
    made: Mapping[str, tuple[str, str]] | None = None,
    missing: Iterable[str] = (),
    worded: Iterable[str] = (),
) -> pl.LazyFrame:
    """Returns the wanted `columns` (lower-case name to dtype) of a table, read when collected.

    Text is kept as it stands; an empty or blank field is null. Columns of dtype Int64, Float64 and
    `tables.TIME` are parsed; a time may be a date alone (its midnight), a parquet file's length of
    time is a number of hours. An absent `optional` column is null throughout. Rows keep the file's
    order.

    `missing` are the texts by which the source says, in any column, that there is no value; blanks
    around them do not matter. In the Float64 columns `worded` a text that is no number ("<5") is
    NaN, for the caller to count, where it would else be refused.

    `made` adds text columns: name to (prefix, which of the Int64 `columns` follows it). Where a
    filter names the values of such a column (`==`, `is_in`), other rows are dropped before they are
    parsed: of a large table of which few items are wanted, the rest costs little.

    Raises RecordsError at once for an empty or unreadable file and for a missing column; while
    being collected, for a damaged file, for one that changed since, and for the first value that
    does not parse.
    """
    path, optional, made = pathlib.Path(path), set(optional), made or {}
    marks = parsing.Marks(tuple(missing), frozenset(worded))
    files = []
    for part in parts.of(path):
        with parts.told_of(path, part):
            files.append((part, _checked_header(part, columns, optional), damage.stamp(part)))
    _check_alike(path, files)
    schema = dict(columns) | dict.fromkeys(made, pl.String)

    def batches(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        asked = [name for name in schema if with_columns is None or name in with_columns]
        needed = {made[name][1] if name in made else name for name in asked}
        wanted = {name: dtype for name, dtype in columns.items() if name in needed}
        left = n_rows
        for part, header, since in files:
            raw = _raw(part, header, wanted, left)
            for some in [] if predicate is None else _conjuncts(predicate):
                if (numbers := _numbers_asked(some, made)) is not None:
                    # What is no number as it stands is left to the parser.
                    item = pl.col(made[numbers.name][1]).cast(pl.Int64, strict=False)
                    raw = raw.filter(item.is_in(numbers.implode()) | item.is_null())
            with parts.told_of(path, part):
                for rows, batch in _batches(part, raw, since, wanted, marks):
                    left = None if left is None else left - rows
                    batch = batch.select(_made(*made[n], n) if n in made else n for n in asked)
                    yield batch if predicate is None else batch.filter(predicate)

    return plugins.register_io_source(batches, schema=schema)


def _batches(
    path: pathlib.Path,
    raw: pl.LazyFrame,
    since,
    wanted: Mapping[str, pl.DataType],
    marks: parsing.Marks,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yields the typed rows of one file, and how many there are, batch by batch."""
    with damage.unchanged(path, since), reading_progress.watch(path) as reached:
        try:
            for text in _gathered(raw.collect_batches(maintain_order=True)):
                yield text.height, parsing.typed(path, text, wanted, marks)
                if text.height:
                    reached(text[parsing.ROW][-1] + 1)
        except damage.ERRORS as error:
            raise damage.explained(path, error) from None


def _checked_header(
    path: pathlib.Path, columns: Mapping[str, pl.DataType], optional: set[str]
) -> dict[str, str]:
    header = _header(path)
    for name in columns:
        if name not in header and name not in optional:
            raise errors.RecordsError(
                f"{path.name}: column '{name}' is missing.{errors.did_you_mean(name, header)} "
                f"The file has {damage.columns(header)}. Did the export rename it?"
            )
    if not damage.is_parquet(path):
        damage.check_ending(path, len(header))
    return header


def _check_alike(path: pathlib.Path, files: list) -> None:
    """Raises RecordsError where the parts of a table have different columns."""
    first, header, _ = files[0]
    for part, other, _ in files[1:]:
        if set(other) != set(header):
            raise errors.RecordsError(
                f"{path.name}: the part '{part.name}' has {damage.columns(other)}, and "
                f"'{first.name}' has {damage.columns(header)}; every part needs the same header. "
                "Were two exports put into one folder?"
            )


def columns(path: str | pathlib.Path) -> tuple[str, ...]:
    """Returns the names of a table's columns, in lower case."""
    path = pathlib.Path(path)
    part = parts.of(path)[0]
    with parts.told_of(path, part):
        return tuple(_header(part))


def check_filled(path: pathlib.Path, rows: pl.DataFrame, keys: Iterable[str]) -> None:
    """Raises RecordsError for the first row of a file that has no value in one of `keys`."""
    for key in keys:
        if rows[key].null_count():
            row = rows[key].is_null().arg_true()[0] + 1
            raise errors.RecordsError(f"{path.name}: row {row} has no value in column '{key}'")


def terms(root: str | pathlib.Path, demo: str = "", credentialed: str = "") -> str:
    """Returns what binds the data of the folder `root`, by the first line of its LICENSE.txt.

    Args:
      demo: the terms of a release whose open demo is under the Open Database License.
      credentialed: the terms of its full release, which bind where there is no LICENSE.txt too.
    """
    folder = pathlib.Path(root).expanduser()
    paths = [path for path in folder.iterdir() if path.name.lower() == "license.txt"]
    text = paths[0].read_text(encoding="utf-8", errors="replace").strip() if paths else ""
    if demo and "open database license" in text.lower():
        return demo
    if credentialed and (not text or "credentialed" in text.lower()):
        return credentialed
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
        lazy = pl.scan_parquet(path, n_rows=n_rows, row_index_name=parsing.ROW, glob=False)
    else:
        known = damage.dialect(path)
        known |= {"n_rows": n_rows, "row_index_name": parsing.ROW}
        lazy = pl.scan_csv(path, infer_schema=False, glob=False, **known)
    return lazy.select(parsing.ROW, *present)


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
