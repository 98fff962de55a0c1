"""Multi-head attention of one padded sequence over another or itself, and the block around it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ehr_jax.nn import dense, dropout, masks, operands, token_norm


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, heads: int
) -> tuple[jax.Array, jax.Array]:
    """softmax(q k / sqrt(width / heads)) v, head by head (Vaswani et al. 2017).

    Args:
      query: [batch, query, width]; key, value: [batch, key, width].
      mask: [batch, key], 1 where a key is there.
      heads: divides the width.

    Returns:
      [batch, query, width] float32, zero where a row has no key at all, and the
      weights, [batch, head, query, key] float32.
    """
    q, k, v = (_split(x, heads) for x in (query, key, value))
    scores = jnp.matmul(q, k.swapaxes(-1, -2), preferred_element_type=jnp.float32)
    weights = masks.softmax(scores / q.shape[-1] ** 0.5, mask[:, None, None, :])
    mixed = jnp.matmul(weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    batch, _, length, _ = mixed.shape
    return mixed.swapaxes(1, 2).reshape(batch, length, query.shape[-1]), weights


class MultiHeadAttention(nn.Module):
    """Projections around `attend`, equal to `torch.nn.MultiheadAttention`.

    A row whose keys are all masked gives zeros, without the output's bias.

    Attributes:
      width: of queries, keys and results, a multiple of `heads`.
      precision: of the operands of products (`nn.operands`).
    """

    width: int
    heads: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, memory: jax.Array, mask: jax.Array) -> jax.Array:
        """[batch, query, width] over [batch, key, width] by [batch, key] -> [batch, query, width].

        `memory` may be `x` itself.
        """
        # One array, as in torch, whose Xavier rule takes its fans from the whole.
        glorot = nn.initializers.glorot_uniform()
        kernel = self.param("kernel", glorot, (self.width, 3 * self.width))
        bias = self.param("bias", nn.initializers.zeros, (3 * self.width,))
        if memory is x:
            q, k, v = jnp.split(operands.product(x, kernel, self.precision) + bias, 3, axis=-1)
        else:
            w = self.width
            q = operands.product(x, kernel[:, :w], self.precision) + bias[:w]
            kv = operands.product(memory, kernel[:, w:], self.precision) + bias[w:]
            k, v = jnp.split(kv, 2, axis=-1)
        mixed, _ = attend(*(a.astype(self.precision) for a in (q, k, v)), mask, self.heads)
        out = dense.Dense(self.width, self.precision, name="out")(mixed)
        some = (mask > 0).any(axis=1)[:, None, None]
        return jnp.where(some, out, 0)


class AttentionBlock(nn.Module):
    """x <- norm(x + attention(x, memory)); x <- norm(x + FF(x)), FF = Linear-ReLU-Linear.

    With "layer" norms and memory = x equal to `torch.nn.TransformerEncoderLayer`; with "batch"
    norms REALM's attention block (arXiv 2402.07016) and EMERGE's Figure 6 (arXiv 2406.00036v2).

    Attributes:
      feed_forward: width within FF.
      norm: "layer" or "batch" (`token_norm`).
      dropout: rate of either branch and within FF, in training.
    """

    width: int
    heads: int
    feed_forward: int
    norm: str = "layer"
    dropout: float = 0.0
    precision: str = "float32"

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        memory: jax.Array,
        memory_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """[batch, query, width] -> the same, zero where `mask` [batch, query] is 0."""
        drop = dropout.Dropout(self.dropout)
        norm = lambda name: token_norm.TokenNorm(self.norm, name=name)  # noqa: E731
        attention = MultiHeadAttention(self.width, self.heads, self.precision, name="attention")
        x = norm("norm_attention")(x + drop(attention(x, memory, memory_mask), train), mask, train)
        hidden = nn.relu(dense.Dense(self.feed_forward, self.precision, name="inner")(x))
        hidden = dense.Dense(self.width, self.precision, name="outer")(drop(hidden, train))
        x = norm("norm_out")(x + drop(hidden, train), mask, train)
        return masks.cleared(x, mask)


def _split(x: jax.Array, heads: int) -> jax.Array:
    """[batch, length, width] -> [batch, head, length, width / heads]."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).swapaxes(1, 2)
