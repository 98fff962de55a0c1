"""Reads a checkpoint folder's files: JSON settings and tensors, of one safetensors file or shards.

Every fault is a `TextError` that names the file, what was found, what was expected and the way out.
Nothing here knows an architecture; each one brings its own table of tensor names and shapes.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import ml_dtypes  # noqa: F401  (registers bfloat16, so that numpy can hold such tensors)
import numpy as np
import safetensors

from ehr_jax.errors import TextError

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BUFFERS = re.compile(r"(rotary_emb\.inv_freq|position_ids|masked_bias)$")  # no weights: computed
PICKLED = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
)


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
    """Returns the folder's `model.safetensors`, or the index of its shards.

    Raises:
        TextError: both are missing; the message says what is there instead.
    """
    for name in (SINGLE, INDEX):
        if (folder / name).is_file():
            return folder / name
    pickled = next((name for name in PICKLED if (folder / name).is_file()), None)
    convert = f"python -m ehr_jax.text.convert_bin {folder}"
    if pickled is None:
        hint = f"pytorch_model.bin, where it is published alone, can be converted there: {convert}"
    else:
        hint = f"found {pickled}, which is not read (it can run code). Save it as safetensors"
        hint += f" once: {convert}" if pickled.startswith("pytorch") else ""
    raise TextError(f"{folder / SINGLE}: file is missing; {hint}")


@contextlib.contextmanager
def open_tensors(
    path: Path,
    wanted: Mapping[str, tuple[int, ...]],
    prefixes: Iterable[str] = ("",),
    complete: str | None = None,
    unused: tuple[str, ...] = (),
) -> Iterator[Callable[..., np.ndarray]]:
    """Opens the wanted tensors of one safetensors file, or of the shards of an index.

    Args:
        path: what `find_weights` gave.
        wanted: tensor name, without prefix, to the shape it must have.
        prefixes: what may stand before the names, such as "bert."; the first that fits is taken.
        complete: below this name, such as "encoder.layer.", a tensor that is not wanted is a fault:
            the config says fewer layers, or another kind. Elsewhere it is ignored, as task heads.
        unused: but those with such an ending are no fault.

    Yields:
        (name, rows, columns) -> that part of a tensor, as it is stored: name without prefix, two
        slices; without columns of all that the tensor has. No more than the part is read.

    Raises:
        TextError: a file is damaged, or tensors are missing, too many, or of another shape (all are
            named).
    """
    with contextlib.ExitStack() as stack:
        stored = {}  # name -> (open file, name in it)
        for shard in shards(path):
            check_header(shard)
            try:
                file = stack.enter_context(safetensors.safe_open(shard, framework="np"))
            except safetensors.SafetensorError as error:
                raise TextError(
                    f"{shard}: not a readable safetensors file ({error}); fetch it again"
                ) from error
            stored |= {modern_name(name): (file, name) for name in file.keys()}
        prefix = max(prefixes, key=lambda p: sum(p + name in stored for name in wanted))
        missing = [prefix + name for name in wanted if prefix + name not in stored]
        if missing:
            raise TextError(
                f"{path}: {_some(missing)} missing; the file holds {len(stored)} tensors, such "
                f"as {_some(sorted(stored), 3)}. Do config.json and weights belong together?"
            )
        if complete is not None:
            _check_complete(path, stored, wanted, prefix, complete, unused)
        wrong = []
        for name, shape in wanted.items():
            file, inside = stored[prefix + name]
            found = tuple(file.get_slice(inside).get_shape())
            if found != shape:
                wrong.append(f"{prefix + name} has shape {found}, expected {shape}")
        if wrong:
            raise TextError(
                f"{path}: {_some(wrong, sep='; ')}. Do config.json and the weights belong together?"
            )

        def fetch(name: str, rows: slice, columns: slice | None = None) -> np.ndarray:
            file, inside = stored[prefix + name]
            part = file.get_slice(inside)
            return part[rows] if columns is None else part[rows, columns]

        yield fetch


def shards(path: Path) -> list[Path]:
    """Returns the safetensors files of what `find_weights` gave: itself, or those an index names.

    Raises:
        TextError: the index is no index, or names a file outside its folder or one that is missing.
    """
    if path.name != INDEX:
        return [path]
    index = read_json(path)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names:
        raise TextError(f"{path}: no weight_map of tensors to files; fetch the file again")
    files = []
    for name in sorted({str(name) for name in names.values()}):
        inside = PurePosixPath(name)
        # By name alone, since a hub cache links each file to one that lies elsewhere.
        if inside.is_absolute() or ".." in inside.parts or "\\" in name or ":" in name:
            raise TextError(
                f"{path}: names the file {name!r}, which lies outside its folder and is not read"
            )
        if inside.suffix != ".safetensors":
            raise TextError(f"{path}: names the file {name!r}, expected *.safetensors")
        if not (path.parent / name).is_file():
            raise TextError(f"{path.parent / name}: file is missing; {path.name} names it")
        files.append(path.parent / name)
    return files


def _check_complete(
    path: Path, stored, wanted, prefix: str, complete: str, unused: tuple[str, ...]
) -> None:
    extra = sorted(
        name
        for name in stored
        if name.startswith(prefix + complete)
        and name.removeprefix(prefix) not in wanted
        and not BUFFERS.search(name)
        and not name.endswith(unused)
    )
    if extra:
        raise TextError(
            f"{path}: {_some(extra)} not expected by config.json. Do they belong together?"
        )


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
    """Returns the sha256 as hex of a file's bytes; of shards, that of their names and hashes."""
    if path.name == INDEX:
        every = [[shard.name, file_hash(shard)] for shard in shards(path)]
        return hashlib.sha256(json.dumps(every).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digests(folder: Path, files: Mapping[str, str], requirement: str) -> dict[Path, str]:
    """Returns the sha256 of each of the `files`, which are those that they should be.

    Args:
        files: name in the folder to sha256 as hex.
        requirement: the package and version that brings them.

    Raises:
        TextError: one is missing or another; both digests are named.
    """
    for name, expected in files.items():
        path = folder / name
        try:
            digest = file_hash(path)
        except OSError as error:
            raise TextError(
                f"{path}: cannot be read ({error.strerror}); install {requirement} again"
            ) from error
        if digest != expected:
            raise TextError(
                f"{path}: its sha256 is {digest}, and {requirement} has {expected}: the file was "
                "changed, or is of another version. Install that version again, or name the folder "
                "as config.text.encoder to use it as it is"
            )
    return {folder / name: digest for name, digest in files.items()}


def _some(items: list[str], most: int = 5, sep: str = ", ") -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return sep.join(items[:most]) + more
