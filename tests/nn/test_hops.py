import jax
import numpy as np
import random_hypergraphs
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.nn import hops, spmm


def sums(layer_hops, x):
    """A network of sums, weighted by degree: enough to see every pair and every degree."""
    for hop in layer_hops:
        x = spmm.product(hop.to_hyperedges, x / (1 + hop.degree[:, None]))
        x = spmm.product(hop.to_nodes, x)
    return x


@settings(max_examples=12)
@given(random_hypergraphs.dense(), st.integers(1, 3), st.integers(0, 99))
def test_chosen_nodes_get_what_the_whole_hypergraph_gives_them(matrix, depth, seed):
    generator = np.random.default_rng(seed)
    graph, num_nodes = random_hypergraphs.graph(matrix), matrix.shape[1]
    x = generator.normal(size=(num_nodes, 3)).astype(np.float32)
    count = int(generator.integers(1, num_nodes + 1))
    rows = [generator.permutation(num_nodes)[:count] for _ in range(3)]
    expected = jax.jit(sums)(hops.whole(graph, depth), x)
    for chosen, layer_hops in zip(rows, hops.reaching(graph, depth, rows), strict=True):
        outputs = jax.jit(sums)(layer_hops, x)[:count]
        np.testing.assert_allclose(outputs, expected[chosen], rtol=1e-4, atol=1e-5)


def test_all_choices_have_the_same_shapes_and_are_smaller_than_the_whole():
    matrix = np.eye(40)[:, :40]
    rows = [np.arange(5), np.arange(20, 25)]
    graph = random_hypergraphs.graph(matrix)
    first, second = hops.reaching(graph, 2, rows)
    shapes = jax.tree.map(np.shape, first)
    assert shapes == jax.tree.map(np.shape, second)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert first[0].to_hyperedges.forward.num_targets < 10
