"""Leaves of what a test file trains in a process of its own that has two devices.

The file calls `save` where it is run by itself, and `load` in a test.
"""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np

FLAGS = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"


def load(script: str, place: pathlib.Path) -> list[np.ndarray]:
    """Runs `script` over two devices, given `place`, and reads what it saved there."""
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "XLA_FLAGS": FLAGS, "PYTHONPATH": path}
    subprocess.run([sys.executable, script, place], env=environment, check=True)
    found = np.load(place / "leaves.npz")
    assert int(found["devices"]) == 2
    return [found[str(k)] for k in range(len(found) - 1)]


def save(tree, place: pathlib.Path) -> None:
    """Writes the leaves of `tree`, and over how many devices they came to be."""
    leaves = {str(k): np.asarray(x) for k, x in enumerate(jax.tree.leaves(tree))}
    np.savez(place / "leaves.npz", devices=jax.local_device_count(), **leaves)
