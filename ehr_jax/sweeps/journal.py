"""The study that processes share by Optuna's journal file: who they are, and whose its trials are.

A trial bears the name of the process that asked for it, and the number of the first trial of its
batch. Beside the trials the study keeps the config and the data it is of, a sign of life of every
process, and the rows of the table that a trial ended with.
"""

import contextlib
import json
import math
import os
import pathlib
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import ml_collections

from ehr_jax import errors, stored
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import run_folder

STUDY = "ehr_jax"
BEAT = 30.0  # seconds between signs of life
SILENT = 600.0
BLOCK = 1 << 16  # bytes of a journal, of which the last line's end is sought
# Of the config: what processes of one study may differ in.
OWN = (*run_folder.FREE_KEYS, "sweep.draws", "sweep.optuna")


def join(config: ml_collections.ConfigDict):
    """The study in config.sweep.optuna, made where it is not there.

    Raises:
      ConfigError: the file is no journal or cannot be written, or holds a study of another config
        (the keys that differ are named).
    """
    optuna, path = package(), pathlib.Path(config.sweep.optuna).expanduser()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if path.exists() and path.stat().st_size:
            # Optuna would write into any file before it reads it.
            with open(path, encoding="utf-8") as file:
                json.loads(file.readline())["op_code"]
        backend = optuna.storages.journal.JournalFileBackend(str(path), _lock(path))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=STUDY,
            direction="maximize",
            load_if_exists=True,
        )
        wanted = run_folder.flat(config.to_dict())
        agree(study, path, "config", {k: v for k, v in wanted.items() if k not in OWN})
    except OSError as error:
        raise errors.ConfigError(
            f"config.sweep.optuna: {path} cannot be written: {error.strerror}; name a file in a "
            "folder that every process can write"
        ) from error
    except (*stored.OTHER_FORM, AssertionError) as error:
        raise errors.ConfigError(
            f"config.sweep.optuna: {path} is no journal of Optuna, or a damaged one; name another "
            "file, or one that is not there yet"
        ) from error
    return study


def package():
    """The package; ConfigError where it is not installed."""
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as error:
        raise errors.ConfigError(
            "config.sweep.optuna wants Optuna, which is not installed: pip install 'optuna>=4'; or "
            "leave it '' for config.sweep.draws at random in one process"
        ) from error
    return optuna


def _lock(path: pathlib.Path):
    """Optuna's lock of a journal, whose holder finds whole lines alone.

    A writer that was killed, or met a full disk, leaves a part of a line; the next line would be
    written onto it, and the journal could be read no more.
    """

    class Lock(package().storages.journal.JournalFileSymlinkLock):
        def acquire(self) -> bool:
            super().acquire()
            try:
                _cut_part_of_a_line(path)
            except BaseException:
                self.release()
                raise
            return True

    return Lock(str(path))


def _cut_part_of_a_line(path: pathlib.Path) -> None:
    with open(path, "rb+") as file:
        size = start = file.seek(0, os.SEEK_END)
        while start:
            start = max(0, start - BLOCK)
            file.seek(start)
            if (end := file.read(size - start).rfind(b"\n") + 1) or not start:
                if start + end < size:
                    file.truncate(start + end)
                    print(f"{path}: the last line was cut off, and is left out", flush=True)
                return


def agree(study, path: pathlib.Path, name: str, wanted: dict[str, Any]) -> None:
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


def name_of(study, workdir: pathlib.Path) -> str:
    """What the process of this run folder is called, the same after a kill.

    Raises:
      RunFolderError: the folder has trained trials of a study that is no longer in the journal.
    """
    path, known = workdir / "optuna.json", study.user_attrs
    if path.exists():
        own = stored.read_object(path, {"process": str})["process"]
        if sign(own) in known:
            return own
        if run_folder.has_work(workdir):
            raise errors.RunFolderError(
                f"{workdir} holds trials of a study that the file of config.sweep.optuna does not "
                "have: it was removed or replaced. Put it back, or choose another --workdir"
            )
    own = uuid.uuid4().hex
    study.set_user_attr(sign(own), time.time())  # before the file: a name in it is a known one
    run_folder.write_json(path, {"process": own})
    return own


@contextlib.contextmanager
def alive(study, own: str) -> Iterator[None]:
    """Meanwhile the study is told, again and again, that this process is alive."""
    done = threading.Event()

    def beat():
        while not done.wait(BEAT):
            # A full disk may have room the next time; RuntimeError is a lock taken away.
            with contextlib.suppress(OSError, RuntimeError):
                study.set_user_attr(sign(own), time.time())

    study.set_user_attr(sign(own), time.time())
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def sign(process: str) -> str:
    """The key of a process's sign of life in the study."""
    return f"alive.{process}"


def trials(study, *states: str) -> list:
    """The trials in one of `states`, by Optuna's names, in the order they were asked for."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in states]


def values(trial) -> sweep_plan.Values:
    """What was drawn for a trial, by full key."""
    return {
        key: sweep_trials.rounded(value) if isinstance(value, float) else value
        for key, value in trial.params.items()
    }


def unfinished(study, own: str) -> dict[int, Any]:
    """The batch that this process asked for and did not end, by number."""
    for trial in trials(study, "RUNNING"):
        batch = batch_of(study, own, trial.number)
        if batch:
            return batch
    return {}


def batch_of(study, own: str, number: int) -> dict[int, Any]:
    """The trials that trained with one, by number; none where another process asked for it."""
    every = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    asked = every[number].user_attrs
    if asked.get("process") != own or "batch" not in asked:
        return {}
    return {
        number: trial
        for number, trial in every.items()
        if trial.user_attrs.get("process") == own
        and trial.user_attrs.get("batch") == asked["batch"]
    }


def give_up_silent(study, own: str) -> None:
    """Tells trials as failed whose process has given no sign of life for too long, and what an
    earlier start of this one had begun to ask for."""
    optuna, signs = package(), study.user_attrs
    for trial in trials(study, "RUNNING"):
        process = trial.user_attrs.get("process", "")
        last = signs.get(sign(process), trial.datetime_start.timestamp())
        silent = process != own and time.time() - last > SILENT
        if silent or (process == own and "batch" not in trial.user_attrs):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            why = f"silent for {(time.time() - last) / 60:.0f} minutes" if silent else "killed"
            print(f"trial {trial.number} is given up: its process was {why}", flush=True)


def keep_rows(study, number: int, rows: list[dict]) -> None:
    """Keeps the rows of the table that a trial ended with."""
    study.set_user_attr(_rows(number), rows)


def ended(study) -> tuple[list[dict], dict[int, sweep_plan.Values], dict[int, float]]:
    """Of the trials that ended: their rows of the table, and by number their values and scores."""
    done, kept = trials(study, "COMPLETE", "PRUNED"), study.user_attrs
    rows = [row for trial in done for row in kept[_rows(trial.number)]]
    drawn = {trial.number: values(trial) for trial in done}
    scores = {trial.number: -math.inf if trial.value is None else trial.value for trial in done}
    return rows, drawn, scores


def _rows(number: int) -> str:
    return f"rows.{number}"
