"""What every encoder is made of: products in two precisions, norms, activations, dense attention.

With precision "bfloat16" the operands of a matrix product are bfloat16; its sum and all that lies
between products are float32.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ehr_jax.nn import operands
from ehr_jax.text import parameters

MAP_FROM_LENGTH = 128  # tokens; from here on attention runs example by example, in cache
WHOLE_UP_TO = 2048  # tokens; beyond, dense attention holds the scores of one block of queries
QUERY_BLOCK = 512
FUSED_FROM = 512  # tokens; below, scores are small, and the plain path is as exact as can be
ACTIVATIONS = {
    # As PyTorch has it. jax.nn.gelu takes erfc, twice the time on a CPU.
    "gelu": lambda x: 0.5 * x * (1.0 + lax.erf(x * math.sqrt(0.5))),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


class FrozenEncoder(nn.Module):
    """Token ids to last hidden states, by the pure functions of an architecture's file.

    Attributes:
        sources: config -> what every parameter is made of, by name.
        hidden_states: (parameters, tokens, lengths, config, precision) -> states.
        config, precision: what they are given.
    """

    sources: Callable
    hidden_states: Callable
    config: Any
    precision: str = "float32"

    @nn.compact
    def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        """Encodes a padded batch.

        Args:
            tokens: [batch, length] int32, real tokens first.
            lengths: [batch] int32, number of real tokens of each row.

        Returns:
            [batch, length, width] float32; rows beyond `lengths` hold no meaning.
        """
        params = {
            name: self.param(name, _initial(name), shape)
            for name, shape in parameters.shapes(self.sources(self.config)).items()
        }
        return self.hidden_states(params, tokens, lengths, self.config, self.precision)


def product(x: jax.Array, kernel: jax.Array, precision: str) -> jax.Array:
    """[rows, inputs], [inputs, ...] -> [rows, ...]; operands as `precision` says, float32 sums."""
    return lax.dot_general(
        operands.cast(x, precision),
        operands.cast(kernel, precision),
        (((1,), (0,)), ((), ())),
        **_accumulate(precision),
    )


def batched_product(a: jax.Array, b: jax.Array, precision: str) -> jax.Array:
    """a @ b over leading axes; operands as `precision` says, float32 result."""
    return jnp.matmul(
        operands.cast(a, precision), operands.cast(b, precision), **_accumulate(precision)
    )


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array | float, eps: float) -> jax.Array:
    """Layer norm over the last axis."""
    if jax.default_backend() == "cpu":
        x = lax.optimization_barrier(x)  # else the sum it mostly is would be made anew three times
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * lax.rsqrt(variance + eps) * scale + bias


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Root-mean-square norm over the last axis."""
    return x * lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps) * scale


