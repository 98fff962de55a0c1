"""Finding and reading the files of a knowledge source: tables in several forms, and plain text.

Tables are read as those of records are (`records.common.reading`), which says what is wrong with a
damaged one; what sources add is quotation in tab-separated files.
"""

import gzip
import pathlib
import re
import zlib
from collections.abc import Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import damage, reading

# Where two files hold the same table the first kind wins: it is the quickest to read.
SUFFIXES = (".parquet", ".csv", ".tab", ".tsv", ".csv.gz", ".tab.gz", ".tsv.gz")


def find(folder: str | pathlib.Path, pattern: str, suffixes=SUFFIXES) -> pathlib.Path | None:
    """Returns the file of a folder whose name without its suffix matches `pattern`.

    A regular expression, in any letter case; None where there is none. KnowledgeError where
    there is no such folder.
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise errors.KnowledgeError(f"{folder}: this folder {what}; check the path")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for suffix in suffixes:
        for path in files:
            if re.fullmatch(pattern + re.escape(suffix), path.name, re.IGNORECASE):
                return path
    return None


def required(
    folder: str | pathlib.Path, pattern: str, what: str, suffixes=SUFFIXES
) -> pathlib.Path:
    """Returns what `find` does; KnowledgeError, which calls it `what`, where there is none."""
    path = find(folder, pattern, suffixes)
    if path is None:
        held = damage.listed(file.name for file in pathlib.Path(folder).expanduser().iterdir())
        raise errors.KnowledgeError(
            f"{folder}: {what} is missing (in one of the forms {', '.join(suffixes)}). "
            f"The folder holds {held}"
        )
    return path


def scan(
    path: pathlib.Path, columns: Mapping[str, pl.DataType], optional: tuple[str, ...] = ()
) -> pl.LazyFrame:
    """Returns a table's columns as `reading.scan` does, unquoted where it is by tabs.

    A name in the header may begin with "?", as query engines write it.
    """
    header = {name.lstrip("?"): name for name in reading.columns(path)}
    actual = {header.get(name, name): dtype for name, dtype in columns.items()}
    absent = [name for name in optional if name not in header]
    lazy = reading.scan(path, actual, [header.get(name, name) for name in optional])
    lazy = lazy.rename({found: name for found, name in zip(actual, columns, strict=True)})
    tabbed = not damage.is_parquet(path) and damage.dialect(path)["separator"] == "\t"
    texts = [n for n, dtype in columns.items() if dtype == pl.String and n not in absent]
    return lazy.with_columns(_unquoted(name) for name in texts) if tabbed else lazy


def read(
    path: pathlib.Path, columns: Mapping[str, pl.DataType], optional: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Returns a whole table as `scan` does, with every row's number of fields checked first."""
    lazy = scan(path, columns, optional)
    if not damage.is_parquet(path):
        damage.check_widths(path)
    return lazy.collect(engine="streaming")


def text(path: pathlib.Path) -> str:
    """Returns a file's UTF-8 text, gzip'd or not; KnowledgeError where it is none."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise errors.KnowledgeError(
            f"{path.name}: the gzip file is cut short or damaged; fetch it again"
        ) from None
    except OSError as error:
        raise errors.KnowledgeError(f"{path.name}: cannot be opened ({error.strerror})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise errors.KnowledgeError(
            f"{path.name}: line {line} is not UTF-8 text; convert the file (iconv -t utf-8)"
        ) from None


def stamps(paths) -> dict[str, list[int]]:
    """Returns name to [size, time of change] of files: differs where one of them was replaced."""
    return {path.name: list(damage.stamp(path) or ()) for path in paths}


def _unquoted(name: str) -> pl.Expr:
    found = pl.col(name)
    quoted = (found.str.len_bytes() > 1) & found.str.starts_with('"') & found.str.ends_with('"')
    inner = found.str.head(-1).str.tail(-1)
    for written, meant in (('\\"', '"'), ('""', '"'), ("\\n", " "), ("\\t", " ")):
        inner = inner.str.replace_all(written, meant, literal=True)
    bare = pl.when(quoted).then(inner).otherwise(found)
    return pl.when(bare.str.strip_chars() != "").then(bare).alias(name)
