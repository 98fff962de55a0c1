"""Texts of a file, window by window: one a line, or a column of a parquet or CSV table.

A file is read twice: once to check and count it, so that nothing is found wrong hours later, and
once to hand out its texts. Errors name lines and columns, never what stands there.
"""

import dataclasses
import gzip
import hashlib
import io
import itertools
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import damage, reading

TABLES = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")
STRUCTURED = (".json", ".jsonl", ".ndjson")  # a line of which is no text
WINDOW_TEXTS, WINDOW_CHARACTERS = 50_000, 1 << 27  # of a window, whichever comes first
SAMPLE_ROWS = 1000  # of a CSV, by which columns of numbers are told from columns of text


@dataclasses.dataclass(frozen=True)
class Input:
    """A checked file of texts."""

    path: pathlib.Path
    column: str | None  # of a table; None for a text file
    id: str | None  # a column that goes along
    texts: int
    digest: str  # sha256 of the file's bytes


class Window(NamedTuple):
    """Consecutive texts of a file; a missing or blank one is ""."""

    texts: list[str]
    ids: pl.Series | None  # Int64 of a parquet file's whole numbers, else String


def examine(path: str, column: str = "", id_column: str = "") -> Input:
    """Checks a file from end to end and counts its texts.

    Args:
        path: config.text.input; see there for the kinds of files.
        column: of a table; "" is its only column of text.
        id_column: of a table; "" is none.

    Raises:
        ConfigError: no such file or column, no texts, or a column that holds no text.
        RecordsError: the file is damaged, is not UTF-8, or changes meanwhile.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        what = "is a folder; name a file" if file.is_dir() else "does not exist; check the path"
        raise errors.ConfigError(f"config.text.input: {file} {what}")
    name = file.name.lower()
    if name.endswith((*STRUCTURED, *(f"{suffix}.gz" for suffix in STRUCTURED))):
        raise errors.ConfigError(
            f"config.text.input: {file.name} holds JSON, not one text a line; convert it, as by "
            "polars.read_ndjson(FILE).write_parquet('texts.parquet')"
        )
    with damage.unchanged(file):
        if name.endswith(TABLES):
            source = _examine_table(file, column.strip().lower(), id_column.strip().lower())
        else:
            for key, value in (("column", column), ("id", id_column)):
                if value:
                    raise errors.ConfigError(
                        f"config.text.{key} is '{value}', but {file.name} is read as one text a "
                        f"line; a table's name ends on {', '.join(TABLES)}"
                    )
            texts = sum(1 for _ in _lines(file))
            source = Input(file, None, None, texts, _digest(file))
    if not source.texts:
        raise errors.ConfigError(f"config.text.input: {file} is empty; it holds no text")
    return source


def windows(source: Input) -> Iterator[Window]:
    """Yields the texts of a file in order, some `WINDOW_TEXTS` or `WINDOW_CHARACTERS` at a time.

    Raises:
        RecordsError: the file changed since it was examined.
    """
    seen = 0
    with damage.unchanged(source.path):
        for window in _grouped(source):
            seen += len(window.texts)
            yield window
        if seen != source.texts:
            raise errors.RecordsError(
                f"{source.path.name}: had {source.texts} text(s) when it was checked and has {seen}"
                " now; let what writes it finish, then start again"
            )


def _grouped(source: Input) -> Iterator[Window]:
    if source.column is None:
        lines = _lines(source.path)
        while texts := list(_up_to(lines)):
            yield Window(texts, None)
        return
    columns = _columns(source)
    for batch in reading.scan(source.path, columns).collect_batches(maintain_order=True):
        texts, first = iter(batch[source.column].fill_null("")), 0
        while window := list(_up_to(texts)):
            ids = None if source.id is None else batch[source.id].slice(first, len(window))
            yield Window(window, ids)
            first += len(window)


def _up_to(texts: Iterator[str]) -> Iterator[str]:
    """Takes the texts of one window."""
    characters = 0
    for text in itertools.islice(texts, WINDOW_TEXTS):
        yield text
        characters += len(text)
        if characters >= WINDOW_CHARACTERS:
            return


def _lines(path: pathlib.Path) -> Iterator[str]:
    """Yields the lines of a UTF-8 file without their ends; a blank one is ""."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    text = "\0"
                if "\0" in text:
                    raise errors.RecordsError(
                        f"{path.name}: line {number} is not UTF-8 text; convert the file (iconv -t "
                        "utf-8)"
                    )
                text = text.removesuffix("\n").removesuffix("\r")
                yield text if text.strip() else ""
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise errors.RecordsError(
            f"{path.name}: the gzip file is cut short or damaged; fetch it again"
        ) from error
    except OSError as error:
        raise errors.RecordsError(
            f"{path.name}: cannot be read ({error.strerror or error})"
        ) from error


def _open(path: pathlib.Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")


def _examine_table(path: pathlib.Path, column: str, id_column: str) -> Input:
    names = reading.columns(path)
    textual = _textual(path, names)
    if not column:
        if len(textual) != 1:
            count = "no column of text" if not textual else f"{len(textual)} columns of text"
            raise errors.ConfigError(
                f"{path.name} has {count}; name one by --config.text.column=NAME. Its columns: "
                f"{damage.columns(names)}"
            )
        (column,) = textual
    for key, name in (("column", column), ("id", id_column)):
        if name and name not in names:
            raise errors.ConfigError(
                f"config.text.{key} is '{name}', and {path.name} has no such column."
                f"{errors.did_you_mean(name, names)} Its columns: {damage.columns(names)}"
            )
    if damage.is_parquet(path) and column not in textual:
        raise errors.ConfigError(
            f"config.text.column is '{column}', and that column of {path.name} holds no text; "
            f"those that do: {damage.columns(textual)}"
        )
    if column == id_column:
        raise errors.ConfigError(f"config.text.id is '{column}', the column of texts itself")
    source = Input(path, column, id_column or None, 0, _digest(path))
    if not damage.is_parquet(path):
        damage.check_widths(path)
    counted = reading.scan(path, _columns(source)).select(pl.col(column).len())
    return dataclasses.replace(source, texts=counted.collect(engine="streaming").item())


def _columns(source: Input) -> dict[str, pl.DataType]:
    columns = {source.column: pl.String}
    if source.id is not None:
        whole = damage.is_parquet(source.path) and _dtypes(source.path)[source.id].is_integer()
        columns[source.id] = pl.Int64 if whole else pl.String
    return columns


def _textual(path: pathlib.Path, names: Iterable[str]) -> list[str]:
    """The columns that hold text; of a CSV, those that are no numbers in its first rows."""
    dtypes = _dtypes(path)
    return [name for name in names if dtypes[name] in (pl.String, pl.Categorical, pl.Enum)]


def _dtypes(path: pathlib.Path) -> dict[str, pl.DataType]:
    """Columns as `reading` names them, to polars's dtypes."""
    try:
        if damage.is_parquet(path):
            schema = pl.scan_parquet(path, glob=False).collect_schema()
        else:
            known = damage.dialect(path)
            lazy = pl.scan_csv(path, infer_schema_length=SAMPLE_ROWS, glob=False, **known)
            schema = lazy.collect_schema()
    except damage.ERRORS as error:
        raise damage.explained(path, error) from None
    return dict(zip(reading.columns(path), schema.dtypes(), strict=True))


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
