"""Population-based training: at turns the worst members go on from the best, with other settings.

Jaderberg et al. 2017 (arXiv 1711.09846), truncation selection. At a turn the worst quarter of an
island, by its last validation, takes the state of members of the best quarter, drawn at random,
and multiplies each explored setting by 0.8 or 1.25 (the paper: a fifth; 0.8 or 1.2). An island is
the members of one seed. A member that failed counts as the worst and is always replaced.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ehr_jax import errors, stored
from ehr_jax.training import member_settings, run_folder

SMALLEST = 4  # members of an island
FACTORS = (0.8, 1.25)
LIMITS = (float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max))
HIGHEST_RATE = 255 / 256
WAY_OUT = "put the file back from a copy, or choose another --workdir"


class Evolution(NamedTuple):
    """How a population evolves.

    Attributes:
      every: steps between turns.
      keys: the settings explored, which every member has as numbers.
      seed: of what is drawn.
      path: where the schedule is kept.
    """

    every: int
    keys: tuple[str, ...]
    seed: int
    path: pathlib.Path


class Turn(NamedTuple):
    """What holds from a step on.

    Attributes:
      step: the step.
      sources: [member] int, the member whose state each goes on from: its own number, or another.
      values: of each member, by key.
    """

    step: int
    sources: np.ndarray
    values: list[dict[str, Any]]

    def members(self, first: Sequence[member_settings.Member]) -> list[member_settings.Member]:
        """The members `first` with the values of this turn."""
        return [one._replace(values=own) for one, own in zip(first, self.values, strict=True)]


def first_turn(members: Sequence[member_settings.Member]) -> Turn:
    """The schedule's beginning: step 0, each member with its own values."""
    return Turn(0, np.arange(len(members)), [dict(member.values) for member in members])


def next_turn(
    evolve: Evolution,
    now: Turn,
    members: Sequence[member_settings.Member],
    step: int,
    scores: np.ndarray,
    failed: np.ndarray,
) -> Turn:
    """The turn at `step`, the same for the same arguments.

    Args:
      now: the turn before.
      members: whose seeds are the islands.
      scores: [member] float, of the last validation; the higher the better.
      failed: [member] bool.
    """
    sources, values = np.arange(len(members)), list(now.values)
    for seed in dict.fromkeys(member.seed for member in members):
        island = np.flatnonzero([member.seed == seed for member in members])
        # Islands draw apart, so that each evolves as it would alone.
        generator = np.random.default_rng([evolve.seed, step, seed % 2**32])
        worst, best = quarters(scores[island], failed[island])
        for loser in island[worst]:
            sources[loser] = source = island[best][generator.integers(len(best))]
            values[loser] = explored(now.values[source], evolve.keys, generator)
    return Turn(step, sources, values)


def quarters(scores: np.ndarray, failed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The worst and the best quarter: two arrays of members, best first; of equal ones the first.

    All that failed are among the worst, however many, and none among the best; where all failed
    both are empty.
    """
    order = np.lexsort((-np.nan_to_num(scores, nan=-np.inf), failed))
    quarter, alive = len(order) // SMALLEST, int((~failed).sum())
    if not alive:
        return order[:0], order[:0]
    return order[min(alive, len(order) - quarter) :], order[: min(quarter, alive)]


def explored(
    values: dict[str, Any], keys: Sequence[str], generator: np.random.Generator
) -> dict[str, Any]:
    """`values` with each of `keys` times 0.8 or 1.25, where that is possible; 0 stays 0."""
    found = dict(values)
    for key in keys:
        value = values[key] * FACTORS[int(generator.integers(len(FACTORS)))]
        if key not in member_settings.OF_TRAINING:  # a rate of the network
            found[key] = member_settings.rounded_rate(min(value, HIGHEST_RATE))
        elif value:
            found[key] = float(f"{np.clip(value, *LIMITS):.6g}")
    return found


def turns_until(
    evolve: Evolution, members: Sequence[member_settings.Member], step: int, until: int
) -> list[Turn]:
    """The schedule as a population of `members` that has done `step` of `until` steps has it.

    What a killed start wrote of later turns is left out: it is made again.

    Raises:
      RunFolderError: the file is not that of such a population.
    """
    if not step:
        return [first_turn(members)]
    found = schedule(evolve, len(members))
    kept = [turn for turn in found if turn.step <= step]
    steps = list(range(0, min(step, until - 1) + 1, evolve.every))
    if [turn.step for turn in kept] != steps:
        raise errors.RunFolderError(
            f"{evolve.path} has turns at the steps {[turn.step for turn in kept]}, and the "
            f"population beside it is at step {step}, after turns at {steps}; {WAY_OUT}"
        )
    return kept


def write(evolve: Evolution, turns: Sequence[Turn]) -> None:
    """Writes the schedule, whole or not at all."""
    rows = [turn._replace(sources=turn.sources.tolist())._asdict() for turn in turns]
    run_folder.write_json(evolve.path, rows)


def read(path: pathlib.Path) -> list[Turn]:
    """The schedule in `path`; empty where there is none."""
    rows = stored.read(path, WAY_OUT) if path.exists() else []
    with stored.in_form(path, WAY_OUT):
        return [_turn(**row) for row in rows]


def schedule(evolve: Evolution, members: int) -> list[Turn]:
    """The schedule of a population of so many members that has been trained.

    Raises:
      RunFolderError: the file is missing, damaged, or that of another population.
    """
    turns, keys = read(evolve.path), set(evolve.keys)
    whole = [
        len(turn.values) == members and all(keys <= set(own) for own in turn.values)
        for turn in turns
    ]
    if not turns or not all(whole):
        raise errors.RunFolderError(
            f"{evolve.path} is missing, or no schedule of the population of {members} beside it; "
            f"{WAY_OUT}"
        )
    return turns


def _turn(step: int, sources: list[int], values: list[dict[str, Any]]) -> Turn:
    places = np.array(sources)
    if places.shape != (len(values),) or places.dtype.kind != "i":
        raise ValueError("sources are no numbers of members")
    return Turn(int(step), places, [dict(own) for own in values])
