"""A folder of tables and arrays that is there whole or not at all, checked when it is opened.

`description.json` says what the folder is and the sha256 of each file; tables are Arrow files,
arrays lie in one safetensors file, which is mapped into memory and not read.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import safetensors.numpy

from ehr_jax import errors, storage
from ehr_jax.text import weights

DESCRIPTION = "description.json"
ARRAYS = "arrays.safetensors"


class Content(NamedTuple):
    """What a folder holds; arrays are read-only."""

    described: dict[str, Any]
    tables: dict[str, pl.DataFrame]
    arrays: dict[str, np.ndarray]
    fingerprint: str


def write(
    folder: str | os.PathLike,
    described: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Writes a folder in place of one that is there.

    Args:
      described: plain data; "kind" and "format" say who reads it.

    Raises KnowledgeError where it cannot be written; a folder that was there then stays.
    """
    folder = pathlib.Path(folder).expanduser()
    try:
        with storage.work_folder(folder, private=False) as partial:
            for name, table in tables.items():
                table.rechunk().write_ipc(partial / f"{name}.arrow", compression="uncompressed")
            whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            (partial / ARRAYS).write_bytes(safetensors.numpy.save(whole))
            hashes = {path.name: _hash(path) for path in sorted(partial.iterdir())}
            text = json.dumps(dict(described) | {"files": hashes}, indent=1)
            (partial / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
            _put(partial, folder)
    except OSError as error:
        raise errors.KnowledgeError(
            f"{folder}: cannot be written ({storage.reason(error)}); free some space or set "
            "EHR_JAX_CACHE to a folder of yours"
        ) from error


def exists(folder: str | os.PathLike) -> bool:
    """Says whether there is such a folder, whatever it holds."""
    return (pathlib.Path(folder).expanduser() / DESCRIPTION).exists()


def describe(folder: str | os.PathLike, kind: str, version: int) -> dict[str, Any]:
    """Returns what `described` was; KnowledgeError where it is not of this kind and format."""
    folder = pathlib.Path(folder).expanduser()
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise errors.KnowledgeError(
            f"{folder} holds no {kind} ({DESCRIPTION} is missing)"
        ) from None
    except (OSError, ValueError) as error:
        raise damaged(folder, f"{DESCRIPTION} cannot be read") from error
    if not isinstance(described, dict) or not isinstance(described.get("files"), dict):
        raise damaged(folder, f"{DESCRIPTION} is not what was written")
    found = (described.get("kind"), described.get("format"))
    if found != (kind, version):
        raise errors.KnowledgeError(
            f"{folder} holds '{found[0]}' of format {found[1]}, expected '{kind}' of format "
            f"{version}; name another folder, or remove this one to have it made again"
        )
    return described


def read(folder: str | os.PathLike, kind: str, version: int) -> Content:
    """Opens a folder; KnowledgeError where it is not of this kind and format, or damaged."""
    folder = pathlib.Path(folder).expanduser()
    described = describe(folder, kind, version)
    for name, expected in described["files"].items():
        path = folder / pathlib.Path(name).name
        if not path.exists() or _hash(path) != expected:
            raise damaged(folder, f"{path.name} is missing or not what was written")
    tables = {
        name.removesuffix(".arrow"): pl.scan_ipc(folder / name, glob=False).collect()
        for name in described["files"]
        if name.endswith(".arrow")
    }
    fingerprint = hashlib.sha256(json.dumps(described["files"], sort_keys=True).encode())
    return Content(described, tables, _mapped(folder / ARRAYS), fingerprint.hexdigest())


def damaged(folder: pathlib.Path, why: str) -> errors.KnowledgeError:
    """Returns the error of a folder that is not what was written."""
    return errors.KnowledgeError(
        f"{folder} is damaged: {why}; remove it to have it made again, or copy it again"
    )


def _mapped(path: pathlib.Path) -> dict[str, np.ndarray]:
    header = weights.check_header(path)
    header.pop("__metadata__", None)
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    whole = np.memmap(path, mode="r") if header else np.zeros(0, np.uint8)
    found = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        dtype = np.dtype({"F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2"}[entry["dtype"]])
        found[name] = whole[begin:end].view(dtype).reshape(entry["shape"])
    return found


def _hash(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(partial: pathlib.Path, folder: pathlib.Path) -> None:
    """Puts a finished folder in its place; what another process put there meanwhile may stay."""
    if folder.exists():
        with storage.work_folder(folder) as aside:
            os.replace(folder, aside)
    try:
        os.replace(partial, folder)
    except OSError:
        if not exists(folder):
            raise
