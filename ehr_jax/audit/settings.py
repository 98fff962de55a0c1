"""The section `audit`."""

import dataclasses

from ehr_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class Audit:
    """Leakage checks, which every run makes."""

    stop: bool = setting(True, "A strict run stops if patients, times or fitted parts leak.")
