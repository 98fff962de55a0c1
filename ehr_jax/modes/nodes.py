"""--mode=train for a hypergraph file: node classification over random splits."""

import pathlib

import ml_collections

from ehr_jax.training import nodes


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Trains config.model on config.data.path in `workdir`."""
    nodes.run(config, workdir)
    return 0
