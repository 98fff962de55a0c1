"""config.sweep.optuna: processes, on any machines, that draw the trials of one Optuna study.

Each runs the same command with a --workdir of its own; the journal file is what they share. One
asks for as many trials as its populations hold, trains them as populations do, tells how they
ended, and asks again until config.sweep.draws have been drawn by all together. Trials are drawn by
TPE, which counts those still running as poor. A trial that diverged is told as pruned.

    RUN/trials.parquet     all trials of the study that have ended, whichever process trained them
    RUN/batch_N.json       which trials train together, of the batch whose first is trial N
    RUN/checkpoints/       of the batches
    RUN/best.py RUN/best/  written once no trial is running anywhere, by each that ends after that

A process that was killed goes on with its trials when its command is started again. Journals have
no heartbeat of Optuna's, so each process writes one into the study: where it is ten minutes old,
its trials are given up by the others, told as failed, and drawn anew.
"""

import math
import pathlib
from typing import Any

import ml_collections
import numpy as np

from ehr_jax import errors, stored
from ehr_jax.models import registry
from ehr_jax.sweeps import journal as sweep_journal
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import results as sweep_results
from ehr_jax.training import member_settings, seeds

BATCHES = 8  # of a study at least, so that later trials learn of earlier ones


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where config.sweep cannot be a study, or Optuna is not installed."""
    sweep_journal.package()
    sweep_keys.check_optuna(config)
    sweep_keys.seeds(config)
    ranges, model = sweep_keys.ranges(config), registry.build(config, 1)
    for key, given in ranges.items():
        for value in given.ends:
            if key.split(".", 1)[1] in member_settings.traceable(model):
                sweep_plan.groups(config, [{key: value}])
    _distributions(ranges)


def search(
    config: ml_collections.ConfigDict,
    study,
    networks: sweep_parts.Networks,
    workdir: pathlib.Path,
) -> sweep_results.Found:
    """Trains trials until all are drawn; finds the best where none is running any more."""
    data = stored.read_object(workdir / "data.json", {"fingerprint": str})
    sweep_journal.agree(
        study, pathlib.Path(config.sweep.optuna), "data", {"fingerprint": data["fingerprint"]}
    )
    chosen_seeds, own = sweep_keys.seeds(config), sweep_journal.name_of(study, workdir)
    with sweep_journal.alive(study, own):
        while batch := sweep_journal.unfinished(study, own) or _asked(config, study, networks, own):
            ends = _train(config, study, batch, networks, chosen_seeds, workdir)
            _tell(config, study, batch, ends, workdir)
        # First what is running: what ends between the two is then in the table.
        running = len(sweep_journal.trials(study, "RUNNING"))
        rows, values, scores = sweep_journal.ended(study)
        # Trials that were given up elsewhere are about to be drawn anew there.
        left = max(running, config.sweep.draws - len(scores))
        if left:
            print(
                f"{left} trial(s) are running elsewhere; start this again when they have "
                "ended, for the best of all",
                flush=True,
            )
            return sweep_results.Found(rows, values, scores, None)
        best = min(scores, key=lambda number: (-scores[number], number))
        batch = sweep_journal.batch_of(study, own, best)
        ends = _train(config, study, batch, networks, chosen_seeds, workdir) if batch else {}
    members = {seed: (trial, end) for (trial, seed), end in ends.items() if trial == best}
    found = sweep_results.Best(best, values[best], scores[best], members)
    return sweep_results.Found(rows, values, scores, found)


def _distributions(ranges: dict[str, sweep_keys.Range]) -> dict[str, Any]:
    """What Optuna calls the ranges of config.sweep."""
    distributions, made = sweep_journal.package().distributions, {}
    for key, given in ranges.items():
        if given.kind == "choice":
            odd = [
                value
                for value in given.ends
                if not (value is None or isinstance(value, bool | int | float | str))
            ]
            if odd:
                raise errors.ConfigError(
                    f"config.sweep.ranges: '{key}' has the choice {odd[0]!r}; with "
                    "config.sweep.optuna expected numbers, names, True, False or None"
                )
            made[key] = distributions.CategoricalDistribution(given.ends)
        elif given.kind == "integer":
            made[key] = distributions.IntDistribution(*map(int, given.ends))
        else:
            made[key] = distributions.FloatDistribution(*given.ends, log=given.kind == "log")
    return made


def _asked(config, study, networks, own: str) -> dict[int, Any]:
    """Trials for one more batch, by number; none where all are drawn."""
    optuna, draws = sweep_journal.package(), config.sweep.draws
    sweep_journal.give_up_silent(study, own)
    known = sweep_journal.trials(study, "RUNNING", "COMPLETE", "PRUNED")
    if len(known) >= draws:
        return {}
    # Processes draw apart, whenever they join; so do the batches of one.
    processes = [name for name in study.user_attrs if name.startswith(sweep_journal.sign(""))]
    place = (
        config.sweep.seed,
        processes.index(sweep_journal.sign(own)),
        len(study.get_trials(deepcopy=False)),
    )
    study.sampler = optuna.samplers.TPESampler(
        seed=int(np.random.SeedSequence(place).generate_state(1)[0]), constant_liar=True
    )
    distributions = _distributions(sweep_keys.ranges(config))
    size, numbers = _size(config, networks), []
    while len(numbers) < size:
        trial = study.ask(distributions)
        trial.set_user_attr("process", own)
        earlier = sweep_journal.trials(study, "RUNNING", "COMPLETE", "PRUNED")
        if sum(one.number < trial.number for one in earlier) >= draws:
            # Another process asked meanwhile.
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            break
        numbers.append(trial.number)
        trial.set_user_attr("batch", numbers[0])
    return sweep_journal.batch_of(study, own, numbers[0]) if numbers else {}


def _size(config, networks: sweep_parts.Networks) -> int:
    """Trials of a batch: as many as train at once, and no more than a share of all draws."""
    count = len(sweep_keys.seeds(config))
    most = -(-config.sweep.draws // BATCHES) if config.train.population is None else math.inf
    group = sweep_plan.Group(config, ())
    at_once = seeds.at_once(*networks.of(group), config.train, config.sweep.draws * count)
    return max(1, min(at_once // count, most))


def _train(config, study, batch, networks, chosen_seeds, workdir) -> dict:
    """Trains a batch, or finds it trained: (trial, seed) -> End."""
    numbers = sorted(batch)
    values = {number: sweep_journal.values(batch[number]) for number in numbers}
    try:
        groups = [
            group._replace(trials=tuple(numbers[place] for place in group.trials))
            for group in sweep_plan.groups(config, list(values.values()))
        ]
    except errors.ConfigError:
        failed = sweep_journal.package().trial.TrialState.FAIL
        for number in numbers:
            study.tell(number, state=failed, skip_if_finished=True)
        raise
    print(f"trials {', '.join(map(str, numbers))} in {len(groups)} group(s)", flush=True)
    parts = sweep_parts.Parts(
        networks, values, groups, chosen_seeds, workdir, f"batch_{numbers[0]}"
    )
    ends = {}
    for part in range(len(parts.members)):
        ends |= parts.train(part, set(numbers), {})
    return ends


def _tell(config, study, batch, ends, workdir) -> None:
    states = sweep_journal.package().trial.TrialState
    for number, trial in batch.items():
        values = sweep_journal.values(trial)
        own = {pair: end for pair, end in ends.items() if pair[0] == number}
        rows = [
            sweep_results.row(workdir, pair, values, end, sweep_parts.status(config, values, end))
            for pair, end in sorted(own.items(), key=lambda item: item[0])
        ]
        score = float(np.mean([sweep_parts.score(end) for end in own.values()]))
        sweep_journal.keep_rows(study, number, rows)
        state, value = (states.COMPLETE, score) if math.isfinite(score) else (states.PRUNED, None)
        told = study.tell(number, value, state, skip_if_finished=True)
        if told.state == states.FAIL:
            print(
                f"trial {number} ended after it was given up, as this process had been silent; it "
                "does not count",
                flush=True,
            )
