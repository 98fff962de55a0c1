import jraph
import numpy as np
import pytest
import random_hypergraphs
from hypothesis import given, settings

from ehr_jax.nn import bipartite


@settings(max_examples=50)
@given(random_hypergraphs.dense())
def test_unpack_gives_back_what_was_packed(matrix):
    hyperedge, node = np.nonzero(matrix)
    graph = bipartite.pack(node, hyperedge, matrix.shape[1], matrix.shape[0])
    found_node, found_hyperedge, num_nodes, num_hyperedges = bipartite.unpack(graph)
    np.testing.assert_array_equal(found_node, node)
    np.testing.assert_array_equal(found_hyperedge, hyperedge)
    assert (num_hyperedges, num_nodes) == matrix.shape


def test_packed_graph_can_be_batched_and_padded_by_jraph():
    graph = random_hypergraphs.graph(random_hypergraphs.mixed())
    vertices, incidences = int(graph.n_node.sum()), int(graph.n_edge.sum())
    batch = jraph.batch([graph, graph])
    padded = jraph.pad_with_graphs(batch, 2 * vertices + 3, 2 * incidences + 5, n_graph=3)
    first = jraph.unbatch(jraph.unpad_with_graphs(padded))[1]
    np.testing.assert_array_equal(first.senders, graph.senders)
    np.testing.assert_array_equal(first.receivers, graph.receivers)


@pytest.mark.parametrize(
    "node, hyperedge, message",
    [
        ([0, 5], [0, 1], "node index 0..5 is outside 0..4"),
        ([0, -1], [0, 1], "node index -1..0 is outside 0..4"),
        ([0, 1], [0, 3], "hyperedge index 0..3 is outside 0..2"),
        ([1, 2, 1], [0, 0, 0], "an incidence appears twice"),
        ([1, 2], [0], "incidence lists differ"),
    ],
)
def test_impossible_incidences_are_refused(node, hyperedge, message):
    with pytest.raises(ValueError, match=message):
        bipartite.pack(node, hyperedge, 5, 3)


@settings(max_examples=50)
@given(random_hypergraphs.dense())
def test_self_loops_give_every_node_exactly_one_new_or_old_singleton(matrix):
    looped, added = bipartite.with_self_loops(random_hypergraphs.graph(matrix))
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(looped)
    result = np.zeros((num_hyperedges, num_nodes))
    result[hyperedge, node] = 1
    np.testing.assert_array_equal(result[: len(matrix)], matrix)  # real hyperedges keep their ids
    np.testing.assert_array_equal(result[len(matrix) :], np.eye(num_nodes)[added])
    had_singleton = matrix[matrix.sum(1) == 1].sum(0) > 0
    np.testing.assert_array_equal(np.sort(added), np.flatnonzero(~had_singleton))
