"""The section `download`, which --mode=download reads."""

import dataclasses

from ehr_jax import errors
from ehr_jax.download import publishers
from ehr_jax.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Download(Settings):
    """The data set to fetch."""

    name: str = setting("", "An open data set of download/publishers.py.")


def check_name(name: str) -> None:
    """Raises ConfigError, or DownloadError of credentialed data, unless `name` can be fetched."""
    if name in publishers.CREDENTIALED:
        raise errors.DownloadError(
            f"'{name}' is credentialed data: apply at {publishers.CREDENTIALED[name]}, fetch it "
            "there, and give its folder as --config.data.root. The open demo: "
            f"--config.download.name={name}_demo."
        )
    if name not in publishers.DATA_SETS:
        raise errors.ConfigError(
            f"config.download.name is '{name}'; expected one of {', '.join(publishers.DATA_SETS)}."
            + errors.did_you_mean(name, publishers.DATA_SETS)
        )
