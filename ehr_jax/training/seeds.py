"""Every seed of a run: as a population where that is faster and fits, else one after another.

Either way checkpoints/seed_N holds the end of seed N, as one run of it would leave it.
"""

import functools
import pathlib
import time
from collections.abc import Sequence

import flax.linen as nn
import jax
import numpy as np

from ehr_jax import errors, storage
from ehr_jax.training import (
    checkpoints,
    fit,
    member_settings,
    memory,
    population,
    population_loop,
    task,
)

MOST = 64  # members of a program where nobody says how many
SHARE = 0.5  # of the memory that is free, which a population may take


def fit_seeds(
    model: nn.Module,
    data: task.LabelTask,
    config,
    seeds: Sequence[int],
    folder: pathlib.Path,
    show: str,
    shows_validation: bool = True,
    shows_loss: bool = True,
) -> list[fit.Fitted]:
    """Fits `model` with every seed by config.train, or goes on where an earlier start stopped.

    Args:
      folder: of the run, with its checkpoints/ and metrics.jsonl.
      show: what the progress lines begin with.
      shows_validation, shows_loss: as of `fit.fit`.

    Raises:
      ConfigError: a setting is not possible, or the loss or a validation score of a seed is not
        finite; the other seeds are fitted all the same.
      RunFolderError: a checkpoint cannot be written.
    """
    together = at_once(model, data, config, len(seeds))
    if together == 1:
        shows = shows_validation, shows_loss
        return _fit_in_turn(model, data, config, seeds, folder, show, *shows)
    fitted = []
    for first in range(0, len(seeds), together):
        part = seeds[first : first + together]
        fitted += _fit_together(model, data, config, part, folder, show, shows_validation)
    return fitted


def seed_folder(folder: pathlib.Path, seed: int) -> pathlib.Path:
    """The checkpoints of one seed in the run folder."""
    return folder / "checkpoints" / f"seed_{seed}"


def at_once(model: nn.Module, data: task.LabelTask, config, wanted: int) -> int:
    """How many of `wanted` members one program trains: config.train.population, or as many as fit.

    Raises:
      ConfigError: config.train.population is below 1, or above where one member takes all.
    """
    most = config.population
    if data.takes_all:
        if most not in (None, 1):
            raise errors.ConfigError(
                f"config.train.population is {most}, but the devices, shards in turn or stays read "
                "from host memory are taken by one member; leave it None, or set "
                "config.train.devices=1 and config.train.shards=1 where the data fit there"
            )
        return 1
    if most is not None:
        if most < 1:
            raise errors.ConfigError(
                f"config.train.population is {most}; expected 1 (one after another) or more "
                "members trained as one program, or None"
            )
    if wanted == 1 or data.takes_all:
        return 1
    if most is not None:
        return min(most, wanted)
    free, each = memory.free(), memory.member_bytes(model, data)
    free = None if free is None else free * jax.local_device_count()
    fitting = MOST if free is None else int(SHARE * free // each)
    if fitting < min(wanted, MOST):
        print(
            f"{max(1, fitting)} of {wanted} members at once: one takes some {each / 1e9:.2g} GB, "
            f"{free / 1e9:.3g} GB are free; config.train.population sets another number"
        )
    return max(1, min(wanted, fitting, MOST))


def _fit_in_turn(
    model, data, config, seeds, folder, show, shows_validation, shows_loss
) -> list[fit.Fitted]:
    compiled = functools.cache(functools.partial(fit.compile_chunk, model, data, config))
    fitted = [
        fit.fit(
            model,
            data,
            config,
            seed,
            seed_folder(folder, seed),
            f"{show}, seed {seed}",
            compiled,
            shows_validation,
            shows_loss,
        )
        for seed in seeds
    ]
    if compiled.cache_info().misses:
        print(f"{show}: 1 program compiled for {len(seeds)} seed(s), {compiled().seconds:.1f} s")
    return fitted


def _fit_together(model, data, config, seeds, folder, show, shows_validation) -> list[fit.Fitted]:
    began = time.monotonic()
    members = [member_settings.Member(seed) for seed in seeds]
    at = folder / "checkpoints" / f"together_{seeds[0]}_{len(seeds)}"
    storage.remove_partials(at.parent)
    managers = [checkpoints.open_manager(seed_folder(folder, seed)) for seed in seeds]
    found = population_loop.train(
        model,
        data,
        config,
        members,
        at,
        [folder] * len(seeds),
        f"{show}, {len(seeds)} seeds",
        begin=_begun(model, data, config, seeds, managers),
        shows_validation=shows_validation,
    )
    fitted, failed = [], np.asarray(found.failed)
    for row, manager in enumerate(managers):
        state = population.member(found, row)
        step = int(state.step)
        if not failed[row] and manager.latest_step() != step:
            checkpoints.save(manager, step, state)
        checkpoints.close(manager)
        fitted.append(
            fit.Fitted(
                params=state.best_params,
                best_step=int(state.best_step),
                steps=step,
                seconds=time.monotonic() - began,
                parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
            )
        )
    if failed.any():
        which = ", ".join(
            f"{seed} at step {step}" for seed, step in zip(seeds, failed, strict=True) if step
        )
        raise errors.ConfigError(
            f"the training loss, or the scores of validation samples, are not finite with seed "
            f"{which}; the other seeds are fitted. Lower config.train.learning_rate (now "
            f"{config.learning_rate})"
        )
    storage.remove_folder(at)
    return fitted


def _begun(model, data, config, seeds, managers) -> population.Population | None:
    """The population of what single runs of these seeds left; None where there is nothing."""
    if all(manager.latest_step() is None for manager in managers):
        return None
    keys = jax.numpy.stack([jax.random.key(seed) for seed in seeds])
    fresh = jax.jit(lambda d, k: population.start(model, config, d, k))(data, keys)
    states = []
    for row, manager in enumerate(managers):
        state = population.member(fresh, row)
        restored = checkpoints.restore_latest(manager, state)
        states.append(state if restored is None else restored[1])
    joined = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *states)
    return fresh.replace(state=joined)
