"""Fitting one network with one seed: steps on the device, early stopping, resume.

A chunk of `eval_every` steps, the validation after it and the choice of the best parameters are one
compiled program; the host reads a few numbers a chunk. The randomness of step n is
`fold_in(key(seed), n)`, so a run that resumes repeats what an unbroken run does.
"""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ehr_jax import errors
from ehr_jax.nn import compiling, ranking
from ehr_jax.progress import progress
from ehr_jax.training import (
    checkpoints,
    logs,
    problem,
    sharded_problem,
    stay_problem,
    unified_problem,
)
from ehr_jax.training import loss as losses

# What is fitted: its `init`, `loss`, `validation_logits` and `validation_labels`.
Data = (
    problem.Problem
    | sharded_problem.ShardedProblem
    | stay_problem.StayProblem
    | unified_problem.UnifiedProblem
)
SELECTIONS = ("auroc", "auprc", "loss")


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


class Program(NamedTuple):
    """A compiled chunk.

    Attributes:
      run: (state, data, key) -> (state, metrics); the memory of the state is used again.
      seconds: that compiling took.
      memory: bytes of its arguments and temporaries on a device, as the compiler has it; the new
        state takes the place of the old. None where the compiler does not tell.
    """

    run: Callable
    seconds: float
    memory: int | None


class Fitted(NamedTuple):
    """The network at its best validation."""

    params: Any
    best_step: int
    steps: int
    seconds: float
    parameters: int


def fit(
    model: nn.Module,
    data: Data,
    config,
    seed: int,
    folder: pathlib.Path,
    show: str,
    compiled: Callable[[], Program] | None = None,
) -> Fitted:
    """Fits `model` to `data` by config.train, or goes on where an earlier start stopped.

    Args:
      folder: of this seed's checkpoints.
      show: what the progress line says.
      compiled: gives what `compile_chunk` does; asked where there is something left to train.

    Raises:
      ConfigError: config.train.select is unknown, or the loss is not finite.
      RunFolderError: a checkpoint cannot be written.
    """
    check(config)
    optimiser = make_optimiser(config)
    key = jax.random.key(seed)
    state = init_state(model, optimiser, data, key)
    manager = checkpoints.open_manager(folder)
    restored = checkpoints.restore_latest(manager, state)
    if restored is not None:
        state = restored[1]
    compiled = functools.cache(compiled or functools.partial(compile_chunk, model, data, config))
    log = logs.open_log(folder.parent.parent, seed, int(state.step))
    began = time.monotonic()
    with progress(show, config.steps, int(state.step)) as bar:
        while int(state.step) < config.steps and int(state.stale) < config.patience:
            state, metrics = compiled().run(state, data, key)
            metrics = {name: float(value) for name, value in metrics.items()}
            step = int(state.step)
            if not np.isfinite(metrics["loss"]):
                raise errors.ConfigError(
                    f"the training loss is {metrics['loss']} at step {step}; lower "
                    f"config.train.learning_rate (now {config.learning_rate})"
                )
            log.write(step, metrics, time.monotonic() - began)
            bar.advance(
                config.eval_every,
                f"loss {metrics['loss']:.4f}, validation AUROC {metrics['validation_auroc']:.4f}",
            )
            if (step // config.eval_every) % config.checkpoint_every == 0:
                checkpoints.save(manager, step, state)
    if manager.latest_step() != int(state.step):
        checkpoints.save(manager, int(state.step), state)
    checkpoints.close(manager)
    log.close()
    return Fitted(
        params=state.best_params,
        best_step=int(state.best_step),
        steps=int(state.step),
        seconds=time.monotonic() - began,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
    )


def compile_chunk(model: nn.Module, data: Data, config) -> Program:
    """Compiles a chunk of training as config.train describes it, for any seed.

    Args:
      data: arrays, or an outline of them (`training.memory`): nothing is run.
    """
    began = time.monotonic()
    optimiser, key, everywhere = make_optimiser(config), jax.random.key(0), _everywhere(data)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
        jax.eval_shape(functools.partial(first_state, model, optimiser), data, key),
    )
    run = functools.partial(run_chunk, model, optimiser, config.eval_every, config.select)
    size = _product_size(model, data)
    jitted = compiling.jit(run, size, donate_argnums=0, out_shardings=everywhere)
    found = jitted.lower(state, data, key).compile()
    sizes = found.memory_analysis()
    memory = sizes and sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
    return Program(found, time.monotonic() - began, memory)


def takes_all(data: Data) -> bool:
    """Whether one member's training takes all devices, or all memory of the one there is."""
    if isinstance(data, sharded_problem.ShardedProblem):
        return True
    return getattr(data, "mesh", None) is not None


