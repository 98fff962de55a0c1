"""The fused path of attention masks as the plain one does, and is taken only where it runs."""

import jax
import numpy as np
import pytest

from ehr_jax.text import layers

LENGTHS = np.array([24, 1, 13], np.int32)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(3, 4, 24, 8)).astype(np.float32) * 2 for _ in range(3)]


def real(x) -> np.ndarray:
    return np.asarray(x).transpose(0, 2, 1, 3)[np.arange(24) < LENGTHS[:, None]]


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 2e-6), ("bfloat16", 4e-2)], ids=["float32", "bfloat16"]
)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_fused_attention_equals_the_plain_one(inputs, causal, precision, tolerance):
    after = 0 if causal else None
    plain = layers.attend(*inputs, LENGTHS, 0.3, precision, after=after)
    found = layers.fused(*inputs, LENGTHS, 0.3, precision, causal, "xla")
    assert found.dtype == np.float32
    np.testing.assert_allclose(real(found), real(plain), atol=tolerance, rtol=0)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_a_row_without_tokens_stays_finite(inputs, causal):
    found = layers.fused(*inputs, np.zeros(3, np.int32), 0.3, "float32", causal, "xla")
    assert np.isfinite(found).all()


def test_padding_is_not_seen_by_fused_attention(inputs):
    q, k, v = inputs
    junk = [np.where(np.arange(24)[:, None] < LENGTHS[:, None, None, None], x, 99) for x in (k, v)]
    for causal in (False, True):
        before = layers.fused(q, k, v, LENGTHS, 0.3, "float32", causal, "xla")
        after = layers.fused(q, *junk, LENGTHS, 0.3, "float32", causal, "xla")
        np.testing.assert_array_equal(real(after), real(before))


@pytest.mark.parametrize(
    ("name", "window"),
    [("bert", (None, None)), ("decoder", (None, 0))],
)
def test_attend_takes_the_fused_path_where_it_runs(inputs, monkeypatch, name, window):
    taken = []

    def spy(*args):
        taken.append(args[-1])
        return layers_fused(*args, "xla")

    layers_fused = layers.fused
    monkeypatch.setattr(layers, "fused", spy)
    monkeypatch.setattr(layers, "_fused_runs", lambda *args: True)
    plain = real(layers.attend(*inputs, LENGTHS, 0.3, "float32", *window))
    assert taken == [name == "decoder"]
    # Windows and keys that all see are masks it does not have.
    layers.attend(*inputs, LENGTHS, 0.3, "float32", 3, 3)
    layers.attend(*inputs, LENGTHS, 0.3, "float32", 3, 0)
    layers.attend(*inputs, LENGTHS, 0.3, "float32", None, 1)
    layers.attend(*inputs, LENGTHS, 0.3, "float32", first=1)
    assert len(taken) == 1
    monkeypatch.setattr(layers, "_fused_runs", lambda *args: False)
    again = real(layers.attend(*inputs, LENGTHS, 0.3, "float32", *window))
    np.testing.assert_allclose(plain, again, atol=2e-6, rtol=0)


def test_it_is_left_where_it_does_not_compile(monkeypatch):
    long = jax.ShapeDtypeStruct((1, 2, layers.FUSED_FROM, 64), np.float32)
    assert not layers._fused_runs(long, True, "bfloat16")  # on a CPU, not even tried
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    layers._kernel_compiles.cache_clear()
    if jax.devices()[0].platform == "cpu":
        assert not layers._fused_runs(long, True, "bfloat16")  # tried and refused
    monkeypatch.setattr(layers, "_kernel_compiles", lambda depth, causal: True)
    assert layers._fused_runs(long, True, "bfloat16")
    assert not layers._fused_runs(long, True, "float32")
    short = jax.ShapeDtypeStruct((1, 2, layers.FUSED_FROM - 1, 64), np.float32)
    assert not layers._fused_runs(short, True, "bfloat16")
