"""Times as vectors: sines and cosines of many periods, through an MLP.

REALM (arXiv 2402.07016) adds tau = MLP(sin/cos features of the visit's time) to the tokens of every
modality. Inferred: the periods, those of Vaswani et al. (2017), and the MLP's form.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import dense

LONGEST = 10_000.0  # of the periods, over 2 pi, in units of the times given


def sinusoids(times: jax.Array, width: int) -> jax.Array:
    """sin(t / LONGEST^(2 i / width)) for i below width / 2, then the cosines.

    Args:
      times: [...] float32, of either sign.
      width: even.

    Returns:
      [..., width] float32.
    """
    rate = LONGEST ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angle = times[..., None] * rate
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class TimeEmbedding(nn.Module):
    """tau = Linear(GELU(Linear(sinusoids)))."""

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, times: jax.Array) -> jax.Array:
        """[...] float32 -> [..., width] float32."""
        return dense.GeluMLP(self.width, self.precision)(sinusoids(times, self.width))
