"""What a sweep found: the table of trials, and the best as a config and as a run of its own."""

import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import polars as pl

from ehr_jax import config as configs
from ehr_jax import errors
from ehr_jax.experiment import finished, fitting
from ehr_jax.reporting import report, tables
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import checkpoints, logs, run_folder, seeds

SHOWN = 10  # trials printed
METRICS = ("auroc", "auprc", "loss")
OF_INPUTS = (
    "data.json",
    "DATA_USE.txt",
    "split.parquet",
    "audit.json",
    "fitted.json",
    run_folder.TEACHER,
)


class Best(NamedTuple):
    """The trial that was chosen.

    Attributes:
      trial: its number.
      values: in place of those of the config.
      score: its validation, the higher the better.
      members: seed -> (trial, End), of what is trained already of its run.
      seeds: of its run; () is config.train.seeds.
      told: what best.py says in place of the validation to expect.
    """

    trial: int
    values: sweep_plan.Values
    score: float
    members: Mapping[int, tuple[int, sweep_parts.End]]
    seeds: tuple[int, ...] = ()
    told: str = ""


class Found(NamedTuple):
    """What a sweep found.

    Attributes:
      rows: of the table.
      trials: the values of those that may be the best, by number.
      scores: of these.
      best: None where that is not known yet.
    """

    rows: Sequence[Mapping[str, Any]]
    trials: Mapping[int, sweep_plan.Values]
    scores: Mapping[int, float]
    best: Best | None


def write(
    config: ml_collections.ConfigDict, found: Found, cohort, arrays, workdir: pathlib.Path
) -> None:
    """Writes RUN/trials.parquet and RUN/best.py, and makes RUN/best the run of it.

    Raises:
      ConfigError: the best has no finite validation.
    """
    if found.rows:
        write_parquet(found.rows, workdir / "trials.parquet")
        print(_shown(config, found.trials, found.scores, fitting.shows_validation(arrays)))
    best = found.best
    if best is None:
        return
    if not np.isfinite(best.score):
        raise errors.ConfigError(
            "the training loss or the validation scores of every trial stopped being finite, or "
            "none was validated; try lower values of fitting.learning_rate in config.sweep"
        )
    made = sweep_trials.configured(config, best.values)
    made.sweep = configs.defaults().sweep
    made.train.seeds = best.seeds or made.train.seeds
    _write_config(made, best, workdir / "best.py")
    _finish(made, best, cohort, arrays, workdir)


def row(
    workdir: pathlib.Path,
    pair: tuple[int, int],
    values: sweep_plan.Values,
    end: sweep_parts.End,
    status: str,
) -> dict[str, Any]:
    """A row of the table: a trial and seed."""
    trial, seed = pair
    best = int(end.state.best_step)
    told = _logged(sweep_parts.trial_folder(workdir, trial), seed, best)
    return {
        "trial": trial,
        "seed": seed,
        **values,
        **{f"validation_{name}": told.get(name) for name in METRICS},
        "best_step": best or None,
        "steps": int(end.state.step),
        "status": status,
    }


def write_parquet(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """Writes rows as parquet; a column of numbers and names has names."""
    columns = {name: [found.get(name) for found in rows] for name in rows[0]}
    mixed = [
        name
        for name, cells in columns.items()
        if len({type(c) for c in cells if c is not None}) > 1
    ]
    for name in mixed:
        numbers = all(isinstance(cell, int | float) for cell in columns[name] if cell is not None)
        change = float if numbers else str
        columns[name] = [None if cell is None else change(cell) for cell in columns[name]]
    frame = pl.DataFrame(columns, strict=False)
    floats = [f"validation_{name}" for name in METRICS if f"validation_{name}" in columns]
    frame = frame.with_columns(pl.col(floats).cast(pl.Float64))
    run_folder.write_parquet(path, frame)


def _logged(folder: pathlib.Path, seed: int, step: int) -> dict[str, float]:
    """What the log says of a seed's validation at `step`; empty where there was none."""
    found = [row for row in _log(folder) if (row["seed"], row["step"]) == (seed, step)]
    return found[0]["validation"] if found else {}


def _log(folder: pathlib.Path) -> list[dict]:
    return logs.read(folder / "metrics.jsonl")


def _shown(config, trials, scores, shows_validation: bool) -> str:
    """The best trials, the best first; without their scores where those are of few patients."""
    order = sorted(scores, key=lambda trial: (-scores[trial], trial))[:SHOWN]
    names = list(trials[order[0]])
    rows = [
        [
            str(trial),
            *(str(trials[trial][name]) for name in names),
            f"{scores[trial]:.4f}" if shows_validation else tables.NONE,
        ]
        for trial in order
    ]
    score = ("-" if config.train.select == "loss" else "") + f"validation {config.train.select}"
    return tables.render(["Trial", *names, score], rows)


def _write_config(made, best: Best, path: pathlib.Path) -> None:
    """Writes `made` as a config file: the defaults, and the keys that differ from them."""
    base, own = run_folder.flat(configs.defaults().to_dict()), run_folder.flat(made.to_dict())
    differing = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in own.items()
        if key not in base or base[key] != value
    }
    lines = "".join(f"    {key!r}: {value!r},\n" for key, value in sorted(differing.items()))
    tried = ", ".join(f"{key} = {value!r}" for key, value in best.values.items())
    expected = f"Expect:  a validation {made.train.select} near {abs(best.score):.4f}.\n"
    text = (
        f'"""Trial {best.trial} of a sweep, the best of it: {tried}.\n\n'
        "Command: python -m ehr_jax.main --config=SWEEP/best.py --workdir=RUN\n"
        f'{best.told or expected}"""\n\n'
        "from ehr_jax import config as base\n\n\n"
        "def get_config():\n"
        '    """The defaults, and the values that were chosen."""\n'
        "    config = base.defaults()\n"
        "    config.update_from_flattened_dict(VALUES)\n"
        f"    return config\n\n\nVALUES = {{\n{lines}}}\n"
    )
    run_folder.write_whole(path, lambda there: pathlib.Path(there).write_text(text))


def _finish(made, best: Best, cohort, arrays, workdir: pathlib.Path) -> None:
    """Makes RUN/best the run of the chosen config, from what the sweep trained of it."""
    folder = run_folder.claim(workdir / "best", made.to_dict())
    for name in OF_INPUTS:
        if (workdir / name).exists():
            run_folder.write_whole(
                folder / name, lambda path, name=name: shutil.copy(workdir / name, path)
            )
    result = finished.results(folder)
    if result is None:
        taken = [
            (seed, trial, end)
            for seed, (trial, end) in best.members.items()
            if seed in made.train.seeds
        ]
        logged = [
            json.dumps(line) + "\n"
            for seed, trial, _ in taken
            for line in _log(sweep_parts.trial_folder(workdir, trial))
            if line["seed"] == seed
        ]
        run_folder.write_whole(
            folder / "metrics.jsonl", lambda path: pathlib.Path(path).write_text("".join(logged))
        )
        for seed, _, end in taken:
            manager = checkpoints.open_manager(seeds.seed_folder(folder, seed))
            if manager.latest_step() is None:
                checkpoints.save(manager, int(end.state.step), end.state)
            checkpoints.close(manager)
        result = fitting.fit_and_score(made, cohort, arrays, folder)
    report.write_report(folder)
    print(tables.results_table(result))
    print(f"best config: {workdir / 'best.py'}")
    print(f"report: {folder / 'report.html'}")
