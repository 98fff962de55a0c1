"""jax 0.10.2, which the package excludes, does lose rows, and our check finds it there."""

import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CHECK = REPOSITORY / "ehr_jax" / "jax_check.py"


@pytest.fixture(scope="module")
def faulty_python() -> pathlib.Path:
    """The interpreter of an environment with jax 0.10.2, made once and kept beside the others."""
    folder = REPOSITORY / f".venv-jax-0.10.2-py{sys.version_info.major}.{sys.version_info.minor}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "jax==0.10.2", "jaxlib==0.10.2"]
        subprocess.run(install, check=True)
        done.touch()
    return python


def test_the_check_finds_the_rows_that_jax_0_10_2_loses(faulty_python):
    # -I: no PYTHONPATH or user site may bring another jax.
    ran = subprocess.run([faulty_python, "-I", CHECK], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert "40000 rows of a vmapped product come out wrong" in ran.stdout


def test_the_same_check_passes_on_the_running_jax():
    ran = subprocess.run([sys.executable, CHECK], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
