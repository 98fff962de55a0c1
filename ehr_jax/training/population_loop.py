"""Trains the members of a population, or goes on where an earlier start stopped: `train`."""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import stopping
from ehr_jax.progress import progress
from ehr_jax.training import (
    checkpoints,
    evolution,
    fit,
    logs,
    member_settings,
    population,
    stepping,
    task,
)

# A smaller program is compiled where it saves so many times what that costs, if none stops early.
SHRINK_WHERE_SAVED = 3.0


def train(
    model: nn.Module,
    data: task.LabelTask,
    config,
    members: Sequence[member_settings.Member],
    folder: pathlib.Path,
    log_folders: Sequence[pathlib.Path],
    show: str,
    begin: population.Population | None = None,
    until: int | None = None,
    evolve: evolution.Evolution | None = None,
    shows_validation: bool = True,
) -> population.Population:
    """Trains `members` by config.train, or goes on where an earlier start stopped.

    A member whose loss or validation scores are not finite stays at its last finite state and is
    named; it stops none of the others.

    Args:
      folder: of the population's checkpoints.
      log_folders: of each member; its lines in metrics.jsonl there bear its seed.
      show: what the progress line says.
      begin: where to start from; None is step 0. Its memory is reused: it is no longer there after.
      until: the step to train to; None is config.train.steps.
      evolve: by which members take the state of others every so many steps, and settings near
        theirs. None stops early then, and one that failed goes on from the state it is given.
      shows_validation: as of `fit.fit`.

    Raises:
      ConfigError: there are no members, or their settings are not possible.
      RunFolderError: a checkpoint or the schedule of `evolve` cannot be written or read.
      Stopped: the process was told to end, and the population after the chunk that ran is saved.
    """
    fit.check(config)
    traced = () if evolve is None else evolve.keys
    settle = functools.partial(member_settings.settle, model, data, config, traced=traced)
    model, settings = settle(members)
    keys = jnp.stack([jax.random.key(member.seed) for member in members])
    until = config.steps if until is None else min(until, config.steps)
    first = jax.jit(functools.partial(population.start, model, config))
    manager = checkpoints.open_manager(folder)
    like = jax.eval_shape(first, data, keys) if begin is None else begin
    restored = checkpoints.restore_latest(manager, like)
    if restored is not None:
        whole = restored[1]
    else:
        whole = first(data, keys) if begin is None else begin
    patience = config.patience if evolve is None else config.steps + 1
    with stopping.deferred() as is_told:
        if population.active(whole, until, patience).any():
            turn = None
            if evolve is not None:
                step = int(whole.state.step.max())
                settings, turn = _turning(evolve, members, settle, step, until)
            open_logs = [
                logs.open_log(place, member.seed, int(step))
                for place, member, step in zip(log_folders, members, whole.state.step, strict=True)
            ]
            work = population.Work(model, data, config, settings, keys, until, patience, turn)
            watch = _Watch(manager, open_logs, show, shows_validation, is_told)
            whole = _advance(work, watch, whole)
            for log in open_logs:
                log.close()
        if manager.latest_step() != int(whole.turns):
            checkpoints.save(manager, int(whole.turns), whole)
        checkpoints.close(manager)
    return whole


def _turning(evolve, members, settle, step: int, until: int) -> tuple:
    """The settings that hold at `step`, and what makes a turn.

    The latter is (step, scores [member], failed [member]) -> (sources [member], settings), or None
    where that step has no turn.
    """
    turns = evolution.turns_until(evolve, members, step, until)
    evolution.write(evolve, turns)

    def turn(step, scores, failed):
        if not 0 < step < until or step % evolve.every:
            return None
        turns.append(evolution.next_turn(evolve, turns[-1], members, step, scores, failed))
        evolution.write(evolve, turns)
        return turns[-1].sources, settle(turns[-1].members(members))[1]

    return settle(turns[-1].members(members))[1], turn


class _Watch(NamedTuple):
    """Where training is saved and told.

    Attributes:
      manager: of the checkpoints.
      logs: of each member.
      show: what the progress line says.
      shows_validation: as of `fit.fit`.
      is_told: () -> True once the process was told to end.
    """

    manager: Any
    logs: Sequence[logs.Log]
    show: str
    shows_validation: bool
    is_told: Callable[[], bool]


