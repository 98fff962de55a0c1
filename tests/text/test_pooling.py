"""Pooling reads real tokens alone: what stands in the padding changes no vector."""

import numpy as np
import pytest

from ehr_jax.text import pooling

LENGTHS = np.array([5, 3, 1])
# [batch, length, width] float32
HIDDEN = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)

EXPECTED = {
    "mean": [row[:length].mean(axis=0) for row, length in zip(HIDDEN, LENGTHS, strict=True)],
    "cls": [row[0] for row in HIDDEN],
    "last": [row[length - 1] for row, length in zip(HIDDEN, LENGTHS, strict=True)],
}


@pytest.mark.parametrize("mode", pooling.MODES)
@pytest.mark.parametrize("padding", [0.0, 7.0, 1e30])
@pytest.mark.parametrize("further", [0, 3])
def test_rows_are_pooled_over_their_real_tokens_whatever_the_padding_holds(mode, padding, further):
    padded = np.pad(HIDDEN, ((0, 0), (0, further), (0, 0)), constant_values=padding)
    for row, length in zip(padded, LENGTHS, strict=True):
        row[length:] = padding
    pooled = np.asarray(pooling.pool(padded, LENGTHS, mode))
    np.testing.assert_allclose(pooled, EXPECTED[mode], rtol=1e-6)


def test_a_row_without_tokens_pools_to_zeros_by_mean():
    assert not np.asarray(pooling.pool(HIDDEN[:1], np.array([0]), "mean")).any()
