"""A finished run that scores other samples: its config, and what its training samples said."""

import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from ehr_jax import config as configs
from ehr_jax import errors, stored
from ehr_jax.experiment import fitting, own_patients
from ehr_jax.features import fitted, stays
from ehr_jax.models import registry
from ehr_jax.training import checkpoints, fit, stay_problem

AGAIN = own_patients.OF_THE_RUN
RESULTS = {
    "task": str, "model": str, "label": str, "protocol": str, "seeds": list, "notes": str,
    "thresholds": list, "positive_weight": list,
}  # fmt: skip
FITTED_AGAIN = f"{AGAIN}; the methods of a benchmark have none: train one with --mode=train"


def read(
    config: ml_collections.ConfigDict,
) -> tuple[ml_collections.ConfigDict, pathlib.Path, fitted.Fitted]:
    """Returns the config of the run config.run, of the records in config.data; its folder; and what
    its training samples said.

    Raises:
      ConfigError: the run is of a method that cannot score samples it was not trained with.
      RunFolderError: a file of the run is missing or damaged.
    """
    folder = pathlib.Path(config.run).expanduser()
    of_run = config_of(folder)
    method = registry.resolve(of_run.model.name)
    if method.is_network and method.kind.RESTS_ON_TRAINING:
        raise errors.ConfigError(
            f"{folder} is a run of '{of_run.model.name}', whose inputs rest on the training "
            "visits, and a run folder holds no records; predict with a run of 'realm'"
        )
    if not method.is_network or of_run.cohort.aces:
        raise errors.ConfigError(
            f"{folder} is a run of '{of_run.model.name}'; predict scores a task of ours with "
            "networks over stays (configs/realm.py, --mode=train): train one, and name its folder"
        )
    for key, value in config.data.items():
        if value is not None:
            of_run.data[key] = value
    if config.data.prepared is None:
        of_run.data.prepared = ""  # that of the run's own samples
    return of_run, folder, fitted.read(folder / "fitted.json", FITTED_AGAIN)


def config_of(folder: pathlib.Path) -> ml_collections.ConfigDict:
    """Returns the config of the run in `folder`.

    Raises:
      RunFolderError: config.json is missing or damaged.
    """
    content = stored.read_object(folder / "config.json", way_out=AGAIN)
    with stored.in_form(folder / "config.json", AGAIN):
        return configs.restored(content)


def score(
    config: ml_collections.ConfigDict, arrays: stays.StayArrays, folder: pathlib.Path
) -> list[fitting.Seed]:
    """Returns the probabilities of each training seed; `config` and `folder` are of the run."""
    weight = stored.read_object(folder / "results.json", RESULTS, AGAIN)["positive_weight"]
    model = registry.build(config, arrays.labels.shape[1])
    scored = []
    for seed in config.train.seeds:
        members = [
            stay_problem.score_all(model, parameters(config, arrays, folder, n), arrays, weight)
            for n in fitting.member_seeds(config.train, seed)
        ]
        scored.append(fitting.mean_of([fitting.Seed(member, {}) for member in members]))
    return scored


def parameters(
    config: ml_collections.ConfigDict, arrays: stays.StayArrays, folder: pathlib.Path, number: int
) -> Any:
    """Returns the best parameters of one fit of the run, by its number.

    Raises:
      RunFolderError: the run folder has no checkpoint of it.
    """
    model = registry.build(config, arrays.labels.shape[1])
    some = stay_problem.rows(arrays, np.arange(min(2, len(arrays.labels))))
    like = jax.eval_shape(
        lambda: fit.start(model.init(jax.random.key(0), some), fit.make_optimiser(config.train))
    )
    place = folder / "checkpoints" / f"seed_{number}"
    manager = checkpoints.open_manager(place)
    restored = checkpoints.restore_latest(manager, like)
    checkpoints.close(manager)
    if restored is None:
        raise errors.RunFolderError(f"{place} holds no checkpoint; {AGAIN}")
    return restored[1].best_params
