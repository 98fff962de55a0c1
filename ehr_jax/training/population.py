"""Members of a population, seeds and settings of one network, trained as one compiled program.

The chunk of `fit` is mapped over a leading axis of states, keys and settings; the data are shared.
A member that is done is frozen: its state changes no more, whatever the others do. Each member has
the randomness of its own seed, so it equals the run of that seed alone but for rounding.
"""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import stopping
from ehr_jax.progress import progress
from ehr_jax.training import checkpoints, evolution, fit, logs, member_settings, stepping, task
from ehr_jax.training import optimiser as optimisers

AXIS = "member"  # of the mesh, where there are several devices


class Population(flax.struct.PyTreeNode):
    """All that training carries from chunk to chunk.

    Attributes:
      state: of each member, every leaf with a leading [member].
      failed: [member] int32, the step at which its loss, or a score of a validation sample, was no
        longer finite; 0 while they are.
      turns: chunks done, [] int32.
    """

    state: stepping.State
    failed: jax.Array
    turns: jax.Array


def train(
    model: nn.Module,
    data: task.LabelTask,
    config,
    members: Sequence[member_settings.Member],
    folder: pathlib.Path,
    log_folders: Sequence[pathlib.Path],
    show: str,
    begin: Population | None = None,
    until: int | None = None,
    evolve: evolution.Evolution | None = None,
    shows_validation: bool = True,
) -> Population:
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
    first = jax.jit(functools.partial(start, model, config))
    manager = checkpoints.open_manager(folder)
    like = jax.eval_shape(first, data, keys) if begin is None else begin
    restored = checkpoints.restore_latest(manager, like)
    if restored is not None:
        population = restored[1]
    else:
        population = first(data, keys) if begin is None else begin
    patience = config.patience if evolve is None else config.steps + 1
    with stopping.deferred() as is_told:
        if active(population, until, patience).any():
            turn = None
            if evolve is not None:
                step = int(population.state.step.max())
                settings, turn = _turning(evolve, members, settle, step, until)
            open_logs = [
                logs.open_log(place, member.seed, int(step))
                for place, member, step in zip(
                    log_folders, members, population.state.step, strict=True
                )
            ]
            work = Work(model, data, config, settings, keys, until, patience, turn)
            watch = _Watch(manager, open_logs, show, shows_validation, is_told)
            population = _advance(work, watch, population)
            for log in open_logs:
                log.close()
        if manager.latest_step() != int(population.turns):
            checkpoints.save(manager, int(population.turns), population)
        checkpoints.close(manager)
    return population


def start(model: nn.Module, config, data: task.LabelTask, keys: jax.Array) -> Population:
    """The population of `keys` [member] before the first step."""
    optimiser = fit.make_optimiser(config)
    state = jax.vmap(lambda key: fit.first_state(model, optimiser, data, key))(keys)
    return Population(state, jnp.zeros(len(keys), jnp.int32), jnp.zeros((), jnp.int32))


def active(population: Population, until: int, patience: int) -> jax.Array:
    """[member] bool, False for those that are done."""
    state = population.state
    return (population.failed == 0) & (state.step < until) & (state.stale < patience)


def take(population: Population, rows: np.ndarray) -> Population:
    """The members `rows` [new member], in that order; one may be taken twice."""
    state, failed = jax.tree.map(lambda x: x[rows], (population.state, population.failed))
    return population.replace(state=state, failed=failed)


def exploit(population: Population, sources: jax.Array) -> Population:
    """Each member k with what training goes on from, as member `sources[k]` has it.

    That is parameters, moments and step; its best validation so far stays its own.

    Args:
      sources: [member] int32; k itself where a member goes on from its own state.
    """
    state = population.state
    gone_on_from = (state.params, state.moments, state.step, population.failed)
    params, moments, step, failed = jax.tree.map(lambda x: x[sources], gone_on_from)
    return population.replace(
        state=state.replace(params=params, moments=moments, step=step), failed=failed
    )


def member(population: Population, row: int) -> stepping.State:
    """The state of one member, as of a run of its own."""
    return jax.tree.map(lambda x: x[row], population.state)


def run_chunk(
    model: nn.Module,
    steps: int,
    select: str,
    population: Population,
    settings: member_settings.Settings,
    keys: jax.Array,
    data: task.LabelTask,
    until: jax.Array,
    patience: jax.Array,
) -> tuple[Population, dict[str, jax.Array]]:
    """`stepping.run_chunk` of all members at once; jit with the first three arguments bound."""

    def of_member(state, own, key):
        network = model.clone(**own.rates) if own.rates else model
        chunk = task.Chunk(network, optimisers.make(own), steps, select)
        return stepping.run_chunk(chunk, state, data.weighed(own.positive_weight), key)

    going = active(population, until, patience)
    # What is frozen is computed all the same: it stands still, rather than diverge once more.
    settings = settings.replace(learning_rate=jnp.where(going, settings.learning_rate, 0))
    given = population.state, settings, keys
    if (few := _at_a_time(len(keys))) == len(keys):
        new, metrics = jax.vmap(of_member)(*given)
    else:
        new, metrics = jax.lax.map(lambda each: of_member(*each), given, batch_size=few)
    finite = stepping.finite(metrics)

    def freeze(now, before):
        kept = (going & finite).reshape(-1, *(1,) * (now.ndim - 1))
        return jnp.where(kept, now, before)

    return Population(
        state=jax.tree.map(freeze, new, population.state),
        failed=jnp.where(going & ~finite, new.step, population.failed),
        turns=population.turns + 1,
    ), metrics


