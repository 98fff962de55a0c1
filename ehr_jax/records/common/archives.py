"""The files of a folder, a .tar.gz or a .zip, read one at a time and never unpacked to disk.

An archive is taken as it may come from anywhere: a member whose path leaves its folder, a link, a
member or an archive that grows beyond its bound and a damaged archive are errors, all of them told
without a word of content.
"""

import gzip
import io
import pathlib
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from ehr_jax import errors
from ehr_jax.records.common import damage

SUFFIXES = (".tar.gz", ".tgz", ".zip")

LARGEST_FILE = 4 << 20  # bytes of one file, unpacked
LARGEST_WHOLE = 1 << 30  # bytes of all files of an archive, unpacked
MOST_FILES = 200_000

# A damaged header shows as whatever its bytes happen to claim: a name that is no UTF-8, a version
# or a length that cannot be.
_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,  # UnicodeDecodeError with it
)


def files(path: str | pathlib.Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yields (name, content) of every file whose name, without its folders, matches `pattern`.

    A folder gives its own files by name; an archive gives those of all its folders, in its order.

    Raises RecordsError for an unsafe, oversized, repeated or unreadable member.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        found = _of_folder(path, pattern)
    elif path.name.lower().endswith(".zip"):
        found = _of_zip(path, pattern)
    else:
        found = _of_tar(path, pattern)
    seen: set[str] = set()
    with damage.unchanged(path):
        try:
            for name, content in found:
                if name in seen:
                    raise errors.RecordsError(
                        f"{path.name}: file {len(seen) + 1} has the name of one before it, in "
                        "another folder; every file may stand once"
                    )
                seen.add(name)
                yield name, content
        except _DAMAGE as error:
            raise _explained(path, error) from None


def _of_folder(path: pathlib.Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    named = sorted(file for file in path.iterdir() if re.fullmatch(pattern, file.name))
    _check_count(path, len(named))
    for position, file in enumerate(named, 1):
        with open(file, "rb") as opened:
            yield file.name, _content(path, opened, position)


def _of_zip(path: pathlib.Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    whole = 0
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_count(path, len(members))
        for position, member in enumerate(members, 1):
            name = _safe_name(path, member.filename, position)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refused(path, position, "is a link")
            if member.is_dir() or not re.fullmatch(pattern, name):
                continue
            if member.flag_bits & 1 or member.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise _refused(path, position, "is encrypted or packed in an unusual way")
            with archive.open(member) as opened:
                content = _content(path, opened, position)
            whole += len(content)
            if whole > LARGEST_WHOLE:
                raise _too_large(path)
            yield name, content


def _of_tar(path: pathlib.Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    with gzip.open(path) as packed:
        stream = _Bounded(path, packed)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for position, member in enumerate(archive, 1):
                _check_count(path, position)
                name = _safe_name(path, member.name, position)
                if not (member.isfile() or member.isdir()):
                    raise _refused(path, position, "is a link or a device")
                if member.isdir() or not re.fullmatch(pattern, name):
                    continue
                yield name, _content(path, archive.extractfile(member), position)
        while stream.read(1 << 20):  # to the checksum, which stands at the end
            pass


class _Bounded(io.RawIOBase):
    """An unpacked stream that refuses to give more than LARGEST_WHOLE bytes."""

    def __init__(self, path: pathlib.Path, stream: io.BufferedIOBase):
        self.path, self.stream, self.given = path, stream, 0

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size if size >= 0 else LARGEST_WHOLE)
        self.given += len(data)
        if self.given > LARGEST_WHOLE:
            raise _too_large(self.path)
        return data


def _content(path: pathlib.Path, opened: io.BufferedIOBase, position: int) -> bytes:
    content = opened.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise _refused(path, position, f"is larger than {LARGEST_FILE >> 20} MiB")
    return content


def _safe_name(path: pathlib.Path, name: str, position: int) -> str:
    """Returns the last part of a member's path, or raises RecordsError where it could escape."""
    parts = re.split(r"[/\\]", name)
    if not parts[0] or ".." in parts or ":" in parts[0] or "\x00" in name:
        raise _refused(path, position, "has a path that leads out of its folder")
    return parts[-1]


def _check_count(path: pathlib.Path, count: int) -> None:
    if count > MOST_FILES:
        raise errors.RecordsError(
            f"{path.name}: holds more than {MOST_FILES} files; is this the right archive?"
        )


def _refused(path: pathlib.Path, position: int, why: str) -> errors.RecordsError:
    # Not by its name: a file is often called by the patient it is of.
    return errors.RecordsError(
        f"{path.name}: member {position} {why}; such an archive is not read. Fetch it again from "
        "its publisher and compare the checksum"
    )


def _too_large(path: pathlib.Path) -> errors.RecordsError:
    return errors.RecordsError(
        f"{path.name}: unpacks to more than {LARGEST_WHOLE >> 30} GiB; is this the right archive?"
    )


def _explained(path: pathlib.Path, error: Exception) -> errors.RecordsError:
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return errors.RecordsError(f"{path.name}: cannot be opened ({error.strerror})")
    return errors.RecordsError(
        f"{path.name}: the archive is cut short or damaged; fetch it again, compare its checksum"
    )
