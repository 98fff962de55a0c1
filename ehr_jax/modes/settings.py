"""The sections of single modes: `benchmark`, and what --mode=predict asks for."""

import dataclasses

from ehr_jax.models import registry
from ehr_jax.settings import Settings, setting

_METHODS = registry.OF_RECORDS


@dataclasses.dataclass(frozen=True)
class Benchmark(Settings):
    """Methods, which --mode=benchmark compares."""

    methods: tuple[str, ...] = setting(
        (
            "logistic_regression",
            "logistic_regression_notes",
            "lightgbm",
            "mlp",
            "alldeepsets",
            "hypehr",
            "mingle_no_notes",
            "mingle_no_concepts",
            "mingle",
        ),
        "What is compared; all are given visits, or all stays.",
        choices=_METHODS,
        filled=True,
        distinct=True,
    )
    reference: str = setting("mingle", "Paired differences are to this method.", choices=_METHODS)


@dataclasses.dataclass(frozen=True)
class Predict(Settings):
    """The finished run, which --mode=predict scores records with."""

    run: str = setting(
        "",
        "The folder of the run.",
        fits=bool,
        expected="the folder of a finished run, with its results.json",
    )
