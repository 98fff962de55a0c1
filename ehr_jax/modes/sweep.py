"""--mode=sweep: trials of config.sweep as populations; one table, and the best as a run of its own.

The best is chosen by validation alone, and it alone is scored on the test split.

    RUN/sweep.json             the values of every trial, and which members train together
    RUN/trials.parquet         a row a trial and seed: values, validation metrics, step, status
    RUN/trials/NNN/            metrics.jsonl and tensorboard/ of a trial
    RUN/teacher.npy            where there is one; training/teacher.py
    RUN/checkpoints/           of the populations, at the end of each rung
    RUN/best.py  RUN/best/     the chosen config, ready to run, and its run folder

Trials are halved here; `sweep_pbt` evolves them, `sweep_optuna` shares them with other processes.
"""

import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np

from ehr_jax.experiment import fitting, stages
from ehr_jax.features import arrays as features
from ehr_jax.models import registry
from ehr_jax.modes import together
from ehr_jax.sweeps import journal as sweep_journal
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.sweeps import pbt as sweep_pbt
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import results as sweep_results
from ehr_jax.sweeps import study as sweep_optuna
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import run_folder, teacher


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Runs every trial, or what an earlier start left of them; writes what the module says."""
    config = registry.configure(config, config.model.name)
    together.check_sweep(config)
    fitting.check_method(config)
    search = _shared if config.sweep.optuna else _planned
    search(config, workdir)
    return 0


def _shared(config, workdir: pathlib.Path) -> None:
    """Trials that processes draw from one study."""
    sweep_optuna.check(config)
    workdir = run_folder.claim(workdir, config.to_dict())
    study = sweep_journal.join(config)
    cohort, arrays = stages.load(config, workdir, _reads(config))
    found = sweep_optuna.search(config, study, _networks(config, arrays, workdir), workdir)
    sweep_results.write(config, found, cohort, arrays, workdir)


def _planned(config, workdir: pathlib.Path) -> None:
    """Trials that the config says beforehand."""
    trials, rungs = sweep_trials.planned(config), sweep_keys.rungs(config)
    groups, chosen_seeds = sweep_plan.groups(config, trials), sweep_keys.seeds(config)
    evolving = config.sweep.pbt_every != 0
    if evolving:
        trials = sweep_pbt.checked(config, trials, groups)
    workdir = run_folder.claim(workdir, config.to_dict())
    print(
        f"{len(trials)} trials x {len(chosen_seeds)} seed(s) in {len(groups)} group(s) of one "
        "program each",
        flush=True,
    )
    cohort, arrays = stages.load(config, workdir, _reads(config))
    parts = sweep_parts.Parts(
        _networks(config, arrays, workdir),
        dict(enumerate(trials)),
        groups,
        chosen_seeds,
        workdir,
        whole=evolving,
    )
    found = sweep_pbt.train(config, parts) if evolving else _halve(config, parts, rungs)
    sweep_results.write(config, found, cohort, arrays, workdir)


def _reads(config) -> features.Reads:
    """What any trial reads."""
    tried = sweep_keys.switches(config)
    return stages.read_by([config, *(sweep_trials.configured(config, values) for values in tried)])


def _networks(config, arrays, workdir: pathlib.Path) -> sweep_parts.Networks:
    return sweep_parts.Networks(teacher.softened(config, arrays, workdir))


def _halve(config, parts: sweep_parts.Parts, rungs: Sequence[int]) -> sweep_results.Found:
    """Trains all trials, at each rung without the worse half of those before."""
    trials, alive, ends = parts.trials, set(parts.trials), {}
    for until in (*rungs, None):
        for part in range(len(parts.members)):
            ends |= parts.train(part, alive, ends, until)
        if until is not None:
            alive = _better_half(alive, sweep_parts.scores(ends, len(trials)))
            print(f"step {until}: {len(alive)} trials go on", flush=True)
    scores = sweep_parts.scores(ends, len(trials))
    rows = [
        sweep_results.row(
            parts.workdir,
            pair,
            trials[pair[0]],
            ends[pair],
            sweep_parts.status(config, trials[pair[0]], ends[pair], pair[0] in alive),
        )
        for pair in sorted(ends)
    ]
    best = min(alive, key=lambda trial: (-scores[trial], trial))
    members = {seed: (trial, end) for (trial, seed), end in ends.items() if trial == best}
    return sweep_results.Found(
        rows,
        trials,
        {trial: scores[trial] for trial in alive},
        sweep_results.Best(best, trials[best], scores[best], members),
    )


def _better_half(alive: set, scores: np.ndarray) -> set:
    """The half with the higher scores, rounded up; of equal ones the first."""
    order = sorted(alive, key=lambda trial: (-scores[trial], trial))
    return set(order[: -(-len(order) // 2)])
