"""Checks of several sections of a config together, and of a config with a mode; made first.

Checks that need the machine, the records or a package are made by the mode itself.
"""

import pathlib

import ml_collections

from ehr_jax import errors, settings
from ehr_jax.cohorts import settings as cohorts
from ehr_jax.download import settings as download
from ehr_jax.experiment import checks
from ehr_jax.models import registry
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.text import settings as text

OF_COHORTS = ("train", "benchmark", "sweep", "prepare", "audit")
_OURS = (None, *text.ARCHITECTURES)
OF_TRAINING = ("train", "benchmark", "sweep")


def check(config: ml_collections.ConfigDict, mode: str) -> None:
    """Raises ConfigError, or CohortError for a task, if `mode` cannot run with `config`.

    Args:
      config: of an experiment on records; each section has been checked by itself.
    """
    if mode in OF_COHORTS:
        cohort = settings.read(cohorts.Cohort, config.cohort, "config.cohort")
        changes = settings.read(cohorts.Task, config.task, "config.task")
        cohorts.check_task(cohort, changes, config.data.source)
        check_architecture(config.text)
    if mode in ("train", "sweep") and config.cohort.folds != 1:
        raise errors.ConfigError(
            f"config.cohort.folds is {config.cohort.folds}; folds are compared by --mode=benchmark"
        )
    if mode in ("prepare", "audit"):
        checks.check_features(config)
    if mode in ("train", "sweep"):
        checks.check_method(registry.configure(config, config.model.name))
    if mode in ("prepare", "audit", "meds") and config.data.prepared:
        raise errors.ConfigError(
            f"config.data.prepared is '{config.data.prepared}', and --mode={mode} reads records; "
            "leave it ''"
        )
    if mode == "download":
        download.check_name(config.download.name)
    if mode == "benchmark":
        check_benchmark(config)
    if mode == "sweep":
        check_sweep(config)


def check_architecture(section: ml_collections.ConfigDict) -> None:
    """Raises ConfigError unless an encoder's architecture of another package is there."""
    if section.architecture not in _OURS:
        from ehr_jax.text import encoders  # with jax, which our own names do without

        encoders.find_architecture(section.architecture)


def check_benchmark(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError unless the methods of a benchmark share their input and can be trained."""
    own = registry.find(config.model.name).inputs.name
    for name in config.benchmark.methods:
        checks.check_method(registry.configure(config, name))
    for name in config.benchmark.methods:
        inputs = registry.find(name).inputs.name
        if inputs != own:
            raise errors.ConfigError(
                f"config.benchmark.methods has '{name}', which is given {inputs}, while "
                f"config.model.name '{config.model.name}' is given {own}; compare methods of one "
                "kind"
            )


def check_sweep(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError unless the method of a sweep is a network and its trials are possible."""
    if not registry.find(config.model.name).is_network:
        raise errors.ConfigError(
            f"config.model.name is '{config.model.name}', which is no network; --mode=sweep trains "
            "networks, as mingle or realm"
        )
    config = registry.configure(config, config.model.name)
    if config.sweep.optuna:
        sweep_keys.check(config)
        return
    for values in sweep_trials.planned(config):
        try:
            checks.check_method(sweep_trials.configured(config, values))
        except errors.ConfigError as error:
            told = ", ".join(f"{key}={value!r}" for key, value in values.items())
            raise errors.ConfigError(f"config.sweep has a trial with {told}: {error}") from error


def check_run(run: str) -> None:
    """Raises ConfigError unless `run` is the folder of a finished run."""
    if not run or not (pathlib.Path(run).expanduser() / "results.json").exists():
        raise errors.ConfigError(
            f"config.run is '{run}'; expected the folder of a finished run, with its results.json"
        )
