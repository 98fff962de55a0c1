"""What config.sweep asks for: trials, and which of them one program can train.

Values of a trial are those of config.train and of the network's own section. Those that change
numbers alone (`member_settings.traceable`) are traced; trials that differ in any other make groups.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.training import member_settings

# What is the same for a whole sweep.
SHARED = (
    "train.seeds",
    "train.members",
    "train.select",
    "train.checkpoint_every",
    "train.population",
    "train.devices",
    "train.shards",
    "train.teacher",
    "train.teacher_share",
    "realm.survival_days",
)
RANGES = {
    "uniform": "('uniform', low, high)",
    "log": "('log', low, high)",
    "integer": "('integer', low, high)",
    "choice": "('choice', value, value, ...)",
}

Values = dict[str, Any]  # by full key: {"train.learning_rate": 1e-3}


class Range(NamedTuple):
    """A kind of RANGES; its low and high, or the choices."""

    kind: str
    ends: tuple


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
    sweep = config.sweep
    grid, drawn_from = _keys(config, "grid"), ranges(config)
    for key in grid.keys() & drawn_from.keys():
        raise errors.ConfigError(f"'{key}' is in config.sweep.grid and in ranges; leave one out")
    for key, values in grid.items():
        if not isinstance(values, tuple | list) or not values:
            raise errors.ConfigError(
                f"config.sweep.grid: '{key}' is {values!r}; expected a tuple of one or more "
                "values, as (1e-3, 3e-3); without any the population has size 0"
            )
    if not grid and not drawn_from:
        raise errors.ConfigError(
            "config.sweep.grid and config.sweep.ranges are empty: a population of size 0. Say what "
            'to try: --config.sweep.grid=\'{"train": {"learning_rate": (1e-3, 3e-3)}}\''
        )
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    drawn = [
        {key: _draw(given, generator) for key, given in drawn_from.items()}
        for generator in (np.random.default_rng([sweep.seed, k]) for k in range(sweep.draws))
    ]
    made = [point | draw for point in points for draw in drawn or [{}]]
    for values in made:
        for key, value in values.items():
            check_value(config, key, value)
    return made


def ranges(config: ml_collections.ConfigDict) -> dict[str, Range]:
    """What config.sweep.ranges says to draw from, by key.

    Raises:
      ConfigError: a key or a range is not possible, or draws are not asked for; names near keys.
    """
    found = _keys(config, "ranges")
    if bool(found) != (config.sweep.draws > 0):
        raise errors.ConfigError(
            f"config.sweep.draws is {config.sweep.draws}, with {len(found)} key(s) in "
            "config.sweep.ranges; say what to draw from, and how many draws (1 or more)"
        )
    if config.sweep.seed < 0:
        raise errors.ConfigError(f"config.sweep.seed is {config.sweep.seed}; expected 0 or more")
    return {key: _range(key, given) for key, given in found.items()}


def seeds(config: ml_collections.ConfigDict) -> tuple[int, ...]:
    """Training seeds of every trial; ConfigError where they are not distinct."""
    chosen = tuple(config.sweep.seeds) or tuple(config.train.seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise errors.ConfigError(
            f"config.sweep.seeds is {tuple(config.sweep.seeds)}, config.train.seeds "
            f"{tuple(config.train.seeds)}; expected one or more distinct seeds"
        )
    return chosen


def rungs(config: ml_collections.ConfigDict) -> tuple[int, ...]:
    """Steps at which the worse half is dropped; ConfigError unless they ascend within steps."""
    steps = tuple(config.sweep.halving)
    whole = all(isinstance(step, int) and step > 0 for step in steps)
    if (
        not whole
        or list(steps) != sorted(set(steps))
        or (steps and steps[-1] >= config.train.steps)
    ):
        raise errors.ConfigError(
            f"config.sweep.halving is {steps}; expected ascending steps below config.train.steps, "
            f"{config.train.steps}"
        )
    return steps


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
            if section and room == section and not hasattr(model, name):
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


def check_value(config: ml_collections.ConfigDict, key: str, value: Any) -> None:
    """Raises ConfigError unless `value` is of the type that config has at `key`."""
    room, name = key.split(".", 1)
    now = config[room][name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(now, bool):
        fits, wanted = isinstance(value, bool), "True or False"
    elif isinstance(now, int):
        fits, wanted = isinstance(value, int) and number, "a whole number"
    elif isinstance(now, float):
        fits, wanted = number and math.isfinite(value), "a number"
    elif isinstance(now, str):
        fits, wanted = isinstance(value, str) or number, "a name"
    else:
        fits, wanted = True, ""
    if not fits:
        raise errors.ConfigError(
            f"config.sweep: '{key}' has the value {value!r} ({type(value).__name__}); expected "
            f"{wanted}, as in config.{key} = {now!r}"
        )


def rounded(value: float) -> float:
    """`value` to six digits, so that it can be read and written."""
    return float(f"{value:.6g}")


def _explain(model, key: str, value: Any) -> None:
    try:
        member_settings.check_value(model, key.split(".", 1)[1], value)
    except errors.ConfigError as error:
        raise errors.ConfigError(f"config.sweep, config.{key}: {error}") from error


def _keys(config, where: str) -> Values:
    """A part of config.sweep by full key, each of them one that a sweep can try."""
    found = _flat(config.sweep[where])
    for key in found:
        _check_key(config, f"config.sweep.{where}", key)
        _check_free(config, f"config.sweep.{where}", key)
    return found


def _flat(section: Mapping, prefix: str = "") -> Values:
    flat = {}
    for key, value in section.items():
        if isinstance(value, Mapping | ml_collections.ConfigDict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _check_key(config, where: str, key: str) -> None:
    section = registry.find(config.model.name).section
    sections = ("train", *([section] if section else ["model", "realm"]))
    known = [f"{room}.{name}" for room in sections for name in config[room] if name != "name"]
    if key in SHARED:
        raise errors.ConfigError(
            f"{where}: config.{key} is one for the whole sweep; leave it out there"
        )
    if key not in known:
        raise errors.ConfigError(
            f"{where}: there is no key '{key}' to try; a sweep of '{config.model.name}' tries keys "
            f"of {' and '.join(f'config.{room}' for room in sections)}, and all trials have one "
            f"cohort and one set of inputs.{errors.did_you_mean(key, set(known) - set(SHARED))}"
        )


def _check_free(config, where: str, key: str) -> None:
    if key in registry.find(config.model.name).overrides:
        raise errors.ConfigError(
            f"{where}: config.{key} is fixed by the method '{config.model.name}' "
            "(models/registry.py), so that no run could have another value; leave it out"
        )


def _range(key: str, given: Any) -> Range:
    kind, *ends = given if isinstance(given, tuple | list) and given else (None,)
    if kind == "choice" and ends:
        return Range(kind, tuple(ends))
    numbers = len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
    if (
        kind not in RANGES
        or not numbers
        or not ends[0] < ends[1]
        or (kind == "log" and ends[0] <= 0)
    ):
        near = errors.did_you_mean(str(kind), RANGES)
        raise errors.ConfigError(
            f"config.sweep.ranges: '{key}' is {given!r}; expected one of "
            f"{', '.join(RANGES.values())} with low below high, and above 0 for log.{near}"
        )
    return Range(kind, tuple(ends))


def _draw(given: Range, generator: np.random.Generator) -> Any:
    if given.kind == "choice":
        return given.ends[int(generator.integers(len(given.ends)))]
    low, high = given.ends
    if given.kind == "integer":
        return int(generator.integers(int(low), int(high) + 1))
    if given.kind == "log":
        return rounded(math.exp(generator.uniform(math.log(low), math.log(high))))
    return rounded(generator.uniform(low, high))
