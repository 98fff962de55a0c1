"""A wheel in an environment of its own: command, configs and library work in an empty folder."""

import json
import os
import pathlib
import subprocess
import sys
import sysconfig

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SMALL = (
    "--config.synthetic.patients=60", "--config.train.steps=4", "--config.train.eval_every=2",
    "--config.train.seeds=(0,)", "--config.evaluation.resamples=10", "--config.model.depth=0",
    "--config.notes.source=none", "--config.model.name=hypehr",
)  # fmt: skip
LIBRARY = """
import ehr_jax

records = ehr_jax.read_records("synthetic")
cohort = ehr_jax.build_cohort(records, "mortality")
config = ehr_jax.load_config("configs/mingle.py:synthetic_mortality")
print(ehr_jax.__file__, cohort.samples.height, config.cohort.task)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> pathlib.Path:
    """The bin folder of an environment that has the wheel, and this one's other packages."""
    folder = tmp_path_factory.mktemp("wheel")

    def run(*command, cwd=folder):
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    source = folder / "source"
    source.mkdir()
    for name in ("ehr_jax", "configs", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        run("cp", "-r", REPOSITORY / name, source)
    wheel = run(sys.executable, "-c", BUILD, folder, cwd=source).split()[-1]
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    python = folder / "env" / "bin" / "python"
    install = ("install", "--no-deps", "--no-index", "--quiet", folder / wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install)
    [packages] = (folder / "env").glob("lib/python*/site-packages")
    # A path alone: the editable installation of that environment is not followed.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env" / "bin"


def run(environment, folder, *command) -> str:
    places = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "EHR_JAX_DATA")}
    command = (environment / command[0], *command[1:])
    done = subprocess.run(command, cwd=folder, env=places, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_finds_its_configs(environment, tmp_path):
    assert "mingle" in run(environment, tmp_path, "ehr-jax", "--list=methods")
    assert "train.steps" in run(
        environment, tmp_path, "ehr-jax", "--config=configs/quickstart.py", "--list=keys"
    )
    place, samples, task = run(environment, tmp_path, "python", "-c", LIBRARY).split()[-3:]
    assert place.startswith(str(environment.parent)) and int(samples) > 100 and task == "mortality"


@pytest.mark.slow
def test_the_quick_start_runs_in_an_empty_folder(environment, tmp_path):
    run(environment, tmp_path, "ehr-jax", "--config=configs/quickstart.py", *SMALL)
    [folder] = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "results.json").read_text())["test"]["samples"] > 0
    assert (folder / "report.html").exists()
    assert "packages" in run(environment, tmp_path, "ehr-jax", "--mode=doctor")
