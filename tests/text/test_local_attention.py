import jax
import numpy as np
import pytest

from ehr_jax.text import layers, local_attention


def dense(q, k, v, lengths, before, after, first) -> np.ndarray:
    """The definition, one query at a time."""
    out = np.zeros_like(q)
    for b, real in enumerate(lengths):
        for i in range(real):
            seen = [j for j in range(real) if j < first or i - before <= j <= i + after]
            scores = np.einsum("hd,hjd->hj", q[b, :, i], k[b][:, seen]) * 0.5
            weight = np.exp(scores - scores.max(-1, keepdims=True))
            weight /= weight.sum(-1, keepdims=True)
            out[b, :, i] = np.einsum("hj,hjd->hd", weight, v[b][:, seen])
    return out


@pytest.mark.parametrize(
    ("length", "before", "after", "first", "block", "one_by_one"),
    [
        (17, 2, 3, 1, 4, False),
        (17, 2, 3, 1, 4, True),
        (16, 0, 0, 0, 5, False),  # itself alone
        (13, 6, 0, 0, 1, True),  # causal
        (9, 1, 6, 1, 2, True),
        (5, 6, 6, 1, 2, False),  # shorter than the window
    ],
)
def test_blocks_equal_the_definition(length, before, after, first, block, one_by_one, monkeypatch):
    monkeypatch.setattr(local_attention, "BLOCK", block)
    monkeypatch.setattr(layers, "MAP_FROM_LENGTH", 1 if one_by_one else 100)
    rng = np.random.default_rng(length)
    q, k, v = rng.normal(size=(3, 2, 2, length, 4)).astype(np.float32)
    lengths = np.array([length, rng.integers(1, length + 1)], np.int32)
    args = (q, k, v, lengths, 0.5, "float32", before, after, first)
    found = np.asarray(local_attention.attend(*args))
    valid = (np.arange(length) < lengths[:, None])[:, None, :, None]
    expected = dense(q, k, v, lengths, before, after, first)
    np.testing.assert_allclose(np.where(valid, found, 0), expected, atol=1e-5)
    assert np.isfinite(found).all()


def test_no_array_of_length_by_length_is_made():
    length, x = 1024, jax.ShapeDtypeStruct((1, 2, 1024, 4), np.float32)
    lengths = jax.ShapeDtypeStruct((1,), np.int32)

    def shapes(attention):
        def call(q, k, v, lengths):
            return attention(q, k, v, lengths, 0.5, "float32", 64, 64, 1)

        return str(jax.make_jaxpr(call)(x, x, x, lengths))

    assert f"{length},{length}" in shapes(layers.attend)
    assert f"{length},{length}" not in shapes(local_attention.attend)
