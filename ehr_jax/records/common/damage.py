"""What can be wrong with a table's file, found and said without a word of its content."""

import contextlib
import csv
import gzip
import io
import pathlib
import re
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from ehr_jax import errors

# What reading a damaged file raises. polars panics on parquet pages that contradict each other.
ERRORS = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    EOFError,
    zlib.error,
)

_CHUNK_BYTES = 1 << 24


def is_parquet(path: str | pathlib.Path) -> bool:
    """Says whether a table is a parquet file; every other is a CSV, gzip'd or not."""
    return str(path).lower().endswith(".parquet")


def dialect(path: str | pathlib.Path) -> dict[str, str | None]:
    """Returns how polars reads a CSV: tabs where its header is told apart by them, else commas.

    Exports with tabs (vocabularies of OMOP) know no quoting: a quotation mark is one.

    Raises RecordsError for a text of another form, by its first line.
    """
    with _open(pathlib.Path(path)) as file:
        header = file.readline(_CHUNK_BYTES)
    if form := _other_form(header):
        raise errors.RecordsError(f"{pathlib.Path(path).name}: {form}")
    tabbed = header.count(b"\t") > header.count(b",")
    return {"separator": "\t", "quote_char": None} if tabbed else {"separator": ","}


def _other_form(header: bytes) -> str:
    """Says what text a file is and how to convert it, by its first line; '' of a CSV like ours."""
    if header[:2] in (b"\xff\xfe", b"\xfe\xff") or header.count(0) > len(header) // 3:
        return "is UTF-16 text; convert the file (iconv -f utf-16 -t utf-8)"
    if b"\n" not in header and b"\r" in header.rstrip(b"\r"):
        return "its lines end in a carriage return alone; convert the file (tr '\\r' '\\n')"
    if header.count(b";") > header.count(b",") + header.count(b"\t"):
        return (
            "its columns are parted by semicolons; export it with commas, and numbers with points"
        )
    return ""


def check_widths(path: pathlib.Path) -> None:
    """Raises RecordsError for the first row with another number of fields than the header.

    polars fills a short row with nulls without a word; a shifted or torn row must not pass.
    """
    try:
        with _open(path) as file:
            suspicious = _has_uneven_rows(file, **dialect(path))
    except ERRORS as error:
        raise explained(path, error) from None
    if suspicious and (found := _first_ragged(path)):
        raise errors.RecordsError(found)


def check_ending(path: pathlib.Path, width: int) -> None:
    """Raises RecordsError for a plain CSV whose last row was cut short, as by a broken copy."""
    with open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return  # a cut gzip file is found when it is read
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        ending = file.read()
    last = ending.rsplit(b"\n", 1)[-1]
    found = last.count(dialect(path)["separator"].encode()) + 1
    if last.strip() and b'"' not in ending and found != width:
        raise errors.RecordsError(
            f"{path.name}: the last row has {found} field(s), the header has {width}; the file was "
            "cut short. Fetch it again"
        )


def explained(path: pathlib.Path, error: Exception) -> errors.RecordsError:
    """Returns what is wrong with a file that could not be read, without a word of its content."""
    name, said = path.name, str(error).lower()
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return errors.RecordsError(f"{name}: cannot be opened ({error.strerror or error})")
    if is_parquet(path):
        return errors.RecordsError(
            f"{name}: is not a readable parquet file; fetch or write it again"
        )
    if isinstance(error, pl.exceptions.NoDataError):
        return errors.RecordsError(f"{name}: the file is empty; a header row was expected")
    try:
        if line := _first_undecodable(path):
            return errors.RecordsError(
                f"{name}: line {line} is not UTF-8 text; convert the file (iconv -t utf-8)"
            )
        if ragged := _first_ragged(path):
            return errors.RecordsError(ragged)
    except (EOFError, OSError, zlib.error):
        return errors.RecordsError(
            f"{name}: the gzip file is cut short or damaged; fetch it again, compare its checksum"
        )
    hint = "a quotation mark is opened and never closed" if "parse" in said else "unknown cause"
    return errors.RecordsError(f"{name}: cannot be read as CSV ({hint}); mend or fetch it again")


