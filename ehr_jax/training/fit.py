"""Fitting one network with one seed: steps on the device, early stopping, resume.

A chunk of `eval_every` steps, the validation after it and the choice of the best parameters are one
compiled program (several, of stays that `feeding` reads from the host); the host reads a few
numbers a chunk. The randomness of step n is `fold_in(key(seed), n)`, so a run that resumes repeats
what an unbroken run does.
"""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ehr_jax import errors, settings, stopping
from ehr_jax.progress import progress
from ehr_jax.training import checkpoints, logs, partition, stepping, task
from ehr_jax.training import optimiser as optimisers
from ehr_jax.training import settings as train_settings


class Program(NamedTuple):
    """A compiled chunk.

    Attributes:
      run: (state, data, key) -> (state, metrics); the memory of the state is used again.
      compiled: the same; of stays that are fed from the host, one step of it.
      seconds: that compiling took.
      memory: bytes of its arguments and temporaries on a device, as the compiler has it; the new
        state takes the place of the old. None where the compiler does not tell.
    """

    run: Callable
    compiled: jax.stages.Compiled
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
    data: task.Task,
    config,
    seed: int,
    folder: pathlib.Path,
    show: str,
    compiled: Callable[[], Program] | None = None,
    shows_validation: bool = True,
    shows_loss: bool = True,
) -> Fitted:
    """Fits `model` to `data` by config.train, or goes on where an earlier start stopped.

    Args:
      folder: of this seed's checkpoints.
      show: what the progress line says.
      compiled: gives what `compile_chunk` does; asked where there is something left to train.
      shows_validation: the progress line may say how validation goes; of few patients it may not.
      shows_loss: the same of the training loss.

    Raises:
      ConfigError: a setting is not possible, or the loss or a validation score is not finite.
      RunFolderError: a checkpoint cannot be written.
      Stopped: the process was told to end, and the state after the chunk that ran is saved.
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
    began, waits = time.monotonic(), []
    with stopping.deferred() as is_told, progress(show, config.steps, int(state.step)) as bar:
        while not (is_told() or _is_done(state, config)):
            state, metrics = compiled().run(state, data, key)
            metrics = {name: float(value) for name, value in metrics.items()}
            step = int(state.step)
            if fault := stepping.fault(metrics):
                raise errors.ConfigError(
                    f"at step {step} {fault}; lower config.train.learning_rate (now "
                    f"{config.learning_rate})"
                )
            log.write(step, stepping.logged(metrics), time.monotonic() - began)
            if "input_wait" in metrics:
                waits.append(metrics["input_wait"])
            notes = [f"loss {metrics['loss']:.4f}"] if shows_loss else []
            if shows_validation:
                best = f"validation_{config.select}"
                notes.append(f"validation {config.select} {metrics[best]:.4f}")
            bar.advance(config.eval_every, ", ".join(notes))
            if (step // config.eval_every) % config.checkpoint_every == 0:
                checkpoints.save(manager, step, state)
        if manager.latest_step() != int(state.step):
            checkpoints.save(manager, int(state.step), state)
        checkpoints.close(manager)
        log.close()
    if waits:
        print(f"{show}: {np.mean(waits):.1%} of the time steps waited for input")
    return Fitted(
        params=state.best_params,
        best_step=int(state.best_step),
        steps=int(state.step),
        seconds=time.monotonic() - began,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
    )


def _is_done(state: stepping.State, config) -> bool:
    return int(state.step) >= config.steps or int(state.stale) >= config.patience


def compile_chunk(model: nn.Module, data: task.Task, config) -> Program:
    """Compiles a chunk of training as config.train describes it, for any seed.

    Args:
      data: arrays, or an outline of them (`training.memory`): nothing is run. Of `FedStays` there
        is no outline, and a batch is placed.
    """
    began = time.monotonic()
    chunk = task.Chunk(model, make_optimiser(config), config.eval_every, config.select)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=partition.everywhere(data.mesh)),
        jax.eval_shape(
            functools.partial(first_state, model, chunk.optimiser),
            data.on_device,
            jax.random.key(0),
        ),
    )
    run, compiled = data.compile_chunk(chunk, state)
    sizes = compiled.memory_analysis()
    memory = sizes and sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
    return Program(run, compiled, time.monotonic() - began, memory)


def check(config) -> None:
    """Raises ConfigError where config.train cannot be followed."""
    settings.read(train_settings.Loop, config, "config.train")


def make_optimiser(config) -> optax.GradientTransformation:
    """Returns the optimiser of config.train, the same object for the same settings."""
    return _make_optimiser(optimisers.of_config(config))


_make_optimiser = functools.lru_cache(maxsize=8)(optimisers.make)


def init_state(model, optimiser, data: task.Task, key: jax.Array) -> stepping.State:
    """The state before the first step."""
    return _first_program(model, optimiser, data.mesh)(data.on_device, key)


@functools.lru_cache(maxsize=8)
def _first_program(model, optimiser, mesh: jax.sharding.Mesh | None) -> Callable:
    """Returns what `init_state` runs: one program for all seeds."""
    first = functools.partial(first_state, model, optimiser)
    return jax.jit(first, out_shardings=partition.everywhere(mesh))


def first_state(model, optimiser, data: task.Task, key: jax.Array) -> stepping.State:
    """What `init_state` compiles."""
    # Keys of steps are fold_in(key, 0..); the largest index is kept for the parameters.
    return start(data.init(model, jax.random.fold_in(key, 2**31 - 1)), optimiser)


def start(params, optimiser) -> stepping.State:
    """The state of parameters before the first step."""
    return stepping.State(
        params=params,
        moments=optimiser.init(params),
        step=jnp.zeros((), jnp.int32),
        best_params=jax.tree.map(jnp.copy, params),
        best_score=jnp.array(-jnp.inf, jnp.float32),
        best_step=jnp.zeros((), jnp.int32),
        stale=jnp.zeros((), jnp.int32),
    )
