"""The vector cache: what was encoded once is read back, whoever encoded it.

A folder per encoder fingerprint holds immutable safetensors parts (`keys` [n, 32] uint8, `vectors`
[n, width] float32). A part appears whole by an atomic rename, so there are no locks: any number of
processes may write, and a text encoded twice is harmless. A key is a hash of encoder and text; no
text is stored. Vectors are still derived from patients' notes: the folder is private (mode 0700).
"""

import hashlib
import os
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from ehr_jax.errors import TextError
from ehr_jax.text import weights

KEY = np.dtype("S32")  # a sha256 as one comparable value
STALE_SECONDS = 86_400  # an unfinished part this old belongs to a process that was killed
DATA_USE = """\
These files hold vectors computed from texts, and keys (hashes) of those texts, no text itself.
Vectors of patients' notes fall under the same terms as the notes: do not share this folder,
and delete it when the terms of the source ask for deletion.
"""


def default_folder() -> Path:
    """Returns `$EHR_JAX_CACHE`, else `~/.cache/ehr_jax/vectors`."""
    return Path(os.environ.get("EHR_JAX_CACHE") or "~/.cache/ehr_jax/vectors").expanduser()


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
    parts = root / fingerprint[:16]
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts.mkdir(mode=0o700, exist_ok=True)
        if not (root / "DATA_USE.txt").exists():
            (root / "DATA_USE.txt").write_text(DATA_USE)
        _tidy(parts)
    except OSError as error:
        raise TextError(
            f"{parts}: the vector cache cannot be written ({error.strerror}); "
            "set EHR_JAX_CACHE to a folder of yours"
        ) from error
    return parts


def read(
    parts: Path, fingerprint: str, keys: np.ndarray, width: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Finds wanted keys in all parts, one part in memory at a time.

    A damaged part is reported on standard output and left out, so its texts are encoded again.

    Args:
        parts: what `open_folder` gave.
        fingerprint: the encoder's; parts of another are ignored.
        keys: [wanted] S32, sorted and distinct.
        width: length of a vector.

    Yields:
        (positions in `keys` [hits] int64, vectors [hits, width] float32).
    """
    for path in sorted(parts.glob("*.safetensors")):
        try:
            part = _read_part(path, fingerprint, width)
        except (TextError, safetensors.SafetensorError, OSError, ValueError) as error:
            print(
                f"vector cache: damaged part left out, its texts are encoded again: {error}",
                flush=True,
            )
            continue
        if part is None or not len(keys):
            continue
        stored, vectors = part
        positions = np.minimum(np.searchsorted(keys, stored), len(keys) - 1)
        hits = np.flatnonzero(keys[positions] == stored)
        yield positions[hits], vectors[hits]


def write(parts: Path, fingerprint: str, keys: np.ndarray, vectors: np.ndarray) -> None:
    """Adds one part; it is there whole or not at all.

    Args:
        parts: what `open_folder` gave.
        fingerprint: the encoder's.
        keys: [n] S32.
        vectors: [n, width] float32.

    Raises:
        TextError: the disk is full or the folder cannot be written.
    """
    tensors = {
        "keys": np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 32),
        "vectors": np.ascontiguousarray(vectors, np.float32),
    }
    metadata = {"fingerprint": fingerprint, "crc32": str(_checksum(**tensors))}
    name = f"{int(time.time())}-{uuid.uuid4().hex}"
    unfinished = parts / f".{name}.tmp"
    try:
        with unfinished.open("wb") as file:
            file.write(safetensors.numpy.save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, parts / f"{name}.safetensors")
        _sync_folder(parts)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise TextError(
            f"{parts}: vectors cannot be saved ({error.strerror}); free some space or set "
            "EHR_JAX_CACHE to another disk, then start again: what was saved is kept"
        ) from error


def _tidy(parts: Path) -> None:
    """Removes unfinished parts that no living process writes any more."""
    for unfinished in parts.glob(".*.tmp"):
        try:
            if time.time() - unfinished.stat().st_mtime > STALE_SECONDS:
                unfinished.unlink()
        except FileNotFoundError:
            continue  # another process was quicker


def _read_part(path: Path, fingerprint: str, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads one part; None where it belongs to another encoder."""
    header = weights.check_header(path)
    metadata = header.get("__metadata__", {})
    if metadata.get("fingerprint") != fingerprint:
        return None
    tensors = safetensors.numpy.load(path.read_bytes())
    keys, vectors = tensors.get("keys"), tensors.get("vectors")
    if (
        keys is None
        or vectors is None
        or keys.shape != (len(vectors), 32)
        or vectors.shape[1:] != (width,)
    ):
        raise ValueError(f"{path}: keys and vectors do not fit each other")
    if str(_checksum(keys, vectors)) != metadata.get("crc32"):
        raise ValueError(f"{path}: its bytes do not match their checksum")
    return np.ascontiguousarray(keys).view(KEY).ravel(), vectors


def _checksum(keys: np.ndarray, vectors: np.ndarray) -> int:
    return zlib.crc32(vectors.data.cast("B"), zlib.crc32(keys.data.cast("B")))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
