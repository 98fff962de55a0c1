"""The vector cache: what was encoded once is read back, whoever encoded it.

A folder per encoder fingerprint holds immutable parts (`parts.py`). A part appears whole by an
atomic rename, and goes only after all it held is in another (`compaction.py`); so there are no
locks, any number of processes may write and read, and a text encoded twice is harmless. A key is a
hash of encoder and text; no text is stored. Vectors are still derived from patients' notes: the
folder is private (mode 0700).

Every byte that is handed out was checked: the keys of a part by one checksum whenever it is opened,
a vector by its own when it is read. So looking up costs the keys of each part (32 bytes a text),
and the rows that are found.
"""

import contextlib
import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ehr_jax import data_use, storage
from ehr_jax.errors import TextError
from ehr_jax.text import parts
from ehr_jax.text.parts import KEY


def default_folder() -> Path:
    """Returns the folder of the user's vectors."""
    return storage.cache_folder("vectors")


def make_keys(texts: Iterable[bytes], fingerprint: str) -> np.ndarray:
    """Returns the key of each text, [texts] S32: sha256 of encoder fingerprint and text."""
    salt = hashlib.sha256(fingerprint.encode())

    def digest(text: bytes) -> bytes:
        key = salt.copy()
        key.update(text)
        return key.digest()

    return np.fromiter(map(digest, texts), KEY)


def open_folder(folder: Path | str | None, fingerprint: str) -> Path:
    """Makes the private folder of one encoder's parts and returns it.

    Raises:
        TextError: it cannot be made or written.
    """
    root = default_folder() if folder is None else Path(folder).expanduser()
    inside = root / fingerprint[:16]
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        storage.make_folder(inside)
        data_use.note(root, data_use.VECTORS)
        _tidy(inside)
    except OSError as error:
        raise TextError(
            f"{inside}: the vector cache cannot be written ({storage.reason(error)}); "
            "set EHR_JAX_CACHE to a folder of yours"
        ) from error
    return inside


def read(
    folder: Path, fingerprint: str, keys: np.ndarray, width: int, seen: set[str] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Finds wanted keys, the newest part first, in few rows at a time; each key once.

    Damage is reported on standard output and left out, so that the texts are encoded again: of a
    part whose header or keys are damaged all of it (it is put aside as `.damaged`), else the rows.

    Args:
        folder: what `open_folder` gave.
        fingerprint: the encoder's; parts of another are ignored.
        keys: [wanted] S32, sorted and distinct.
        width: length of a vector.
        seen: names of parts not to be looked at; those looked at now are added.

    Yields:
        (positions in `keys` [hits] int64, vectors [hits, width] float32).

    Raises:
        TextError: the folder cannot be read.
    """
    seen = set() if seen is None else seen
    found = np.zeros(len(keys), bool)
    # Listed again until nothing is new: a part that is gone meanwhile lives on in a merged one.
    while not found.all() and (new := sorted(set(parts.sizes(folder)) - seen, reverse=True)):
        for name in new:
            seen.add(name)
            for positions, vectors in _read_part(folder / name, fingerprint, keys, width, found):
                found[positions] = True
                yield positions, vectors


def write(folder: Path, fingerprint: str, keys: np.ndarray, vectors: np.ndarray) -> str | None:
    """Adds one part; it is there whole or not at all.

    Args:
        folder: what `open_folder` gave.
        fingerprint: the encoder's.
        keys: [n] S32; of equal ones the first counts.
        vectors: [n, width] float32.

    Returns:
        The part's name; None where there was nothing to write.

    Raises:
        TextError: the disk is full or the folder cannot be written.
    """
    if not len(keys):
        return None
    keys, rows = np.unique(keys, return_index=True)
    vectors = np.ascontiguousarray(vectors[rows], np.float32)
    name = f"{time.time_ns():0{parts.STAMP}}-{uuid.uuid4().hex}{parts.SUFFIX}"
    with parts.save_errors(folder):
        sums = parts.checksums(keys, vectors)
        parts.write(folder / name, fingerprint, keys, sums, [vectors], vectors.shape[1])
    return name


def _tidy(folder: Path) -> None:
    """Removes what no living process writes any more."""
    storage.remove_partials(folder)
    for path in folder.glob(".*.work"):
        with contextlib.suppress(OSError):  # gone, or not ours to remove
            if time.time() - path.stat().st_mtime > storage.ABANDONED_SECONDS:
                path.unlink()


def _read_part(
    path: Path, fingerprint: str, keys: np.ndarray, width: int, found: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields what a part has of the keys that are not found yet."""
    damaged = 0
    try:
        with parts.opened(path, fingerprint, width) as part:
            if part is None:
                return
            positions, rows = _match(keys, part.keys)
            wanted = ~found[positions]
            positions, rows = positions[wanted], rows[wanted]
            for which, vectors, whole in parts.read_rows(part, rows):
                damaged += len(whole) - int(whole.sum())
                yield positions[which][whole], vectors[whole]
    except parts.Damaged as error:
        parts.put_aside(path, error)
    except OSError as error:
        if path.exists():
            parts.report(path, f"it cannot be read ({error.strerror}), its texts")
    if damaged:
        parts.report(path, f"{damaged:,} vectors do not match their checksums, their texts")


def _match(wanted: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the keys that two ascending tables share: their positions in either."""
    if len(wanted) < len(stored):
        return _match(stored, wanted)[::-1]
    if not len(stored):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(wanted, stored), len(wanted) - 1)
    hits = np.flatnonzero(wanted[at] == stored)
    return at[hits], hits
