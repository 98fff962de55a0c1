"""Random hypergraphs for the tests of the numeric core, as a dense incidence matrix and as ours."""

import numpy as np
from hypothesis import strategies as st

from ehr_jax.nn import bipartite, spmm


@st.composite
def dense(draw, most_nodes: int = 12, most_hyperedges: int = 15) -> np.ndarray:
    """[hyperedge, node] of 0 and 1; empty hyperedges, isolated nodes, no incidence at all occur."""
    num_nodes = draw(st.integers(1, most_nodes))
    num_hyperedges = draw(st.integers(1, most_hyperedges))
    density = draw(st.sampled_from([0.0, 0.1, 0.4, 1.0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    return (generator.random((num_hyperedges, num_nodes)) < density).astype(np.float64)


def graph(matrix: np.ndarray, order: np.ndarray | None = None):
    """The bipartite graph of a [hyperedge, node] matrix, its incidences in `order`."""
    hyperedge, node = np.nonzero(matrix)
    order = np.arange(node.size) if order is None else order
    return bipartite.pack(node[order], hyperedge[order], matrix.shape[1], matrix.shape[0])


def incidence(matrix: np.ndarray, order: np.ndarray | None = None) -> spmm.Incidence:
    """The node -> hyperedge incidence of a [hyperedge, node] matrix."""
    return spmm.from_graph(graph(matrix, order))


def mixed() -> np.ndarray:
    """Nine hyperedges over six nodes: an empty one, singletons, all nodes; node 5 is isolated."""
    members = [[0, 1, 2], [3], [], [0, 4], [1, 2, 3, 4], [4], [0, 1, 2, 3, 4], [2, 0], [3, 1]]
    matrix = np.zeros((len(members), 6))
    for hyperedge, nodes in enumerate(members):
        matrix[hyperedge, nodes] = 1
    return matrix
