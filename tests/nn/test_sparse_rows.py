import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax.nn import sparse_rows, spmm


def draw(rows, columns, density, seed=0):
    matrix = scipy.sparse.random(
        rows, columns, density, format="csr", dtype=np.float32, random_state=seed
    )
    ours = sparse_rows.from_csr(matrix.indptr, matrix.indices, matrix.data, matrix.shape)
    return matrix.toarray(), ours


@settings(max_examples=12)
@given(st.integers(1, 9), st.integers(1, 12), st.sampled_from([0, 0.2, 1]), st.integers(0, 99))
def test_matrix_and_moments_equal_the_dense_ones(rows, columns, density, seed):
    dense, ours = draw(rows, columns, density, seed)
    np.testing.assert_array_equal(ours.todense(), dense)
    mean, variance = ours.moments()
    np.testing.assert_allclose(mean, dense.mean(1), atol=1e-6)
    np.testing.assert_allclose(variance, dense.var(1), atol=1e-6)


@pytest.mark.parametrize("backend", ["bcsr", "segment"])
def test_product_and_gradient_equal_scipys(backend, monkeypatch):
    monkeypatch.setattr(spmm, "default_backend", lambda: backend)
    dense, ours = draw(8, 11, 0.3)
    kernel = np.random.default_rng(1).normal(size=(11, 4)).astype(np.float32)
    np.testing.assert_allclose(ours @ kernel, dense @ kernel, atol=1e-6)
    gradient = jax.grad(lambda kernel: jnp.sin(ours @ kernel).sum())(kernel)
    np.testing.assert_allclose(gradient, dense.T @ np.cos(dense @ kernel), atol=1e-5)


def test_entries_of_a_row_may_come_in_any_order():
    ours = sparse_rows.from_csr([0, 3, 4], [4, 0, 2, 1], [1.0, 2.0, 3.0, 4.0], (2, 5))
    np.testing.assert_array_equal(ours.todense(), [[2, 0, 3, 0, 1], [0, 4, 0, 0, 0]])
    np.testing.assert_array_equal(ours @ jnp.eye(5), ours.todense())
    gradient = jax.grad(lambda kernel: (ours @ kernel)[:, 0].sum())(jnp.eye(5))
    np.testing.assert_array_equal(gradient[:, 0], [2, 4, 3, 0, 1])


def test_dropped_values_are_zero_and_the_others_scaled():
    dense, ours = draw(60, 50, 0.5)
    dropped = np.asarray(ours.drop(0.5, jax.random.key(0)).todense())
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], 2 * dense[kept], rtol=1e-6)
    assert 0.45 < kept.sum() / (dense != 0).sum() < 0.55
