"""The section `download`, which --mode=download reads."""

import dataclasses

from ehr_jax.download import publishers
from ehr_jax.settings import setting

# Credentialed names are told where their data may be had, by the mode itself.
NAMES = ("", *publishers.DATA_SETS, *publishers.CREDENTIALED)


@dataclasses.dataclass(frozen=True)
class Download:
    """The data set to fetch."""

    name: str = setting("", "An open data set.", choices=NAMES)
