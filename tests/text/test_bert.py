import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ehr_jax.nn import operands
from ehr_jax.text import bert, encoders, layers


def run(encoder, tokens, lengths) -> np.ndarray:
    return np.asarray(
        bert.hidden_states(encoder.params, tokens, lengths, encoder.config, encoder.precision)
    )


def real(states, lengths) -> np.ndarray:
    """The rows of real tokens alone, [tokens, width]."""
    return np.concatenate([row[:n] for row, n in zip(states, lengths, strict=True)])


def test_hidden_states_equal_pytorch(each_tiny, golden):
    name, encoder = each_tiny
    expected = golden(name)
    found = run(encoder, expected["tokens"], expected["lengths"])
    np.testing.assert_allclose(
        real(found, expected["lengths"]), real(expected["hidden"], expected["lengths"]), atol=1e-5
    )


def test_attention_example_by_example_equals_pytorch(each_tiny, golden, monkeypatch):
    monkeypatch.setattr(layers, "MAP_FROM_LENGTH", 1)
    name, encoder = each_tiny
    expected = golden(name)
    found = run(encoder, expected["tokens"], expected["lengths"])
    np.testing.assert_allclose(
        real(found, expected["lengths"]), real(expected["hidden"], expected["lengths"]), atol=1e-5
    )


@pytest.mark.parametrize("junk", [0, 7])
def test_padding_changes_no_hidden_state(each_tiny, golden, junk):
    name, encoder = each_tiny
    tokens, lengths = golden(name)["tokens"], golden(name)["lengths"]
    tokens = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, junk)
    padded = np.pad(tokens, ((0, 2), (0, 11)), constant_values=junk)
    found = run(encoder, padded, np.pad(lengths, (0, 2)))
    np.testing.assert_allclose(
        real(found[:-2], lengths), real(run(encoder, tokens, lengths), lengths), atol=2e-6
    )
    assert np.isfinite(found).all()


def test_batch_order_changes_no_hidden_state(each_tiny, golden):
    name, encoder = each_tiny
    tokens, lengths = golden(name)["tokens"], golden(name)["lengths"]
    order = np.random.default_rng(0).permutation(len(tokens))
    found = run(encoder, tokens[order], lengths[order])
    np.testing.assert_allclose(found, run(encoder, tokens, lengths)[order], atol=2e-6)


def test_bfloat16_stays_close_to_float32(golden, tiny):
    half = encoders.load(tiny.name, precision="bfloat16")
    tokens, lengths = golden("tiny_mean")["tokens"], golden("tiny_mean")["lengths"]
    exact = real(run(tiny, tokens, lengths), lengths)
    rounded = real(run(half, tokens, lengths), lengths)
    cosine = np.sum(exact * rounded, -1) / np.prod(
        [np.linalg.norm(x, axis=-1) for x in (exact, rounded)], axis=0
    )
    assert rounded.dtype == np.float32
    assert 1e-5 < 1 - cosine.min() < 0.01  # rounded indeed, but little


def test_module_declares_the_parameters_a_checkpoint_gives(each_tiny):
    _, encoder = each_tiny
    module = encoders.ARCHITECTURES["bert"].module(encoder.config)
    tokens, lengths = np.zeros((1, 4), np.int32), np.full(1, 4, np.int32)
    declared = jax.eval_shape(module.init, jax.random.key(0), tokens, lengths)["params"]
    assert jax.tree.map(np.shape, encoder.params) == jax.tree.map(np.shape, declared)


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_products_are_of_rounded_operands_however_the_cpu_multiplies(native, monkeypatch):
    monkeypatch.setattr(operands, "multiplies_bfloat16", lambda: native)
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(9, 300)), rng.normal(size=(300, 7))
    x, kernel = x.astype(np.float32), kernel.astype(np.float32)
    rounded = [a.astype(jnp.bfloat16).astype(np.float64) for a in (x, kernel)]
    expected = rounded[0] @ rounded[1]
    for given in (kernel, jnp.asarray(kernel, jnp.bfloat16)):
        run = jax.jit(lambda x, kernel: layers.product(x, kernel, "bfloat16"))
        np.testing.assert_allclose(run(x, given), expected, atol=1e-4)
    run = jax.jit(lambda a, b: layers.batched_product(a, b, "bfloat16"))
    np.testing.assert_allclose(run(x[None], kernel[None])[0], expected, atol=1e-4)
    assert np.abs(expected - x.astype(np.float64) @ kernel).max() > 1e-2  # rounding shows


def test_cpus_that_multiply_bfloat16_slowly_are_told_from_those_that_do_not(monkeypatch):
    def found(text: str) -> bool:
        monkeypatch.setattr(operands.pathlib.Path, "read_text", lambda _, **options: text)
        return operands.multiplies_bfloat16.__wrapped__()

    intel, amd = "vendor_id : GenuineIntel\n", "vendor_id : AuthenticAMD\n"
    assert not found(f"{intel}flags : avx512f avx512_bf16\n")
    assert found(f"{intel}flags : avx512f avx512_bf16 amx_bf16\n")
    assert found(f"{amd}flags : avx512f avx512_bf16\n")
    assert not found(f"{amd}flags : avx2\n")
    assert not found("Features : fp asimd bf16\n")  # ARM
