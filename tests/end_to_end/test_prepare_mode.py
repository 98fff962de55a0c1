"""--mode=prepare through the main command: a generated hospital, and the MIMIC-III demo."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ehr_jax import main
from ehr_jax.experiment import stages
from ehr_jax.features import loader
from ehr_jax.records.common import tables

SMALL = (
    "--config=configs/mingle.py:synthetic_mortality",
    "--config.synthetic.patients=80",
    "--config.notes.source=none",
    "--config.model.name=logistic_regression",
    "--config.train.seeds=(0,)",
    "--config.evaluation.resamples=20",
)
SERIES = ("--config.series.variables=mimic17", "--config.series.step_hours=2.0")
SERIES += ("--config.series.length=24",)


def run(workdir, *more: str) -> int:
    return main.main(["ehr_jax.main", "--mode=prepare", f"--workdir={workdir}", *SMALL, *more])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(folder, *SERIES) == 0
    return folder


def test_the_store_holds_the_cohort_of_the_run(workdir):
    builder = tfds.builder_from_directory(workdir / "store")
    data = json.loads((workdir / "data.json").read_text())
    for split, counts in data["cohort"]["splits"].items():
        labels = [example["labels"] for example in builder.as_data_source(split)]
        assert (
            len(labels) == counts["samples"] == builder.info.metadata["samples"][split]["samples"]
        )
        assert np.nansum(labels) == sum(counts["positives"].values())
    assert len(builder.info.metadata["nodes"]) == data["features"]["nodes"]
    held = [e["nodes"].size for source in builder.as_data_source().values() for e in source]
    assert sum(held) == data["features"]["incidences"]
    assert max(held) == builder.info.metadata["most"]["nodes"]
    assert "note" not in builder.info.features


def test_the_grid_is_scaled_on_training_samples(workdir):
    about = tfds.builder_from_directory(workdir / "store").info.metadata["series"]
    assert (about["length"], about["step_hours"], len(about["variables"])) == (24, 2.0, 17)
    (batch,) = loader.batches(workdir / "store", "train", 1000)
    assert batch["series_values"].shape == (1000, 24, 17)
    rate = about["variables"].index("heart rate")
    measured = batch["series_values"][..., rate][batch["series_observed"][..., rate]]
    # Fitted on what lies between the 5th and the 95th percentile, so the whole spreads wider.
    assert abs(measured.mean()) < 0.3 and 1 < measured.std() < 2


def test_a_second_start_reuses_what_is_there(workdir, capsys, monkeypatch):
    written = {path.name: path.stat().st_mtime_ns for path in (workdir / "store").iterdir()}
    monkeypatch.setattr(stages, "load", None)  # nothing is prepared again
    assert run(workdir, *SERIES) == 0
    out = capsys.readouterr().out
    assert "nothing to do" in out and "17 variables, 24 steps of 2 h" in out
    assert written == {path.name: path.stat().st_mtime_ns for path in (workdir / "store").iterdir()}


def test_another_config_is_refused_by_its_keys(workdir, capsys):
    assert run(workdir, *SERIES, "--config.features.bins=4", "--config.series.length=12") == 2
    message = capsys.readouterr().err
    assert "features.bins: 10 there, 4 now" in message
    assert "series.length: 24 there, 12 now" in message


def test_other_records_are_refused(workdir, capsys, monkeypatch):
    def other(config):
        records = read(config)
        return dataclasses.replace(records, codes=records.codes.head(100))

    read = stages.read
    monkeypatch.setattr(stages, "read", other)
    assert run(workdir, *SERIES) == 2
    assert "prepared from other records" in capsys.readouterr().err


def test_a_training_run_may_follow_in_the_same_folder(workdir):
    assert main.main(["ehr_jax.main", f"--workdir={workdir}", *SMALL, *SERIES]) == 0
    assert (workdir / "results.json").exists()


def test_a_set_of_variables_that_is_none_is_named(tmp_path, capsys):
    assert run(tmp_path / "run", "--config.series.variables=mimic71") == 2
    message = capsys.readouterr().err
    assert "config.series.variables" in message and "Did you mean 'mimic17'?" in message


def test_an_impossible_grid_is_refused_and_leaves_no_store(tmp_path, capsys):
    assert run(tmp_path, *SERIES[:1], "--config.series.length=0") == 2
    assert "config.series.length is 0" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_source_without_measurements_has_no_series(tmp_path, capsys, monkeypatch):
    def silent(config):
        return dataclasses.replace(
            read(config), measurements=tables.empty(tables.MEASUREMENTS).lazy()
        )

    read = stages.read
    monkeypatch.setattr(stages, "read", silent)
    assert run(tmp_path, *SERIES) == 2
    assert "holds no measurement" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_the_mimic3_demo_becomes_a_store(data_root, tmp_path):
    command = [
        "ehr_jax.main", "--mode=prepare", "--config=configs/mingle.py:mimic3_mortality",
        f"--workdir={tmp_path}", "--config.series.variables=mimic17",
        "--config.notes.source=none", "--config.features.columns=codes",
        "--config.features.measurements=False",
    ]  # fmt: skip
    assert main.main(command) == 0
    builder = tfds.builder_from_directory(tmp_path / "store")
    data = json.loads((tmp_path / "data.json").read_text())["cohort"]["splits"]
    for split, counts in data.items():
        assert len(builder.as_data_source(split)) == counts["samples"]
    example = next(iter(builder.as_data_source("train")))
    assert example["series_values"].shape == (48, 17)
    # 48 hours into a stay every hour is one of the visit, and hearts were watched in most.
    rate = builder.info.metadata["series"]["variables"].index("heart rate")
    assert example["series_present"].all() and example["series_observed"][:, rate].mean() > 0.5
