"""--mode=sweep: trials of config.sweep as populations; one table, and the best as a run of its own.

The best is chosen by validation alone, and it alone is scored on the test split.

    RUN/sweep.json             the values of every trial, and which members train together
    RUN/trials.parquet         a row a trial and seed: values, validation metrics, step, status
    RUN/trials/NNN/            metrics.jsonl and tensorboard/ of a trial
    RUN/checkpoints/           of the populations, at the end of each rung
    RUN/best.py  RUN/best/     the chosen config, ready to run, and its run folder
"""

import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import polars as pl

from ehr_jax import config as configs
from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.modes import inputs, sweep_plan, train
from ehr_jax.reporting import report, tables
from ehr_jax.training import checkpoints, member_settings, population, run_folder, seeds

SHOWN = 10  # trials printed
METRICS = ("auroc", "auprc", "loss")
OF_INPUTS = ("data.json", "DATA_USE.txt", "split.parquet", "audit.json", "fitted.json")


class End(NamedTuple):
    """Where a member stands: its state, and the step at which its loss failed, or 0."""

    state: Any
    failed: int


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Runs every trial, or what an earlier start left of them; writes what the module says."""
    config = registry.configure(config, config.model.name)
    if not hasattr(registry.load(config.model.name), "build"):
        raise errors.ConfigError(
            f"config.model.name is '{config.model.name}', which is no network; --mode=sweep trains "
            "networks, as mingle or realm"
        )
    train.check_method(config)
    trials, rungs = sweep_plan.trials(config), sweep_plan.rungs(config)
    groups, chosen_seeds = sweep_plan.groups(config, trials), sweep_plan.seeds(config)
    workdir = run_folder.claim(workdir, config.to_dict())
    print(
        f"{len(trials)} trials x {len(chosen_seeds)} seed(s) in {len(groups)} group(s) of one "
        "program each",
        flush=True,
    )
    cohort, arrays = inputs.load(config, workdir)
    parts = _Parts(config, arrays, trials, groups, chosen_seeds, workdir)
    alive, ends = set(range(len(trials))), {}
    for rung, until in enumerate((*rungs, config.train.steps)):
        for part in range(len(parts.members)):
            ends |= parts.train(part, alive, ends, until, last=rung == len(rungs))
        if rung < len(rungs):
            alive = _better_half(alive, _scores(ends, len(trials)))
            print(f"step {until}: {len(alive)} trials go on", flush=True)
    scores = _scores(ends, len(trials))
    _write_table(config, trials, alive, ends, workdir)
    order = sorted(alive, key=lambda trial: (-scores[trial], trial))
    print(_shown(config, trials, scores, order))
    best = order[0]
    if not np.isfinite(scores[best]):
        raise errors.ConfigError(
            "the training loss of every trial stopped being finite, or none was validated; try "
            "lower values of train.learning_rate in config.sweep"
        )
    made = sweep_plan.configured(config, trials[best])
    made.sweep = configs.defaults().sweep
    _write_config(made, trials[best], best, scores[best], workdir / "best.py")
    _finish(made, best, ends, cohort, arrays, workdir)
    return 0


class _Parts:
    """The populations of a sweep: a group's members, or as many of them as fit at once.

    `members` [part] lists (trial, seed). Which train together is decided by the first start and
    kept in sweep.json, whatever memory a later one has.
    """

    def __init__(self, config, arrays, trials, groups, chosen_seeds, workdir):
        self.trials, self.workdir, self.arrays = trials, workdir, arrays
        self.section = registry.find(config.model.name).section
        self.problems: dict[int, Any] = {}
        path = workdir / "sweep.json"
        kept = run_folder.read_json(path)["parts"] if path.exists() else None
        self.groups, self.members = [], []
        for number, group in enumerate(groups):
            pairs = [(trial, seed) for trial in group.trials for seed in chosen_seeds]
            if kept is not None:
                own = [part["members"] for part in kept if part["group"] == number]
            else:
                model, data = self._of(group)
                size = seeds.at_once(model, data, group.config.train, len(pairs))
                own = [pairs[first : first + size] for first in range(0, len(pairs), size)]
            self.groups += [group] * len(own)
            self.members += [[tuple(pair) for pair in part] for part in own]
        place = {id(group): number for number, group in enumerate(groups)}
        run_folder.write_json(
            path,
            {
                "trials": trials,
                "parts": [
                    {"group": place[id(group)], "members": members}
                    for group, members in zip(self.groups, self.members, strict=True)
                ],
            },
        )

    def train(self, part: int, alive: set, ends: dict, until: int, last: bool) -> dict:
        """Trains what is alive of a part to step `until`; returns (trial, seed) -> End."""
        group = self.groups[part]
        pairs = [pair for pair in self.members[part] if pair[0] in alive]
        if not pairs:
            return {}
        model, data = self._of(group)
        until = group.config.train.steps if last else until
        members = [
            member_settings.Member(seed, sweep_plan.traced(model, self.section, self.trials[trial]))
            for trial, seed in pairs
        ]
        logs = [trial_folder(self.workdir, trial) for trial, _ in pairs]
        for log in logs:
            log.mkdir(parents=True, exist_ok=True)
        found = population.train(
            model,
            data,
            group.config.train,
            members,
            self.workdir / "checkpoints" / f"part_{part}" / ("end" if last else f"until_{until}"),
            logs,
            f"population {part + 1} of {len(self.members)}",
            begin=_joined([ends[pair] for pair in pairs if pair in ends]),
            until=until,
        )
        found = jax.device_get(found)
        return {
            pair: End(population.member(found, row), int(found.failed[row]))
            for row, pair in enumerate(pairs)
        }

    def _of(self, group: sweep_plan.Group):
        """The network of a group, and the data, which groups of one batch size share.

        Devices take members, not parts of the data.
        """
        batch = group.config.train.batch
        if batch not in self.problems:
            alone = sweep_plan.configured(group.config, {"train.devices": 1})
            self.problems[batch] = train.make_problem(alone, self.arrays)[1]
        model = registry.build(group.config, self.arrays.labels.shape[1])
        return model, self.problems[batch]


def trial_folder(workdir: pathlib.Path, trial: int) -> pathlib.Path:
    """Where the logs of a trial are."""
    return workdir / "trials" / f"{trial:03d}"


def _joined(found: Sequence[End]) -> population.Population | None:
    """The population of what members have become; None where they have not begun."""
    if not found:
        return None
    state = jax.tree.map(lambda *leaves: np.stack(leaves), *[end.state for end in found])
    failed = np.array([end.failed for end in found], np.int32)
    return jax.device_put(population.Population(state, failed, np.zeros((), np.int32)))


def _scores(ends: dict, count: int) -> np.ndarray:
    """[trial] float: the mean over seeds of the best validation; -inf where a seed failed."""
    found = [[] for _ in range(count)]
    for (trial, _), end in ends.items():
        found[trial].append(-np.inf if end.failed else float(end.state.best_score))
    return np.array([np.mean(scores) if scores else -np.inf for scores in found])


def _better_half(alive: set, scores: np.ndarray) -> set:
    """The half with the higher scores, rounded up; of equal ones the first."""
    order = sorted(alive, key=lambda trial: (-scores[trial], trial))
    return set(order[: -(-len(order) // 2)])


def _write_table(config, trials, alive, ends, workdir) -> None:
    rows = []
    for (trial, seed), end in sorted(ends.items(), key=lambda item: item[0]):
        state, best = end.state, int(end.state.best_step)
        steps = sweep_plan.configured(config, trials[trial]).train.steps
        if end.failed:
            status = "diverged"
        elif trial not in alive:
            status = "dropped"
        else:
            status = "finished" if int(state.step) >= steps else "stopped"
        told = _logged(trial_folder(workdir, trial), seed, best)
        rows.append(
            {
                "trial": trial,
                "seed": seed,
                **{key: trials[trial].get(key) for key in trials[0]},
                **{f"validation_{name}": told.get(name) for name in METRICS},
                "best_step": best or None,
                "steps": int(state.step),
                "status": status,
            }
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    mixed = [
        name
        for name, cells in columns.items()
        if len({type(c) for c in cells if c is not None}) > 1
    ]
    for name in mixed:
        numbers = all(isinstance(cell, int | float) for cell in columns[name] if cell is not None)
        columns[name] = [float(cell) if numbers else str(cell) for cell in columns[name]]
    frame = pl.DataFrame(columns, strict=False).with_columns(
        pl.col(f"validation_{name}").cast(pl.Float64) for name in METRICS
    )
    run_folder.write_whole(workdir / "trials.parquet", frame.write_parquet)


def _logged(folder: pathlib.Path, seed: int, step: int) -> dict[str, float]:
    """What the log says of a seed's validation at `step`; empty where there was none."""
    path = folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        if (row["seed"], row["step"]) == (seed, step):
            return row["validation"]
    return {}