def stamp(path: pathlib.Path) -> tuple[int, int] | None:
    """Returns the size and time of change of a file, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def unchanged(path: pathlib.Path, since: tuple[int, int] | None = None) -> Iterator[None]:
    """Raises RecordsError where the file changes while it is read in the block, or since `since`.

    Half of one file and half of another would pass for a table; and whatever else broke in the
    block is then no fault of the file as it now is.
    """
    since = since or stamp(path)
    try:
        yield
    except (*ERRORS, errors.RecordsError):
        _check_unchanged(path, since)
        raise
    _check_unchanged(path, since)


def _check_unchanged(path: pathlib.Path, since: tuple[int, int] | None) -> None:
    if stamp(path) != since:
        raise errors.RecordsError(
            f"{path.name}: the file changed while it was read; let what writes it finish (a "
            "download, an unpacking, a synchronised folder), then start again"
        ) from None


def listed(names: Iterable[str]) -> str:
    """Returns names of files or columns for a message; those that look like no name are counted."""
    names = list(names)
    shown = [name for name in names if not reads_like_value(name)][:20]
    more = len(names) - len(shown)
    words = ", ".join(f"'{name}'" for name in shown)
    return words + (f" and {more} more" if shown else f"{more} of odd names") * bool(more) or "none"


def columns(names: Iterable[str]) -> str:
    """Returns a header's names for a message; none of them where it may be a row of values."""
    names = list(names)
    if any(name and name[0] in "+-.0123456789" for name in names):
        return f"{len(names)} column(s), some named by what reads like a value: is its header there"
    return listed(names)


def reads_like_value(name: str) -> bool:
    """Says whether the name of a column or file might be a number, a date or words."""
    return not re.fullmatch(r"[^\W\d][\w.()%/#-]{0,60}", name, re.ASCII)


def _has_uneven_rows(
    file: io.BufferedIOBase, separator: str = ",", quote_char: str | None = '"'
) -> bool:
    """Counts commas between line ends, both outside quotation marks; may suspect a sound file."""
    width, commas_before, quotes_before, unfinished = None, 0, 0, False
    while chunk := file.read(_CHUNK_BYTES):
        data = np.frombuffer(chunk, np.uint8)
        ends, commas = data == ord("\n"), data == ord(separator)
        quotes = data == ord(quote_char) if quote_char else np.zeros(len(data), bool)
        if quotes_before or quotes.any():
            outside = (np.cumsum(quotes) + quotes_before) % 2 == 0
            ends, commas = ends & outside, commas & outside
            quotes_before = int(np.count_nonzero(quotes) + quotes_before) % 2
        commas, ends = np.flatnonzero(commas), np.flatnonzero(ends)
        unfinished = not len(ends) or ends[-1] != len(data) - 1
        upto = np.searchsorted(commas, ends)
        counts = np.diff(upto, prepend=-commas_before)
        commas_before = len(commas) - (upto[-1] if len(upto) else -commas_before)
        if len(counts):
            width = counts[0] if width is None else width
            if np.any(counts != width):
                return True
    return bool(quotes_before) or (unfinished and width is not None and commas_before != width)


def _first_ragged(path: pathlib.Path) -> str:
    limit = csv.field_size_limit(1 << 30)
    try:
        with (
            _open(path) as file,
            io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text,
        ):
            known = dialect(path)
            quoting = csv.QUOTE_NONE if "quote_char" in known else csv.QUOTE_MINIMAL
            reader = csv.reader(text, delimiter=known["separator"], quoting=quoting)
            width = len(next(reader, []))
            for row, fields in enumerate(reader, 1):
                if len(fields) != width:
                    return (
                        f"{path.name}: row {row} (the header not counted; it ends on line "
                        f"{reader.line_num}) has {len(fields)} field(s), the header has {width}. "
                        "Is a comma unquoted, or the file cut short? Mend or fetch it again"
                    )
    finally:
        csv.field_size_limit(limit)
    return ""


def _first_undecodable(path: pathlib.Path) -> int:
    with _open(path) as file:
        for line, text in enumerate(file, 1):
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                return line
    return 0


def _open(path: pathlib.Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")
