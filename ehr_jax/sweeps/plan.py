"""What config.sweep asks for: trials, and which of them one program can train.

Values of a trial are those of config.train and of the network's own section. Those that change
numbers alone (`member_settings.traceable`) are traced; trials that differ in any other make groups.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.training import member_settings

Values = sweep_keys.Values


class Group(NamedTuple):
    """Trials that one program can train.

    Attributes:
      config: with all values that they share.
      trials: their numbers, ascending.
    """

    config: ml_collections.ConfigDict
    trials: tuple[int, ...]


def trials(config: ml_collections.ConfigDict) -> list[Values]:
    """Every point of config.sweep.grid, each with every draw of config.sweep.ranges.

    Raises:
      ConfigError: there is none, or a key, a value or a range is not possible; names near keys.
    """
    sweep_keys.check(config)
    sweep, grid, drawn_from = config.sweep, sweep_keys.grid_of(config), sweep_keys.ranges(config)
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    drawn = [
        {key: _draw(given, generator) for key, given in drawn_from.items()}
        for generator in (np.random.default_rng([sweep.seed, k]) for k in range(sweep.draws))
    ]
    return [point | draw for point in points for draw in drawn or [{}]]


def groups(config: ml_collections.ConfigDict, made: Sequence[Values]) -> list[Group]:
    """Groups of trials, in the order of their first.

    Raises:
      ConfigError: a trial's network cannot be made, or does not read a key.
    """
    found: dict[str, Group] = {}
    for number, values in enumerate(made):
        of_trial = configured(config, values)
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
        group = found.get(name, Group(configured(config, fixed), ()))
        found[name] = group._replace(trials=(*group.trials, number))
    return list(found.values())


def traced(model: Any, section: str, values: Values) -> dict[str, Any]:
    """The values of a trial that its member of the population has of its own, by short key."""
    pairs = [(*key.split(".", 1), value) for key, value in values.items()]
    names = member_settings.traceable(model)
    return {n: value for room, n, value in pairs if n in names and room in ("train", section)}


def configured(config: ml_collections.ConfigDict, values: Values) -> ml_collections.ConfigDict:
    """A copy of `config` that has `values`."""
    made = ml_collections.ConfigDict(config.to_dict())
    for key, value in values.items():
        room, name = key.split(".", 1)
        as_text = isinstance(made[room][name], str)
        made[room][name] = str(value) if as_text else value
    return made


def rounded(value: float) -> float:
    """`value` to six digits, so that it can be read and written."""
    return float(f"{value:.6g}")


def _explain(model, key: str, value: Any) -> None:
    try:
        member_settings.check_value(model, key.split(".", 1)[1], value)
    except errors.ConfigError as error:
        raise errors.ConfigError(f"config.sweep, config.{key}: {error}") from error


def _draw(given: sweep_keys.Range, generator: np.random.Generator) -> Any:
    if given.kind == "choice":
        return given.ends[int(generator.integers(len(given.ends)))]
    low, high = given.ends
    if given.kind == "integer":
        return int(generator.integers(int(low), int(high) + 1))
    if given.kind == "log":
        return rounded(math.exp(generator.uniform(math.log(low), math.log(high))))
    return rounded(generator.uniform(low, high))
