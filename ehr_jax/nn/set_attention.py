"""Attention pooling of sets: the softmax of source scores over each target's members, exactly.

The score depends on the source alone (published half-layer of AllSetTransformer, HypEHR, MINGLE),
so pooling is one sparse product `A @ [w * v, w]` with `w = exp(score - shift)` and one division a
target. Where scores span more than `SAFE_RANGE`, weights far below the shift would vanish, and the
softmax falls back to a maximum of each target's own.
"""

import jax
import jax.numpy as jnp
import jraph

from ehr_jax.nn import spmm

# exp(-40)**-2 is still finite in float32, and that square is what the division's gradient needs.
SAFE_RANGE = 40.0


def pool(
    incidence: spmm.Incidence, scores: jax.Array, values: jax.Array, backend: str | None = None
) -> jax.Array:
    """Averages source values over each target, weighted by the softmax of source scores.

    Args:
      scores: [source, head] float32.
      values: [source, head, width] float32.
      backend: as in `spmm.product`; "jraph" also takes jraph's own segment softmax.

    Returns:
      [target, head, width]; zero for a target without sources.
    """
    if backend == "jraph":
        return _pool_by_softmax(incidence, scores, values)
    highest = (
        scores.max(axis=0, initial=-jnp.inf) if scores.shape[0] else jnp.zeros(scores.shape[1])
    )
    lowest = scores.min(axis=0, initial=jnp.inf) if scores.shape[0] else highest
    safe = jnp.all(jax.lax.stop_gradient(highest - lowest) < SAFE_RANGE)
    return jax.lax.cond(
        safe,
        lambda: _pool_by_product(
            incidence, scores, values, jax.lax.stop_gradient(highest), backend
        ),
        lambda: _pool_by_softmax(incidence, scores, values),
    )


def _pool_by_product(incidence, scores, values, shift, backend):
    weights = jnp.exp(scores - shift)  # [source, head]
    heads, width = values.shape[1:]
    weighted = (values * weights[..., None]).reshape(-1, heads * width)
    summed = spmm.product(incidence, jnp.concatenate([weighted, weights], axis=1), backend)
    total = summed[:, heads * width :]  # [target, head]
    share = jnp.where(total > 0, 1.0 / jnp.where(total > 0, total, 1.0), 0.0)
    return summed[:, : heads * width].reshape(-1, heads, width) * share[..., None]


def _pool_by_softmax(incidence, scores, values):
    lists = incidence.forward
    attention = jraph.segment_softmax(scores[lists.sources], lists.targets, lists.num_targets)
    return jraph.segment_sum(
        attention[..., None] * values[lists.sources], lists.targets, lists.num_targets
    )
