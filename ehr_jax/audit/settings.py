"""The section `audit`."""

import dataclasses

from ehr_jax.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Audit(Settings):
    """Leakage checks, which every run makes."""

    stop: bool = setting(
        True, "A strict run stops where patients, times, labels or fitted parts leak."
    )
