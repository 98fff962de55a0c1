import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_hypergraphs
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.nn import set_attention, spmm

BACKENDS = ("bcsr", "segment", "jraph")
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


@pytest.mark.parametrize("backend", BACKENDS)
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


@pytest.mark.parametrize("backend", BACKENDS)
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


@pytest.mark.parametrize("spreads", [(1.0, 3.0, 9.0), (1.0, 1e3, 41.0)])
def test_members_under_vmap_equal_members_alone(spreads):
    matrix = random_hypergraphs.mixed()
    incidence = random_hypergraphs.incidence(matrix)
    drawn = [draw(matrix, spread, seed) for seed, spread in enumerate(spreads)]
    scores, values = (np.stack(parts) for parts in zip(*drawn, strict=True))

    def loss(scores, values):
        return jnp.sin(set_attention.pool(incidence, scores, values)).sum()

    run = jax.jit(jax.value_and_grad(loss, (0, 1)))
    alone = jax.tree.map(lambda *parts: np.stack(parts), *(run(*member) for member in drawn))
    together = jax.jit(jax.vmap(run))(scores, values)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), together, alone)
    of_vmap = jax.jit(jax.grad(lambda s, v: jax.vmap(loss)(s, v).sum(), (0, 1)))(scores, values)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), of_vmap, alone[1])
    shared = jax.jit(jax.vmap(loss, in_axes=(0, None)))(scores, values[0])
    expected = [run(member, values[0])[0] for member in scores]
    np.testing.assert_allclose(shared, expected, rtol=1e-5, atol=1e-5)


def test_the_guard_stays_a_choice_of_one_branch_under_vmap():
    matrix = random_hypergraphs.mixed()
    incidence = random_hypergraphs.incidence(matrix)
    scores, values = (np.stack([part] * 3) for part in draw(matrix, 1.0))
    run = jax.vmap(jax.grad(lambda s, v: set_attention.pool(incidence, s, v).sum(), (0, 1)))
    program = str(jax.make_jaxpr(run)(scores, values))
    assert program.count(" cond[") == 2  # forward and backward
    # 3 members of 2 heads of width 3, and their 6 weights, in one product each way.
    assert "f32[9,24] = " in program and "f32[6,24] = " in program


def test_a_member_of_nans_leaves_the_others_as_they_are():
    matrix = random_hypergraphs.mixed()
    incidence = random_hypergraphs.incidence(matrix)
    scores, values = (np.stack([part] * 2) for part in draw(matrix, 1.0))
    scores[1] = np.nan
    pooled = jax.vmap(lambda s, v: pool(incidence, s, v))(scores, values)
    alone = pool(incidence, scores[0], values[0])
    np.testing.assert_allclose(pooled[0], alone, rtol=1e-6)
    assert np.isnan(pooled[1]).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spread", [1.0, 1e3])
def test_padding_changes_no_set_and_no_gradient(backend, spread):
    hyperedge, node = np.nonzero(random_hypergraphs.mixed())
    scores, values = draw(random_hypergraphs.mixed(), spread)
    scores[0] = 2 * abs(scores).max()  # of the source that padding points at
    found = []
    for length in (None, node.size + 5):
        incidence = spmm.from_pairs(node, hyperedge, 6, 9, num_incidences=length)

        def loss(scores, values, incidence=incidence):
            return jnp.sin(set_attention.pool(incidence, scores, values, backend)).sum()

        found.append(jax.jit(jax.value_and_grad(loss, (0, 1)))(scores, values))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *found)
