"""The section `evaluation`."""

import dataclasses

from ehr_jax.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Evaluation(Settings):
    """Confidence intervals."""

    resamples: int = setting(
        1000, "Bootstrap resamples of patients, for 95 % intervals.", least=1, most=10_000_000
    )
    seed: int = setting(0, "The seed of the resamples.", least=0, most=2**63 - 1)
