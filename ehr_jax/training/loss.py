"""The loss of a label a sample: weighted cross-entropy over what is known."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors


def cross_entropy(logits: jax.Array, labels: jax.Array, positive_weight: jax.Array) -> jax.Array:
    """Mean over cells that are not nan of -(w y log p + (1 - y) log(1 - p)); MINGLE Eq. 4 at w = 1.

    Args:
      logits, labels: [sample, label] float32.
      positive_weight: [label] float32.
    """
    cost, known = cost_and_count(logits, labels, positive_weight)
    return cost / jnp.maximum(known, 1)


def cost_and_count(
    logits: jax.Array, labels: jax.Array, positive_weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The sum that `cross_entropy` is the mean of, and how many cells are known, [] both."""
    known = ~jnp.isnan(labels)
    truth = jnp.where(known, labels, 0.0)
    cost = positive_weight * truth * nn.softplus(-logits) + (1 - truth) * nn.softplus(logits)
    return jnp.where(known, cost, 0.0).sum(), known.sum()


def positive_weights(labels: np.ndarray, wanted: float | str) -> np.ndarray:
    """Weight of a positive cell, [label] float32: a number for all, or "balanced": negatives over
    positives among training labels, at most 100.

    Args:
      labels: [training sample, label], nan where missing.

    Raises:
      ConfigError: `wanted` is neither.
    """
    # In float64, as numpy adds the rows of a float32 table one after another.
    positives = np.maximum(np.nansum(labels, axis=0, dtype=np.float64), 1.0)
    if wanted == "balanced":
        negatives = (~np.isnan(labels)).sum(axis=0) - positives
        return np.clip(negatives / positives, 1.0, 100.0).astype(np.float32)
    try:
        return np.full(labels.shape[1], float(wanted), np.float32)
    except ValueError:
        raise errors.ConfigError(
            f"config.train.positive_weight is '{wanted}'; expected 'balanced' or a number"
        ) from None


def unweighted(logits: np.ndarray, positive_weight: np.ndarray) -> np.ndarray:
    """Probabilities [sample, label] float32 of logits that a weighted loss has fitted.

    A weight w of positives shifts log-odds by log w; that is taken back, so that probabilities
    speak of the training prevalence.
    """
    shifted = np.asarray(logits, np.float64) - np.log(np.asarray(positive_weight))
    return (1.0 / (1.0 + np.exp(-shifted))).astype(np.float32)
