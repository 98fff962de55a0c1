"""Only what some nodes' outputs depend on: the part of a hypergraph each layer must compute.

A layer goes node -> hyperedge -> node. For the outputs of chosen nodes, the last layer needs their
hyperedges alone, the one before only the members of those, and so on. Rows and results are those
of the whole hypergraph, for every target keeps all its sources.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import jraph
import numpy as np

from ehr_jax.nn import bipartite, spmm


class Hop(flax.struct.PyTreeNode):
    """One layer's part of a hypergraph.

    Attributes:
      to_hyperedges: from the layer's input nodes to the hyperedges kept.
      to_nodes: from those to the layer's output nodes.
      degree: [input node] int32, hyperedges of each in the whole hypergraph.
    """

    to_hyperedges: spmm.Incidence
    to_nodes: spmm.Incidence
    degree: jax.Array


def whole(graph: jraph.GraphsTuple, depth: int) -> tuple[Hop, ...]:
    """Returns `depth` hops that compute every node."""
    incidence = spmm.from_graph(graph)
    degree = jnp.diff(incidence.backward.offsets)
    return (Hop(incidence, incidence.transpose, degree),) * depth


def reaching(
    graph: jraph.GraphsTuple, depth: int, rows: Sequence[np.ndarray]
) -> list[tuple[Hop, ...]]:
    """Returns `depth` hops for each of `rows`, all of the same shapes, so that one program fits.

    Args:
      rows: arrays of distinct node ids, [row] each and equally long; row i of the last hop's
        output is node `rows[k][i]`. The first hop reads all nodes. Outputs beyond are padding.
    """
    node, hyperedge, num_nodes, _ = bipartite.unpack(graph)
    degree = np.bincount(node, minlength=num_nodes)
    outputs, layers = list(rows), []
    for layer in reversed(range(depth)):
        parts = [_part(graph, ids) for ids in outputs]
        if layer == 0:
            inputs, sources = [np.arange(num_nodes)] * len(parts), num_nodes
        else:
            inputs = [np.unique(node[part.up[0]]) for part in parts]
            sources = max(ids.size for ids in inputs) + 1
        layers.append(_same_shapes(parts, inputs, sources, node, degree))
        outputs = inputs
    return list(zip(*reversed(layers), strict=True))


class _Part(NamedTuple):
    """Incidences by number: those of kept hyperedges, those of output nodes; and new ids.

    Attributes:
      up, down: (incidence numbers, new ids of their targets) of either direction.
      down_sources: new ids of the hyperedges `down` comes from.
      hyperedges, outputs: how many there are.
    """

    up: tuple[np.ndarray, np.ndarray]
    down: tuple[np.ndarray, np.ndarray]
    down_sources: np.ndarray
    hyperedges: int
    outputs: int


def _part(graph: jraph.GraphsTuple, outputs: np.ndarray) -> _Part:
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(graph)
    new_node = _new_ids(outputs, num_nodes)
    down = np.flatnonzero(new_node[node] >= 0)
    kept = np.unique(hyperedge[down])
    new_hyperedge = _new_ids(kept, num_hyperedges)
    up = np.flatnonzero(new_hyperedge[hyperedge] >= 0)
    return _Part(
        up=(up, new_hyperedge[hyperedge[up]]),
        down=(down, new_node[node[down]]),
        down_sources=new_hyperedge[hyperedge[down]],
        hyperedges=kept.size,
        outputs=outputs.size,
    )


def _same_shapes(parts, inputs, sources, node, degree) -> list[Hop]:
    """Pads all to one shape; one hyperedge and one output are always spare."""
    hyperedges = max(part.hyperedges for part in parts) + 1
    outputs = max(part.outputs for part in parts) + 1
    up_pairs = max(part.up[0].size for part in parts)
    down_pairs = max(part.down[0].size for part in parts)
    return [
        Hop(
            spmm.from_pairs(
                _new_ids(ids, degree.size)[node[part.up[0]]],
                part.up[1],
                sources,
                hyperedges,
                up_pairs,
            ),
            spmm.from_pairs(part.down_sources, part.down[1], hyperedges, outputs, down_pairs),
            jnp.asarray(np.pad(degree[ids], (0, sources - ids.size)), jnp.int32),
        )
        for part, ids in zip(parts, inputs, strict=True)
    ]


def _new_ids(ids: np.ndarray, count: int) -> np.ndarray:
    """[count] position of every id among `ids`, -1 where it is not one of them."""
    new = np.full(count, -1)
    new[ids] = np.arange(ids.size)
    return new
