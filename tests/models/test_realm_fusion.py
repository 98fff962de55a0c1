"""REALM's fusion of sequences against numpy: a loop over samples, streams and tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import stays

from ehr_jax.models import realm_fusions, realm_streams

WIDTH, HEADS, BATCH = 4, 2, 5


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def gelu_mlp(x, p):
    hidden = linear(x, p["inner"])
    return linear(hidden * scipy.special.ndtr(hidden), p["outer"])


def softmax(scores):
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def layer_norm(rows, p):
    mean, variance = rows.mean(-1, keepdims=True), rows.var(-1, keepdims=True)
    return (rows - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["bias"]


def attended(x, memory, p):
    """Rows x ask, rows of the memory answer; then a residual, a norm, and the same with FF."""
    mixed = np.zeros_like(x)
    if len(memory):
        joint, bias = p["attention"]["kernel"], p["attention"]["bias"]
        q, k, v = ((of @ joint + bias)[:, at * WIDTH : (at + 1) * WIDTH]
                   for at, of in enumerate((x, memory, memory)))  # fmt: skip
        for h in range(HEADS):
            own = slice(h * WIDTH // HEADS, (h + 1) * WIDTH // HEADS)
            for row in range(len(x)):
                scores = k[:, own] @ q[row, own] / np.sqrt(WIDTH // HEADS)
                mixed[row, own] = softmax(scores) @ v[:, own]
        mixed = linear(mixed, p["attention"]["out"])
    x = layer_norm(x + mixed, p["norm_attention"]["LayerNorm_0"])
    hidden = linear(np.maximum(linear(x, p["inner"]), 0), p["outer"])
    return layer_norm(x + hidden, p["norm_out"]["LayerNorm_0"])


def plain(p, streams, sample):
    """z* of one sample, the weights of its modalities, and those of each stream's tokens."""
    rate = 10_000.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
    own = []
    for m, (tokens, mask, hours) in enumerate(streams):
        there = np.asarray(mask[sample]) > 0
        x = np.asarray(tokens[sample], np.float64)[there]
        if hours is not None:
            angle = np.asarray(hours[sample], np.float64)[there][:, None] * rate
            x = x + gelu_mlp(np.concatenate([np.sin(angle), np.cos(angle)], 1),
                             p["time"]["GeluMLP_0"])  # fmt: skip
        own.append(attended(x, x, p[f"self_{m}"]) if len(x) else x)
    vectors, token_weights, scores = [], [], []
    for m, x in enumerate(own):
        if not len(x):
            vectors.append(np.zeros(WIDTH))
            token_weights.append(np.zeros(0))
            scores.append(-np.inf)
            continue
        if len(own) > 1:
            others = np.concatenate([other for k, other in enumerate(own) if k != m])
            x = attended(x, others, p[f"cross_{m}"])
        x = gelu_mlp(x, p["mlp"])
        weights = softmax(x @ linear(x.mean(0), p["pool"]["query"]) / np.sqrt(WIDTH))
        vectors.append(weights @ x)
        token_weights.append(weights)
        scores.append(p["gate"]["scores"][m])
    shares = softmax(np.array(scores)) if np.isfinite(scores).any() else np.zeros(len(own))
    return shares @ np.array(vectors), shares, token_weights


@pytest.mark.parametrize("lengths", [(3, 4, 1), (5,)])
def test_the_fusion_is_a_loop_over_streams(lengths):
    rng = np.random.default_rng(2)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    streams = []
    for k, length in enumerate(lengths):
        mask = (rng.random((BATCH, length)) < 0.6).astype(np.float32)
        mask[0], mask[1], mask[2] = 1, 0, k == 0  # all, nothing, and one modality alone
        tokens = normal(BATCH, length, WIDTH) * mask[..., None]
        hours = None if length == 1 else (10 * rng.random((BATCH, length))).astype(np.float32)
        streams.append(realm_streams.Stream(tokens, mask, hours))
    module = realm_fusions.SequenceFusion(WIDTH, HEADS, 6, "layer", "scalar", 0.0)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), streams, False))
    params = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes)
    run = stays.quick_jit(lambda p, given: module.apply(p, given, False))
    fused, shares, token_weights = run(params, jax.tree.map(jnp.asarray, streams))
    in_full = jax.tree.map(lambda leaf: leaf.astype(np.float64), params["params"])
    for sample in range(BATCH):
        expected, expected_shares, weights = plain(in_full, streams, sample)
        np.testing.assert_allclose(fused[sample], expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(shares[sample], expected_shares, atol=1e-5)
        for stream, found, own in zip(streams, token_weights, weights, strict=True):
            there = stream.mask[sample] > 0
            np.testing.assert_allclose(found[sample][there], own, atol=1e-4)
            np.testing.assert_array_equal(found[sample][~there], 0)
