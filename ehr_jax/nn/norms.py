"""Normalisations whose statistics can be kept: computed on one set of rows, applied to another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

EPSILON = 1e-5


class PairStatistics(NamedTuple):
    """What PairNorm knows of the rows it was fitted on: mean row [width], mean squared norm []."""

    center: jax.Array
    squared_norm: jax.Array


class ColumnStatistics(NamedTuple):
    """What BatchNorm knows of the rows it was fitted on: mean [width], variance [width]."""

    mean: jax.Array
    variance: jax.Array


def pair_statistics(x: jax.Array) -> PairStatistics:
    """Statistics of PairNorm over all rows of `x` [row, width]."""
    center = x.mean(axis=0)
    return PairStatistics(center, jnp.square(x - center).sum(axis=1).mean())


def pair_norm(x: jax.Array, statistics: PairStatistics) -> jax.Array:
    """(x - mean row) / sqrt(eps + mean squared row norm), [row, width]: PN of HypEHR."""
    return (x - statistics.center) * jax.lax.rsqrt(EPSILON + statistics.squared_norm)


def column_statistics(x: jax.Array) -> ColumnStatistics:
    """Statistics of BatchNorm over all rows of `x` [row, width] (biased variance)."""
    return ColumnStatistics(x.mean(axis=0), x.var(axis=0))


def batch_norm(
    x: jax.Array, statistics: ColumnStatistics, scale: jax.Array, bias: jax.Array
) -> jax.Array:
    """Batch normalisation of `x` [row, width] with given statistics."""
    return (x - statistics.mean) * jax.lax.rsqrt(statistics.variance + EPSILON) * scale + bias
