import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_hypergraphs
from hypothesis import given, settings

from ehr_jax.nn import dense, layers, norms, sparse_rows, spmm

BACKENDS = [name for name in spmm.BACKENDS if name != "native"]  # which has to be built


def set_attention_by_formula(parameters, matrix, z, heads):
    """The published half-layer, pair by pair, in float64."""
    p = jax.tree.map(lambda array: np.asarray(array, np.float64), parameters)
    seed = p["seed"]
    width = seed.size
    keys = (z @ p["key"] + p["key_bias"]).reshape(-1, heads, width // heads)
    values = (z @ p["value"]["kernel"] + p["value"]["bias"]).reshape(-1, heads, width // heads)
    scores = (keys * seed).sum(-1)
    scores = np.where(scores > 0, scores, 0.2 * scores)
    pooled = np.zeros((len(matrix), heads, width // heads))
    for target, members in enumerate(matrix.astype(bool)):
        if members.any():
            weights = np.exp(scores[members] - scores[members].max(0))
            weights /= weights.sum(0)
            pooled[target] = np.einsum("mh,mhc->hc", weights, values[members])
    y = layer_norm((pooled + seed).reshape(len(matrix), width), p["norm_pooled"])
    mixed = y
    for index in range(len(p["feed_forward"])):
        mixed = np.maximum(mixed, 0) if index else mixed
        mixed = linear(mixed, p["feed_forward"][f"Dense_{index}"])
    return layer_norm(y + np.maximum(mixed, 0), p["norm_out"])


def deep_set_by_formula(parameters, matrix, z):
    """The published AllDeepSets half-layer of two-layer MLPs, without dropout, in float64."""
    p = jax.tree.map(lambda array: np.asarray(array, np.float64), parameters)

    def mlp(x, p):
        first = p["NormLinear_0"]
        x = layer_norm(x, {"scale": first["gain"], "bias": first["offset"]})
        x = layer_norm(np.maximum(linear(x, first), 0), p["LayerNorm_0"])
        return np.maximum(linear(x, p["Linear_0"]), 0)

    return mlp(matrix @ mlp(z, p["inner"]), p["outer"])


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def layer_norm(x, p):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["bias"]


def perturbed(parameters, seed=0):
    """Parameters away from their start, where biases are zero and gains one."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda array: array + 0.3 * generator.normal(size=array.shape).astype(np.float32),
        parameters,
    )


def features(matrix, width=5):
    return np.random.default_rng(7).normal(size=(matrix.shape[1], width)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("heads, depth", [(1, 1), (4, 2)])
def test_set_attention_equals_the_published_formula(backend, heads, depth):
    matrix = random_hypergraphs.mixed()
    z, incidence = features(matrix), random_hypergraphs.incidence(matrix)
    layer = layers.SetAttention(8, heads, depth, backend)
    parameters = perturbed(jax.jit(layer.init)(jax.random.key(0), incidence, z))
    expected = set_attention_by_formula(parameters["params"], matrix, z, heads)
    np.testing.assert_allclose(jax.jit(layer.apply)(parameters, incidence, z), expected, atol=2e-5)


@settings(max_examples=4)
@given(random_hypergraphs.dense())
def test_set_attention_equals_the_formula_on_any_hypergraph(matrix):
    z, incidence = features(matrix), random_hypergraphs.incidence(matrix)
    layer = layers.SetAttention(4, 2)
    parameters = perturbed(jax.jit(layer.init)(jax.random.key(0), incidence, z))
    expected = set_attention_by_formula(parameters["params"], matrix, z, 2)
    np.testing.assert_allclose(jax.jit(layer.apply)(parameters, incidence, z), expected, atol=1e-4)


def test_gradients_of_set_attention_agree_between_backends():
    matrix = random_hypergraphs.mixed()
    z, incidence = features(matrix), random_hypergraphs.incidence(matrix)
    parameters = perturbed(jax.jit(layers.SetAttention(8, 2).init)(jax.random.key(0), incidence, z))

    def gradient(backend):
        layer = layers.SetAttention(8, 2, backend=backend)
        return jax.jit(jax.grad(lambda p: jnp.sin(layer.apply(p, incidence, z)).sum()))(parameters)

    for backend in ("segment", "bcsr"):
        jax.tree.map(
            lambda ours, reference: np.testing.assert_allclose(ours, reference, atol=2e-5),
            gradient(backend),
            gradient("jraph"),
        )


def test_a_set_without_members_gets_the_seed_alone():
    matrix = np.zeros((2, 3))
    matrix[0] = 1
    z, incidence = features(matrix), random_hypergraphs.incidence(matrix)
    layer = layers.SetAttention(4, 2)
    parameters = perturbed(jax.jit(layer.init)(jax.random.key(0), incidence, z))
    other = jax.jit(layer.apply)(parameters, incidence, z + 1)
    here = jax.jit(layer.apply)(parameters, incidence, z)
    np.testing.assert_array_equal(here[1], other[1])
    assert np.abs(here[0] - other[0]).max() > 1e-3


def test_the_seed_starts_within_the_published_bound():
    incidence = random_hypergraphs.incidence(random_hypergraphs.mixed())
    parameters = jax.jit(layers.SetAttention(256, 4).init)(
        jax.random.key(0), incidence, features(random_hypergraphs.mixed())
    )
    seed = np.abs(parameters["params"]["seed"])
    bound = np.sqrt(6 / (4 * 64 + 64))
    assert seed.shape == (4, 64)
    assert 0.9 * bound < seed.max() <= bound


@pytest.mark.parametrize("backend", BACKENDS)
def test_deep_set_equals_the_published_formula(backend):
    matrix = random_hypergraphs.mixed()
    z, incidence = features(matrix), random_hypergraphs.incidence(matrix)
    layer = layers.DeepSet(6, depth=2, backend=backend)
    parameters = perturbed(jax.jit(layer.init)(jax.random.key(0), incidence, z))
    expected = deep_set_by_formula(parameters["params"], matrix, z)
    np.testing.assert_allclose(jax.jit(layer.apply)(parameters, incidence, z), expected, atol=1e-4)


def test_deep_set_drops_in_training_alone():
    matrix = random_hypergraphs.mixed()
    z, incidence = features(matrix), random_hypergraphs.incidence(matrix)
    layer = layers.DeepSet(6, dropout=0.5)
    parameters = jax.jit(layer.init)(jax.random.key(0), incidence, z)
    apply = jax.jit(layer.apply, static_argnames="train")

    def outputs(train, seed):
        rngs = {"dropout": jax.random.key(seed)}
        return apply(parameters, incidence, z, train=train, rngs=rngs)

    np.testing.assert_array_equal(outputs(False, 1), outputs(False, 2))
    assert np.abs(outputs(True, 1) - outputs(True, 2)).max() > 1e-3


@pytest.mark.parametrize("make", [layers.NormLinear, dense.Dense])
def test_linear_layers_take_sparse_rows_as_their_dense_equals(make):
    generator = np.random.default_rng(0)
    dense = generator.normal(size=(7, 20)) * (generator.random((7, 20)) < 0.2)
    dense[3] = 0  # a node without features
    row, column = np.nonzero(dense)
    indptr = np.searchsorted(row, np.arange(8))
    sparse = sparse_rows.from_csr(indptr, column, dense[row, column], dense.shape)
    layer = make(4)
    parameters = perturbed(jax.jit(layer.init)(jax.random.key(0), sparse))

    def outputs(x):
        return jax.jit(jax.value_and_grad(lambda p: jnp.sin(layer.apply(p, x)).sum()))(parameters)

    jax.tree.map(
        lambda ours, reference: np.testing.assert_allclose(ours, reference, rtol=2e-4, atol=2e-4),
        outputs(sparse),
        outputs(jnp.asarray(dense, jnp.float32)),
    )


def test_rows_after_pair_norm_have_mean_zero_and_squared_norms_of_mean_one():
    x = 3 + 2 * np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    rows = np.asarray(norms.pair_norm(x, norms.pair_statistics(x)))
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    assert (rows**2).sum(axis=1).mean() == pytest.approx(1, abs=1e-4)
