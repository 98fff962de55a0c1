"""Ranking metrics on the device, for selection inside a compiled program.

The reported metrics are those of `evaluation`; these equal them and exist so that choosing the best
step costs no trip to the host. Cells are counted in whole numbers and nothing is multiplied that
may overflow, so up to 2^24 (16.7 million) samples a metric is within 2^-21 (5e-7) of its exact
value; `mean_share` says why.
"""

import jax
import jax.numpy as jnp

STEPS = 2**24  # a share is rounded to a multiple of 1 / STEPS before shares are added up


def auroc(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Area under the ROC curve per column, ties counted half.

    Args:
      scores: [sample, label] float32.
      labels: [sample, label] float32; nan where missing.

    Returns:
      [label] float32, nan where a column lacks positives or negatives, or where the score of a
      sample with a label is nan, which has no rank.
    """
    return jax.vmap(_auroc, in_axes=1)(scores, labels)


def auprc(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Average precision per column, tied scores taken together; shapes and nan as in `auroc`."""
    return jax.vmap(_auprc, in_axes=1)(scores, labels)


def not_finite(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """How many cells have a label and a score that is no finite number, [] int32."""
    return (~jnp.isfinite(scores) & ~jnp.isnan(labels)).sum(dtype=jnp.int32)


def mean_share(shares: jax.Array, where: jax.Array) -> jax.Array:
    """Mean of `shares`, [sample] float32 from 0 to 1, over the samples `where` [sample] bool: [].

    A float32 sum of many millions may lose what it adds. Here shares become whole numbers of
    1 / STEPS, and their digits, of so few bits that no sum of them passes 32 bits, are added
    exactly, in whatever order the device takes. So the mean is off by less than 2^-24 for rounding
    each share, and 2^-22 of its value for putting the digits together.
    """
    whole = jnp.where(where, jnp.round(shares * STEPS), 0).astype(jnp.uint32)
    bits = 32 - shares.size.bit_length()
    total = jnp.zeros((), jnp.float32)
    for low in range(0, STEPS.bit_length(), bits):
        digit = (whole >> low) & jnp.uint32(2**bits - 1)
        total += digit.sum(dtype=jnp.uint32).astype(jnp.float32) * 2.0**low
    return total / STEPS / where.sum(dtype=jnp.int32)


def _auroc(scores, labels):
    positive, negative, start, end = _ranked(scores, labels)
    below = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(negative, dtype=jnp.int32)])
    # Negatives with a lower score, and half of those with the same.
    beaten = (below[start] + below[end]) / (2.0 * below[-1])
    return jnp.where(_rankable(scores, labels), mean_share(beaten, positive), jnp.nan)


def _auprc(scores, labels):
    positive, negative, start, _ = _ranked(scores, labels)
    hits, misses = (
        # Of the samples from each one on, and so with its score or a higher one.
        jnp.cumsum(of_kind[::-1], dtype=jnp.int32)[::-1][start]
        for of_kind in (positive, negative)
    )
    precision = hits / jnp.maximum(hits + misses, 1)
    return jnp.where(_rankable(scores, labels), mean_share(precision, positive), jnp.nan)


def _ranked(scores, labels):
    """Samples by rising score: positive and negative [sample] bool, and where the samples of the
    same score start and end [sample] int32. Those without a label are neither."""
    kind = jnp.where(labels == 1, 1, jnp.where(labels == 0, 0, 2)).astype(jnp.int8)
    ordered, kind = jax.lax.sort((scores, kind), num_keys=1)
    place = jnp.arange(scores.size, dtype=jnp.int32)
    first = (place == 0) | (ordered != jnp.roll(ordered, 1))
    last = (place == scores.size - 1) | (ordered != jnp.roll(ordered, -1))
    start = jax.lax.cummax(jnp.where(first, place, 0))
    end = jax.lax.cummin(jnp.where(last, place + 1, scores.size), reverse=True)
    return kind == 1, kind == 0, start, end


def _rankable(scores, labels):
    """Whether both classes are there, and every sample with a label has a score to rank by, []."""
    scoreless = jnp.any(jnp.isnan(scores) & ~jnp.isnan(labels))
    return jnp.any(labels == 1) & jnp.any(labels == 0) & ~scoreless
