"""Normalisation of the tokens of padded sequences, over each token or over all of a batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import norms

KINDS = ("layer", "batch")


class TokenNorm(nn.Module):
    """LayerNorm, or BatchNorm over the tokens that are there.

    A layer norm leaves every sample to itself. A batch norm takes, in training, mean and variance
    of the batch's tokens, and keeps running ones for scoring in the collection "batch_stats"
    (which the training step has to carry), by `torch.nn.BatchNorm1d`'s rules; a batch without any
    token leaves them as they are.

    Attributes:
      kind: "layer" or "batch".
      momentum: weight of the old running value.
    """

    kind: str
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """[..., width] -> the same in float32; mask: [...]."""
        x = x.astype(jnp.float32)
        if self.kind == "layer":
            return nn.LayerNorm(norms.EPSILON)(x)
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
        variance = self.variable("batch_stats", "variance", jnp.ones, (width,))
        if not train:
            kept = norms.ColumnStatistics(mean.value, variance.value)
            return norms.batch_norm(x, kept, scale, bias)
        found, count = masked_statistics(x, mask)
        if not self.is_initializing():
            share = jnp.where(count > 0, 1 - self.momentum, 0.0)
            unbiased = found.variance * count / jnp.maximum(count - 1, 1)
            mean.value += share * (found.mean - mean.value)
            variance.value += share * (unbiased - variance.value)
        return norms.batch_norm(x, found, scale, bias)


def masked_statistics(x: jax.Array, mask: jax.Array) -> tuple[norms.ColumnStatistics, jax.Array]:
    """Mean and biased variance [width] of the tokens of `x` [..., width] that are there, and how
    many there are."""
    there = (mask > 0).astype(x.dtype)[..., None]
    count = there.sum()
    axes = tuple(range(x.ndim - 1))
    mean = (x * there).sum(axes) / jnp.maximum(count, 1)
    variance = (jnp.square(x - mean) * there).sum(axes) / jnp.maximum(count, 1)
    return norms.ColumnStatistics(mean, variance), count