def _at_a_time(members: int) -> int:
    """Of a device's members, those that are computed together, the others after them.

    Where devices share a CPU each is a core, and the states of a few members fill its cache; by
    `benchmarks.population` two are fastest there, and all of them on one device.
    """
    if jax.default_backend() != "cpu" or jax.local_device_count() == 1:
        return members
    return min(2, members)


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


class Work(NamedTuple):
    """What a population's program is made of, whichever members are in it.

    Attributes:
      model, data, config: the network, its `task.Task`, config.train.
      settings: of all members.
      keys: [member] of the random numbers of each.
      until: the step to train to.
      patience: validations without a better one before a member stops.
      turn: (step, scores, failed) -> (sources, settings) or None, of `_turning`; None if there are
        no turns.
    """

    model: nn.Module
    data: task.LabelTask
    config: Any
    settings: member_settings.Settings
    keys: jax.Array
    until: int
    patience: int
    turn: Callable | None = None


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


def _advance(work: Work, watch: _Watch, whole: Population) -> Population:
    """Chunks until no member is active, or the process is told to end.

    The program holds `rows` of the whole population: once half of its members are done, the others
    go on in a smaller one where that pays its compilation.

    Where there are turns, they come before what is saved, and all members stay in the program.
    """
    config, count = work.config, len(work.keys)
    is_active = functools.partial(active, until=work.until, patience=work.patience)
    began, rows = time.monotonic(), _spread(np.arange(count))
    part = whole if len(rows) == count else take(whole, rows)
    program, part = compile_chunk(work, part, rows)
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
                whole = _put(whole, part, rows)
                checkpoints.save(watch.manager, int(part.turns), whole)
            still = _spread(np.unique(rows[going]))
            if work.turn is None and going.any() and len(still) <= len(rows) / 2:
                chunks = (work.until - int(state.step[going].min())) / config.eval_every
                saved = seconds * chunks * (1 - len(still) / len(rows))
                if SHRINK_WHERE_SAVED * program.seconds < saved:
                    whole = _put(whole, part, rows)
                    rows, part = still, take(whole, still)
                    program, part = compile_chunk(work, part, rows)
                    seconds_compiling.append(program.seconds)
                    own = program.place(work.settings)
                    going = np.asarray(is_active(part))
    programs, total = len(seconds_compiling), sum(seconds_compiling)
    print(f"{watch.show}: {programs} program(s) compiled, {total:.1f} s")
    whole = _put(whole, part, rows)
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


# A smaller program is compiled where it saves so many times what that costs, if none stops early.
SHRINK_WHERE_SAVED = 3.0


def _exploited(part: Population, sources: np.ndarray) -> Population:
    """`exploit` as one program, each member staying on its device."""
    places = jax.tree.map(lambda x: x.sharding, part)
    return jax.jit(exploit, donate_argnums=0, out_shardings=places)(part, jnp.asarray(sources))


class Program(NamedTuple):
    """A chunk compiled for some members.

    Attributes:
      run: (population, placed settings) -> (population, metrics).
      place: the settings of all members -> those of these, where their devices want them.
      seconds: that compiling took.
    """

    run: Callable
    place: Callable
    seconds: float


def compile_chunk(work: Work, part: Population, rows: np.ndarray) -> tuple[Program, Population]:
    """The program of the members `rows`, which devices share; and `part` where they want it."""
    began = time.monotonic()
    keys, at_own = work.keys[rows], None
    data, limits = work.data, (jnp.int32(work.until), jnp.int32(work.patience))

    def place(given):
        own = jax.tree.map(lambda x: x[rows], given)
        return own if at_own is None else jax.device_put(own, at_own)

    run = functools.partial(run_chunk, work.model, work.config.eval_every, work.config.select)
    if jax.local_device_count() > 1:
        mesh = jax.make_mesh(
            (jax.local_device_count(),),
            (AXIS,),
            axis_types=(jax.sharding.AxisType.Auto,),
            devices=jax.local_devices(),
        )
        mine, same = jax.P(AXIS), jax.P()
        population = Population(state=mine, failed=mine, turns=same)
        run = jax.shard_map(
            run,
            mesh=mesh,
            in_specs=(population, mine, mine, same, same, same),
            out_specs=(population, mine),
            check_vma=False,
        )
        at_own, at_all = (jax.sharding.NamedSharding(mesh, spec) for spec in (mine, same))
        part = jax.device_put(part, Population(state=at_own, failed=at_own, turns=at_all))
        keys = jax.device_put(keys, at_own)
        data, limits = jax.device_put((data, limits), at_all)
    given = part, place(work.settings), keys, data, *limits
    compiled = jax.jit(run, donate_argnums=0).lower(*given).compile()
    program = lambda part, own: compiled(part, own, keys, data, *limits)  # noqa: E731
    return Program(program, place, time.monotonic() - began), part


def _put(whole: Population, part: Population, rows: np.ndarray) -> Population:
    """`whole` with its members `rows` as they are in `part`."""
    if np.array_equal(rows, np.arange(len(part.failed))) and len(rows) == len(whole.failed):
        return part
    state, failed = jax.tree.map(
        lambda w, p: jnp.asarray(w).at[rows].set(jax.device_get(p)),
        (whole.state, whole.failed),
        (part.state, part.failed),
    )
    return Population(state, failed, jnp.asarray(jax.device_get(part.turns)))


def _spread(rows: np.ndarray) -> np.ndarray:
    """`rows` for a multiple of the devices: the last is there more than once."""
    more = -len(rows) % jax.local_device_count() if len(rows) else 0
    return np.concatenate([rows, np.repeat(rows[-1:], more)])
