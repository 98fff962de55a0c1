import functools

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.nn import cross_attention, token_norm

BATCH, QUERIES, KEYS, WIDTH, HEADS = 3, 4, 5, 8, 2
MASK = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 0, 1]], np.float32)
QUERY_MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], np.float32)
attend = jax.jit(cross_attention.attend, static_argnums=4)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def filled(module, *arguments, seed=1):
    """Parameters drawn here, for drawing them in JAX takes longer than the test."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))
    leaves, tree = jax.tree.flatten(shapes)
    drawn = [0.5 * normal(*leaf.shape, seed=seed + k) for k, leaf in enumerate(leaves)]
    return jax.tree.unflatten(tree, drawn)


@functools.cache
def run(module):
    return jax.jit(module.apply)


def by_hand(query, key, value, mask, heads):
    """One row, head and query at a time, over the keys that are there."""
    mixed = np.zeros((len(query), query.shape[1], value.shape[2]))
    size = query.shape[2] // heads
    for row, keys in enumerate(mask.astype(bool)):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for at in range(query.shape[1]):
                if keys.any():
                    scores = key[row, keys, part] @ query[row, at, part] / np.sqrt(size)
                    weight = np.exp(scores - scores.max())
                    mixed[row, at, part] = weight / weight.sum() @ value[row, keys, part]
    return mixed


def test_attention_equals_the_dense_formula_and_no_keys_give_zero():
    q = normal(BATCH, QUERIES, WIDTH)
    k, v = (normal(BATCH, KEYS, WIDTH, seed=s) for s in (1, 2))
    mixed, weights = attend(q, k, v, MASK, HEADS)
    np.testing.assert_allclose(mixed, by_hand(q, k, v, MASK, HEADS), atol=1e-5)
    np.testing.assert_array_equal(mixed[1], 0)
    np.testing.assert_allclose(np.asarray(weights.sum(-1))[[0, 2]], 1, atol=1e-6)


def test_masked_keys_have_no_influence_and_no_gradient():
    q = normal(BATCH, QUERIES, WIDTH)
    k, v = (normal(BATCH, KEYS, WIDTH, seed=s) for s in (1, 2))
    there = MASK[..., None] > 0
    far = attend(q, np.where(there, k, 300), np.where(there, v, -300), MASK, HEADS)[0]
    np.testing.assert_array_equal(far, attend(q, k, v, MASK, HEADS)[0])

    def loss(q, k, v):
        return (cross_attention.attend(q, k, v, MASK, HEADS)[0] ** 2).sum()

    gradients = jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)
    for gradient in gradients:
        assert np.isfinite(gradient).all()
    for gradient in gradients[1:]:
        np.testing.assert_array_equal(np.asarray(gradient)[MASK == 0], 0)
    np.testing.assert_array_equal(gradients[0][1], 0)


def test_the_order_of_keys_changes_nothing():
    q = normal(BATCH, QUERIES, WIDTH)
    k, v = (normal(BATCH, KEYS, WIDTH, seed=s) for s in (1, 2))
    order = [3, 0, 4, 1, 2]
    moved, _ = attend(q, k[:, order], v[:, order], MASK[:, order], HEADS)
    np.testing.assert_allclose(moved, attend(q, k, v, MASK, HEADS)[0], atol=1e-6)


def test_over_a_single_key_the_query_says_nothing():
    module = cross_attention.MultiHeadAttention(WIDTH, HEADS)
    one, key_mask = normal(BATCH, 1, WIDTH), np.ones((BATCH, 1))
    params = filled(module, normal(BATCH, 1, WIDTH), one, key_mask)
    results = [run(module)(params, normal(BATCH, 1, WIDTH, seed=s), one, key_mask) for s in (5, 6)]
    np.testing.assert_array_equal(results[0], results[1])


def test_without_any_key_the_outputs_bias_is_withheld_too():
    module = cross_attention.MultiHeadAttention(WIDTH, HEADS)
    query, memory = normal(BATCH, QUERIES, WIDTH), normal(BATCH, KEYS, WIDTH, seed=1)
    params = filled(module, query, memory, MASK)
    out = run(module)(params, query, memory, MASK)
    np.testing.assert_array_equal(out[1], 0)
    assert np.abs(out[0]).min() > 0
    np.testing.assert_array_equal(run(module)(params, query, memory[:, :0], MASK[:, :0]), 0)


def test_a_block_without_keys_keeps_what_it_was_given_and_padding_is_zero():
    module = cross_attention.AttentionBlock(WIDTH, HEADS, 6)
    x, memory = normal(BATCH, QUERIES, WIDTH), normal(BATCH, KEYS, WIDTH, seed=1)
    params = filled(module, x, QUERY_MASK, memory, MASK)
    apply = run(module)
    out = np.asarray(apply(params, x, QUERY_MASK, memory, MASK))
    np.testing.assert_array_equal(out[QUERY_MASK == 0], 0)
    other = apply(params, x, QUERY_MASK, -memory, MASK)
    np.testing.assert_array_equal(out[1], other[1])
    assert np.abs(out[0] - other[0]).max() > 1e-3


def test_batch_norm_reads_only_the_tokens_that_are_there():
    module = token_norm.TokenNorm("batch")
    x = normal(BATCH, QUERIES, WIDTH)
    params = {"scale": np.full(WIDTH, 2.0), "bias": np.full(WIDTH, 1.0)}
    stats = {"mean": np.zeros(WIDTH), "variance": np.ones(WIDTH)}
    variables = {"params": params, "batch_stats": stats}

    @jax.jit
    def run(x, mask):
        return module.apply(variables, x, mask, True, mutable=["batch_stats"])

    found, kept = run(x, QUERY_MASK)
    there = QUERY_MASK > 0
    tokens = x[there]
    expected = 1 + 2 * (tokens - tokens.mean(0)) / np.sqrt(tokens.var(0) + 1e-5)
    np.testing.assert_allclose(np.asarray(found)[there], expected, atol=1e-5)
    np.testing.assert_allclose(kept["batch_stats"]["mean"], 0.1 * tokens.mean(0), atol=1e-6)
    unbiased = 0.9 + 0.1 * tokens.var(0, ddof=1)
    np.testing.assert_allclose(kept["batch_stats"]["variance"], unbiased, atol=1e-6)
    far, kept_far = run(np.where(there[..., None], x, 1e4), QUERY_MASK)
    np.testing.assert_allclose(np.asarray(far)[there], expected, atol=1e-5)
    _, untouched = run(x, np.zeros_like(QUERY_MASK))
    jax.tree.map(np.testing.assert_array_equal, untouched["batch_stats"], stats)
    jax.tree.map(np.testing.assert_array_equal, kept_far, kept)


def test_self_attention_equals_pytorchs_golden_numbers():
    # Of torch 2.13: weights sin(1 + k + parameter), inputs cos(k), the first row's last key masked.
    def fill(order, *shape):
        return np.sin(1 + order + np.arange(np.prod(shape))).reshape(shape).astype(np.float32)

    params = {
        "kernel": fill(0, 12, 4).T,
        "bias": fill(1, 12),
        "out": {"kernel": fill(2, 4, 4).T, "bias": fill(3, 4)},
    }
    x = jnp.cos(jnp.arange(24.0)).reshape(2, 3, 4)
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    module = cross_attention.MultiHeadAttention(4, 2)
    found = jax.jit(lambda x: module.apply({"params": params}, x, x, mask))(x)
    golden = [
        [
            [-0.8552560, -2.3593445, 1.6497896, -0.4646183],
            [1.6465821, -3.9735076, 1.2581261, 1.6615614],
            [0.4002005, -3.5398674, 1.9376155, 0.3396334],
        ],
        [
            [-1.9995091, -2.0313540, 2.3652650, -1.7279407],
            [0.7505485, -3.1021044, 1.0149854, 1.1080129],
            [-1.0047837, -3.9632347, 3.8960624, -1.7972520],
        ],
    ]
    np.testing.assert_allclose(found, golden, atol=1e-5)
