"""The keys that config.sweep tries, checked: which there are, and what each may be.

Nothing here needs more than the config, so that a mistake is told at once.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from ehr_jax import errors, settings
from ehr_jax.models import registry
from ehr_jax.models import settings as models
from ehr_jax.sweeps import settings as sweep_settings
from ehr_jax.training import settings as training

# What a trial may change.
SECTIONS = {"train": training.Train, "model": models.Model, "realm": models.Realm}
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


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where config.sweep cannot be followed, as far as the config tells."""
    if config.sweep.optuna:
        check_optuna(config)
    grid, drawn = grid_of(config), ranges(config)
    for key in grid.keys() & drawn.keys():
        raise errors.ConfigError(f"'{key}' is in config.sweep.grid and in ranges; leave one out")
    if not grid and not drawn:
        raise errors.ConfigError(
            "config.sweep.grid and config.sweep.ranges are empty: a population of size 0. Say what "
            'to try: --config.sweep.grid=\'{"train": {"learning_rate": (1e-3, 3e-3)}}\''
        )
    _check_warmup(config, grid, drawn)
    seeds(config)
    rungs(config)
    if config.sweep.pbt_every:
        check_pbt(config)


def grid_of(config: ml_collections.ConfigDict) -> dict[str, tuple]:
    """What config.sweep.grid says to try, by key; ConfigError where it cannot be tried."""
    grid = _keys(config, "grid")
    for key, values in grid.items():
        if not isinstance(values, tuple | list) or not values:
            raise errors.ConfigError(
                f"config.sweep.grid: '{key}' is {values!r}; expected a tuple of one or more "
                "values, as (1e-3, 3e-3); without any the population has size 0"
            )
        for value in values:
            check_value(key, value)
    return grid


def ranges(config: ml_collections.ConfigDict) -> dict[str, Range]:
    """What config.sweep.ranges says to draw from, by key.

    Raises:
      ConfigError: a key or a range is not possible, or draws are not asked for; names near keys.
    """
    settings.read(sweep_settings.Sweep, config.sweep, "config.sweep")
    found = _keys(config, "ranges")
    if bool(found) != (config.sweep.draws > 0):
        raise errors.ConfigError(
            f"config.sweep.draws is {config.sweep.draws}, with {len(found)} key(s) in "
            "config.sweep.ranges; say what to draw from, and how many draws (1 or more)"
        )
    drawn = {key: _range(key, given) for key, given in found.items()}
    for key, one in drawn.items():
        for end in one.ends:
            kinds = {"uniform": float, "log": float, "integer": int}
            check_value(key, end if one.kind == "choice" else kinds[one.kind](end))
    return drawn


def switches(config: ml_collections.ConfigDict) -> list[Values]:
    """Every value of every key that some trials turn on and others off, each by itself."""
    tried = grid_of(config) | {
        key: one.ends for key, one in ranges(config).items() if one.kind == "choice"
    }
    return [
        {key: value} for key, values in tried.items() for value in values if isinstance(value, bool)
    ]


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


def check_pbt(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where the trials of a sweep cannot evolve."""
    every, asked = config.sweep.pbt_every, config.train
    if every < 1 or every % asked.eval_every or every >= asked.steps:
        raise errors.ConfigError(
            f"config.sweep.pbt_every is {every}; expected a multiple of config.train.eval_every, "
            f"{asked.eval_every}, below config.train.steps, {asked.steps}; or 0"
        )
    if tuple(config.sweep.halving):
        raise errors.ConfigError(
            f"config.sweep.pbt_every is {every}, and config.sweep.halving "
            f"{tuple(config.sweep.halving)}; both replace the worse trials: leave one out"
        )
    if asked.members != 1:
        raise errors.ConfigError(
            f"config.train.members is {asked.members}; with config.sweep.pbt_every expected 1, as "
            "only what the sweep itself trained has its schedule"
        )


def check_optuna(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where config.sweep cannot be a study."""
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


def check_value(key: str, value: Any) -> None:
    """Raises ConfigError unless a trial may have `value` for the setting `key`."""
    room, name = key.split(".", 1)
    cls = SECTIONS[room]
    is_text = settings.kind_of(cls, name).type is str
    number = isinstance(value, int | float) and not isinstance(value, bool)
    shown = str(value) if is_text and number else value
    settings.check_value(cls, name, shown, f"config.sweep: config.{key}")


def _check_warmup(config, grid: dict[str, tuple], drawn: dict[str, Range]) -> None:
    """Raises ConfigError where a trial could end before its warm-up does."""

    def tried(name: str) -> tuple:
        key = f"train.{name}"
        return grid.get(key) or (drawn[key].ends if key in drawn else (config.train[name],))

    longest, shortest = max(tried("warmup_steps")), min(tried("steps"))
    if longest >= shortest:
        raise errors.ConfigError(
            f"config.sweep: a trial has config.train.warmup_steps {longest:g} of "
            f"config.train.steps {shortest:g}; expected every warm-up below every number of steps"
        )


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
    numbers = len(ends) == 2 and all(_is_number(end) for end in ends)
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


def _is_number(end: Any) -> bool:
    return isinstance(end, int | float) and math.isfinite(end)
