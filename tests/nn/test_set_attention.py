import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_hypergraphs
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.nn import set_attention, spmm

RANGES = (0.0, 3.0, 39.0, 41.0, 1e3)

pool = jax.jit(set_attention.pool, static_argnums=3)


def dense_pool(matrix, scores, values):
    """Softmax over members and weighted mean, in float64, one set and one head at a time."""
    pooled = np.zeros((len(matrix), *values.shape[1:]))
    for target, members in enumerate(matrix.astype(bool)):
        for head in range(scores.shape[1]):
            if members.any():
                score = scores[members, head].astype(np.float64)
                weight = np.exp(score - score.max())
                weight /= weight.sum()
                pooled[target, head] = weight @ values[members, head].astype(np.float64)
    return pooled


def draw(matrix, spread, seed=0):
    generator = np.random.default_rng(seed)
    scores = generator.uniform(-0.5, 0.5, (matrix.shape[1], 2)).astype(np.float32) * spread
    return scores, generator.normal(size=(matrix.shape[1], 2, 3)).astype(np.float32)


@pytest.mark.parametrize("backend", spmm.BACKENDS)
@settings(max_examples=10)
@given(random_hypergraphs.dense(), st.sampled_from(RANGES), st.integers(0, 99))
def test_pool_equals_the_dense_softmax(backend, matrix, spread, seed):
    scores, values = draw(matrix, spread, seed)
    pooled = pool(random_hypergraphs.incidence(matrix), scores, values, backend)
    np.testing.assert_allclose(pooled, dense_pool(matrix, scores, values), atol=1e-5)


@pytest.mark.parametrize("backend", ["segment", "bcsr"])
@pytest.mark.parametrize("spread", RANGES)
def test_gradients_equal_those_of_jraph_and_are_finite(backend, spread):
    matrix = random_hypergraphs.mixed()
    incidence = random_hypergraphs.incidence(matrix)
    weights = np.random.default_rng(1).normal(size=(len(matrix), 2, 3)).astype(np.float32)

    def gradients(backend):
        def loss(scores, values):
            return (set_attention.pool(incidence, scores, values, backend) * weights).sum()

        return jax.jit(jax.grad(loss, (0, 1)))(*draw(matrix, spread))

    for ours, reference in zip(gradients(backend), gradients("jraph"), strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", spmm.BACKENDS)
@pytest.mark.parametrize("spread", [1.0, 1e3])
def test_singleton_set_returns_its_node_and_an_empty_set_zero(backend, spread):
    matrix = random_hypergraphs.mixed()
    scores, values = draw(matrix, spread)
    pooled = pool(random_hypergraphs.incidence(matrix), scores, values, backend)
    np.testing.assert_allclose(pooled[1], values[3], rtol=1e-6)
    np.testing.assert_allclose(pooled[5], values[4], rtol=1e-6)
    np.testing.assert_array_equal(pooled[2], 0)


def test_adding_a_constant_to_the_scores_changes_nothing():
    matrix = random_hypergraphs.mixed()
    scores, values = draw(matrix, 4.0)
    incidence = random_hypergraphs.incidence(matrix)
    moved = pool(incidence, scores + 64.0, values)
    np.testing.assert_allclose(moved, pool(incidence, scores, values), atol=1e-5)


def test_naming_the_sources_in_another_order_changes_no_set():
    matrix = random_hypergraphs.mixed()
    scores, values = draw(matrix, 4.0)
    order = np.random.default_rng(5).permutation(matrix.shape[1])
    permuted = pool(random_hypergraphs.incidence(matrix[:, order]), scores[order], values[order])
    pooled = pool(random_hypergraphs.incidence(matrix), scores, values)
    np.testing.assert_allclose(permuted, pooled, atol=1e-6)


def test_an_isolated_node_with_a_huge_score_reaches_no_set_nor_gradient():
    matrix = random_hypergraphs.mixed()  # node 5 is isolated
    incidence = random_hypergraphs.incidence(matrix)
    scores, values = draw(matrix, 4.0)
    huge = jnp.asarray(scores).at[5].set(1e4)

    np.testing.assert_allclose(
        pool(incidence, huge, values), pool(incidence, scores, values), atol=1e-6
    )
    gradient = jax.grad(lambda scores: (pool(incidence, scores, values) ** 2).sum())(huge)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[5], 0)
