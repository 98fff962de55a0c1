"""Reads a checkpoint folder's files: JSON settings and the tensors of one safetensors file.

Every fault is a `TextError` that names the file, what was found, what was expected and the way out.
Nothing here knows an architecture; each one brings its own table of tensor names and shapes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401  (registers bfloat16, so that numpy can hold such tensors)
import numpy as np
import safetensors

from ehr_jax.errors import TextError

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format
PICKLED = ("pytorch_model.bin", "model.bin", "tf_model.h5", "flax_model.msgpack")


def read_json(path: Path, required: bool = True) -> dict | list | None:
    """Reads one JSON file; None where it is missing and not required.

    Raises:
        TextError: the file is missing though required, unreadable, or not JSON.
    """
    if not path.is_file():
        if not required:
            return None
        raise TextError(f"{path}: file is missing; an encoder folder needs {path.name}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TextError(
            f"{path}: cannot be read as JSON ({error}); fetch the file again"
        ) from error


def find_weights(folder: Path) -> Path:
    """Returns the folder's `model.safetensors`.

    Raises:
        TextError: it is missing; the message says what is there instead.
    """
    path = folder / "model.safetensors"
    if path.is_file():
        return path
    if (folder / "model.safetensors.index.json").is_file():
        raise TextError(
            f"{folder}: the weights are split over several files (model.safetensors.index.json); "
            "only a single model.safetensors can be read. Join them: load the model with "
            "transformers and save_pretrained(folder, max_shard_size='100GB')"
        )
    pickled = next((name for name in PICKLED if (folder / name).is_file()), None)
    hint = (
        f"; found {pickled}, which is not read (it can run code). Save it as safetensors"
        if pickled
        else ""
    )
    raise TextError(f"{path}: file is missing{hint}")


def read_tensors(
    path: Path, wanted: Mapping[str, tuple[int, ...]], prefixes: Iterable[str] = ("",)
):
    """Reads the wanted tensors of one safetensors file as float32.

    Args:
        path: the safetensors file.
        wanted: tensor name, without prefix, to the shape it must have. Other tensors are ignored.
        prefixes: what may stand before the names, such as "bert."; the first that fits is taken.

    Returns:
        dict of name without prefix to array, float32.

    Raises:
        TextError: the file is damaged, or tensors are missing or of another shape (all are named).
    """
    check_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            stored = {modern_name(name): name for name in file.keys()}
            prefix = max(prefixes, key=lambda p: sum(p + name in stored for name in wanted))
            missing = [prefix + name for name in wanted if prefix + name not in stored]
            if missing:
                raise TextError(
                    f"{path}: {_some(missing)} missing; the file holds {len(stored)} tensors, such "
                    f"as {_some(sorted(stored), 3)}. Do config.json and weights belong together?"
                )
            wrong = []
            tensors = {}
            for name, shape in wanted.items():
                found = tuple(file.get_slice(stored[prefix + name]).get_shape())
                if found != shape:
                    wrong.append(f"{prefix + name} has shape {found}, expected {shape}")
                elif not wrong:
                    tensors[name] = file.get_tensor(stored[prefix + name]).astype(np.float32)
    except safetensors.SafetensorError as error:
        raise TextError(
            f"{path}: not a readable safetensors file ({error}); fetch it again"
        ) from error
    if wrong:
        raise TextError(
            f"{path}: {_some(wrong, sep='; ')}. Do config.json and the weights belong together?"
        )
    return tensors


def check_header(path: Path) -> dict:
    """Checks that the header of a safetensors file is whole and fits the file; returns it.

    Raises:
        TextError: no file, a header cut off, oversized or not JSON, or data cut off.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8 or length > MAX_HEADER_BYTES:
                raise TextError(
                    f"{path}: the header says it is {length} bytes long, the file has {size}: "
                    "truncated or not safetensors; fetch it again"
                )
            header = json.loads(file.read(length))
        ends = [
            entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
        ]
    except OSError as error:
        raise TextError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise TextError(
            f"{path}: the header is not that of a safetensors file; fetch it again"
        ) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise TextError(f"{path}: {size} bytes, but its header promises {expected}: fetch it again")
    return header


def modern_name(name: str) -> str:
    """Turns the old names of a layer norm's parameters (gamma, beta) into weight and bias."""
    if name.endswith(("LayerNorm.gamma", "LayerNorm.beta")):
        return name.removesuffix("gamma").removesuffix("beta") + (
            "weight" if name.endswith("gamma") else "bias"
        )
    return name


def file_hash(path: Path) -> str:
    """Returns the sha256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _some(items: list[str], most: int = 5, sep: str = ", ") -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return sep.join(items[:most]) + more
