import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ehr_jax.text import encoders

GOLDEN = Path(__file__).parent / "golden"  # made by tests/oracle/make_golden.py
TINY = ("tiny_mean", "tiny_cls")


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return json.loads((GOLDEN / "sentences.json").read_text())


@pytest.fixture(scope="session")
def golden():
    """Returns the arrays PyTorch computed from one golden checkpoint."""

    def read(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return dict(file)

    return read


@pytest.fixture(scope="session")
def tiny() -> encoders.Encoder:
    return encoders.load(GOLDEN / "tiny_mean")


@pytest.fixture(params=TINY, scope="session")
def each_tiny(request) -> tuple[str, encoders.Encoder]:
    return request.param, encoders.load(GOLDEN / request.param)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Returns a copy of the golden folder tiny_mean that a test may damage."""
    return Path(shutil.copytree(GOLDEN / "tiny_mean", tmp_path / "checkpoint"))
