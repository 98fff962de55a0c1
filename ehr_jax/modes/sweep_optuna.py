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
no heartbeat of Optuna's, so each process writes one into the study: where it is SILENT seconds old,
its trials are given up by the others, told as failed, and drawn anew.
"""

import contextlib
import json
import math
import pathlib
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.modes import sweep_parts, sweep_plan, sweep_results
from ehr_jax.training import member_settings, run_folder, seeds

STUDY = "ehr_jax"
BEAT = 30.0  # seconds between signs of life
SILENT = 600.0
BATCHES = 8  # of a study at least, so that later trials learn of earlier ones
# Of the config: what processes of one study may differ in.
OWN = (*run_folder.FREE_KEYS, "sweep.draws", "sweep.optuna")


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where config.sweep cannot be a study, or Optuna is not installed."""
    _package()
    sweep = config.sweep
    for name in ("grid", "halving", "pbt_every"):
        if sweep[name]:
            raise errors.ConfigError(
                f"config.sweep.{name} and config.sweep.optuna are given; a study draws from "
                "config.sweep.ranges alone, and trains every trial to its end: leave one out"
            )
    if not sweep.ranges:
        raise errors.ConfigError(
            "config.sweep.ranges is empty; say what the study draws from: "
            '--config.sweep.ranges=\'{"train": {"learning_rate": ("log", 1e-4, 1e-2)}}\''
        )
    sweep_plan.seeds(config)
    ranges, model = sweep_plan.ranges(config), registry.build(config, 1)
    for key, given in ranges.items():
        for value in given.ends:
            sweep_plan.check_value(config, key, value)
            if key.split(".", 1)[1] in member_settings.traceable(model):
                sweep_plan.groups(config, [{key: value}])
    _distributions(ranges)


def join(config: ml_collections.ConfigDict, workdir: pathlib.Path):
    """The study in config.sweep.optuna, made where it is not there.

    Raises:
      ConfigError: the file is no journal or cannot be written, or holds a study of another config
        (the keys that differ are named).
    """
    optuna, path = _package(), pathlib.Path(config.sweep.optuna).expanduser()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if path.exists() and path.stat().st_size:
            # Optuna would write into any file before it reads it.
            with open(path, encoding="utf-8") as file:
                json.loads(file.readline())["op_code"]
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=STUDY,
            direction="maximize",
            load_if_exists=True,
        )
    except OSError as error:
        raise errors.ConfigError(
            f"config.sweep.optuna: {path} cannot be written: {error.strerror}; name a file in a "
            "folder that every process can write"
        ) from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise errors.ConfigError(
            f"config.sweep.optuna: {path} is no journal of Optuna, or a damaged one; name another "
            "file, or one that is not there yet"
        ) from error
    wanted = run_folder.flat(config.to_dict())
    _agree(study, path, "config", {k: v for k, v in wanted.items() if k not in OWN})
    return study


def search(
    config: ml_collections.ConfigDict,
    study,
    networks: sweep_parts.Networks,
    workdir: pathlib.Path,
) -> sweep_results.Found:
    """Trains trials until all are drawn; finds the best where none is running any more."""
    data = run_folder.read_json(workdir / "data.json")
    _agree(study, pathlib.Path(config.sweep.optuna), "data", {"fingerprint": data["fingerprint"]})
    chosen_seeds, own = sweep_plan.seeds(config), _name(workdir)
    with _alive(study, own):
        while batch := _unfinished(study, own) or _asked(config, study, networks, own):
            ends = _train(config, study, batch, networks, chosen_seeds, workdir)
            _tell(config, study, batch, ends, workdir)
        rows, values, scores = _ended(study)
        running = _trials(study, "RUNNING")
        if running:
            print(
                f"{len(running)} trial(s) are running elsewhere; start this again when they have "
                "ended, for the best of all",
                flush=True,
            )
            return sweep_results.Found(rows, values, scores, None)
        best = min(scores, key=lambda number: (-scores[number], number))
        batch = _batch_of(study, own, best)
        ends = _train(config, study, batch, networks, chosen_seeds, workdir) if batch else {}
    members = {seed: (trial, end) for (trial, seed), end in ends.items() if trial == best}
    found = sweep_results.Best(best, values[best], scores[best], members)
    return sweep_results.Found(rows, values, scores, found)


def _package():
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as error:
        raise errors.ConfigError(
            "config.sweep.optuna wants Optuna, which is not installed: pip install 'optuna>=4'; or "
            "leave it '' for config.sweep.draws at random in one process"
        ) from error
    return optuna


def _distributions(ranges: dict[str, sweep_plan.Range]) -> dict[str, Any]:
    """What Optuna calls the ranges of config.sweep."""
    distributions, made = _package().distributions, {}
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


def _agree(study, path: pathlib.Path, name: str, wanted: dict[str, Any]) -> None:
    """Keeps `wanted` in the study, or raises ConfigError where it holds something else."""
    if name not in study.user_attrs:
        study.set_user_attr(name, wanted)
    found = study.user_attrs[name]
    differing = sorted(
        key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
    )
    if differing:
        shown = "; ".join(
            f"{key}: {found.get(key, 'absent')} there, {wanted.get(key, 'absent')} now"
            for key in differing[:8]
        )
        what = "other records" if name == "data" else "another config"
        raise errors.ConfigError(
            f"config.sweep.optuna: {path} holds a study of {what} ({shown}); name another file"
        )


def _name(workdir: pathlib.Path) -> str:
    """What the process of this run folder is called, the same after a kill."""
    path = workdir / "optuna.json"
    if not path.exists():
        run_folder.write_json(path, {"process": uuid.uuid4().hex})
    return run_folder.read_json(path)["process"]


