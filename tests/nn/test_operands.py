import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.nn import native, operands, set_attention, sparse_rows, spmm
from tests import random_hypergraphs

BACKENDS = [name for name in spmm.BACKENDS if name != "native" or native.built()]


def by_hand(x) -> np.ndarray:
    """`x` rounded to bfloat16, as float64."""
    return np.asarray(x, np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("fast", [False, True])
def test_products_and_their_gradients_are_of_operands_rounded_by_hand(fast, monkeypatch):
    monkeypatch.setattr(operands, "multiplies_bfloat16", lambda: fast)
    x, kernel, cotangent = normal(9, 300), normal(300, 7, seed=1), normal(9, 7, seed=2)
    # A function of its own, so that nothing compiled before is taken.
    run = jax.jit(lambda x, kernel: operands.product(x, kernel, "bfloat16"))
    found, pull = jax.vjp(run, x, kernel)
    of_x, of_kernel = pull(cotangent)
    assert {a.dtype for a in (found, of_x, of_kernel)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found, by_hand(x) @ by_hand(kernel), atol=1e-4)
    np.testing.assert_allclose(of_x, by_hand(cotangent) @ by_hand(kernel).T, atol=1e-4)
    np.testing.assert_allclose(of_kernel, by_hand(x).T @ by_hand(cotangent), atol=1e-4)
    assert np.abs(found - x.astype(np.float64) @ kernel).max() > 1e-2  # rounding shows


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=15, deadline=None)
@given(matrix=random_hypergraphs.dense(), seed=st.integers(0, 99))
def test_sparse_products_are_of_rows_rounded_by_hand(backend, matrix, seed):
    incidence = random_hypergraphs.incidence(matrix)
    x = normal(matrix.shape[1], 3, seed=seed)
    cotangent = normal(matrix.shape[0], 3, seed=seed + 1)
    run = functools.partial(spmm.product, incidence, backend=backend, precision="bfloat16")
    found, pull = jax.vjp(run, x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, matrix @ by_hand(x), atol=1e-5)
    np.testing.assert_allclose(pull(cotangent)[0], matrix.T @ by_hand(cotangent), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_of_a_population_round_as_one_does(backend):
    matrix = random_hypergraphs.mixed()
    incidence, x = random_hypergraphs.incidence(matrix), normal(4, matrix.shape[1], 3)
    run = functools.partial(spmm.product, incidence, backend=backend, precision="bfloat16")
    np.testing.assert_allclose(jax.vmap(run)(x), matrix @ by_hand(x), atol=1e-5)


def test_the_kernel_of_sparse_rows_is_rounded_and_their_values_are_not():
    dense = normal(6, 5) * (normal(6, 5, seed=1) > 0)
    row, column = np.nonzero(dense)
    indptr = np.searchsorted(row, np.arange(7))
    rows = sparse_rows.from_csr(indptr, column, dense[row, column], dense.shape)
    kernel, cotangent = normal(5, 4, seed=2), normal(6, 4, seed=3)
    found, pull = jax.vjp(lambda k: rows.times(k, "bfloat16"), kernel)
    np.testing.assert_allclose(found, dense @ by_hand(kernel), atol=1e-5)
    np.testing.assert_allclose(pull(cotangent)[0], dense.T @ by_hand(cotangent), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spread", [1.0, 300.0])  # of scores: on either side of the safe range
def test_set_attention_in_bfloat16_is_near_that_in_float32(backend, spread):
    matrix = random_hypergraphs.mixed()
    incidence = random_hypergraphs.incidence(matrix)
    scores, values = spread * normal(6, 2), normal(6, 2, 4, seed=1)
    cotangent = normal(matrix.shape[0], 2, 4, seed=2)

    def both(precision):
        run = functools.partial(set_attention.pool, incidence, backend=backend, precision=precision)
        found, pull = jax.vjp(run, scores, values)
        return found, *pull(cotangent)

    for half, full in zip(both("bfloat16"), both("float32"), strict=True):
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, full, atol=0.02 * np.abs(full).max())