def _advance(
    work: population.Work, watch: _Watch, whole: population.Population
) -> population.Population:
    """Chunks until no member is active, or the process is told to end.

    The program holds `rows` of the whole population: once half of its members are done, the others
    go on in a smaller one where that pays its compilation.

    Where there are turns, they come before what is saved, and all members stay in the program.
    """
    config, count = work.config, len(work.keys)
    is_active = functools.partial(population.active, until=work.until, patience=work.patience)
    began, rows = time.monotonic(), population.spread(np.arange(count))
    part = whole if len(rows) == count else population.take(whole, rows)
    program, part = population.compile_chunk(work, part, rows)
    own, seconds_compiling = program.place(work.settings), [program.seconds]
    going = np.asarray(is_active(part))
    with progress(watch.show, work.until, int(part.state.step[going].min())) as bar:
        while going.any() and not watch.is_told():
            chunk_began = time.monotonic()
            part, metrics = program.run(part, own)
            metrics, state = jax.device_get(
                (metrics, part.state.replace(params=None, moments=None, best_params=None))
            )
            seconds, failed = time.monotonic() - chunk_began, np.asarray(part.failed)
            _log(watch, rows, going, failed, state, metrics, time.monotonic() - began)
            if work.turn is not None:
                step = int(state.step[failed == 0].max(initial=0))
                scores = np.asarray(stepping.selection_score(metrics, config.select))
                exchange = work.turn(step, scores[:count], failed[:count] > 0)
                if exchange is not None:
                    sources, settings = exchange
                    part, own = _exploited(part, sources[rows]), program.place(settings)
            going = np.asarray(is_active(part))
            note = f"{len(np.unique(rows[going]))} of {count} members active"
            if watch.shows_validation:
                best = abs(state.best_score.max())
                note += f", best validation {config.select} {best:.4f}"
            bar.advance(config.eval_every, note)
            if int(part.turns) % config.checkpoint_every == 0:
                whole = population.put(whole, part, rows)
                checkpoints.save(watch.manager, int(part.turns), whole)
            still = population.spread(np.unique(rows[going]))
            if work.turn is None and going.any() and len(still) <= len(rows) / 2:
                chunks = (work.until - int(state.step[going].min())) / config.eval_every
                saved = seconds * chunks * (1 - len(still) / len(rows))
                if SHRINK_WHERE_SAVED * program.seconds < saved:
                    whole = population.put(whole, part, rows)
                    rows, part = still, population.take(whole, still)
                    program, part = population.compile_chunk(work, part, rows)
                    seconds_compiling.append(program.seconds)
                    own = program.place(work.settings)
                    going = np.asarray(is_active(part))
    programs, total = len(seconds_compiling), sum(seconds_compiling)
    print(f"{watch.show}: {programs} program(s) compiled, {total:.1f} s")
    whole = population.put(whole, part, rows)
    if jax.local_device_count() > 1:
        whole = jax.tree.map(jnp.asarray, jax.device_get(whole))  # together again
    return whole


def _log(watch: _Watch, rows, going, failed, state, metrics, seconds: float) -> None:
    """Writes a line for each member that was active, or says why one stopped.

    Args:
      rows, going, failed, state, metrics: of the members in the program, after a chunk; `going`
        before it.
    """
    for at in np.unique(rows, return_index=True)[1]:
        values = {name: float(value[at]) for name, value in metrics.items()}
        if failed[at] and going[at]:
            print(
                f"{watch.show}: member {rows[at]} stopped at step {failed[at]}, where "
                f"{stepping.fault(values)}"
            )
        elif going[at]:
            watch.logs[rows[at]].write(int(state.step[at]), stepping.logged(values), seconds)


def _exploited(part: population.Population, sources: np.ndarray) -> population.Population:
    """`exploit` as one program, each member staying on its device."""
    places = jax.tree.map(lambda x: x.sharding, part)
    return jax.jit(population.exploit, donate_argnums=0, out_shardings=places)(
        part, jnp.asarray(sources)
    )
