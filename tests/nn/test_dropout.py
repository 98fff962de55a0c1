import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ehr_jax.nn import dropout


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_rate_and_mean_are_kept(rate):
    x = jnp.ones((333, 301))  # not a multiple of four elements
    dropped = np.asarray(dropout.drop(x, rate, jax.random.key(0)))
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs((dropped == 0).mean() - round(256 * rate) / 256) < 5 * deviation
    assert abs(dropped.mean() - 1) < 5 * deviation / (1 - rate)
    assert np.unique(dropped).size == 2


def test_elements_drop_independently():
    dropped = np.asarray(dropout.drop(jnp.ones((4096, 8)), 0.5, jax.random.key(1))) > 0
    correlation = np.corrcoef(dropped.T)
    assert np.abs(correlation - np.eye(8)).max() < 0.08
    other = np.asarray(dropout.drop(jnp.ones((4096, 8)), 0.5, jax.random.key(2))) > 0
    assert 0.48 < (dropped == other).mean() < 0.52


def test_nothing_is_dropped_at_rate_zero_or_outside_training():
    x = jnp.arange(5.0)
    np.testing.assert_array_equal(dropout.drop(x, 0.0, jax.random.key(0)), x)
    np.testing.assert_array_equal(dropout.Dropout(0.5).apply({}, x, train=False), x)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_a_traced_rate_drops_what_the_same_number_drops(rate):
    x, key = jnp.linspace(-1, 1, 999), jax.random.key(3)
    traced = jax.jit(lambda r: dropout.Dropout(r).apply({}, x, train=True, rngs={"dropout": key}))
    fixed = dropout.Dropout(rate).apply({}, x, train=True, rngs={"dropout": key})
    np.testing.assert_allclose(traced(rate), fixed, rtol=1e-6)


def test_each_shard_has_draws_of_its_own():
    x, key = jnp.ones(4096), jax.random.key(0)
    zero, one = (
        dropout.Dropout(0.5).apply({}, x, train=True, shard=jnp.int32(k), rngs={"dropout": key}) > 0
        for k in (0, 1)
    )
    assert 0.45 < (zero == one).mean() < 0.55
