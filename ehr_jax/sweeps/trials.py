"""The trials that config.sweep says beforehand, and the config of each.

Nothing here needs more than the config, so that a trial which cannot be trained is told at once.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from ehr_jax.sweeps import keys as sweep_keys

Values = sweep_keys.Values


def planned(config: ml_collections.ConfigDict) -> list[Values]:
    """Every point of config.sweep.grid, each with every draw of config.sweep.ranges.

    Raises:
      ConfigError: there is none, or a key, a value or a range is not possible; names near keys.
    """
    sweep_keys.check(config)
    sweep, grid, drawn_from = config.sweep, sweep_keys.grid_of(config), sweep_keys.ranges(config)
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    drawn = [_drawn(drawn_from, [sweep.seed, number]) for number in range(sweep.draws)]
    return [point | draw for point in points for draw in drawn or [{}]]


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


def _drawn(drawn_from: Mapping[str, sweep_keys.Range], seed: Sequence[int]) -> Values:
    import numpy as np  # which a grid does without

    generator = np.random.default_rng(seed)
    return {key: _draw(given, generator) for key, given in drawn_from.items()}


def _draw(given: sweep_keys.Range, generator: Any) -> Any:
    if given.kind == "choice":
        return given.ends[int(generator.integers(len(given.ends)))]
    low, high = given.ends
    if given.kind == "integer":
        return int(generator.integers(int(low), int(high) + 1))
    if given.kind == "log":
        return rounded(math.exp(generator.uniform(math.log(low), math.log(high))))
    return rounded(generator.uniform(low, high))
