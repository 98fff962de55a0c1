"""Populations of a sweep: which trials and seeds train together, and what became of each."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from ehr_jax import errors, stored
from ehr_jax.experiment import fitting
from ehr_jax.models import registry
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import (
    evolution,
    kinds,
    member_settings,
    memory,
    population,
    population_loop,
    run_folder,
    seeds,
)


class End(NamedTuple):
    """Where a member stands: its state, and the step at which its loss failed, or 0."""

    state: Any
    failed: int


class Networks:
    """The network of a group, and the data, which groups of one batch size share.

    Devices take members, not parts of the data.
    """

    def __init__(self, arrays):
        self.arrays = arrays
        self.problems: dict[int, Any] = {}

    def of(self, group: sweep_plan.Group):
        """(network, data) of a group."""
        batch = group.config.train.batch
        if batch not in self.problems:
            alone = sweep_trials.configured(group.config, {"train.devices": 1})
            self.problems[batch] = fitting.make_task(alone, self.arrays, alone=False)
        return registry.build(group.config, self.arrays.labels.shape[1]), self.problems[batch]


class Parts:
    """The populations of some trials: a group's members, or as many of them as fit at once.

    `members` [part] lists (trial, seed). Which train together is decided by the first start and
    kept in a file, whatever memory a later one has.

    Args:
      trials: the values of each, by number.
      groups: of these trials.
      name: of the file, and where it is not the sweep's own, of the folder of checkpoints.
      whole: every trial of a seed is in one population; ConfigError where they do not fit.
    """

    def __init__(
        self,
        networks: Networks,
        trials: Mapping[int, sweep_plan.Values],
        groups: Sequence[sweep_plan.Group],
        chosen_seeds: Sequence[int],
        workdir: pathlib.Path,
        name: str = "sweep",
        whole: bool = False,
    ):
        self.networks, self.trials, self.workdir = networks, trials, workdir
        self.checkpoints = workdir / "checkpoints" / ("" if name == "sweep" else name)
        path = workdir / f"{name}.json"
        kept = _kept(path)
        self.groups, self.members = [], []
        for number, group in enumerate(groups):
            pairs = [(trial, seed) for trial in group.trials for seed in chosen_seeds]
            if whole:
                pairs.sort(key=lambda pair: chosen_seeds.index(pair[1]))
            own = [part["members"] for part in kept if part["group"] == number]
            # A start that ended before it trained may have been of other trials.
            if sorted(tuple(pair) for part in own for pair in part) != sorted(pairs):
                model, data = networks.of(group)
                size = seeds.at_once(model, data, group.config.train, len(pairs))
                if whole:
                    size = _of_whole_islands(size, len(group.trials))
                own = [pairs[first : first + size] for first in range(0, len(pairs), size)]
            self.groups += [group] * len(own)
            self.members += [[tuple(pair) for pair in part] for part in own]
        place = {id(group): number for number, group in enumerate(groups)}
        run_folder.write_json(
            path,
            {
                "trials": [trials[number] for number in sorted(trials)],
                "parts": [
                    {"group": place[id(group)], "members": members}
                    for group, members in zip(self.groups, self.members, strict=True)
                ],
            },
        )

    def train(
        self,
        part: int,
        alive: set[int],
        ends: Mapping[tuple[int, int], End],
        until: int | None = None,
        evolve: evolution.Evolution | None = None,
    ) -> dict[tuple[int, int], End]:
        """Trains what is alive of a part; returns (trial, seed) -> End.

        Args:
          ends: where members begin that have trained already.
          until: the step to train to; None is the last.
          evolve: as of `population_loop.train`.
        """
        group = self.groups[part]
        pairs = [pair for pair in self.members[part] if pair[0] in alive]
        if not pairs:
            return {}
        model, data = self.networks.of(group)
        logs = [trial_folder(self.workdir, trial) for trial, _ in pairs]
        for log in logs:
            log.mkdir(parents=True, exist_ok=True)
        with memory.explained(kinds.job(group.config, self.networks.arrays)):
            found = population_loop.train(
                model,
                data,
                group.config.train,
                self.starting(part, pairs),
                self.checkpoints / f"part_{part}" / ("end" if until is None else f"until_{until}"),
                logs,
                f"population {part + 1} of {len(self.members)}",
                begin=_joined([ends[pair] for pair in pairs if pair in ends]),
                until=until,
                evolve=evolve,
                shows_validation=fitting.shows_validation(self.networks.arrays),
            )
        found = jax.device_get(found)
        return {
            pair: End(population.member(found, row), int(found.failed[row]))
            for row, pair in enumerate(pairs)
        }

    def starting(self, part: int, pairs: Sequence[tuple[int, int]]) -> list[member_settings.Member]:
        """The members of a part as their trials describe them."""
        config = self.groups[part].config
        model = self.networks.of(self.groups[part])[0]
        section = registry.find(config.model.name).section
        return [
            member_settings.Member(seed, sweep_plan.traced(model, section, self.trials[trial]))
            for trial, seed in pairs
        ]


def _kept(path: pathlib.Path) -> list[dict]:
    """The parts that an earlier start wrote; none where the file is not there or is damaged."""
    found = stored.whole_object(path, {"parts": list}) or {"parts": []}
    try:
        return [
            {"group": part["group"], "members": [(int(a), int(b)) for a, b in part["members"]]}
            for part in found["parts"]
        ]
    except stored.OTHER_FORM:
        print(f"{path} is damaged; it is made again", flush=True)
        return []


def trial_folder(workdir: pathlib.Path, trial: int) -> pathlib.Path:
    """Where the logs of a trial are."""
    return workdir / "trials" / f"{trial:03d}"


def scores(ends: Mapping[tuple[int, int], End], count: int) -> np.ndarray:
    """[trial] float: the mean over seeds of the best validation; -inf where a seed failed."""
    found = [[] for _ in range(count)]
    for (trial, _), end in ends.items():
        found[trial].append(score(end))
    return np.array([np.mean(each) if each else -np.inf for each in found])


def score(end: End) -> float:
    """The best validation of a member; -inf where it failed."""
    return -np.inf if end.failed else float(end.state.best_score)


def status(
    config: ml_collections.ConfigDict, values: sweep_plan.Values, end: End, alive: bool = True
) -> str:
    """How a member ended: diverged, dropped, finished, or stopped early."""
    if end.failed:
        return "diverged"
    if not alive:
        return "dropped"
    steps = sweep_trials.configured(config, values).train.steps
    return "finished" if int(end.state.step) >= steps else "stopped"


def _of_whole_islands(size: int, island: int) -> int:
    if size < island:
        raise errors.ConfigError(
            f"config.sweep.pbt_every: the {island} trials of a seed are one population, and "
            f"{size} members train at once; try fewer trials, or set config.train.population="
            f"{island} where they do fit in memory"
        )
    return size // island * island


def _joined(found: Sequence[End]) -> population.Population | None:
    """The population of what members have become; None where they have not begun."""
    if not found:
        return None
    state = jax.tree.map(lambda *leaves: np.stack(leaves), *[end.state for end in found])
    failed = np.array([end.failed for end in found], np.int32)
    return jax.device_put(population.Population(state, failed, np.zeros((), np.int32)))
