import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_hypergraphs
from hypothesis import given, settings

from ehr_jax.nn import spmm


@pytest.mark.parametrize("backend", spmm.BACKENDS)
@settings(max_examples=10)
@given(matrix=random_hypergraphs.dense())
def test_product_and_gradient_equal_the_dense_product(backend, matrix):
    incidence = random_hypergraphs.incidence(matrix)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(matrix.shape[1], 3)).astype(np.float32)
    weights = generator.normal(size=(matrix.shape[0], 3)).astype(np.float32)

    def weighted(x):
        return (spmm.product(incidence, x, backend) * weights).sum()

    value, gradient = jax.jit(jax.value_and_grad(weighted))(x)
    np.testing.assert_allclose(value, (matrix @ x * weights).sum(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, matrix.T @ weights, atol=1e-5)
    np.testing.assert_allclose(spmm.product(incidence, x, backend), matrix @ x, atol=1e-5)


@pytest.mark.parametrize("backend", spmm.BACKENDS)
def test_transpose_sums_hyperedges_into_nodes(backend):
    matrix = random_hypergraphs.mixed()
    x = np.random.default_rng(1).normal(size=(len(matrix), 2, 3)).astype(np.float32)
    summed = spmm.product(random_hypergraphs.incidence(matrix).transpose, x, backend)
    np.testing.assert_allclose(summed, np.einsum("en,e...->n...", matrix, x), atol=1e-5)


@pytest.mark.parametrize("backend", spmm.BACKENDS)
def test_order_of_incidences_changes_no_bit(backend):
    matrix = random_hypergraphs.mixed()
    order = np.random.default_rng(2).permutation(int(matrix.sum()))
    x = np.random.default_rng(3).normal(size=(matrix.shape[1], 4)).astype(np.float32)
    np.testing.assert_array_equal(
        spmm.product(random_hypergraphs.incidence(matrix), x, backend),
        spmm.product(random_hypergraphs.incidence(matrix, order), x, backend),
    )


@pytest.mark.parametrize("backend", spmm.BACKENDS)
def test_product_runs_compiled_with_the_incidence_as_an_argument(backend):
    matrix = random_hypergraphs.mixed()
    x = np.ones((matrix.shape[1], 1), np.float32)
    product = jax.jit(spmm.product, static_argnames="backend")
    summed = product(random_hypergraphs.incidence(matrix), x, backend=backend)
    np.testing.assert_array_equal(summed[:, 0], matrix.sum(1))


@pytest.mark.parametrize("backend", spmm.BACKENDS)
def test_vmap_equals_one_product_after_another(backend):
    incidence = random_hypergraphs.incidence(random_hypergraphs.mixed())
    x = np.random.default_rng(4).normal(size=(3, 6, 2)).astype(np.float32)

    def loss(x):
        return jnp.square(spmm.product(incidence, x, backend)).sum()

    together = jax.vmap(jax.value_and_grad(loss))(x)
    alone = [jax.value_and_grad(loss)(member) for member in x]
    np.testing.assert_allclose(together[0], [value for value, _ in alone], rtol=1e-6)
    np.testing.assert_allclose(together[1], [gradient for _, gradient in alone], rtol=1e-5)


def test_unknown_backend_is_named():
    incidence = random_hypergraphs.incidence(random_hypergraphs.mixed())
    with pytest.raises(ValueError, match="unknown backend 'dense'"):
        spmm.product(incidence, jnp.ones((6, 1)), "dense")
