"""NetMF against its formula written out densely."""

import numpy as np

from ehr_jax.features import structure
from ehr_jax.nn import bipartite


def make_graph(seed: int = 0, nodes: int = 30, hyperedges: int = 80):
    member = np.random.default_rng(seed).random((hyperedges, nodes)) < 0.12
    hyperedge, node = np.nonzero(member)
    return member.astype(float), bipartite.pack(node, hyperedge, nodes, hyperedges)


def test_gram_matrix_is_that_of_the_deepwalk_matrix():
    member, graph = make_graph()
    window = 3
    adjacency = member.T @ member
    np.fill_diagonal(adjacency, 0)
    degree = adjacency.sum(1)
    walk = adjacency / degree[:, None]
    powers = sum(np.linalg.matrix_power(walk, r) for r in range(1, window + 1))
    target = np.log(np.maximum(degree.sum() / window * powers / degree[None, :], 1.0))
    left, values, _ = np.linalg.svd(target)
    dense = left[:, :8] * np.sqrt(values[:8])
    vectors = structure.netmf(graph, 8, window)
    scale = np.sqrt((dense**2).mean())
    np.testing.assert_allclose(vectors @ vectors.T, dense @ dense.T / scale**2, atol=1e-3)


def test_a_node_without_company_gets_a_zero_vector():
    vectors = structure.netmf(bipartite.pack([0, 1, 2], [0, 0, 1], 4, 2), 4, 2)
    assert np.all(vectors[2:] == 0)


def test_large_graphs_approximate_the_exact_vectors(monkeypatch):
    _, graph = make_graph(nodes=60)
    exact = structure.netmf(graph, 4, 2)
    monkeypatch.setattr(structure, "EXACT_NODES", 10)
    monkeypatch.setattr(structure, "EIGENVECTORS", 50)
    near = structure.netmf(graph, 4, 2)
    assert np.corrcoef((exact @ exact.T).ravel(), (near @ near.T).ravel())[0, 1] > 0.9


def test_same_graph_gives_the_same_vectors():
    _, graph = make_graph()
    np.testing.assert_array_equal(structure.netmf(graph, 8, 5), structure.netmf(graph, 8, 5))
