"""One part of the vector cache: an immutable safetensors file, sorted by key, read row by row.

`keys` [n, 32] uint8 come first, sorted, so they are the index; `checksums` [n] uint32 follow, one
for each row of the `vectors` [n, width] float32, which are never read as a whole. Nothing is mapped
into memory: a part that another host removes would then end the process instead of raising.
"""

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ehr_jax import storage
from ehr_jax.errors import TextError
from ehr_jax.text import weights

KEY = np.dtype("S32")  # a sha256 as one comparable value
FORMAT = "2"  # parts of another layout are not ours to read
TENSORS = ("keys", "checksums", "vectors")  # in the file's order
BLOCK = 1024  # rows read at once
SUFFIX = ".safetensors"
STAMP = 20  # digits at the beginning of a name: when it was written, in nanoseconds


class Part(NamedTuple):
    """An open part."""

    file: BinaryIO
    keys: np.ndarray  # [n] S32, ascending
    checksums: np.ndarray  # [n] uint32
    start: int  # where the vectors begin in the file
    width: int


class Damaged(Exception):
    """The bytes of a part are not those that were written."""


def row_bytes(width: int) -> int:
    """Returns what one row takes in a part."""
    return KEY.itemsize + 4 + 4 * width


def checksums(keys: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the crc32 of each vector, begun with its key's first bytes: [n] uint32."""
    begin = keys.view(np.uint8).reshape(-1, KEY.itemsize)[:, :4].copy().view("<u4").ravel()
    return np.fromiter(map(zlib.crc32, vectors, begin.tolist()), np.uint32, len(keys))


@contextlib.contextmanager
def opened(path: Path, fingerprint: str, width: int) -> Iterator[Part | None]:
    """Opens a part and reads its keys; None if it belongs to another encoder or is of another kind.

    Raises:
        FileNotFoundError: it is gone, merged into another by `cache.compact`.
        OSError: it cannot be read.
        Damaged: it is not what was written.
    """
    with path.open("rb", buffering=0) as file:
        yield _open(file, path, fingerprint, width)


def read_rows(part: Part, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Reads rows of a part, at most `BLOCK` and what lies between them at a time.

    Args:
        part: from `opened`.
        rows: [wanted] int64, ascending.

    Yields:
        (which of the wanted, vectors [some, width] float32, whether each is whole [some] bool).

    Raises:
        Damaged: the file ends too early.
        OSError: it cannot be read.
    """
    size = 4 * part.width
    edges = [0, *np.flatnonzero(np.diff(rows // BLOCK)) + 1, len(rows)]
    for begin, end in zip(edges, edges[1:], strict=False):
        if begin == end:
            continue
        some = rows[begin:end]
        first, past = int(some[0]), int(some[-1]) + 1
        data = _pread(part.file, part.start + first * size, (past - first) * size)
        vectors = np.frombuffer(data, "<f4").reshape(-1, part.width)[some - first]
        whole = checksums(part.keys[some], vectors) == part.checksums[some]
        yield slice(begin, end), vectors, whole


def write(
    path: Path,
    fingerprint: str,
    keys: np.ndarray,
    sums: np.ndarray,
    vectors: Iterable[np.ndarray],
    width: int,
) -> None:
    """Writes a part; it appears whole, by an atomic rename, or not at all.

    Args:
        path: of the part.
        fingerprint: the encoder's.
        keys: [n] S32, ascending and distinct.
        sums: [n] uint32, their `checksums`.
        vectors: blocks of rows, together [n, width] float32.
        width: length of a vector.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """

    def fill(temporary: str) -> None:
        with open(temporary, "wb") as file:
            file.write(_header(fingerprint, keys, width))
            file.write(keys.tobytes())
            file.write(sums.astype("<u4").tobytes())
            for block in vectors:
                file.write(np.ascontiguousarray(block, "<f4").data)

    storage.write_file(path, fill)


def sizes(folder: Path) -> dict[str, int]:
    """Returns the names of the parts in a folder, with their bytes.

    Raises:
        TextError: the folder cannot be read.
    """
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        found[entry.name] = entry.stat().st_size
    except OSError as error:
        raise TextError(
            f"{folder}: the vector cache cannot be read ({storage.reason(error)})"
        ) from error
    return found


def modified(path: Path) -> float:
    """Returns when a file was last written, in seconds; minus infinity if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return -math.inf


def put_aside(path: Path, error: Damaged) -> None:
    """Reports a part of which nothing can be used, and renames it so that it is reported once."""
    with contextlib.suppress(OSError):  # where the cache may only be read it stays
        os.replace(path, path.with_suffix(".damaged"))
    report(path, f"{error}, its texts")


def report(path: Path, what: str) -> None:
    """Prints what is lost of a part."""
    print(f"vector cache: damaged part left out: {path}: {what} are encoded again", flush=True)


@contextlib.contextmanager
def save_errors(folder: Path) -> Iterator[None]:
    """Turns the errors of writing into a folder into a `TextError`."""
    try:
        yield
    except OSError as error:
        raise TextError(
            f"{folder}: vectors cannot be saved ({storage.reason(error)}); free some space or set "
            "EHR_JAX_CACHE to another disk, then start again: what was saved is kept"
        ) from error


def _header(fingerprint: str, keys: np.ndarray, width: int) -> bytes:
    n = len(keys)
    crc = str(zlib.crc32(keys.tobytes()))
    header = {"__metadata__": {"fingerprint": fingerprint, "format": FORMAT, "keys_crc32": crc}}
    layout = (("U8", [n, 32], 32 * n), ("U32", [n], 4 * n), ("F32", [n, width], 4 * n * width))
    end = 0
    for name, (dtype, shape, size) in zip(TENSORS, layout, strict=True):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format wants its tensors aligned
    return len(text).to_bytes(8, "little") + text


def _open(file: BinaryIO, path: Path, fingerprint: str, width: int) -> Part | None:
    header = _checked_header(path)
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict):
        raise Damaged("its header has no metadata")
    if metadata.get("fingerprint") != fingerprint or metadata.get("format") != FORMAT:
        return None
    try:
        n = int(header["keys"]["shape"][0])
        offsets = {name: header[name]["data_offsets"] for name in header if name[:2] != "__"}
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise Damaged("its header is not that of a part") from error
    ends = [0, 32 * n, 36 * n, n * row_bytes(width)]
    if offsets != {name: ends[i : i + 2] for i, name in enumerate(TENSORS)}:
        raise Damaged(f"its header does not fit vectors of length {width}")
    start = 8 + int.from_bytes(_pread(file, 0, 8), "little")
    data = _pread(file, start, 36 * n)
    if str(zlib.crc32(memoryview(data)[: 32 * n])) != metadata.get("keys_crc32"):
        raise Damaged("its keys do not match their checksum")
    keys, sums = np.frombuffer(data, KEY, n), np.frombuffer(data, "<u4", n, 32 * n)
    return Part(file, keys, sums, start + 36 * n, width)


def _checked_header(path: Path) -> dict:
    try:
        return weights.check_header(path)
    except TextError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise Damaged("its header is cut off or no header") from error


def _pread(file: BinaryIO, start: int, size: int) -> bytes:
    """Reads exactly `size` bytes; the kernel gives at most 2 GB at a time."""
    pieces = []
    while size:
        piece = os.pread(file.fileno(), min(size, 1 << 30), start)
        if not piece:
            raise Damaged("it ends too early")
        pieces.append(piece)
        start, size = start + len(piece), size - len(piece)
    return b"".join(pieces)
