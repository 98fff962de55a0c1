"""--mode=doctor --clean=DAYS: removes kept samples that were not used for so long."""

import pathlib

import ml_collections

from ehr_jax.experiment import kept


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Removes what is older than config.days; texts' vectors and graphs stay."""
    removed, size = kept.clean(config.days)
    print(
        f"{removed} folder(s) of prepared samples removed that were not used for {config.days:g} "
        f"day(s), {size / 2**20:.1f} MiB"
    )
    return 0