def _shown(config, trials, scores, order) -> str:
    names = list(trials[0])
    rows = [
        [str(trial), *(str(trials[trial][name]) for name in names), f"{scores[trial]:.4f}"]
        for trial in order[:SHOWN]
    ]
    score = ("-" if config.train.select == "loss" else "") + f"validation {config.train.select}"
    return tables.render(["Trial", *names, score], rows)


def _write_config(made, values, trial: int, score: float, path: pathlib.Path) -> None:
    """Writes `made` as a config file: the defaults, and the keys that differ from them."""
    base, own = run_folder.flat(configs.defaults().to_dict()), run_folder.flat(made.to_dict())
    differing = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in own.items()
        if key not in base or base[key] != value
    }
    lines = "".join(f"    {key!r}: {value!r},\n" for key, value in sorted(differing.items()))
    tried = ", ".join(f"{key} = {value!r}" for key, value in values.items())
    text = (
        f'"""Trial {trial} of a sweep, the best of it: {tried}.\n\n'
        "Command: python -m ehr_jax.main --config=SWEEP/best.py --workdir=RUN\n"
        f'Expect:  a validation {made.train.select} near {abs(score):.4f}.\n"""\n\n'
        "from ehr_jax import config as base\n\n\n"
        "def get_config():\n"
        '    """The defaults, and the values that were chosen."""\n'
        "    config = base.defaults()\n"
        "    config.update_from_flattened_dict(VALUES)\n"
        f"    return config\n\n\nVALUES = {{\n{lines}}}\n"
    )
    run_folder.write_whole(path, lambda there: pathlib.Path(there).write_text(text))


def _finish(made, trial: int, ends: dict, cohort, arrays, workdir: pathlib.Path) -> None:
    """Makes RUN/best the run of the chosen config, from what the sweep trained of it."""
    folder = run_folder.claim(workdir / "best", made.to_dict())
    if not (folder / "results.json").exists():
        for name in OF_INPUTS:
            if (workdir / name).exists():
                run_folder.write_whole(
                    folder / name, lambda path, name=name: shutil.copy(workdir / name, path)
                )
        log = trial_folder(workdir, trial) / "metrics.jsonl"
        run_folder.write_whole(folder / "metrics.jsonl", lambda path: shutil.copy(log, path))
        for (number, seed), end in ends.items():
            if number == trial and seed in made.train.seeds:
                manager = checkpoints.open_manager(seeds.seed_folder(folder, seed))
                if manager.latest_step() is None:
                    checkpoints.save(manager, int(end.state.step), end.state)
                checkpoints.close(manager)
        train.fit_and_score(made, cohort, arrays, folder)
    report.write_report(folder)
    print(tables.results_table(run_folder.read_json(folder / "results.json")))
    print(f"best config: {workdir / 'best.py'}")
    print(f"report: {folder / 'report.html'}")
