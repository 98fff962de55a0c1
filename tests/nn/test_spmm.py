import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_hypergraphs
from hypothesis import given, settings

from ehr_jax.nn import spmm

BACKENDS = ("bcsr", "segment", "jraph")  # the native kernel has a file of its own


@pytest.mark.parametrize("backend", BACKENDS)
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_transpose_sums_hyperedges_into_nodes(backend):
    matrix = random_hypergraphs.mixed()
    x = np.random.default_rng(1).normal(size=(len(matrix), 2, 3)).astype(np.float32)
    summed = spmm.product(random_hypergraphs.incidence(matrix).transpose, x, backend)
    np.testing.assert_allclose(summed, np.einsum("en,e...->n...", matrix, x), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_order_of_incidences_changes_no_bit(backend):
    matrix = random_hypergraphs.mixed()
    order = np.random.default_rng(2).permutation(int(matrix.sum()))
    x = np.random.default_rng(3).normal(size=(matrix.shape[1], 4)).astype(np.float32)
    np.testing.assert_array_equal(
        spmm.product(random_hypergraphs.incidence(matrix), x, backend),
        spmm.product(random_hypergraphs.incidence(matrix, order), x, backend),
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_product_runs_compiled_with_the_incidence_as_an_argument(backend):
    matrix = random_hypergraphs.mixed()
    x = np.ones((matrix.shape[1], 1), np.float32)
    product = jax.jit(spmm.product, static_argnames="backend")
    summed = product(random_hypergraphs.incidence(matrix), x, backend=backend)
    np.testing.assert_array_equal(summed[:, 0], matrix.sum(1))


def loss(incidence, x, backend=None):
    return jnp.sin(spmm.product(incidence, x, backend)).sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_vmap_equals_one_product_after_another_and_so_do_its_gradients(backend):
    incidence = random_hypergraphs.incidence(random_hypergraphs.mixed())
    x = np.random.default_rng(4).normal(size=(3, 6, 2)).astype(np.float32)
    alone = [jax.value_and_grad(loss, 1)(incidence, member, backend) for member in x]
    values, gradients = (np.stack(parts) for parts in zip(*alone, strict=True))

    def many(x):
        return jax.vmap(lambda member: loss(incidence, member, backend))(x)

    gradient = jax.grad(lambda member: loss(incidence, member, backend))
    for wrap in (jax.jit, lambda function: function):
        np.testing.assert_allclose(wrap(many)(x), values, rtol=1e-5)
        of_vmap = wrap(jax.grad(lambda x: many(x).sum()))(x)
        np.testing.assert_allclose(of_vmap, gradients, atol=1e-5)
        np.testing.assert_allclose(wrap(jax.vmap(gradient))(x), gradients, atol=1e-5)
        nested = wrap(jax.vmap(jax.vmap(gradient)))(x[:, None])
        np.testing.assert_allclose(nested[:, 0], gradients, atol=1e-5)


def test_a_vmapped_product_is_one_product_with_more_columns():
    incidence = random_hypergraphs.incidence(random_hypergraphs.mixed())
    gradient = jax.vmap(jax.grad(lambda x: loss(incidence, x, "bcsr")))
    program = str(jax.make_jaxpr(gradient)(jnp.ones((5, 6, 2))))
    assert program.count("bcsr_dot_general[") == 2  # forward and backward
    assert "f32[9,10] = bcsr_dot_general[" in program
    assert "f32[6,10] = bcsr_dot_general[" in program
    assert "while[" not in program and "scan[" not in program


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_may_have_an_incidence_each(backend):
    matrices = [random_hypergraphs.mixed() * keep for keep in (1, 0, 1)]
    matrices[2] = matrices[2][::-1]
    several = [
        spmm.from_pairs(*np.nonzero(matrix)[::-1], 6, 9, num_incidences=25) for matrix in matrices
    ]
    x = np.random.default_rng(5).normal(size=(3, 6, 2)).astype(np.float32)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    run = jax.vmap(jax.value_and_grad(lambda i, x: loss(i, x, backend), 1))
    values, gradients = run(stacked, x)
    for k, incidence in enumerate(several):
        value, gradient = jax.value_and_grad(loss, 1)(incidence, x[k], backend)
        np.testing.assert_allclose(values[k], value, rtol=1e-5)
        np.testing.assert_allclose(gradients[k], gradient, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_changes_no_bit(backend):
    matrix = random_hypergraphs.mixed()
    hyperedge, node = np.nonzero(matrix)
    x = np.random.default_rng(6).normal(size=(6, 4)).astype(np.float32)
    plain = spmm.from_pairs(node, hyperedge, 6, 9)
    padded = spmm.from_pairs(node, hyperedge, 6, 9, num_incidences=node.size + 7)
    assert padded.forward.sources.shape == padded.backward.targets.shape == (node.size + 7,)
    for lists, same in ((plain.forward, padded.forward), (plain.backward, padded.backward)):
        rows = x if lists.num_sources == 6 else np.tile(x, (2, 1))[:9]
        expected = spmm.sums(lists, rows, backend=backend)
        np.testing.assert_array_equal(spmm.sums(same, rows, backend=backend), expected)
    expected = jax.grad(loss, 1)(plain, x, backend)
    np.testing.assert_array_equal(jax.grad(loss, 1)(padded, x, backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_take_each_incidence_by_its_own(backend):
    matrix = random_hypergraphs.mixed()
    hyperedge, node = np.nonzero(matrix)
    generator = np.random.default_rng(7)
    weights = generator.normal(size=node.size).astype(np.float32)
    x = generator.normal(size=(2, 6, 3)).astype(np.float32)
    weighted = matrix.copy()
    weighted[hyperedge, node] = weights  # `nonzero` is in the order of the lists
    lists = random_hypergraphs.incidence(matrix).forward
    np.testing.assert_allclose(spmm.sums(lists, x[0], weights, backend), weighted @ x[0], atol=1e-5)
    each = jax.vmap(lambda x, weights: spmm.sums(lists, x, weights, backend))
    expected = [weighted @ x[0], -weighted @ x[1]]
    np.testing.assert_allclose(each(x, np.stack([weights, -weights])), expected, atol=1e-5)


@pytest.mark.parametrize("sources, targets", [(0, 3), (4, 0), (0, 0)])
def test_no_sources_or_no_targets_are_no_special_case(sources, targets):
    none = np.zeros(0, int)
    incidence = spmm.from_pairs(none, none, sources, targets)
    x = np.ones((2, sources, 3), np.float32)
    summed = jax.vmap(lambda x: spmm.product(incidence, x))(x)
    np.testing.assert_array_equal(summed, np.zeros((2, targets, 3)))


def test_unknown_backend_is_named():
    incidence = random_hypergraphs.incidence(random_hypergraphs.mixed())
    with pytest.raises(ValueError, match="unknown backend 'dense'"):
        spmm.product(incidence, jnp.ones((6, 1)), "dense")
