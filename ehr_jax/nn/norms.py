"""Normalisations whose statistics can be kept: computed on one set of rows, applied to another.

The rows may be padded, and spread over shards (`nn.spread`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ehr_jax.nn import spread

EPSILON = 1e-5


class PairStatistics(NamedTuple):
    """What PairNorm knows of the rows it was fitted on: mean row [width], mean squared norm []."""

    center: jax.Array
    squared_norm: jax.Array


class ColumnStatistics(NamedTuple):
    """What BatchNorm knows of the rows it was fitted on: mean [width], variance [width]."""

    mean: jax.Array
    variance: jax.Array


def pair_statistics(
    x: jax.Array, real: jax.Array | None = None, axis: spread.Axis = None
) -> PairStatistics:
    """Statistics of PairNorm over rows of `x` [row, width]; `real` and `axis` as in `moments`."""
    mean, variance = moments(x, real, axis)
    return PairStatistics(mean, variance.sum())


def pair_norm(x: jax.Array, statistics: PairStatistics) -> jax.Array:
    """(x - mean row) / sqrt(eps + mean squared row norm), [row, width]: PN of HypEHR."""
    return (x - statistics.center) * jax.lax.rsqrt(EPSILON + statistics.squared_norm)


def column_statistics(
    x: jax.Array, real: jax.Array | None = None, axis: spread.Axis = None
) -> ColumnStatistics:
    """Statistics of BatchNorm over rows of `x` [row, width]; `real` and `axis` as in `moments`."""
    return ColumnStatistics(*moments(x, real, axis))


def moments(
    x: jax.Array, real: jax.Array | None = None, axis: spread.Axis = None
) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each column, [width] both.

    Args:
      x: [row, width] float32.
      real: [row] float32, 1 for rows that count and 0 for padding; None counts all.
      axis: over what rows are spread; None where all rows are here.
    """
    if real is None and axis is None:
        return x.mean(axis=0), x.var(axis=0)
    real = jnp.ones(x.shape[:1], x.dtype) if real is None else real
    # Not `real @ x`: a matrix product adds millions of rows one after another, and is off by 6e-5
    # at ten million, where a reduction adds them as a tree.
    here = real[:, None]
    count, summed = spread.total((real.sum(), (here * x).sum(axis=0)), axis)
    mean = summed / jnp.maximum(count, 1)
    squares = spread.total((here * jnp.square(x - mean)).sum(axis=0), axis)
    return mean, squares / jnp.maximum(count, 1)


def batch_norm(
    x: jax.Array, statistics: ColumnStatistics, scale: jax.Array, bias: jax.Array
) -> jax.Array:
    """Batch normalisation of `x` [row, width] with given statistics."""
    return (x - statistics.mean) * jax.lax.rsqrt(statistics.variance + EPSILON) * scale + bias
