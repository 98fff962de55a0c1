"""The main command on a small generated hospital: run folder, resume, refusals, benchmark."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from ehr_jax import main
from ehr_jax.records import sources

REPOSITORY = pathlib.Path(main.__file__).resolve().parent.parent
SMALL = (
    "--config=configs/mingle.py:synthetic_readmission",
    "--config.synthetic.patients=120",
    "--config.notes.source=none",
    "--config.model.depth=1",
    "--config.model.width=8",
    "--config.model.heads=2",
    "--config.train.steps=20",
    "--config.evaluation.resamples=50",
)


TWO_SEEDS = ("--config.train.seeds=(0, 1)",)
ONE_SEED = ("--config.train.seeds=(0,)",)


def run(workdir: pathlib.Path, *more: str) -> int:
    return main.main(["ehr_jax.main", *SMALL, f"--workdir={workdir}", *more])


def test_repeated_seeds_are_refused(tmp_path, capsys):
    assert run(tmp_path, "--config.train.seeds=(0, 0)") == 2
    assert "config.train.seeds" in capsys.readouterr().err


def test_a_split_that_trains_nothing_is_refused(tmp_path, capsys):
    assert run(tmp_path, "--config.cohort.split=none") == 2
    assert "config.cohort.split is 'none'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(folder, *TWO_SEEDS) == 0
    return folder


def test_run_folder_holds_its_contract(finished):
    for name in (
        "config.json", "environment.json", "data.json", "metrics.jsonl", "predictions.parquet",
        "split.parquet", "results.json", "report.html", "DATA_USE.txt",
    ):  # fmt: skip
        assert (finished / name).stat().st_size > 0, name
    results = json.loads((finished / "results.json").read_text())
    assert (results["task"], results["model"], results["protocol"]) == (
        "readmission30", "mingle", "strict",
    )  # fmt: skip
    found = results["test"]["auroc"]
    assert found["low"] <= found["value"] <= found["high"]


@pytest.mark.slow
def test_seeds_go_over_devices_where_there_are_as_many(tmp_path):
    # Adam moves a parameter that has no gradient (a bias before PairNorm) by the sign of its
    # rounding, and what follows with it: small steps keep that far below the bound (4e-7, while
    # they move scores by 0.1).
    slow, found = "--config.train.learning_rate=3e-5", []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        flags = (*SMALL, *TWO_SEEDS, slow, f"--workdir={folder}")
        environment = {
            **os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "ehr_jax.main", *flags],
            cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "of each of 1 cpu device(s)" in done.stdout  # the data is not divided
        environment = json.loads((folder / "environment.json").read_text())
        assert len(environment["devices"]) == devices
        found.append(pl.read_parquet(folder / "predictions.parquet"))
    one, two = found
    column = next(name for name in one.columns if name.startswith("probability."))
    assert (two[column] - one[column]).abs().max() < 1e-5
    first, other = (one.filter(seed=seed)[column] for seed in (0, 1))
    assert (first - other).abs().max() > 1e-2  # seeds differ by far more


def test_predictions_hold_every_labelled_test_sample_once_a_seed(finished):
    frame = pl.read_parquet(finished / "predictions.parquet")
    data = json.loads((finished / "data.json").read_text())
    test = frame.filter(pl.col("split") == "test")
    assert test.height == 2 * data["cohort"]["splits"]["test"]["labelled"]
    assert test.select("sample_id", "seed").n_unique() == test.height
    assert frame["probability.readmission"].is_between(0, 1).all()


def test_records_and_predictions_are_written_for_meds(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    assert run(folder, *TWO_SEEDS, "--mode=meds") == 0
    records = sources.read("meds", folder / "meds")
    held = json.loads((finished / "data.json").read_text())["records"]
    assert records.patients.height == held["patients"]
    paths = list((folder / "meds_predictions").rglob("*.parquet"))
    assert sorted(path.stem for path in paths) == ["seed_0", "seed_1"]
    # A second start keeps what is there.
    before = sorted((folder / "meds").rglob("*"))
    assert run(folder, *TWO_SEEDS, "--mode=meds") == 0
    assert sorted((folder / "meds").rglob("*")) == before


def test_no_patient_is_in_two_splits(finished):
    split = pl.read_parquet(finished / "split.parquet")
    assert split.group_by("subject_id").agg(pl.col("split").n_unique())["split"].max() == 1


@pytest.mark.slow
def test_a_second_start_gives_the_same_results(finished):
    before = json.loads((finished / "results.json").read_text())
    assert run(finished, *TWO_SEEDS) == 0
    after = json.loads((finished / "results.json").read_text())
    assert before["test"] == after["test"]


def test_another_config_is_refused_by_its_keys(finished, capsys):
    assert run(finished, *TWO_SEEDS, "--config.train.learning_rate=0.5") == 2
    message = capsys.readouterr().err
    assert "train.learning_rate" in message and "0.5" in message


def test_report_is_rebuilt_without_data(finished):
    (finished / "report.html").unlink()
    assert main.main(["ehr_jax.main", "--mode=report", f"--workdir={finished}"]) == 0
    assert (finished / "report.html").exists()


@pytest.mark.slow
def test_a_killed_run_ends_as_the_unbroken_one(finished, tmp_path):
    command = [
        sys.executable,
        "-m",
        "ehr_jax.main",
        *SMALL,
        *TWO_SEEDS,
        f"--workdir={tmp_path / 'run'}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    checkpoints = tmp_path / "run" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("*/[0-9]*")):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "results.json").exists()
    assert run(tmp_path / "run", *TWO_SEEDS) == 0
    unbroken = json.loads((finished / "results.json").read_text())
    resumed = json.loads((tmp_path / "run" / "results.json").read_text())
    for name in ("auroc", "auprc", "brier", "f1"):
        assert resumed["test"][name]["value"] == pytest.approx(
            unbroken["test"][name]["value"], abs=1e-6
        )


@pytest.mark.slow
def test_benchmark_compares_methods_on_one_split(tmp_path):
    methods = ("logistic_regression", "lightgbm", "mlp", "mingle")
    chosen = f"--config.benchmark.methods={methods}"
    assert run(tmp_path, *ONE_SEED, "--mode=benchmark", chosen) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["name"] for row in results["methods"]] == list(methods)
    assert set(results["paired"]["reference_minus"]) == set(methods) - {"mingle"}
    assert (tmp_path / "table.md").read_text().count("\n") >= len(methods)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.train.learning_rat=1", "learning_rate"),
        ("--config.train.steps=many", "train.steps"),
        ("--config.data.source=mimic9", "mimic3"),
        ("--config.cohort.task=readmision30", "readmission30"),
        ("--config.cohort.protocol=strikt", "strict"),
        ("--config.model.name=mingel", "mingle"),
        ("--config.notes.source=nothing", "record"),
        ("--config.train.select=auc", "auroc"),
        ("--config.text.encoder=nowhere", "all-MiniLM-L6-v2"),
        ("--mode=trian", "train"),
        ("--config.trian.steps=3", "config.train.steps"),
        ("--config.features.columns=ful", "full"),
        ("--config.model.heads=3", "config.model.width"),
        ("--config.train.eval_every=0", "config.train.eval_every"),
        ("stray", "stray"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(argument, words, tmp_path, capsys):
    assert run(tmp_path / "run", argument) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message
    assert "Traceback" not in message


def test_a_missing_folder_is_named(tmp_path, capsys):
    missing = tmp_path / "nowhere"
    status = run(tmp_path / "run", "--config.data.source=mimic3", f"--config.data.root={missing}")
    assert status == 2
    assert str(missing) in capsys.readouterr().err


@pytest.mark.slow
def test_a_mistake_leaves_a_folder_that_the_right_command_can_use(tmp_path):
    assert run(tmp_path, "--config.cohort.task=readmision30") == 2
    assert run(tmp_path, *ONE_SEED) == 0


@pytest.mark.slow
def test_paper_protocol_prints_what_it_gets_wrong(tmp_path, capsys):
    assert run(tmp_path, "--config.cohort.protocol=paper", *ONE_SEED) == 0
    assert "protocol 'paper':" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["protocol"] == "paper"
