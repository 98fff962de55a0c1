"""Parameters out of a checkpoint's tensors: stacked by layer, joined, whole or one shard at a time.

An architecture says of each parameter which rows of which tensors it is made of (`Source`). What a
device is to hold is read from the file and nothing more, so an encoder larger than one device, or
than the host's memory, can be placed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from ehr_jax.text import weights

Spans = tuple[tuple[int, int], ...]  # first and last + 1, by axis


class Part(NamedTuple):
    """Rows of a tensor, in the order they have in the parameter."""

    tensor: str  # its name; {} stands for the layer's number
    size: int  # rows of a block
    blocks: int = 1  # that the rows fall into, such as heads
    start: int = 0  # the first row


@dataclasses.dataclass(frozen=True)
class Source:
    """How a parameter is made of tensors.

    The last axis of `shape`, or the last two, hold the rows of the parts: a part fills a box of
    blocks x size, the next stands right of it, or below where the row is full.
    """

    shape: tuple[int, ...]  # of the parameter, in one layer
    parts: tuple[Part, ...]
    layers: int = 0  # stacked on a first axis; 0: stands outside of the layers
    matrix: bool = False  # the tensors are [outputs, inputs]; a product wants [inputs, ...]
    columns: int = 0  # of a tensor that is a table and not turned
    half: bool = False  # held in bfloat16 where that is the precision
    added: float = 0.0  # to what the file has
    lacking: float | None = None  # layer 0 has no such tensor, and gets this

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Shape of the parameter."""
        return (self.layers, *self.shape) if self.layers else self.shape

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The tensors it needs, and their shapes."""
        across = self.shape[:1] if self.matrix else (self.columns,) if self.columns else ()
        rows = {}
        for part in self.parts:
            end = part.start + part.size * part.blocks
            rows[part.tensor] = max(end, rows.get(part.tensor, 0))
        first = int(self.lacking is not None)
        return {
            name.format(layer): (count, *across)
            for name, count in rows.items()
            for layer in range(first, self.layers or first + 1)
        }


def table(tensor: str, rows: int, columns: int, half: bool = False) -> Source:
    """A table of one row for each token, position or type."""
    return Source((rows, columns), (Part(tensor, rows),), columns=columns, half=half)


def norm(
    name: str,
    tensor: str,
    width: int,
    layers: int = 0,
    biased: bool = True,
    added: float = 0.0,
    lacks_first: bool = False,
) -> dict[str, Source]:
    """The scale of a norm, and its bias."""

    def one(leaf: str, added: float, lacking: float) -> Source:
        part = Part(f"{tensor}.{leaf}", width)
        return Source(
            (width,), (part,), layers, added=added, lacking=lacking if lacks_first else None
        )

    sources = {f"{name}_scale": one("weight", added, 1.0)}
    return sources | ({f"{name}_bias": one("bias", 0.0, 0.0)} if biased else {})


def linear(
    name: str,
    inputs: int,
    outputs: tuple[int, ...],
    parts: tuple[Part, ...],
    layers: int,
    biased: bool = True,
) -> dict[str, Source]:
    """The kernel of a product, [inputs, *outputs], and its bias; parts are named without a leaf."""

    def leaf(name: str) -> tuple[Part, ...]:
        return tuple(part._replace(tensor=f"{part.tensor}.{name}") for part in parts)

    kernel = Source((inputs, *outputs), leaf("weight"), layers, matrix=True, half=True)
    sources = {f"{name}_kernel": kernel}
    return sources | ({f"{name}_bias": Source(outputs, leaf("bias"), layers)} if biased else {})


def shapes(sources: Mapping[str, Source]) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter; those of the layers are stacked on the first axis."""
    return {name: source.full_shape for name, source in sources.items()}


def dtype(source: Source, precision: str) -> np.dtype:
    """The dtype a parameter is held in."""
    half = source.half and precision == "bfloat16"
    return np.dtype(ml_dtypes.bfloat16 if half else np.float32)


