"""A hypergraph as the bipartite `jraph.GraphsTuple` that crosses room borders, and back.

Vertices 0 .. num_nodes-1 are nodes, the rest are hyperedges; an edge of the graph is one incidence,
from a node (`senders`) to a hyperedge (`receivers`). `nodes["is_hyperedge"]` marks the two kinds.
"""

import jraph
import numpy as np


def pack(
    node: np.ndarray, hyperedge: np.ndarray, num_nodes: int, num_hyperedges: int
) -> jraph.GraphsTuple:
    """Returns the graph of incidences `node[i]` in `hyperedge[i]`.

    Args:
      node: [incidence] integers below `num_nodes`.
      hyperedge: [incidence] integers below `num_hyperedges`.

    Raises:
      ValueError: an index is out of range, or the same incidence appears twice.
    """
    node, hyperedge = np.asarray(node, np.int64), np.asarray(hyperedge, np.int64)
    if node.shape != hyperedge.shape or node.ndim != 1:
        raise ValueError(
            f"incidence lists differ: {node.shape} nodes, {hyperedge.shape} hyperedges"
        )
    for name, index, count in (
        ("node", node, num_nodes),
        ("hyperedge", hyperedge, num_hyperedges),
    ):
        if index.size and (index.min() < 0 or index.max() >= count):
            raise ValueError(f"{name} index {index.min()}..{index.max()} is outside 0..{count - 1}")
    if np.unique(hyperedge * num_nodes + node).size != node.size:
        raise ValueError("an incidence appears twice; a node belongs to a hyperedge once")
    return jraph.GraphsTuple(
        nodes={"is_hyperedge": np.arange(num_nodes + num_hyperedges) >= num_nodes},
        edges=None,
        senders=node.astype(np.int32),
        receivers=(hyperedge + num_nodes).astype(np.int32),
        globals=None,
        n_node=np.array([num_nodes + num_hyperedges], np.int32),
        n_edge=np.array([node.size], np.int32),
    )


def unpack(graph: jraph.GraphsTuple) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Returns (node [incidence], hyperedge [incidence], num_nodes, num_hyperedges) of `pack`."""
    is_hyperedge = np.asarray(graph.nodes["is_hyperedge"])
    num_nodes = int((~is_hyperedge).sum())
    hyperedge = np.asarray(graph.receivers) - num_nodes
    return np.asarray(graph.senders), hyperedge, num_nodes, int(is_hyperedge.sum())


def with_self_loops(graph: jraph.GraphsTuple) -> tuple[jraph.GraphsTuple, np.ndarray]:
    """Appends a singleton hyperedge for every node that has none yet.

    Real hyperedges keep their ids. Returns the graph and the node of each added hyperedge,
    [added] int32 (as the published set-attention code does: reference network of HypEHR).
    """
    node, hyperedge, num_nodes, num_hyperedges = unpack(graph)
    size = np.bincount(hyperedge, minlength=num_hyperedges)
    has_singleton = np.zeros(num_nodes, bool)
    has_singleton[node[size[hyperedge] == 1]] = True
    added = np.flatnonzero(~has_singleton).astype(np.int32)
    looped = pack(
        np.concatenate([node, added]),
        np.concatenate([hyperedge, num_hyperedges + np.arange(added.size)]),
        num_nodes,
        num_hyperedges + added.size,
    )
    return looped, added
