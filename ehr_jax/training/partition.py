"""Deals the visits of a hypergraph out over the devices of a mesh.

Every device is given the same number of visits (the last ones padding) and nearly the same number
of incidences; the nodes are on all of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors
from ehr_jax.features import hypergraph, prepare
from ehr_jax.models import inputs
from ehr_jax.nn import bipartite, spmm

AXIS = "data"  # of the mesh
PADDING = -1


class Dealt(NamedTuple):
    """Visits in shards.

    Attributes:
      visits: as of one device, with an axis [shard, ...] in front of every array.
      rows: [shard, visit] int64, the sample each visit is; `PADDING` where it is none.
    """

    visits: inputs.Visits
    rows: np.ndarray


def make_mesh(count: int | None = None) -> jax.sharding.Mesh:
    """Returns a mesh of the first `count` devices (None: all), of one axis `AXIS`.

    Raises:
      ConfigError: there are not so many.
    """
    devices = jax.devices()
    wanted = len(devices) if count is None else count
    if not 1 <= wanted <= len(devices):
        raise errors.ConfigError(
            f"config.train.devices is {count}; expected 1 to {len(devices)}, the number of "
            f"{devices[0].platform} devices, or None for all"
        )
    return jax.make_mesh(
        (wanted,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=devices[:wanted]
    )


def deal(sizes: np.ndarray, shards: int) -> np.ndarray:
    """Deals items out to and fro, the largest first.

    So no shard has more than one item more than another, and none is larger than another by more
    than the largest item.

    Args:
      sizes: [item] integers.

    Returns:
      [shard, ceil(item / shard)] int64, items; `PADDING` fills the last column.
    """
    order = np.argsort(-np.asarray(sizes), kind="stable")
    rounds = -(-order.size // shards)
    padded = np.full(rounds * shards, PADDING, np.int64)
    padded[: order.size] = order
    dealt = padded.reshape(rounds, shards)
    dealt[1::2] = dealt[1::2, ::-1]
    return dealt.T.copy()


def visits(arrays: prepare.Arrays, rows: np.ndarray, self_loops: bool, shards: int) -> Dealt:
    """Deals the samples `rows` [row] out as hyperedges, and self-loops of nodes with them."""
    graph = hypergraph.select_visits(arrays.visits, rows)
    loops = np.zeros(0, np.int64)
    if self_loops:
        graph, loops = bipartite.with_self_loops(graph)
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(graph)
    sizes = np.bincount(hyperedge, minlength=num_hyperedges)
    visits = deal(sizes[: len(rows)], shards)
    looped = deal(np.ones(loops.size, np.int64), shards)
    held = np.concatenate(
        [visits, np.where(looped == PADDING, PADDING, looped + len(rows))], axis=1
    )  # [shard, hyperedge]
    incidence = _incidences(node, hyperedge, held, num_nodes, num_hyperedges)
    real = held != PADDING
    samples = np.where(visits == PADDING, PADDING, np.append(rows, PADDING)[visits])
    given = samples != PADDING
    return Dealt(
        inputs.Visits(
            incidence=incidence,
            loops=np.append(loops, 0)[looped].astype(np.int32),
            # A product rather than np.where: the vectors may be traced.
            notes=arrays.notes[samples] * given[..., None].astype(np.float32),
            has_note=np.where(given, arrays.has_note[samples], 0).astype(np.float32),
            num_visits=visits.shape[1],
            real=real.astype(np.float32),
        ),
        samples,
    )


def everywhere(mesh: jax.sharding.Mesh | None) -> jax.sharding.Sharding | None:
    """Of what is the same on all devices of a mesh; None where there is none."""
    return None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def put(x, mesh: jax.sharding.Mesh | None, axes: tuple[str, ...] = ()):
    """Places a pytree of host arrays on the mesh, divided along `axes` and else the same on all.

    Every process holds all of `x` and gives its own devices their part. Without a mesh all goes to
    the default device.
    """
    if mesh is None:
        return jax.tree.map(jnp.asarray, x)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))

    def place(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(place, x)


def _incidences(node, hyperedge, held, num_nodes, num_hyperedges) -> spmm.Incidence:
    """One incidence a shard, padded to the same length and stacked."""
    shards, width = held.shape
    place = np.full(num_hyperedges, PADDING, np.int64)  # of a hyperedge in its shard
    owner = np.full(num_hyperedges, PADDING, np.int64)
    shard, column = np.nonzero(held != PADDING)
    place[held[shard, column]] = column
    owner[held[shard, column]] = shard
    order = np.argsort(owner[hyperedge], kind="stable")
    ends = np.cumsum(np.bincount(owner[hyperedge], minlength=shards))
    counts = np.diff(ends, prepend=0)
    parts = [
        spmm.host_pairs(node[own], place[hyperedge[own]], num_nodes, width, int(counts.max()))
        for own in np.split(order, ends[:-1])
    ]
    return jax.tree.map(lambda *arrays: np.stack(arrays), *parts)
