"""What `prepare` fits, it fits on the samples that shape the network."""

import numpy as np

from ehr_jax.features import prepare
from ehr_jax.nn import bipartite


def test_the_scale_of_note_vectors_is_that_of_the_fitting_rows():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 4)).astype(np.float32)
    vectors[2] = 0.0  # a sample without a note
    fitting = vectors[:3]
    scaled = prepare.unit_scale(vectors, fitting)
    np.testing.assert_allclose(np.sqrt(np.mean(scaled[:2] ** 2)), 1.0, rtol=1e-6)
    others = vectors.copy()
    others[3:] *= 50
    np.testing.assert_array_equal(prepare.unit_scale(others, fitting)[:3], scaled[:3])


def test_selected_visits_keep_their_members_in_the_order_asked_for():
    graph = bipartite.pack([0, 1, 1, 2], [0, 0, 1, 2], 3, 3)
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(
        prepare.select_visits(graph, np.array([2, 0]))
    )
    assert (num_nodes, num_hyperedges) == (3, 2)
    assert set(zip(node.tolist(), hyperedge.tolist(), strict=True)) == {(2, 0), (0, 1), (1, 1)}
