"""Vectors of texts to one file, part by part, which appears whole or not at all.

A .parquet file has the columns `row` (Int64, from 0), the id column if there is one, and `vector`
(a list of fixed length, float32); a .safetensors file has `vectors` [texts, width] float32. Both
say in their metadata what made them. Vectors of notes are as private as the notes: mode 0600.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import polars as pl
import safetensors

from ehr_jax import data_use, errors, storage
from ehr_jax.records.common import damage
from ehr_jax.training import run_folder

PLAIN = {"compression": "uncompressed", "statistics": False}  # vectors hardly shrink
Add = Callable[[np.ndarray, pl.Series | None], object]


def check(path: str) -> pathlib.Path:
    """Returns the path of an output, config.text.output; ConfigError where it cannot be written."""
    file = pathlib.Path(path).expanduser()
    if not file.parent.is_dir():
        raise errors.ConfigError(f"config.text.output: there is no folder {file.parent}; make it")
    if file.is_dir():
        raise errors.ConfigError(f"config.text.output: {file} is a folder; name a file")
    return file


def is_written(path: pathlib.Path, identity: Mapping[str, str]) -> bool:
    """Says whether the output is there already, with all of `identity` in its metadata.

    Raises:
        ConfigError: something else is there.
    """
    if not path.exists():
        return False
    found = _metadata(path)
    differing = [key for key, value in identity.items() if found.get(key) != value]
    if differing:
        what = f"was made otherwise ({', '.join(differing)} differ)" if found else "is not of ours"
        raise errors.ConfigError(
            f"config.text.output: {path} is there already and {what}; remove it or name another"
        )
    return True


@contextlib.contextmanager
def writing(
    path: pathlib.Path, texts: int, width: int, metadata: Mapping[str, str]
) -> Iterator[Add]:
    """Opens an output; call what it gives with the next vectors, [rows, width] float32, and ids.

    The file is in its place when the block ends; if it ends by an error nothing is left. Several
    processes that share the work each write the whole of it, and the last one's stays.

    Raises:
        RunFolderError: the disk is full or cannot be written.
    """
    kind = _parquet if path.suffix == ".parquet" else _safetensors
    try:
        with storage.work_folder(path) as folder:
            with kind(folder / path.name, texts, width, metadata) as add:
                yield add
            data_use.note_vectors(path)
            storage.move(folder / path.name, path)
    except OSError as error:
        raise run_folder.disk_error(path, error) from error


@contextlib.contextmanager
def _parquet(
    path: pathlib.Path, texts: int, width: int, metadata: Mapping[str, str]
) -> Iterator[Add]:
    """One file a part, joined at the end without holding more than a few in memory."""
    parts, rows = [], 0

    def add(vectors: np.ndarray, ids: pl.Series | None) -> None:
        nonlocal rows
        frame = pl.DataFrame({"row": np.arange(rows, rows + len(vectors))})
        frame = frame if ids is None else frame.with_columns(ids)
        frame = frame.with_columns(pl.Series("vector", vectors))
        parts.append(path.with_name(f"{len(parts):06}.part.parquet"))
        with storage.disk_errors():
            frame.write_parquet(parts[-1], **PLAIN)
        rows += len(vectors)

    yield add
    with storage.disk_errors():
        pl.scan_parquet(parts, glob=False).sink_parquet(path, metadata=dict(metadata), **PLAIN)


@contextlib.contextmanager
def _safetensors(
    path: pathlib.Path, texts: int, width: int, metadata: Mapping[str, str]
) -> Iterator[Add]:
    """The header, which says how many rows will come, then the rows as they come."""
    tensor = {"dtype": "F32", "shape": [texts, width], "data_offsets": [0, texts * width * 4]}
    header = json.dumps({"__metadata__": dict(metadata), "vectors": tensor}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        yield lambda vectors, ids: file.write(np.ascontiguousarray(vectors, "<f4").data)
        file.flush()
        os.fsync(file.fileno())


def _metadata(path: pathlib.Path) -> dict[str, str]:
    try:
        if path.suffix == ".parquet":
            with open(path, "rb") as file:
                return pl.read_parquet_metadata(file)
        with safetensors.safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (*damage.ERRORS, safetensors.SafetensorError):
        return {}
