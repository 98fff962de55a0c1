"""Exact search for the rows of a matrix with the largest inner products, on one device or many.

    index = search.place(rows)                       # once; rows [n, width]
    scores, found = search.top_k(index, queries, 10)

No approximation: the result is that of sorting all products, equal ones by the lower row. Rows are
split over the devices; each finds its own best, and only these are put together.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import sharding

from ehr_jax import errors

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
QUERIES = 64  # searched at once: bounds the scores in memory
GROUP = 128  # columns whose largest score decides whether they are looked at
AXIS = "rows"


class Index(NamedTuple):
    """Rows on the devices, filled up to whole groups; `count` of them are real."""

    rows: jax.Array  # [padded, width] float32 or bfloat16, split along its rows
    count: int
    mesh: sharding.Mesh


def place(rows: np.ndarray, precision: str = "float32", devices=None) -> Index:
    """Puts rows on the devices.

    Args:
      rows: [n, width] float32, n >= 1, finite.
      precision: "float32", or "bfloat16": half the memory, products of rounded numbers summed in
        float32.
      devices: to split the rows over; None is all that this process has.

    Raises KnowledgeError for rows of another shape or with a number that is not finite.
    """
    rows = np.asarray(rows)
    _check(rows, "rows of a search index")
    if not len(rows):
        raise errors.KnowledgeError("a search index needs at least one row, found none")
    if precision not in PRECISIONS:
        raise errors.KnowledgeError(
            f"search precision '{precision}' is not known, expected one of {list(PRECISIONS)}"
        )
    devices = np.array(jax.local_devices() if devices is None else devices)
    mesh = sharding.Mesh(devices, (AXIS,), axis_types=(sharding.AxisType.Auto,))
    whole = len(devices) * GROUP
    padded = np.pad(rows, ((0, -len(rows) % whole), (0, 0))).astype(PRECISIONS[precision])
    split = sharding.NamedSharding(mesh, sharding.PartitionSpec(AXIS))
    return Index(jax.device_put(padded, split), len(rows), mesh)


def top_k(index: Index, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k rows with the largest inner product with each query.

    Args:
      queries: [m, width] float32, finite.
      k: at least 1; where it exceeds the number of rows, the rest is -inf and row -1.

    Returns (scores [m, k] float32, rows [m, k] int32), best first, equal ones by the lower row.

    Raises KnowledgeError for queries that do not fit the index, and for k below 1.
    """
    queries = np.asarray(queries)
    _check(queries, "queries")
    if queries.shape[1] != index.rows.shape[1]:
        raise errors.KnowledgeError(
            f"queries are {queries.shape[1]} wide, the index {index.rows.shape[1]}; both must come "
            "from one encoder"
        )
    if k < 1:
        raise errors.KnowledgeError(f"top_k: k is {k}, expected at least 1")
    scores = np.full((len(queries), k), -np.inf, np.float32)
    found = np.full((len(queries), k), -1, np.int32)
    taken, running = min(k, index.count), []
    for start in range(0, len(queries), QUERIES):
        part = queries[start : start + QUERIES]
        # Few sizes, so that few programs are compiled.
        size = min(QUERIES, 1 << (len(part) - 1).bit_length())
        filled = np.pad(part, ((0, size - len(part)), (0, 0))).astype(np.float32)
        running.append(
            (start, len(part), _search(index.rows, filled, index.count, taken, index.mesh))
        )
        if len(running) > 1:
            _take(running.pop(0), scores, found, taken)
    for last in running:
        _take(last, scores, found, taken)
    return scores, found


def _take(finished, scores: np.ndarray, found: np.ndarray, taken: int) -> None:
    start, size, (best, where) = finished
    scores[start : start + size, :taken] = np.asarray(best)[:size]
    found[start : start + size, :taken] = np.asarray(where)[:size]


@functools.partial(jax.jit, static_argnames=("k", "mesh"))
def _search(rows: jax.Array, queries: jax.Array, count: int, k: int, mesh: sharding.Mesh):
    """[padded, width], [m, width] -> scores [m, k] float32, rows [m, k] int32; k <= count."""
    everywhere, split = sharding.PartitionSpec(), sharding.PartitionSpec(AXIS)
    local = rows.shape[0] // mesh.size

    def of_device(rows, queries, count):
        first = jax.lax.axis_index(AXIS) * local
        scores = jax.lax.dot_general(
            queries.astype(rows.dtype),
            rows,
            (((1,), (1,)), ((), ())),
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )
        real = first + jnp.arange(local) < count
        best, where = _largest(jnp.where(real, scores, -jnp.inf), min(k, local))
        # In the order of the devices, so that of equal scores the lower row stands first.
        best = jax.lax.all_gather(best, AXIS, axis=1, tiled=True)
        where = jax.lax.all_gather(first + where, AXIS, axis=1, tiled=True)
        best, places = jax.lax.top_k(best, k)
        return best, jnp.take_along_axis(where, places, axis=1)

    return jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(split, everywhere, everywhere),
        out_specs=everywhere,
        check_vma=False,  # what was gathered is the same everywhere, which is not inferred
    )(rows, queries, count)


def _largest(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Returns the k largest of each row of [m, n] and their places, equal ones by the lower place.

    Only the k groups with the largest maxima can hold them: an entry of another group has k before
    it, the maxima of these, and where they equal it their groups are lower.
    """
    m, n = scores.shape
    groups = n // GROUP
    if n % GROUP or k >= groups:
        return jax.lax.top_k(scores, k)
    grouped = scores.reshape(m, groups, GROUP)
    _, held = jax.lax.top_k(grouped.max(axis=2), k)
    held = jnp.sort(held, axis=1)
    best, places = jax.lax.top_k(
        jnp.take_along_axis(grouped, held[:, :, None], axis=1).reshape(m, k * GROUP), k
    )
    group = jnp.take_along_axis(held, places // GROUP, axis=1)
    return best, group * GROUP + places % GROUP


def _check(values: np.ndarray, what: str) -> None:
    if values.ndim != 2:
        raise errors.KnowledgeError(f"{what}: shape {values.shape}, expected [number, width]")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise errors.KnowledgeError(f"{what}: row {row} holds a number that is not finite")
