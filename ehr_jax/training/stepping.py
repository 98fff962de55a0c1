"""A step of training, and what a validation makes of the state: parts of compiled programs."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from ehr_jax.nn import ranking
from ehr_jax.training import loss as losses


class State(flax.struct.PyTreeNode):
    """All that training carries from step to step.

    Attributes:
      params, moments: of the network and the optimiser.
      step: steps done, int32.
      best_params, best_score, best_step: at the best validation so far.
      stale: validations since the best, int32.
    """

    params: Any
    moments: Any
    step: jax.Array
    best_params: Any
    best_score: jax.Array
    best_step: jax.Array
    stale: jax.Array


class Done(NamedTuple):
    """What a step changes: `State.params`, `State.moments`, `State.step`."""

    params: Any
    moments: Any
    step: jax.Array


class Found(NamedTuple):
    """Of a step, or the means of several: the loss, norms of the gradient and of the update."""

    loss: jax.Array
    gradient_norm: jax.Array
    update_norm: jax.Array


def done(state: State) -> Done:
    """Where steps go on from."""
    return Done(state.params, state.moments, state.step)


def step(
    optimiser: optax.GradientTransformation, objective: Callable, before: Done
) -> tuple[Done, Found]:
    """One step.

    Args:
      objective: (params, step) -> (loss, what the step keeps beside parameters).
    """
    (loss, kept), gradient = jax.value_and_grad(objective, has_aux=True)(before.params, before.step)
    updates, moments = optimiser.update(gradient, before.moments, before.params)
    found = Found(loss, optax.tree.norm(gradient), optax.tree.norm(updates))
    params = merged(optax.apply_updates(before.params, updates), kept)
    return Done(params, moments, before.step + 1), found


def run_chunk(
    chunk: Any, state: State, data: Any, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """The steps of a `task.Chunk` and the validation after them; jit with the first bound.

    Args:
      data: a `task.Task` on the device.
      key: the run's.
    """
    objective = lambda params, at: data.loss(params, chunk.model, key, at)  # noqa: E731
    now, means = jax.lax.scan(
        lambda before, _: step(chunk.optimiser, objective, before), done(state), length=chunk.steps
    )
    means = jax.tree.map(jnp.mean, means)
    scores = data.validation_logits(now.params, chunk.model)
    return validated(state, now, means, data.metrics(scores), chunk.select)


def label_metrics(
    scores: jax.Array, labels: jax.Array, positive_weight: jax.Array
) -> dict[str, jax.Array]:
    """Returns the metrics of a validation by labels of 0 and 1; see `task.Task.metrics`.

    Args:
      scores, labels: [validation, label] float32.
    """
    return {
        "not_finite": ranking.not_finite(scores, labels),
        "validation_auroc": jnp.nanmean(ranking.auroc(scores, labels)),
        "validation_auprc": jnp.nanmean(ranking.auprc(scores, labels)),
        "validation_loss": losses.cross_entropy(scores, labels, positive_weight),
    }


def validated(
    state: State, now: Done, means: Found, of_validation: dict[str, jax.Array], select: str
) -> tuple[State, dict[str, jax.Array]]:
    """The state after a validation, and what is told of it.

    Args:
      state: at the validation before, of which only what is best so far is read.
      means: of the steps since.
      of_validation: the metrics that `task.Task.metrics` returns.
    """
    metrics = means._asdict() | of_validation
    score = selection_score(metrics, select)
    better = score > state.best_score
    keep = functools.partial(jnp.where, better)
    return State(
        params=now.params,
        moments=now.moments,
        step=now.step,
        best_params=jax.tree.map(keep, now.params, state.best_params),
        best_score=keep(score, state.best_score),
        best_step=keep(now.step, state.best_step),
        stale=keep(0, state.stale + 1),
    ), metrics


def selection_score(metrics: dict[str, jax.Array], select: str) -> jax.Array:
    """What validations are compared by, the higher the better; -inf, which is never better, where
    the score of a sample with a label is not finite."""
    score = -metrics["validation_loss"] if select == "loss" else metrics[f"validation_{select}"]
    # Where no validation label has both classes there is no ranking to select by.
    score = jnp.where(jnp.isnan(score), -metrics["validation_loss"], score)
    return jnp.where(finite(metrics), score, -jnp.inf)


def finite(metrics: dict[str, jax.Array]) -> jax.Array:
    """Whether training may go on from a validation: [] bool, or one a member."""
    return jnp.isfinite(metrics["loss"]) & (metrics["not_finite"] == 0)


def fault(metrics: dict[str, float]) -> str:
    """Says in words what is not finite at a validation; empty where everything is."""
    if not math.isfinite(metrics["loss"]):
        return f"the training loss is {metrics['loss']}"
    if metrics["not_finite"]:
        return (
            f"the scores of {metrics['not_finite']:.0f} validation label(s) are not finite, though "
            "the training loss is"
        )
    return ""


def logged(metrics: dict[str, float]) -> dict[str, float]:
    """What of a validation that has no `fault` belongs into the log."""
    return {name: value for name, value in metrics.items() if name != "not_finite"}


def merged(tree: dict, kept: dict) -> dict:
    """`tree` with what a step keeps beside parameters (running statistics) in place of its own."""
    own = {
        name: merged(tree[name], part) if isinstance(part, dict) else part
        for name, part in kept.items()
    }
    return {**tree, **own}
