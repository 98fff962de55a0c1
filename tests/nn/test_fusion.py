import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from ehr_jax.nn import fusion, masks, series_encoder, time_embedding

BATCH, WIDTH = 4, 6
softmax = jax.jit(masks.softmax)
summary = jax.jit(series_encoder.summary)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def filled(module, *arguments, seed=1):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))
    leaves, tree = jax.tree.flatten(shapes)
    return jax.tree.unflatten(
        tree, [0.5 * normal(*leaf.shape, seed=seed + k) for k, leaf in enumerate(leaves)]
    )


def run(module):
    return jax.jit(module.apply)


def dense(params, x):
    return x @ params["kernel"] + params.get("bias", 0)


def gelu(x):
    return x * 0.5 * (1 + special.erf(x / np.sqrt(2)))


@settings(max_examples=20)
@given(st.integers(0, 2**5 - 1), st.floats(0, 1e4), st.integers(0, 99))
def test_softmax_over_what_is_there_equals_the_softmax_of_those_alone(bits, spread, seed):
    mask = np.array([bits >> k & 1 for k in range(5)], np.float32)
    scores = spread * normal(5, seed=seed)
    weights = np.asarray(softmax(scores, mask))
    np.testing.assert_array_equal(weights[mask == 0], 0)
    if mask.any():
        kept = scores[mask > 0].astype(np.float64)
        expected = np.exp(kept - kept.max())
        np.testing.assert_allclose(weights[mask > 0], expected / expected.sum(), atol=1e-5)


def test_mean_and_last_weights_ignore_padding_on_either_side():
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], np.float32)
    mean = [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0, 0], [0, 1, 0, 0]]
    last = [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_array_equal(masks.mean_weights(mask), mean)
    np.testing.assert_array_equal(masks.last_weights(mask), last)
    assert masks.last_weights(mask[:, :0]).shape == masks.softmax(mask[:, :0], 1).shape == (4, 0)


@pytest.mark.parametrize("kind", ["scalar", "input"])
def test_the_gate_mixes_by_learned_weights_of_those_present(kind):
    vectors = normal(BATCH, 3, WIDTH)
    present = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], np.float32)
    gate = fusion.MixingGate(kind)
    params = filled(gate, vectors, present)
    mixed, weights = run(gate)(params, vectors, present)
    scores = np.tile(params["params"]["scores"], (BATCH, 1))
    if kind == "input":
        scores = scores + (vectors * params["params"]["direction"]).sum(-1)
    share = np.exp(scores) * present
    share /= np.maximum(share.sum(1, keepdims=True), 1e-30)
    np.testing.assert_allclose(weights, share, atol=1e-6)
    np.testing.assert_allclose(mixed, (share[..., None] * vectors).sum(1), atol=1e-6)
    np.testing.assert_array_equal(mixed[3], 0)


@pytest.mark.parametrize("kind", ["scalar", "input"])
def test_two_modalities_start_with_a_half_each(kind):
    vectors = normal(BATCH, 2, WIDTH)
    gate = fusion.MixingGate(kind)
    params = gate.init(jax.random.key(0), vectors, np.ones((BATCH, 2)))
    np.testing.assert_array_equal(run(gate)(params, vectors, np.ones((BATCH, 2)))[1], 0.5)


def test_pooling_equals_its_formula_over_the_tokens_that_are_there():
    tokens = normal(3, 5, WIDTH)
    mask = np.array([[1, 1, 1, 1, 1], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]], np.float32)
    pool = fusion.AttentionPool()
    params = filled(pool, tokens, mask)
    pooled, weights = run(pool)(params, tokens, mask)
    for row in (0, 1):
        there = tokens[row, mask[row] > 0]
        scores = there @ dense(params["params"]["query"], there.mean(0)) / np.sqrt(WIDTH)
        share = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(pooled[row], share @ there, atol=1e-5)
        np.testing.assert_allclose(weights[row, mask[row] > 0], share, atol=1e-5)
        np.testing.assert_array_equal(weights[row, mask[row] == 0], 0)
    np.testing.assert_array_equal(pooled[2], 0)
    np.testing.assert_array_equal(run(pool)(params, tokens[:, :0], mask[:, :0])[0], 0)


def test_the_outer_product_holds_every_product_of_the_extended_vectors():
    vectors = [normal(BATCH, width, seed=width) for width in (2, 3, 4)]
    a, b, c = (np.concatenate([v, np.ones((BATCH, 1))], axis=1) for v in vectors)
    expected = np.einsum("bi,bj,bk->bijk", a, b, c).reshape(BATCH, -1)
    np.testing.assert_allclose(fusion.outer_product(vectors), expected, atol=1e-6)


def test_tensor_fusion_and_concat_equal_their_formulas():
    vectors = [normal(BATCH, WIDTH), normal(BATCH, 3, seed=1)]
    module = fusion.TensorFusion(5, narrow=2)
    params = filled(module, vectors)
    p = params["params"]
    narrow = [dense(p[f"narrow_{k}"], v) for k, v in enumerate(vectors)]
    hidden = gelu(dense(p["inner"], np.asarray(fusion.outer_product(narrow))))
    expected = gelu(dense(p["outer"], hidden))
    np.testing.assert_allclose(run(module)(params, vectors), expected, atol=1e-5)
    module = fusion.Concat(5)
    params = filled(module, vectors)
    expected = gelu(dense(params["params"]["Dense_0"], np.concatenate(vectors, axis=1)))
    np.testing.assert_allclose(run(module)(params, vectors), expected, atol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_displacement_is_never_longer_than_beta_times_the_base(size):
    base, shift = normal(BATCH, WIDTH), size * normal(BATCH, WIDTH, seed=1)
    moved = np.asarray(fusion.displace(base, shift, 0.5)) - base
    longest = 0.5 * np.linalg.norm(base, axis=1)
    expected = np.minimum(np.linalg.norm(shift, axis=1), longest)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), expected, rtol=1e-3, atol=1e-5)
    cosine = (moved * shift).sum(1) / np.linalg.norm(moved, axis=1) / np.linalg.norm(shift, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-3)


