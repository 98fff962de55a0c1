"""Thin linen modules around the plain functions: half-layers of hypergraph networks and MLPs.

Their `precision` is that of the operands of products (`nn.operands`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import dense, dropout, sparse_rows, spmm, spread

EPSILON = 1e-5  # of every LayerNorm, as in the published networks


class MLP(nn.Module):
    """Linear-ReLU-...-Linear of the given widths; `x` [row, in] -> [row, widths[-1]]."""

    widths: tuple[int, ...]
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for index, width in enumerate(self.widths):
            x = nn.relu(x) if index else x
            x = dense.Dense(width, self.precision, kernel_init=dense.LECUN)(x)
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
      axis: over what sources are spread (`nn.spread`); None where all are here.
    """

    width: int
    heads: int
    depth: int = 2
    backend: str | None = None
    axis: spread.Axis = None
    precision: str = "float32"

    @nn.compact
    def __call__(
        self, incidence: spmm.Incidence, z: jax.Array | sparse_rows.SparseRows
    ) -> jax.Array:
        """[source, in] float32, dense or sparse -> [target, width] float32."""
        head_width = self.width // self.heads
        glorot = nn.initializers.glorot_uniform()
        seed = self.param("seed", _seed_init, (self.heads, head_width))
        key = self.param("key", glorot, (z.shape[-1], self.width))
        key_bias = self.param("key_bias", nn.initializers.zeros, (self.width,))
        # <W_K z + b_K, q> = z (W_K q) + b_K q: the keys themselves are never needed.
        by_head = (self.heads, head_width)
        query = jnp.einsum("dhc,hc->dh", key.reshape(-1, *by_head), seed)  # [in, head]
        scores = dense.times(z, query, self.precision)
        scores = scores + (key_bias.reshape(by_head) * seed).sum(-1)  # [source, head]
        scores = nn.leaky_relu(scores, 0.2)
        values = dense.Dense(self.width, self.precision, kernel_init=glorot, name="value")(z)
        values = values.reshape(-1, *by_head)
        pooled = spread.pool(
            incidence, scores, values, self.axis, self.backend, self.precision
        )  # [target, head, head_width]
        pooled = (pooled + seed).reshape(-1, self.width)
        pooled = nn.LayerNorm(EPSILON, name="norm_pooled")(pooled)
        widths = (self.width,) * self.depth
        mixed = MLP(widths, self.precision, name="feed_forward")(pooled)
        return nn.LayerNorm(EPSILON, name="norm_out")(pooled + nn.relu(mixed))


class DeepSet(nn.Module):
    """AllDeepSets half-layer: ReLU(outer(sum over members of drop(ReLU(inner(z))))).

    Both MLPs are `NormMLP`s, as in the published code, whose AllDeepSets sums over members.

    Attributes:
      width: of every layer.
      depth: number of linear layers in each MLP.
      dropout: rate between the layers, in training.
      backend: of `spmm.product`; None takes the device's default.
      axis: over what sources are spread (`nn.spread`); None where all are here.
    """

    width: int
    depth: int = 2
    dropout: float = 0.0
    backend: str | None = None
    axis: spread.Axis = None
    precision: str = "float32"

    @nn.compact
    def __call__(
        self, incidence: spmm.Incidence, z: jax.Array | sparse_rows.SparseRows, train: bool = False
    ) -> jax.Array:
        """[source, in] float32, dense or sparse -> [target, width] float32."""
        widths = (self.width,) * self.depth
        inner = nn.relu(NormMLP(widths, self.dropout, self.precision, name="inner")(z, train))
        inner = dropout.Dropout(self.dropout)(inner, train)
        summed = spread.product(incidence, inner, self.axis, self.backend, self.precision)
        return nn.relu(NormMLP(widths, self.dropout, self.precision, name="outer")(summed, train))


class NormMLP(nn.Module):
    """Linear(LN(x)), then Linear(drop(LN(ReLU(x)))) for every further width."""

    widths: tuple[int, ...]
    dropout: float = 0.0
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array | sparse_rows.SparseRows, train: bool = False) -> jax.Array:
        x = NormLinear(self.widths[0], self.precision)(x)
        for index, width in enumerate(self.widths[1:]):
            x = nn.LayerNorm(EPSILON)(nn.relu(x))
            x = dropout.Dropout(self.dropout)(x, train)
            x = dense.Dense(width, self.precision, name=f"Linear_{index}")(x)
        return x


class NormLinear(nn.Module):
    """Linear(LayerNorm(x)); for sparse rows by linearity, so that they stay sparse.

    With row mean m and deviation d, LN(x) W = (x (g W) - m (g W summed over inputs)) / d + b W.
    """

    width: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array | sparse_rows.SparseRows) -> jax.Array:
        inputs = x.shape[-1]
        gain = self.param("gain", nn.initializers.ones, (inputs,))
        offset = self.param("offset", nn.initializers.zeros, (inputs,))
        kernel = self.param("kernel", dense.as_torch, (inputs, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        if isinstance(x, sparse_rows.SparseRows):
            mean, variance = (column[:, None] for column in x.moments())
            scaled = gain[:, None] * kernel
            product = dense.times(x, scaled, self.precision) - mean * scaled.sum(0)
            product = product * jax.lax.rsqrt(variance + EPSILON)
            return product + offset @ kernel + bias
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        normed = (x - mean) * jax.lax.rsqrt(variance + EPSILON) * gain + offset
        return dense.times(normed, kernel, self.precision) + bias


def _seed_init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    # The published code draws the seed as one [1, head, width] tensor with torch's Xavier rule,
    # whose fans there are heads * width and width.
    heads, width = shape
    bound = (6.0 / (heads * width + width)) ** 0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
