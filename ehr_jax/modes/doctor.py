"""--mode=doctor: what this installation has, lacks, and how to mend it."""

import pathlib

import ml_collections

from ehr_jax import doctor


def run(config: ml_collections.ConfigDict | None, workdir: pathlib.Path) -> int:
    """Prints the report; the exit status is 1 where something is broken."""
    return doctor.run(config)