def read(
    path: Path,
    sources: Mapping[str, Source],
    prefixes: tuple[str, ...],
    complete: str,
    precision: str,
    shardings: Mapping[str, jax.sharding.Sharding] | None = None,
    unused: tuple[str, ...] = (),
) -> dict[str, jax.Array]:
    """Reads parameters; the host holds one of them at a time, or one shard of one.

    Args:
        path: what `weights.find_weights` gave.
        sources: of each parameter, by name.
        prefixes, complete: see `weights.open_tensors`.
        precision: with "bfloat16" the sources marked `half` are held in it.
        shardings: of each parameter; None puts all on the default device.
        unused: endings of the names of tensors that may be there and are not wanted.

    Raises:
        TextError: see `weights.open_tensors`.
    """
    wanted = {}
    for source in sources.values():
        wanted |= source.tensors()
    with weights.open_tensors(path, wanted, prefixes, complete, unused) as fetch:
        params = {}
        for name, source in sources.items():

            def shard(spans: Spans, source=source) -> np.ndarray:
                return _read_shard(fetch, source, spans, dtype(source, precision))

            if shardings is None:
                params[name] = jnp.asarray(shard(tuple((0, n) for n in source.full_shape)))
            else:
                params[name] = _place(source.full_shape, shardings[name], shard)
        return params


def _place(shape: tuple[int, ...], sharding: jax.sharding.Sharding, shard: Callable) -> jax.Array:
    """Puts each shard on its devices, one after the other."""
    # jax.make_array_from_callback would hold the shards of all local devices at once.
    devices = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        spans = tuple(axis.indices(n)[:2] for axis, n in zip(index, shape, strict=True))
        devices.setdefault(spans, []).append(device)
    placed = []
    for spans, holders in devices.items():
        host = shard(spans)
        placed += jax.block_until_ready([jax.device_put(host, device) for device in holders])
    return jax.make_array_from_single_device_arrays(shape, sharding, placed)


def _read_shard(fetch: Callable, source: Source, spans: Spans, kind: np.dtype) -> np.ndarray:
    target = np.empty([end - first for first, end in spans], kind)
    if not source.layers:
        _fill(target, fetch, source, 0, spans)
        return target
    for row, layer in enumerate(range(*spans[0])):
        if not layer and source.lacking is not None:
            target[row] = source.lacking
        else:
            _fill(target[row], fetch, source, layer, spans[1:])
    return target


def _fill(target: np.ndarray, fetch: Callable, source: Source, layer: int, spans: Spans) -> None:
    """Fills what one layer has of a shard; `target` is the part of it that `spans` cut out."""
    columns = slice(*spans[0]) if source.matrix else slice(*spans[1]) if source.columns else None
    outputs = spans[1:] if source.matrix else spans[:1] if source.columns else spans
    if len(outputs) == 1:
        outputs = ((0, 1), *outputs)
        target = np.expand_dims(target, 1 if source.matrix else 0)
    (top, bottom), (left, right) = outputs
    y = x = 0  # where the part's box begins
    for part in source.parts:
        y0, y1 = max(y, top), min(y + part.blocks, bottom)
        x0, x1 = max(x, left), min(x + part.size, right)
        if y0 < y1 and x0 < x1:
            first = part.start + (y0 - y) * part.size
            # Of one block just the rows that are asked for, of several whole blocks.
            rows = slice(first + x0 - x, first + x1 - x)
            if y1 - y0 > 1:
                rows = slice(first, first + (y1 - y0) * part.size)
            found = fetch(part.tensor.format(layer), rows, columns)
            found = found.reshape(y1 - y0, -1, *found.shape[1:])
            if y1 - y0 > 1:
                found = found[:, x0 - x : x1 - x]
            box = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
            if source.matrix:
                target[:, *box] = np.moveaxis(found, -1, 0)
            else:
                target[box] = found + np.float32(source.added) if source.added else found
        x += part.size
        if x == source.shape[-1 - bool(source.columns)]:
            x, y = 0, y + part.blocks
