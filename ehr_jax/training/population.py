"""Members of a population, seeds and settings of one network, as one state and one program.

The chunk of `fit` is mapped over a leading axis of states, keys and settings; the data are shared.
A member that is done is frozen: its state changes no more, whatever the others do. Each member has
the randomness of its own seed, so it equals the run of that seed alone but for rounding.
`population_loop` trains one.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.training import fit, member_settings, stepping, task
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


class Work(NamedTuple):
    """What a population's program is made of, whichever members are in it.

    Attributes:
      model, data, config: the network, its `task.Task`, config.train.
      settings: of all members.
      keys: [member] of the random numbers of each.
      until: the step to train to.
      patience: validations without a better one before a member stops.
      turn: (step, scores, failed) -> (sources, settings) or None, of `population_loop`; None if
        there are no turns.
    """

    model: nn.Module
    data: task.LabelTask
    config: Any
    settings: member_settings.Settings
    keys: jax.Array
    until: int
    patience: int
    turn: Callable | None = None


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


def put(whole: Population, part: Population, rows: np.ndarray) -> Population:
    """`whole` with its members `rows` as they are in `part`."""
    if np.array_equal(rows, np.arange(len(part.failed))) and len(rows) == len(whole.failed):
        return part
    state, failed = jax.tree.map(
        lambda w, p: jnp.asarray(w).at[rows].set(jax.device_get(p)),
        (whole.state, whole.failed),
        (part.state, part.failed),
    )
    return Population(state, failed, jnp.asarray(jax.device_get(part.turns)))


def spread(rows: np.ndarray) -> np.ndarray:
    """`rows` for a multiple of the devices: the last is there more than once."""
    more = -len(rows) % jax.local_device_count() if len(rows) else 0
    return np.concatenate([rows, np.repeat(rows[-1:], more)])