@contextlib.contextmanager
def _alive(study, own: str) -> Iterator[None]:
    """Meanwhile the study is told, again and again, that this process is alive."""
    done = threading.Event()

    def beat():
        while not done.wait(BEAT):
            with contextlib.suppress(OSError):  # a full disk may have room the next time
                study.set_user_attr(_sign(own), time.time())

    study.set_user_attr(_sign(own), time.time())
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _sign(process: str) -> str:
    return f"alive.{process}"


def _trials(study, *states: str) -> list:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in states]


def _values(trial) -> sweep_plan.Values:
    return {
        key: sweep_plan.rounded(value) if isinstance(value, float) else value
        for key, value in trial.params.items()
    }


def _unfinished(study, own: str) -> dict[int, Any]:
    """The batch that this process asked for and did not end, by number."""
    for trial in _trials(study, "RUNNING"):
        batch = _batch_of(study, own, trial.number)
        if batch:
            return batch
    return {}


def _batch_of(study, own: str, number: int) -> dict[int, Any]:
    """The trials that trained with one, by number; none where another process asked for it."""
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    asked = trials[number].user_attrs
    if asked.get("process") != own or "batch" not in asked:
        return {}
    return {
        number: trial
        for number, trial in trials.items()
        if trial.user_attrs.get("process") == own
        and trial.user_attrs.get("batch") == asked["batch"]
    }


def _asked(config, study, networks, own: str) -> dict[int, Any]:
    """Trials for one more batch, by number; none where all are drawn."""
    optuna, draws = _package(), config.sweep.draws
    _give_up_silent(study, own)
    known = _trials(study, "RUNNING", "COMPLETE", "PRUNED")
    if len(known) >= draws:
        return {}
    # Processes draw apart, whenever they join; so do the batches of one.
    processes = [name for name in study.user_attrs if name.startswith(_sign(""))]
    place = config.sweep.seed, processes.index(_sign(own)), len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(
        seed=int(np.random.SeedSequence(place).generate_state(1)[0]), constant_liar=True
    )
    distributions = _distributions(sweep_plan.ranges(config))
    size, numbers = _size(config, networks), []
    while len(numbers) < size:
        trial = study.ask(distributions)
        trial.set_user_attr("process", own)
        earlier = _trials(study, "RUNNING", "COMPLETE", "PRUNED")
        if sum(one.number < trial.number for one in earlier) >= draws:
            # Another process asked meanwhile.
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            break
        numbers.append(trial.number)
        trial.set_user_attr("batch", numbers[0])
    return _batch_of(study, own, numbers[0]) if numbers else {}


def _size(config, networks: sweep_parts.Networks) -> int:
    """Trials of a batch: as many as train at once, and no more than a share of all draws."""
    count = len(sweep_plan.seeds(config))
    most = -(-config.sweep.draws // BATCHES) if config.train.population is None else math.inf
    group = sweep_plan.Group(config, ())
    at_once = seeds.at_once(*networks.of(group), config.train, config.sweep.draws * count)
    return max(1, min(at_once // count, most))


def _give_up_silent(study, own: str) -> None:
    """Tells trials as failed whose process has given no sign of life for too long, and what an
    earlier start of this one had begun to ask for."""
    optuna, signs = _package(), study.user_attrs
    for trial in _trials(study, "RUNNING"):
        process = trial.user_attrs.get("process", "")
        last = signs.get(_sign(process), trial.datetime_start.timestamp())
        silent = process != own and time.time() - last > SILENT
        if silent or (process == own and "batch" not in trial.user_attrs):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            why = f"silent for {(time.time() - last) / 60:.0f} minutes" if silent else "killed"
            print(f"trial {trial.number} is given up: its process was {why}", flush=True)


def _train(config, study, batch, networks, chosen_seeds, workdir) -> dict:
    """Trains a batch, or finds it trained: (trial, seed) -> End."""
    numbers = sorted(batch)
    values = {number: _values(batch[number]) for number in numbers}
    try:
        groups = [
            group._replace(trials=tuple(numbers[place] for place in group.trials))
            for group in sweep_plan.groups(config, list(values.values()))
        ]
    except errors.ConfigError:
        for number in numbers:
            study.tell(number, state=_package().trial.TrialState.FAIL, skip_if_finished=True)
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
    states = _package().trial.TrialState
    for number, trial in batch.items():
        values = _values(trial)
        own = {pair: end for pair, end in ends.items() if pair[0] == number}
        rows = [
            sweep_results.row(workdir, pair, values, end, sweep_parts.status(config, values, end))
            for pair, end in sorted(own.items(), key=lambda item: item[0])
        ]
        score = float(np.mean([sweep_parts.score(end) for end in own.values()]))
        study.set_user_attr(_rows(number), rows)
        state, value = (states.COMPLETE, score) if math.isfinite(score) else (states.PRUNED, None)
        told = study.tell(number, value, state, skip_if_finished=True)
        if told.state == states.FAIL:
            print(
                f"trial {number} ended after it was given up, as this process had been silent; it "
                "does not count",
                flush=True,
            )


def _rows(number: int) -> str:
    return f"rows.{number}"


def _ended(study) -> tuple[list[dict], dict[int, sweep_plan.Values], dict[int, float]]:
    """Of the trials that ended: their rows of the table, and by number their values and scores."""
    ended, kept = _trials(study, "COMPLETE", "PRUNED"), study.user_attrs
    rows = [row for trial in ended for row in kept[_rows(trial.number)]]
    values = {trial.number: _values(trial) for trial in ended}
    scores = {trial.number: -math.inf if trial.value is None else trial.value for trial in ended}
    return rows, values, scores
