"""What a killed writer leaves."""

import os
import platform

from ehr_jax import storage


def dead_temporary(name: str) -> str:
    """The temporary of `name` that a process with this one's number left before this one began."""
    return f".{name}.{platform.node()}-{os.getpid()}-0-a{storage.SUFFIX}"
