"""The section `sweep`: what --mode=sweep tries."""

import dataclasses

from ehr_jax.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Sweep(Settings):
    """Trials, which --mode=sweep makes."""

    grid: dict = setting(
        {},
        "Values to try, by section and key, each with each: "
        '{"train": {"learning_rate": (1e-3, 3e-3)}}.',
    )
    ranges: dict = setting(
        {},
        'What to draw from, each range a key: ("uniform", low, high), ("log", low, high), '
        '("integer", low, high), both ends in, or ("choice", value, value, ...).',
    )
    draws: int = setting(0, "So many from the ranges.", least=0, most=1_000_000_000)
    seed: int = setting(0, "The seed of the draws.", least=0, most=2**63 - 1)
    seeds: tuple[int, ...] = setting(
        (),
        "Training seeds of every trial; () is train.seeds.",
        least=-(2**31),
        most=2**31 - 1,
        distinct=True,
        expected="distinct seeds, whole numbers of at most 31 bits",
    )
    halving: tuple[int, ...] = setting(
        (), "Steps at which the worse half of the trials is dropped: (50, 100).", unit="steps",
        least=1,
        expected="ascending steps below config.train.steps",
    )  # fmt: skip
    pbt_every: int = setting(
        0,
        "Population-based training: every so many steps the worst quarter goes on from the best, "
        "with settings near theirs. Nothing stops early then. 0 is off.",
        unit="steps",
        least=0,
    )
    optuna: str = setting(
        "",
        "Optuna's journal file, by which processes and machines share the draws; '' is off.",
    )
