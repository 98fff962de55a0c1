"""Which trials of a sweep one program can train.

Values of a trial are those of config.train and of the network's own section. Those that change
numbers alone (`member_settings.traceable`) are traced; trials that differ in any other make groups.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import member_settings

Values = sweep_trials.Values


class Group(NamedTuple):
    """Trials that one program can train.

    Attributes:
      config: with all values that they share.
      trials: their numbers, ascending.
    """

    config: ml_collections.ConfigDict
    trials: tuple[int, ...]


def groups(config: ml_collections.ConfigDict, made: Sequence[Values]) -> list[Group]:
    """Groups of trials, in the order of their first.

    Raises:
      ConfigError: a trial's network cannot be made, or does not read a key.
    """
    found: dict[str, Group] = {}
    for number, values in enumerate(made):
        of_trial = sweep_trials.configured(config, values)
        model = registry.build(of_trial, 1)
        section = registry.find(config.model.name).section
        fixed = {}
        for key, value in values.items():
            room, name = key.split(".", 1)
            if section and room == section and name not in vars(model):
                raise errors.ConfigError(
                    f"config.sweep: config.{key} is not read by '{config.model.name}'; leave it out"
                )
            if name in member_settings.traceable(model) and room in ("train", section):
                _explain(model, key, value)
            else:
                fixed[key] = value
        name = repr(sorted(fixed.items()))
        group = found.get(name, Group(sweep_trials.configured(config, fixed), ()))
        found[name] = group._replace(trials=(*group.trials, number))
    return list(found.values())


def traced(model: Any, section: str, values: Values) -> dict[str, Any]:
    """The values of a trial that its member of the population has of its own, by short key."""
    pairs = [(*key.split(".", 1), value) for key, value in values.items()]
    names = member_settings.traceable(model)
    return {n: value for room, n, value in pairs if n in names and room in ("train", section)}


def _explain(model, key: str, value: Any) -> None:
    try:
        member_settings.check_value(model, key.split(".", 1)[1], value)
    except errors.ConfigError as error:
        raise errors.ConfigError(f"config.sweep, config.{key}: {error}") from error