def join_heads(x: jax.Array) -> jax.Array:
    """[batch, head, length, depth] -> [batch * length, heads * depth]."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0] * x.shape[2], -1)


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    scale: float,
    precision: str,
    before: int | None = None,
    after: int | None = None,
    first: int = 0,
) -> jax.Array:
    """Softmax attention, each query over all keys it may see.

    Args:
        q, k, v: [batch, head, length, depth] float32.
        lengths: [batch] int32, number of real tokens.
        scale: what scores are multiplied by.
        precision: of the products.
        before, after: how far back and ahead a query sees; None is without limit.
        first: every query sees the first so many keys, however far.

    Returns:
        [batch, head, length, depth] float32.
    """
    length = q.shape[2]
    limited = before is not None or after is not None
    causal = limited and before is None and after == 0
    if not first and (causal or not limited) and _fused_runs(q, causal, precision):
        return fused(q, k, v, lengths, scale, precision, causal)
    # Made once for all heads and blocks, outside the loops over them.
    hidden = padding_bias(lengths, length)

    def block(q, start, k, v, bias):
        if limited:
            query = start + jnp.arange(q.shape[1])[:, None]
            key = jnp.arange(length)[None, :]
            bias = jnp.minimum(bias, score_bias(window(query, key, before, after) | (key < first)))
        return weigh(q, k, v, bias, scale, precision)

    def example(q, k, v, bias):  # [head, length, depth]
        if length <= WHOLE_UP_TO:
            return block(q, 0, k, v, bias)
        blocks, starts = query_blocks(q, QUERY_BLOCK)
        done = lax.map(lambda part: block(*part, k, v, bias), (blocks, starts))
        return join_blocks(done, length)

    return over_examples(example, q, k, v, hidden)


def fused(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    scale: float,
    precision: str,
    causal: bool,
    implementation: str = "cudnn",
) -> jax.Array:
    """`attend` without a score matrix in memory, by one kernel of the accelerator's own library.

    Args:
        q, k, v, lengths, scale, precision: see `attend`.
        causal: a query sees the keys up to its own; else all.
        implementation: of `jax.nn.dot_product_attention`.

    Returns:
        [batch, head, length, depth] float32; rows beyond `lengths` hold no meaning.
    """
    q, k, v = (operands.cast(x, precision).swapaxes(1, 2) for x in (q, k, v))
    # With real tokens first a causal query sees no padding. A row without tokens is given one, as
    # the mean over none is not defined.
    real = None if causal else jnp.maximum(lengths, 1).astype(jnp.int32)
    taken = jax.nn.dot_product_attention(
        q, k, v,
        scale=scale, is_causal=causal, key_value_seq_lengths=real, implementation=implementation,
    )  # fmt: skip
    return taken.swapaxes(1, 2).astype(jnp.float32)


def _fused_runs(q: jax.Array, causal: bool, precision: str) -> bool:
    """Whether the kernel takes these queries: on a GPU, in bfloat16, with heads not divided."""
    if jax.default_backend() != "gpu" or precision != "bfloat16" or q.shape[2] < FUSED_FROM:
        return False
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty and not mesh.are_all_axes_manual:
        return False
    return _kernel_compiles(q.shape[-1], causal)


@functools.cache
def _kernel_compiles(depth: int, causal: bool) -> bool:
    """Tries it, since what it takes depends on the device, its driver and the depth of a head."""
    tokens = jax.ShapeDtypeStruct((1, 1, FUSED_FROM, depth), jnp.bfloat16)
    lengths = jax.ShapeDtypeStruct((1,), jnp.int32)
    run = functools.partial(fused, scale=1.0, precision="bfloat16", causal=causal)
    try:
        jax.jit(run).lower(tokens, tokens, tokens, lengths).compile()
    except (RuntimeError, NotImplementedError, ValueError):
        return False
    return True


def window(query, key, before: int | None, after: int | None) -> jax.Array:
    """True where `key` lies at most `before` behind and `after` ahead of `query` (positions)."""
    seen = jnp.ones((1, 1), bool)
    if before is not None:
        seen &= query - key <= before
    if after is not None:
        seen &= key - query <= after
    return seen


def padding_bias(lengths: jax.Array, length: int) -> jax.Array:
    """The score bias that hides padding, [batch, 1, length]; for all heads and queries."""
    return score_bias(jnp.arange(length) < lengths[:, None])[:, None, :]


def score_bias(seen: jax.Array) -> jax.Array:
    """What is added to scores: 0 where a key is seen, else so little that no weight is left."""
    return jnp.where(seen, 0.0, jnp.finfo(jnp.float32).min)


def weigh(q, k, v, bias, scale: float, precision: str) -> jax.Array:
    """Mean of `v` weighted by softmax, [head, queries, depth]; `bias`: [queries or 1, keys]."""
    scores = batched_product(q, jnp.swapaxes(k, -1, -2), precision) * scale + bias
    weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    # Divided afterwards, in fewer numbers.
    return batched_product(weights, v, precision) / jnp.sum(weights, axis=-1, keepdims=True)


def query_blocks(q: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """[head, length, depth] -> ([block, head, size, depth], position where each block starts)."""
    heads, length, depth = q.shape
    count = -(-length // size)
    q = jnp.pad(q, ((0, 0), (0, count * size - length), (0, 0)))
    return q.reshape(heads, count, size, depth).swapaxes(0, 1), jnp.arange(count) * size


def join_blocks(blocks: jax.Array, length: int) -> jax.Array:
    """[block, head, size, depth] -> [head, length, depth]."""
    count, heads, size, depth = blocks.shape
    return blocks.swapaxes(0, 1).reshape(heads, count * size, depth)[:, :length]


def over_examples(function: Callable, *args: jax.Array) -> jax.Array:
    """Applies `function` to each example of the batch; args: [batch, ...], the first one queries.

    On a CPU the scores of one example stay in cache, those of a whole batch do not.
    """
    if one_by_one(args[0].shape[2]):
        return lax.map(lambda example: function(*example), args)
    return jax.vmap(function)(*args)


def one_by_one(length: int) -> bool:
    """Whether examples of this length are better computed one after the other."""
    return length >= MAP_FROM_LENGTH and jax.default_backend() == "cpu"


def choose(index: jax.Array, branches: Sequence[Callable], *given):
    """Calls the branch of that index; only one branch is computed."""
    if len(branches) == 1:
        return branches[0](*given)
    return lax.switch(index, branches, *given)


def held(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the parameters as the device is to hold them: on a CPU kernels as float32.

    There XLA would cast the bfloat16 kernels of all layers to float32, at every call and beside.
    """
    if jax.default_backend() == "cpu":
        for name, array in params.items():
            params[name] = array.astype(jnp.float32)
    return params


def whole(x: jax.Array) -> jax.Array:
    """Keeps the states whole on every device that shares the parameters; on one device nothing.

    So each layer costs two sums over those devices, and no other exchange.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return lax.with_sharding_constraint(x, jax.sharding.PartitionSpec())


def _accumulate(precision: str) -> dict:
    # HIGHEST keeps float32 exact where an accelerator would round operands by default.
    exact = lax.Precision.HIGHEST if precision == "float32" else None
    return {"preferred_element_type": jnp.float32, "precision": exact}


def _initial(name: str):
    if name.endswith("_scale"):
        return nn.initializers.ones
    return nn.initializers.zeros if name.endswith("_bias") else nn.initializers.normal(0.02)
