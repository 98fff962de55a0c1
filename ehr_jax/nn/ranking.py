"""Ranking metrics on the device, for selection inside a compiled program.

The reported metrics are those of `evaluation`; these equal them and exist so that choosing the best
step costs no trip to the host.
"""

import jax
import jax.numpy as jnp


def auroc(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Area under the ROC curve per column, ties counted half.

    Args:
      scores: [sample, label] float32.
      labels: [sample, label] float32; nan where missing.

    Returns:
      [label] float32, nan where a column lacks positives or negatives.
    """
    return jax.vmap(_auroc, in_axes=1)(scores, labels)


def auprc(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Average precision per column, tied scores taken together; shapes as in `auroc`."""
    return jax.vmap(_auprc, in_axes=1)(scores, labels)


def _auroc(scores, labels):
    positive, negative = labels == 1, labels == 0
    lowest_first = jnp.argsort(jnp.where(jnp.isnan(labels), jnp.inf, scores))
    ranked = scores[lowest_first]
    # Negatives strictly below and up to each score; missing cells count as neither.
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(negative[lowest_first])])
    ranked = jnp.where(jnp.isnan(labels[lowest_first]), jnp.inf, ranked)
    under = below[jnp.searchsorted(ranked, scores, side="left")]
    upto = below[jnp.searchsorted(ranked, scores, side="right")]
    wins = jnp.where(positive, (under + upto) / 2, 0.0).sum()
    return wins / (positive.sum() * negative.sum())


def _auprc(scores, labels):
    known = ~jnp.isnan(labels)
    keyed = jnp.where(known, -scores, jnp.inf)  # best first, missing last
    order = jnp.argsort(keyed)
    hits = jnp.concatenate([jnp.zeros(1), jnp.cumsum(labels[order] == 1)])
    at_least = jnp.searchsorted(keyed[order], keyed, side="right")
    precision = hits[at_least] / jnp.maximum(at_least, 1)
    positive = labels == 1
    return jnp.where(positive, precision, 0.0).sum() / positive.sum()
