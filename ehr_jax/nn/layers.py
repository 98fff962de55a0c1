"""Thin linen modules around the plain functions: half-layers of hypergraph networks and MLPs."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import set_attention, spmm


class MLP(nn.Module):
    """Linear-ReLU-...-Linear of the given widths; `x` [row, in] -> [row, widths[-1]]."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for index, width in enumerate(self.widths):
            x = nn.relu(x) if index else x
            x = nn.Dense(width)(x)
        return x


class SetAttention(nn.Module):
    """Set-attention half-layer f(sources -> targets) of AllSetTransformer and HypEHR, as coded.

    k = W_K z + b_K; u = W_V z + b_V; score = LeakyReLU_0.2(<k, q>) per head, without scaling or
    target-side query; m = sum of softmax(score) u, plus the seed q; y = LN0(m);
    out = LN1(y + ReLU(FF(y))).

    Attributes:
      width: output width, a multiple of `heads`.
      depth: number of linear layers in FF.
      backend: of `spmm.product`; None takes the device's default.
    """

    width: int
    heads: int
    depth: int = 2
    backend: str | None = None

    @nn.compact
    def __call__(self, incidence: spmm.Incidence, z: jax.Array) -> jax.Array:
        """[source, in] float32 -> [target, width] float32."""
        head_width = self.width // self.heads
        glorot = nn.initializers.glorot_uniform()
        seed = self.param("seed", _seed_init, (self.heads, head_width))
        key = self.param("key", glorot, (z.shape[-1], self.width))
        key_bias = self.param("key_bias", nn.initializers.zeros, (self.width,))
        # <W_K z + b_K, q> = z (W_K q) + b_K q: the keys themselves are never needed.
        by_head = (self.heads, head_width)
        query = jnp.einsum("dhc,hc->dh", key.reshape(-1, *by_head), seed)  # [in, head]
        scores = z @ query + (key_bias.reshape(by_head) * seed).sum(-1)  # [source, head]
        scores = nn.leaky_relu(scores, 0.2)
        values = nn.Dense(self.width, kernel_init=glorot, name="value")(z)
        pooled = set_attention.pool(
            incidence, scores, values.reshape(-1, *by_head), self.backend
        )  # [target, head, head_width]
        pooled = (pooled + seed).reshape(-1, self.width)
        pooled = nn.LayerNorm(epsilon=1e-5, name="norm_pooled")(pooled)
        mixed = MLP((self.width,) * self.depth, name="feed_forward")(pooled)
        return nn.LayerNorm(epsilon=1e-5, name="norm_out")(pooled + nn.relu(mixed))


class DeepSet(nn.Module):
    """AllDeepSets half-layer: MLP_out(mean over members of MLP_in(z)), [source, in] -> [target, width].

    The mean, not the sum, is what the published code takes by default.
    """

    width: int
    depth: int = 2
    backend: str | None = None

    @nn.compact
    def __call__(self, incidence: spmm.Incidence, z: jax.Array) -> jax.Array:
        inner = nn.relu(MLP((self.width,) * self.depth, name="inner")(z))
        offsets = incidence.forward.offsets
        size = jnp.maximum(offsets[1:] - offsets[:-1], 1)[:, None]
        mean = spmm.product(incidence, inner, self.backend) / size
        return MLP((self.width,) * self.depth, name="outer")(mean)


def _seed_init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    # The published code draws the seed as one [1, head, width] tensor with torch's Xavier rule,
    # whose fans there are heads * width and width.
    heads, width = shape
    bound = (6.0 / (heads * width + width)) ** 0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