def check(config) -> None:
    """Raises ConfigError where config.train cannot be followed."""
    if config.select not in SELECTIONS:
        raise errors.ConfigError(
            f"config.train.select is '{config.select}'; expected one of {SELECTIONS}"
        )
    for name in ("steps", "eval_every", "patience", "checkpoint_every"):
        if config[name] < 1:
            raise errors.ConfigError(f"config.train.{name} is {config[name]}; expected 1 or more")


def make_optimiser(config) -> optax.GradientTransformation:
    """Adam with L2 added to the gradient (not AdamW), after clipping, as in the published code."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.add_decayed_weights(config.weight_decay),
        optax.adam(config.learning_rate),
    )


def init_state(model, optimiser, data: Data, key: jax.Array) -> State:
    """The state before the first step."""
    first = functools.partial(first_state, model, optimiser)
    return jax.jit(first, out_shardings=_everywhere(data))(data, key)


def _everywhere(data: Data) -> jax.sharding.Sharding | None:
    """Of a state, which is the same on all devices of the data's mesh; None where there is none."""
    mesh = getattr(data, "mesh", None)
    return None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def _product_size(model: nn.Module, data: Data) -> int:
    """Of products over a batch of stays, rows times columns; 0 for all visits at once.

    There most of the time goes to sparse products.
    """
    return getattr(data, "batch", 0) * getattr(model, "width", 0)


def first_state(model, optimiser, data: Data, key: jax.Array) -> State:
    """What `init_state` compiles."""
    # Keys of steps are fold_in(key, 0..); the largest index is kept for the parameters.
    return start(data.init(model, jax.random.fold_in(key, 2**31 - 1)), optimiser)


def start(params, optimiser) -> State:
    """The state of parameters before the first step."""
    return State(
        params=params,
        moments=optimiser.init(params),
        step=jnp.zeros((), jnp.int32),
        best_params=jax.tree.map(jnp.copy, params),
        best_score=jnp.array(-jnp.inf, jnp.float32),
        best_step=jnp.zeros((), jnp.int32),
        stale=jnp.zeros((), jnp.int32),
    )


def run_chunk(
    model, optimiser, steps: int, select: str, state: State, data: Data, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """`steps` training steps and a validation; jit with the first four arguments bound."""

    def train_step(carry, _):
        params, moments, step = carry
        (loss, kept), gradient = jax.value_and_grad(objective, has_aux=True)(params, step)
        updates, moments = optimiser.update(gradient, moments, params)
        norms = optax.tree.norm(gradient), optax.tree.norm(updates)
        params = merged(optax.apply_updates(params, updates), kept)
        return (params, moments, step + 1), (loss, *norms)

    def objective(params, step):
        if hasattr(data, "loss_and_kept"):
            return data.loss_and_kept(params, model, key, step)
        return data.loss(params, model, key, step), {}

    carry = state.params, state.moments, state.step
    (params, moments, step), (loss, gradient_norm, update_norm) = jax.lax.scan(
        train_step, carry, length=steps
    )
    scores = data.validation_logits(params, model)
    metrics = {
        "loss": loss.mean(),
        "gradient_norm": gradient_norm.mean(),
        "update_norm": update_norm.mean(),
        "validation_auroc": jnp.nanmean(ranking.auroc(scores, data.validation_labels)),
        "validation_auprc": jnp.nanmean(ranking.auprc(scores, data.validation_labels)),
        "validation_loss": losses.cross_entropy(
            scores, data.validation_labels, data.positive_weight
        ),
    }
    score = selection_score(metrics, select)
    better = score > state.best_score
    keep = functools.partial(jnp.where, better)
    return State(
        params=params,
        moments=moments,
        step=step,
        best_params=jax.tree.map(keep, params, state.best_params),
        best_score=keep(score, state.best_score),
        best_step=keep(step, state.best_step),
        stale=keep(0, state.stale + 1),
    ), metrics


def selection_score(metrics: dict[str, jax.Array], select: str) -> jax.Array:
    """What validations are compared by, the higher the better."""
    score = -metrics["validation_loss"] if select == "loss" else metrics[f"validation_{select}"]
    # Where no validation label has both classes there is no ranking to select by.
    return jnp.where(jnp.isnan(score), -metrics["validation_loss"], score)


def merged(tree: dict, kept: dict) -> dict:
    """`tree` with what a step keeps beside parameters (running statistics) in place of its own."""
    own = {
        name: merged(tree[name], part) if isinstance(part, dict) else part
        for name, part in kept.items()
    }
    return {**tree, **own}
