"""Sums over what is spread: over the devices of a mesh axis, or over shards read one by one.

A network is written for one shard and calls `total` where it needs all of them. Its `axis` says how
they are reached:

- None: there is one shard, and nothing is to be done.
- The name of a mesh axis, inside `jax.shard_map`. That is differentiated from outside and has
  check_vma=False, for the sparse product's own rules of differentiation and batching do not carry
  the types that the check wants.
- A `Replay`, by `stream`: shards are scanned, once for every total, so that only one is computed at
  a time, and again backward. Nothing of a shard is kept between the passes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ehr_jax.nn import set_attention, spmm


class Replay:
    """One shard's way through a network: totals found so far are given, the next one is asked for.

    Attributes:
      known: the totals, in the order in which the network needs them.
      shard: number of the shard, [] int32.
    """

    def __init__(self, known: Sequence[Any], shard: jax.Array):
        self.known, self.shard = list(known), shard

    def reduce(self, x: Any, merge: Callable) -> Any:
        """The total, where it is known; else leaves the network with this shard's part."""
        if not self.known:
            raise _Wanted(x, merge)
        return self.known.pop(0)


Axis = str | Replay | None


class _Wanted(Exception):  # noqa: N818  a way out of the network, not an error
    def __init__(self, part, merge):
        super().__init__()
        self.part, self.merge = part, merge


def total(x: Any, axis: Axis) -> Any:
    """Sum of every shard's `x`, a pytree; the same for all."""
    if isinstance(axis, Replay):
        return axis.reduce(x, jnp.add)
    return x if axis is None else lax.psum(x, axis)


def highest(x: jax.Array, axis: Axis) -> jax.Array:
    """Greatest of every shard's `x`, the same for all; without a gradient."""
    x = lax.stop_gradient(x)
    if isinstance(axis, Replay):
        return lax.stop_gradient(axis.reduce(x, jnp.maximum))
    return x if axis is None else lax.pmax(x, axis)


def shard_number(axis: Axis) -> jax.Array | None:
    """Number of the shard, [] int32; None where there is one alone."""
    if isinstance(axis, Replay):
        return axis.shard
    return None if axis is None else lax.axis_index(axis)


def stream(function: Callable, shards: Any, each: bool = False) -> Any:
    """Calls `function(shard, axis)` for shards one after another, exactly as if they were together.

    Args:
      function: what it returns must be the same for all shards, unless `each`. Inside, `total` and
        `highest` may not stand within loops or branches of their own.
      shards: a pytree of arrays [shard, ...].
      each: return what every shard gives, [shard, ...].
    """
    known: list[Any] = []
    count = jax.tree.leaves(shards)[0].shape[0]
    numbers = jnp.arange(count)
    while True:
        merges: list[Callable] = []

        # Nothing of a shard is kept for the way back; it is computed again there.
        @jax.checkpoint
        def part(number, shard, known=tuple(known), merges=merges):
            try:
                return function(shard, Replay(known, number))
            except _Wanted as wanted:
                merges.append(wanted.merge)
                return wanted.part

        first = jax.tree.map(lambda x: x[0], shards)
        asked = jax.eval_shape(part, numbers[0], first)
        if not merges:
            if each:
                return lax.map(lambda given: part(*given), (numbers, shards))
            return part(numbers[0], first)
        known.append(_merged(part, merges[0], asked, numbers, shards))


def _merged(part, merge, shape, numbers, shards):
    start = -jnp.inf if merge is jnp.maximum else 0.0
    begun = jax.tree.map(lambda x: jnp.full(x.shape, start, x.dtype), shape)

    def add(carry, given):
        return jax.tree.map(merge, carry, part(*given)), None

    return lax.scan(add, begun, (numbers, shards))[0]


def product(
    incidence: spmm.Incidence,
    x: jax.Array,
    axis: Axis,
    backend: str | None = None,
    precision: str = "float32",
) -> jax.Array:
    """`spmm.product` of sources spread over `axis` into targets that all shards have."""
    return total(spmm.product(incidence, x, backend, precision), axis)


def pool(
    incidence: spmm.Incidence,
    scores: jax.Array,
    values: jax.Array,
    axis: Axis,
    backend: str | None = None,
    precision: str = "float32",
) -> jax.Array:
    """`set_attention.pool` of sources spread over `axis` into targets that all shards have.

    What is exchanged is numerators and denominators, [target, head, width + 1] numbers whatever the
    number of sources. Where scores span more than `set_attention.SAFE_RANGE`, and in a stream, the
    highest score of each target is found too.

    Args:
      scores: [source, head] float32, of this shard's sources.
      values: [source, head, width] float32.
      axis, backend: as above, and in `spmm.product`.
      precision: of the sparse product; by the maximum of each target all is float32.

    Returns:
      [target, head, width], the same for all shards; zero for a target without sources.
    """
    if axis is None:
        return set_attention.pool(incidence, scores, values, backend, precision)

    def by_target(scores, values):
        # A weight for each incidence, as its target's own maximum is taken off.
        lists = incidence.forward
        of_target = jax.ops.segment_max(
            lax.stop_gradient(scores)[lists.sources], lists.targets, lists.num_targets
        )
        top = highest(of_target, axis)
        top = jnp.where(jnp.isfinite(top), top, 0.0)
        # Padding is of no target; its weight is 0 and so is its gradient.
        there = (lists.targets < lists.num_targets)[:, None]
        weights = jnp.exp(jnp.where(there, scores[lists.sources] - top[lists.targets], -jnp.inf))
        both = jnp.concatenate([weights[..., None] * values[lists.sources], weights[..., None]], -1)
        summed = total(jax.ops.segment_sum(both, lists.targets, lists.num_targets), axis)
        return _divide(summed[..., :-1], summed[..., -1:])

    if isinstance(axis, Replay):
        return by_target(scores, values)
    top, bottom = _range(scores, axis)

    def by_product(scores, values):
        return _average(incidence, jnp.exp(scores - top), values, axis, backend, precision)

    safe = jnp.all(top - bottom < set_attention.SAFE_RANGE)
    return lax.cond(safe, by_product, by_target, scores, values)


def _range(scores, axis):
    """The highest and lowest score a head, [head] each, over all shards."""
    if not scores.shape[0]:
        scores = jnp.zeros((1, scores.shape[1]), scores.dtype)
    return highest(scores.max(axis=0), axis), -highest(-scores.min(axis=0), axis)


def _average(incidence, weights, values, axis, backend, precision):
    heads, width = values.shape[1:]
    both = jnp.concatenate(
        [(values * weights[..., None]).reshape(-1, heads * width), weights], axis=1
    )
    summed = product(incidence, both, axis, backend, precision)
    by_head = summed[:, : heads * width].reshape(-1, heads, width)
    return _divide(by_head, summed[:, heads * width :, None])


def _divide(summed, total_weight):
    safe = jnp.where(total_weight > 0, total_weight, 1.0)
    return jnp.where(total_weight > 0, summed / safe, 0.0)
