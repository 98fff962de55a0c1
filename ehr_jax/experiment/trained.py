"""A finished run that scores other samples: its config, and what its training samples said."""

import pathlib

import ml_collections

from ehr_jax import config as configs
from ehr_jax import earlier, errors, stored
from ehr_jax.experiment import own_patients
from ehr_jax.features import fitted
from ehr_jax.models import registry

AGAIN = own_patients.OF_THE_RUN
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
    of_run = configs.defaults()
    kept = earlier.current(stored.read_object(folder / "config.json", way_out=AGAIN))
    with stored.in_form(folder / "config.json", AGAIN):
        of_run.update(kept)
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