def test_a_displacement_of_zero_has_finite_gradients():
    zero = np.zeros((BATCH, WIDTH), np.float32)
    gradients = jax.jit(jax.grad(lambda a, b: fusion.displace(a, b, 1.0).sum(), (0, 1)))
    for gradient in gradients(zero, zero):
        assert np.isfinite(gradient).all()


def test_mag_equals_its_formula_row_by_row():
    vectors = [normal(BATCH, WIDTH, seed=k) for k in range(3)]
    module = fusion.AdaptationGate(WIDTH, beta=0.7)
    params = filled(module, vectors)
    p = params["params"]
    base, shift = vectors[0], p["bias"]
    for k, other in enumerate(vectors[1:]):
        gate = np.maximum(dense(p[f"gate_{k}"], np.concatenate([base, other], axis=1)), 0)
        shift = shift + gate * dense(p[f"value_{k}"], other)
    norm = lambda x: np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    moved = base + np.minimum(0.7 * norm(base) / norm(shift), 1) * shift
    centred = moved - moved.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    expected = scaled * p["LayerNorm_0"]["scale"] + p["LayerNorm_0"]["bias"]
    np.testing.assert_allclose(run(module)(params, vectors), expected, atol=1e-5)


def test_sinusoids_are_those_of_the_transformer_for_times_of_either_sign():
    times = np.array([-3.0, 0.0, 0.5, 47.0, 700.0], np.float32)
    found = np.asarray(jax.jit(lambda t: time_embedding.sinusoids(t, 8))(times))
    for i in range(4):
        angle = times / 10_000 ** (2 * i / 8)
        np.testing.assert_allclose(found[:, i], np.sin(angle), atol=1e-4)
        np.testing.assert_allclose(found[:, 4 + i], np.cos(angle), atol=1e-4)


def bent(value):
    """A value along the pieces from -3 to -1, -1 to 0, 0 to 1 and 1 to 3."""
    low, high = np.clip(-value, 0, 3), np.clip(value, 0, 3)
    return [-max(low - 1, 0) / 2, max(high - 1, 0) / 2, -min(low, 1), min(high, 1)]


def drawn_series(time=40):
    rng = np.random.default_rng(4)
    observed = (rng.random((3, time, 2)) < 0.2).astype(np.float32)
    observed[2, :, 1] = 0
    mask = np.ones((3, time), np.float32)
    mask[1, :5] = 0
    return 2 * normal(3, time, 2), observed, np.tile(np.arange(1.0, time + 1), (3, 1)), mask


def test_the_summary_of_series_is_that_of_the_measured_values_alone():
    values, observed, hours, mask = drawn_series()
    found = np.asarray(summary(values, observed, hours, mask)).reshape(3, 3, 18, 2)
    for row, span, v in np.ndindex(3, 3, 2):
        steps = slice(-(40, 24, 6)[span], None)
        seen = values[row, steps, v][(observed[row, steps, v] * mask[row, steps]) > 0]
        expected = np.zeros(18)
        if seen.size:
            statistics = seen.mean(), seen.min(), seen.max(), seen[-1]
            expected[:2] = 1, np.log1p(seen.size) / 2
            expected[2:] = np.concatenate([bent(x) for x in statistics])
        np.testing.assert_allclose(found[row, span, :, v], expected, atol=1e-5)
    empty = [x[:, :, :0] for x in (values, observed)]
    assert summary(*empty, hours, mask).shape == (3, 0)
    assert not summary(values[:, :0], observed[:, :0], hours[:, :0], mask[:, :0]).any()


def test_padding_changes_no_summary():
    values, observed, hours, mask = drawn_series()
    longer = [np.pad(x, ((0, 0), (7, 0), (0, 0)), constant_values=9) for x in (values, observed)]
    # What stands in padding is nothing, whether it looks measured, early or late.
    hours_of_padding = np.full((3, 7), 99.0)
    padded = summary(
        *longer, np.concatenate([hours_of_padding, hours], 1), np.pad(mask, ((0, 0), (7, 0)))
    )
    np.testing.assert_allclose(padded, summary(values, observed, hours, mask), atol=1e-6)


def test_any_function_that_bends_at_the_knots_alone_is_linear_in_the_pieces():
    knots, heights = np.array([-3.0, -1, 0, 1, 3]), np.array([2.0, 7, 1, -1, 0.5])
    x = np.linspace(-6, 6, 101)
    weights = [(7 - 2), (0.5 + 1), (1 - 7), (-1 - 1)]
    found = np.asarray(series_encoder.pieces(x[:, None])) @ weights + 1
    np.testing.assert_allclose(found, np.interp(x, knots, heights), atol=1e-5)


def test_the_summary_has_finite_gradients_where_nothing_varies():
    ones, hours = np.ones((2, 3, 2), np.float32), np.ones((2, 3), np.float32)
    never = ones * np.array([1.0, 0], np.float32)
    loss = jax.jit(jax.grad(lambda v: summary(v, never, hours, ones[..., 0]).sum()))
    gradient = loss(ones)
    assert np.isfinite(gradient).all()
