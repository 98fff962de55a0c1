"""config.sweep.pbt_every: the trials of a sweep as populations that evolve (training/evolution.py).

The trials of a seed are a population of their own, and every key that the sweep tries is explored.
The best is the member with the best validation. Its settings changed while it was trained, so that
no config of constant values repeats it:

    RUN/pbt.parquet   a row a trial, seed and step at which its settings began to hold: whose state
                      it went on from, and the settings
    RUN/best.py       the settings that the best had at its best validation
    RUN/best/         of every seed, the best member of its population, as it was trained here
"""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import results as sweep_results
from ehr_jax.training import evolution, member_settings


def checked(
    config: ml_collections.ConfigDict,
    trials: Sequence[sweep_plan.Values],
    groups: Sequence[sweep_plan.Group],
) -> list[sweep_plan.Values]:
    """The trials with their values as numbers.

    Raises:
      ConfigError: the trials cannot evolve together; says why.
    """
    sweep_keys.check_pbt(config)
    if len(trials) < evolution.SMALLEST:
        raise errors.ConfigError(
            f"config.sweep.pbt_every: {len(trials)} trial(s) are a population too small to take a "
            f"best and a worst quarter of; expected {evolution.SMALLEST} or more"
        )
    model, section = registry.build(groups[0].config, 1), registry.find(config.model.name).section
    names = [
        key for key in member_settings.traceable(model) if key not in member_settings.OF_COURSE
    ]
    fixed = [key for key in trials[0] if not _explored(key, names, section)]
    if fixed:
        raise errors.ConfigError(
            f"config.sweep.pbt_every: {', '.join(fixed)} cannot be explored while training, as it "
            f"changes a shape, or the program itself; leave it out, or explore {', '.join(names)}"
        )
    return [{key: _number(key, value) for key, value in values.items()} for values in trials]


def train(config: ml_collections.ConfigDict, parts: sweep_parts.Parts) -> sweep_results.Found:
    """Trains every population to the last step; writes RUN/pbt.parquet."""
    ends, rows, final = {}, [], {}
    names = {key.split(".", 1)[1]: key for key in parts.trials[0]}
    for part, pairs in enumerate(parts.members):
        evolve = evolution.Evolution(
            config.sweep.pbt_every,
            tuple(names),
            config.sweep.seed,
            parts.checkpoints / f"part_{part}" / "schedule.json",
        )
        found = parts.train(part, set(parts.trials), ends, evolve=evolve)
        ends |= found
        turns = evolution.schedule(evolve, len(pairs))
        rows += _schedule(pairs, turns, names)
        for place, pair in enumerate(pairs):
            best = int(found[pair].state.best_step)
            # The validation at a turn's own step was before it.
            held = [turn for turn in turns if turn.step < best] or turns[:1]
            final[pair] = _named(held[-1].values[place], names)
    rows.sort(key=lambda row: (row["seed"], row["step"], row["trial"]))
    sweep_results.write_parquet(rows, parts.workdir / "pbt.parquet")
    return sweep_results.Found(
        [
            sweep_results.row(
                parts.workdir,
                pair,
                final[pair],
                ends[pair],
                sweep_parts.status(config, parts.trials[pair[0]], ends[pair]),
            )
            for pair in sorted(ends)
        ],
        *_best(config, ends, final),
    )


def _best(config, ends, final) -> tuple[dict, dict, sweep_results.Best]:
    """The best member of each trial with its score, and the best of all."""
    order = sorted(ends, key=lambda pair: (-sweep_parts.score(ends[pair]), pair))
    of_trial, of_seed = {}, {}
    for pair in order:
        of_trial.setdefault(pair[0], pair)
        of_seed.setdefault(pair[1], pair)
    lost = [seed for seed, pair in of_seed.items() if ends[pair].failed]
    if lost and len(lost) < len(of_seed):
        print(f"the population of seed {', '.join(map(str, lost))} failed: RUN/best is without it")
    members = {
        seed: (pair[0], ends[pair]) for seed, pair in of_seed.items() if not ends[pair].failed
    }
    first = order[0]
    score = sweep_parts.score(ends[first])
    reached = f"{config.train.select} {abs(score):.4f}"
    told = (
        "\nSettings changed while the sweep trained it (population-based training): these are\n"
        f"those of seed {first[1]} at its best validation, {reached}.\n"
        "SWEEP/pbt.parquet has the schedule, SWEEP/best the run of what was trained by it;\n"
        "constant values need not reach the same.\n"
    )
    best = sweep_results.Best(first[0], final[first], score, members, tuple(sorted(members)), told)
    return (
        {trial: final[pair] for trial, pair in of_trial.items()},
        {trial: sweep_parts.score(ends[pair]) for trial, pair in of_trial.items()},
        best,
    )


def _schedule(pairs, turns: Sequence[evolution.Turn], names: dict[str, str]) -> list[dict]:
    """Rows of pbt.parquet: every member at step 0, and then those that took another's state."""
    return [
        {
            "trial": trial,
            "seed": seed,
            "step": turn.step,
            "from_trial": pairs[turn.sources[place]][0] if turn.step else None,
            **_named(turn.values[place], names),
        }
        for turn in turns
        for place, (trial, seed) in enumerate(pairs)
        if not turn.step or turn.sources[place] != place
    ]


def _named(values: dict[str, Any], names: dict[str, str]) -> sweep_plan.Values:
    return {names[name]: value for name, value in values.items()}


def _explored(key: str, names: Sequence[str], section: str) -> bool:
    room, name = key.split(".", 1)
    return name in names and room in ("train", section)


def _number(key: str, value: Any) -> float:
    try:
        found = float(value)
    except ValueError:
        found = np.nan
    if not np.isfinite(found):
        raise errors.ConfigError(
            f"config.sweep.pbt_every: '{key}' has the value {value!r}, which no factor explores; "
            "expected numbers"
        )
    return found
