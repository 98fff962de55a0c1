"""Where the real data sets are."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    root = os.environ.get("EHR_JAX_DATA")
    if not root:
        pytest.skip("EHR_JAX_DATA is unset: it names the folder that holds the real data sets")
    return pathlib.Path(root)
