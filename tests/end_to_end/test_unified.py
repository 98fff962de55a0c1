"""The unified network and readmission through the main command, on a small generated hospital."""

import json
import pathlib

import polars as pl
import pytest

from ehr_jax import main

pytestmark = pytest.mark.slow

TINY = pathlib.Path(__file__).parent.parent / "text" / "golden" / "tiny_mean"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[str, ...]:
    """Flags of a small hospital and a network that is quick to compile."""
    return (
        f"--config.text.encoder={TINY}",
        f"--config.text.cache={tmp_path_factory.mktemp('cache')}",
        "--config.synthetic.patients=150",
        "--config.train.seeds=(0,)",
        "--config.train.steps=4",
        "--config.train.eval_every=2",
        "--config.evaluation.resamples=20",
        "--config.realm.width=8",
        "--config.realm.heads=2",
        "--config.realm.feed_forward=8",
        "--config.realm.variant=concat",
        "--config.model.depth=0",
        "--config.realm.use_knowledge=False",
    )


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = "--config=configs/unified.py:synthetic_mortality"
    flags = ["ehr_jax.main", config, *small, "--config.realm.use_series=False"]
    assert main.main([*flags, f"--workdir={folder}"]) == 0
    return folder


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_codes_and_notes_are_in_one_run(finished):
    results, data = read(finished / "results.json"), read(finished / "data.json")
    assert (results["model"], results["label"]) == ("unified", "MINGLE and REALM")
    assert data["features"]["visits"]["nodes"] > 5 and data["notes"]["pieces"] > 50
    frame = pl.read_parquet(finished / "predictions.parquet")
    assert frame["probability.mortality"].is_between(0, 1).all()
    assert len((finished / "evidence.jsonl").read_text().splitlines()) == results["test"]["samples"]


def test_other_records_are_not_scored_without_the_training_visits(finished, tmp_path, capsys):
    asked = ["ehr_jax.main", "--mode=predict", f"--config.run={finished}"]
    assert main.main([*asked, f"--workdir={tmp_path / 'out'}"]) == 2
    assert "rest on the training visits" in capsys.readouterr().err


def test_methods_with_and_without_codes_share_a_benchmark(small, tmp_path):
    config = "--config=configs/unified.py:synthetic_mortality"
    methods = "--config.benchmark.methods=('unified','realm_series','unified_codes')"
    flags = ["ehr_jax.main", config, "--mode=benchmark", *small, methods]
    assert main.main([*flags, f"--workdir={tmp_path}"]) == 0
    found = {path.name for path in (tmp_path / "methods").iterdir()}
    assert found == {"unified", "realm_series", "unified_codes"}


@pytest.mark.parametrize(
    ("protocol", "method"), [("strict", "realm_series"), ("paper", "lightgbm_windows")]
)
def test_readmission_is_predicted_at_discharge(small, tmp_path, capsys, protocol, method):
    config = "--config=configs/realm.py:synthetic_readmission"
    asked = [f"--config.cohort.protocol={protocol}", f"--config.model.name={method}"]
    assert main.main(["ehr_jax.main", config, *small, *asked, f"--workdir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert ("Deaths count as readmissions" in said) == (protocol == "paper")
    results = read(tmp_path / "results.json")
    assert (results["task"], results["protocol"]) == ("readmission30", protocol)
    frame = pl.read_parquet(tmp_path / "predictions.parquet")
    assert frame.height > 50 and frame["probability.readmission"].is_between(0, 1).all()
