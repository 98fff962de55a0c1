"""What every room's tests share."""

import os
import pathlib

import hypothesis
import pytest

# A slow machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    """The folder of open data sets; tests that need real records skip without it."""
    root = os.environ.get("EHR_JAX_DATA")
    if not root:
        pytest.skip("EHR_JAX_DATA is not set: this test reads real records")
    return pathlib.Path(root)
