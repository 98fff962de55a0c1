"""Attention pooling of sets: the softmax of source scores over each target's members, exactly.

The score depends on the source alone (published half-layer of AllSetTransformer, HypEHR, MINGLE),
so pooling is one sparse product `A @ [w * v, w]` with `w = exp(score - shift)` and one division a
target. Where scores span more than `SAFE_RANGE`, weights far below the shift would vanish, and the
softmax falls back to a maximum of each target's own.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jraph

from ehr_jax.nn import batching, spmm

# Weights down to exp(-40) and their inverses are far inside the range of float32.
SAFE_RANGE = 40.0


def pool(
    incidence: spmm.Incidence,
    scores: jax.Array,
    values: jax.Array,
    backend: str | None = None,
    precision: str = "float32",
) -> jax.Array:
    """Averages source values over each target, weighted by the softmax of source scores.

    Args:
      scores: [source, head] float32.
      values: [source, head, width] float32.
      backend: as in `spmm.product`; "jraph" also takes jraph's own segment softmax.
      precision: of the sparse product; by the maximum of each target, or jraph, all is float32.

    Returns:
      [target, head, width]; zero for a target without sources.
    """
    if backend == "jraph":
        return _pool_by_softmax(incidence, scores, values)
    return _pool(incidence, scores, values, backend or spmm.default_backend(), precision)


# Differentiated by hand: the derivative of `cond` would keep what both branches need, and the
# gradient of a softmax average is one more product, with the transposed incidence.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _pool(incidence, scores, values, backend, precision):
    return _pool_forward(incidence, scores, values, backend, precision)[0]


def _pool_forward(incidence, scores, values, backend, precision):
    pooled, share = _passes(backend, precision)[0](incidence, scores, values)
    return pooled, (incidence, scores, values, pooled, share)


def _pool_backward(backend, precision, kept, cotangent):
    return None, *_passes(backend, precision)[1](*kept, cotangent)


_pool.defvjp(_pool_forward, _pool_backward)


# Under vmap the heads of all members stand side by side. That keeps the guard a choice of one
# branch, where vmap of `cond` would compute both.
@functools.cache
def _passes(backend: str, precision: str) -> tuple[Callable, Callable]:
    multiply = functools.partial(_product_by_head, backend=backend, precision=precision)
    return (
        batching.side_by_side(functools.partial(_forward, multiply)),
        batching.side_by_side(functools.partial(_backward, multiply)),
    )


def _forward(multiply, incidence, scores, values):
    """The average, [target, head, width], and 1 / total weight, [target, head] (0 if empty)."""
    shift, safe = _shift(scores)

    def by_softmax():
        pooled = _pool_by_softmax(incidence, scores, values)
        return pooled, jnp.zeros_like(pooled[..., 0])

    return jax.lax.cond(
        safe, lambda: _pool_by_product(incidence, scores, values, shift, multiply), by_softmax
    )


def _backward(multiply, incidence, scores, values, pooled, share, cotangent):
    """Gradients of scores [source, head] and values [source, head, width]."""
    shift, safe = _shift(scores)

    def by_product():
        # d values = sum over targets of attention * cotangent, and d score = attention * <value -
        # pooled, cotangent>; attention = weight (of the source) * share (of the target).
        along = (pooled * cotangent).sum(-1)  # [target, head]
        onto_value, onto_pooled = multiply(
            incidence.transpose, cotangent * share[..., None], along * share
        )
        weights = jnp.exp(scores - shift)
        return weights * ((values * onto_value).sum(-1) - onto_pooled), (
            weights[..., None] * onto_value
        )

    def by_softmax():
        _, pull = jax.vjp(lambda s, v: _pool_by_softmax(incidence, s, v), scores, values)
        return pull(cotangent)

    return jax.lax.cond(safe, by_product, by_softmax)


def _shift(scores):
    """The highest score a head, [head], and whether all others are near enough to it."""
    if scores.shape[0] == 0:
        return jnp.zeros(scores.shape[1], scores.dtype), jnp.array(True)
    highest = scores.max(axis=0)
    # A NaN is no reason for the slow branch: it reaches its own targets in either.
    return highest, ~jnp.any(highest - scores.min(axis=0) >= SAFE_RANGE)


def _pool_by_product(incidence, scores, values, shift, multiply):
    weights = jnp.exp(scores - shift)  # [source, head]
    summed, total = multiply(incidence, values * weights[..., None], weights)
    share = jnp.where(total > 0, 1.0 / jnp.where(total > 0, total, 1.0), 0.0)
    return summed * share[..., None], share


def _product_by_head(incidence, wide, narrow, backend, precision):
    """Sums [source, head, width] and [source, head] over targets, in one product."""
    heads, width = wide.shape[1:]
    both = jnp.concatenate([wide.reshape(-1, heads * width), narrow], axis=1)
    summed = spmm.product(incidence, both, backend, precision)
    return summed[:, : heads * width].reshape(-1, heads, width), summed[:, heads * width :]


def _pool_by_softmax(incidence, scores, values):
    lists = incidence.forward
    targets = lists.num_targets + 1  # the last one is that of padding
    attention = jraph.segment_softmax(scores[lists.sources], lists.targets, targets)
    pooled = jraph.segment_sum(attention[..., None] * values[lists.sources], lists.targets, targets)
    return pooled[:-1]
