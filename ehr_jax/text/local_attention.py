"""Attention to near tokens only, computed block by block: no score matrix of length x length.

A block of queries meets one stretch of keys, from as far back as its first query sees to as far
ahead as its last one sees. Memory and time grow with length x window.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ehr_jax.text import layers

BLOCK = 128  # queries


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    scale: float,
    precision: str,
    before: int,
    after: int,
    first: int = 0,
) -> jax.Array:
    """Softmax attention in which query i sees the keys from i - before to i + after.

    Args:
        q, k, v: [batch, head, length, depth] float32.
        lengths: [batch] int32, number of real tokens.
        scale: what scores are multiplied by.
        precision: of the products.
        before, after: how far back and ahead a query sees.
        first: every query sees the first so many keys beside, however far; none counts twice.

    Returns:
        [batch, head, length, depth] float32, equal to `layers.attend`.
    """
    length, size, stretch = q.shape[2], BLOCK, BLOCK + before + after
    if length <= stretch:
        return layers.attend(q, k, v, lengths, scale, precision, before, after, first)

    def example(q, k, v, real):  # [head, length, depth]
        blocks, starts = layers.query_blocks(q, size)
        leading = k[:, :first], v[:, :first]
        room = ((0, 0), (before, len(starts) * size - length + after), (0, 0))
        k, v = jnp.pad(k, room), jnp.pad(v, room)

        def block(part):
            q, start = part
            query = start + jnp.arange(size)[:, None]
            key = start - before + jnp.arange(stretch)[None, :]
            seen = layers.window(query, key, before, after) & (key >= first) & (key < real)
            seen = jnp.concatenate(
                [jnp.broadcast_to(jnp.arange(first) < real, (size, first)), seen], axis=1
            )
            near = (lax.dynamic_slice_in_dim(x, start, stretch, axis=1) for x in (k, v))
            keys, values = (
                jnp.concatenate(pair, axis=1) for pair in zip(leading, near, strict=True)
            )
            return layers.weigh(q, keys, values, layers.score_bias(seen), scale, precision)

        one_by_one = layers.one_by_one(length)
        done = lax.map(block, (blocks, starts)) if one_by_one else jax.vmap(block)((blocks, starts))
        return layers.join_blocks(done, length)

    return layers.over_examples(example, q, k, v, lengths)
