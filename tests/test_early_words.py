"""A mistake in a command is told before any package that computes is imported."""

import subprocess
import sys

import pytest

from ehr_jax import main

HEAVY = {
    "flax", "grain", "jax", "jaxlib", "jraph", "lightgbm", "matplotlib", "numpy", "optax", "orbax",
    "pandas", "polars", "pyarrow", "scipy", "sklearn", "tensorflow", "tensorflow_datasets",
    "tokenizers", "torch", "transformers",
}  # fmt: skip
MOST = 320  # modules: the interpreter's own, absl, ml_collections, yaml and the sections
MINGLE = "--config=configs/mingle.py"

# As `python -m ehr_jax.main`, and then what was imported.
TOLD = """
import resource, sys
from ehr_jax import main
status = main.main(["main", *sys.argv[1:]])
names = {name.split(".")[0] for name in sys.modules}
seconds = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
print(status, len(sys.modules), f"{seconds:.2f}", *sorted(names))
"""

MISTAKES = {
    "source": (MINGLE, "--config.data.source=mimic5"),
    "task": (MINGLE, "--config.cohort.task=mortalty"),
    "method": (MINGLE, "--config.model.name=mingel"),
    "variant": (f"{MINGLE}:mimic3_mortalty",),
    "mode": (MINGLE, "--mode=trian"),
    "method of a benchmark": (MINGLE, "--mode=benchmark", "--config.benchmark.methods=('mlpp',)"),
    "value": (MINGLE, "--config.model.dropout=1.5"),
    "type": (MINGLE, "--config.model.depth=deep"),
    "key": (MINGLE, "--config.model.dept=2"),
    "value of a sweep": (
        MINGLE, "--mode=sweep", "--config.sweep.grid={'train': {'learning_rate': (0.0,)}}",
    ),
    "a setting that the input is not made by": (
        f"{MINGLE}:diabetes130_cvd", "--config.model.name=gru_visits",
        "--config.features.main_diagnosis=False",
    ),
    "two settings of a sweep": (
        MINGLE, "--mode=sweep", "--config.sweep.grid={'model': {'heads': (4, 5), 'width': (8, 9)}}",
    ),
    "settings of a sweep over stays": (
        "--config=configs/realm.py", "--mode=sweep",
        "--config.sweep.grid={'realm': {'heads': (2, 4), 'width': (8, 10)}}",
    ),
    "warm-up of a sweep": (
        MINGLE, "--mode=sweep", "--config.train.steps=10",
        "--config.sweep.grid={'train': {'warmup_steps': (0, 20)}}",
    ),
    "teacher": (MINGLE, "--config.train.teacher=lightgbm_windows"),
    "settings together": ("--config=configs/realm.py", "--config.realm.heads=3"),
    "run": ("--mode=predict", "--config.run=no_such_run"),
    "data set": ("--config=configs/download.py:mimic9", "--mode=download"),
    "texts": ("--config=configs/embed.py", "--mode=embed"),
    "hypergraph": ("--config=configs/hypergraph.py:hgnn", "--config.model.width=0"),
    "config": ("--config=configs/mingl.py",),
    "empty config": ("--config=", "--config.train.steps=5"),
    "no config": ("--config.train.steps=5",),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_anything_that_computes_is_imported(mistake, tmp_path):
    command = [sys.executable, "-c", TOLD, *MISTAKES[mistake], f"--workdir={tmp_path / 'run'}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    status, modules, seconds, *names = ended.stdout.split()
    print(f"{mistake}: {seconds} s of CPU, {modules} modules; {ended.stderr.strip()}")
    assert status == "2" and ended.stderr.startswith("error: ")
    assert not HEAVY & set(names)
    assert int(modules) < MOST


ORDERS = [
    ("--config=configs/mingle.py", "--mode=train", "--config.train.steps=7"),
    ("--config.train.steps=7", "--mode=train", "--config=configs/mingle.py"),
    ("--config.train.steps=7", "--config", "configs/mingle.py", "--mode", "train"),
    ("-config.train.steps=7", "-config=configs/mingle.py"),
]


@pytest.mark.parametrize("flags", ORDERS)
def test_flags_stand_in_any_order(flags):
    mode, config, _ = main.parse(["main", *flags])
    assert mode == "train" and config.train.steps == 7 and config.train.learning_rate == 3e-3


def test_predict_needs_no_config_wherever_its_run_is_named(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    for flags in (
        (f"--config.run={tmp_path}", "--mode=predict"),
        ("--mode", "predict", f"--config.run={tmp_path}"),
    ):
        mode, config, _ = main.parse(["main", *flags])
        assert (mode, config.run) == ("predict", str(tmp_path))


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.train=3", "config.train is a section, not a setting"),
        ("--config.model=realm", "config.model is a section, not a setting"),
        ("--config.train={'steps': 3}", "config.train is a section, not a setting"),
        ("--config.train.steps.x=3", "config.train.steps is a setting, not a section"),
        ("--config.data.root.x=3", "config.data.root is a setting, not a section"),
    ],
)
def test_a_section_is_no_setting_and_a_setting_is_no_section(flag, words, capsys):
    assert main.main(["main", MINGLE, flag]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and "Did you mean" not in line


def test_a_near_key_is_one_of_the_same_kind_of_config(capsys):
    assert main.main(["main", "--config=configs/hypergraph.py", "--config.text.pooling=3"]) == 2
    assert "has no key 'text'" in (told := capsys.readouterr().err) and "Did you mean" not in told


def test_a_mapping_in_a_setting_is_still_set_by_flags():
    grid = "--config.sweep.grid={'train': {'steps': (1, 2)}}"
    _, config, _ = main.parse(["main", MINGLE, "--mode=sweep", grid])
    assert config.sweep.grid.train.steps == (1, 2)
