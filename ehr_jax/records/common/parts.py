"""The files of a table: one, or the parts of a folder that a cluster wrote.

Spark writes a table as a folder NAME.parquet or NAME.csv of part files, BigQuery as a folder NAME
of numbered files. What lies beside the parts (marks of success, checksums, files that begin with
"." or "_") is no part.
"""

import contextlib
import pathlib
from collections.abc import Iterator

from ehr_jax import errors

# Where two files hold the same table the first kind wins: it is the quickest to read.
SUFFIXES = (".parquet", ".csv", ".csv.gz")

# Endings of files that accompany data.
_BESIDE = (".crc", ".md5", ".sha256", ".sha1", ".txt", ".md", ".html", ".json", ".ini", ".db")


def of(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of the table at `path`: itself, or the parts of a folder by name.

    Raises RecordsError for a folder without a part, of parts of two kinds, or with files or folders
    that are neither parts nor known to accompany them, as rows in them would be lost.
    """
    if not path.is_dir():
        return [path]
    held = [each for each in sorted(path.iterdir()) if not _is_beside(each)]
    parts = [each for each in held if each.is_file() and _kind(each)]
    others = len(held) - len(parts)
    if others:
        raise errors.RecordsError(
            f"{path.name}: the table is a folder, and {others} of the files or folders in it are "
            "neither .parquet, .csv nor .csv.gz; parts may lie in one folder only, so bring them "
            "into it and remove what is no part"
        )
    if not parts:
        raise errors.RecordsError(
            f"{path.name}: the table is a folder without a part (.parquet, .csv or .csv.gz); was "
            "its writing finished?"
        )
    kinds = sorted({_kind(part) for part in parts})
    if len(kinds) > 1:
        raise errors.RecordsError(
            f"{path.name}: the table is a folder of parts of {len(kinds)} kinds "
            f"({', '.join(kinds)}); keep those of one, as the others may hold the same rows"
        )
    return parts


def is_table(path: pathlib.Path) -> bool:
    """Says whether `path` is a file, or a folder that holds at least one part of a table."""
    if path.is_dir():
        return any(_kind(each) and not _is_beside(each) for each in path.iterdir())
    return True


@contextlib.contextmanager
def told_of(path: pathlib.Path, part: pathlib.Path) -> Iterator[None]:
    """Names the table's folder, too, in an error about one of its parts."""
    try:
        yield
    except errors.RecordsError as error:
        if path == part:
            raise
        raise errors.RecordsError(f"{path.name}/{error}") from None


def _is_beside(path: pathlib.Path) -> bool:
    return path.name.startswith((".", "_")) or path.name.lower().endswith(_BESIDE)


def _kind(path: pathlib.Path) -> str:
    return next((kind for kind in SUFFIXES if path.name.lower().endswith(kind)), "")
