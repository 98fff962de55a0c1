"""Averages and softmaxes over what is there: padding takes part in nothing, nor in a gradient.

A mask is float32 or bool, 1 where there is something. Where there is nothing at all the result is
zero, never nan, and an axis may have length 0.
"""

import jax
import jax.numpy as jnp


def cleared(x: jax.Array, mask: jax.Array) -> jax.Array:
    """`x` [..., width] with exact zeros where `mask` [...] is 0, whatever stood there."""
    return jnp.where(mask[..., None] > 0, x, 0)


def softmax(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax over the last axis of what is there, in float32; zeros where nothing is.

    Args:
      scores: [..., item]; mask: broadcast to it.
    """
    scores = scores.astype(jnp.float32)
    if scores.shape[-1] == 0:
        return scores
    there = mask > 0
    # Finite, so that a row without items gives a finite gradient, which the product makes zero.
    scores = jnp.where(there, scores, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores, axis=-1) * there


def mean_weights(mask: jax.Array) -> jax.Array:
    """[..., item] float32 weights of the mean of what is there."""
    there = (mask > 0).astype(jnp.float32)
    return there / jnp.maximum(there.sum(-1, keepdims=True), 1.0)


def last_weights(mask: jax.Array) -> jax.Array:
    """[..., item] float32, 1 at the last item that is there."""
    place = jnp.arange(1, mask.shape[-1] + 1) * (mask > 0)  # counted from 1, 0 where nothing is
    return ((place > 0) & (place == place.max(-1, keepdims=True, initial=0))).astype(jnp.float32)


def weighted(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum of [..., item, width] by weights [..., item] -> [..., width], in the dtype of `x`."""
    return jnp.einsum("...id,...i->...d", x, weights.astype(x.dtype))
