"""Shards read one by one give totals, results and gradients of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.nn import norms, spmm, spread


def softmax_mean(weights, values, axis):
    """Needs a maximum, and then two totals at once."""
    scores = values @ weights
    shifted = jnp.exp(scores - spread.highest(scores.max(), axis))
    summed, total = spread.total((shifted @ values, shifted.sum()), axis)
    return summed / total


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=8)
@pytest.mark.slow
def test_a_stream_of_shards_equals_the_whole(shards, rows, seed):
    rng = np.random.default_rng(seed)
    values = jnp.asarray(rng.normal(size=(shards, rows, 3)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=3), jnp.float32)

    def whole(weights, values):
        return softmax_mean(weights, values.reshape(-1, 3), None)

    def streamed(weights, values):
        return spread.stream(lambda own, axis: softmax_mean(weights, own, axis), values)

    for argument in (0, 1):
        expected = jax.jacrev(whole, argument)(weights, values)
        found = jax.jacrev(streamed, argument)(weights, values)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(streamed(weights, values), whole(weights, values), atol=1e-6)


def test_each_shard_gives_its_own_result():
    values = jnp.arange(6.0).reshape(3, 2)
    found = spread.stream(
        lambda own, axis: own - spread.total(own, axis) + spread.shard_number(axis), values, True
    )
    np.testing.assert_allclose(found, values - values.sum(0) + np.arange(3)[:, None])


def test_moments_leave_padding_out():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 4)).astype(np.float32)
    padded = np.concatenate([rows, np.full((3, 4), 1e6, np.float32)])
    real = np.repeat([1.0, 0.0], [5, 3]).astype(np.float32)
    for found, expected in zip(
        norms.moments(padded, real), (rows.mean(0), rows.var(0)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_moments_of_a_million_rows_are_those_of_float64():
    rows = np.random.default_rng(0).random((1_000_000, 2)).astype(np.float32) + 1
    for real in (None, np.ones(len(rows), np.float32)):
        mean, variance = jax.jit(norms.moments)(rows, real)
        np.testing.assert_allclose(mean, rows.mean(0, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(variance, rows.var(0, dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_streamed_attention_equals_the_softmax_of_each_target(scale):
    rng = np.random.default_rng(1)
    member = rng.random((12, 5)) < 0.4
    member[:, 4] = False  # a target without sources
    scores = jnp.asarray(scale * rng.normal(size=(2, 6, 1)), jnp.float32)
    values = jnp.asarray(rng.normal(size=(2, 6, 1, 3)), jnp.float32)
    halves = [np.nonzero(member[:6]), np.nonzero(member[6:])]
    length = max(source.size for source, _ in halves)
    incidence = [spmm.from_pairs(*half, 6, 5, length) for half in halves]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *incidence)

    def streamed(scores, values):
        return spread.stream(
            lambda own, axis: spread.pool(*own, axis), (stacked, scores, values)
        ).sum(1)

    def dense(scores, values):
        logits = jnp.where(member.T, scores.reshape(12), -jnp.inf)[:4]
        return jnp.pad(jax.nn.softmax(logits) @ values.reshape(12, 3), ((0, 1), (0, 0)))

    np.testing.assert_allclose(streamed(scores, values), dense(scores, values), atol=1e-5)
    for argument in (0, 1):
        gradient = jax.grad(lambda *given: jnp.square(streamed(*given)).sum(), argument)
        expected = jax.grad(lambda *given: jnp.square(dense(*given)).sum(), argument)
        np.testing.assert_allclose(gradient(scores, values), expected(scores, values), atol=1e-4)
