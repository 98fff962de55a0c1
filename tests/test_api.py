"""The library: what `ehr_jax` exports does what the command does, with the same errors."""

import subprocess
import sys

import numpy as np
import polars as pl
import polars.testing
import pytest

import ehr_jax
from ehr_jax import errors, main
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.records.common import tables
from tests import saved_samples
from tests.audit import scenes

SMALL = {
    "synthetic.patients": 80, "train.steps": 4, "train.eval_every": 2, "train.seeds": (0, 1),
    "evaluation.resamples": 20, "series.length": 6, "series.step_hours": 8.0, "realm.width": 8,
    "realm.heads": 2, "realm.feed_forward": 8, "text.encoder": str(saved_samples.ENCODER),
}  # fmt: skip


def test_importing_the_library_imports_nothing_heavy():
    code = (
        "import sys, ehr_jax; assert 'train' in dir(ehr_jax);"
        "print([name for name in ('jax', 'polars', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_exported_name_has_a_docstring():
    for name in ehr_jax.__all__:
        assert getattr(ehr_jax, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ehr_jax.trian


@pytest.fixture(scope="module")
def records():
    return ehr_jax.read_records("synthetic")


def test_a_cohort_has_the_columns_that_are_promised(records):
    cohort = ehr_jax.build_cohort(records, "mortality", after_hours=24.0)
    assert [*cohort.samples.columns] == [*cohorts.SAMPLES, "label.mortality"]
    assert set(cohort.samples["split"]) == set(cohorts.SPLITS)
    all_tested = ehr_jax.build_cohort(records, "mortality", split="none")
    assert set(all_tested.samples["split"]) == {"test"}
    moved = ehr_jax.build_cohort(records, "mortality", split_seed=1)
    assert not moved.samples["split"].equals(
        ehr_jax.build_cohort(records, "mortality").samples["split"]
    )


def test_notes_of_ones_own_take_the_place_of_the_sources(records):
    visits = records.visits["visit_id"].head(3)
    notes = pl.DataFrame({"visit_id": visits, "time": None, "category": "own", "text": "short"})
    own = ehr_jax.read_records("synthetic", notes=notes)
    assert own.notes.collect()["text"].to_list() == ["short"] * 3
    assert own.visits.equals(records.visits)


def test_notebooks_show_counts_and_none_of_few(records):
    html = records._repr_html_()
    assert f"{records.patients.height:,}" in html and "<script" not in html
    few = tables.Records(**{**vars(records), "patients": records.patients.head(3)})
    assert "<td>3</td>" not in few._repr_html_() and "&lt;10" in few._repr_html_()
    assert "mortality" in ehr_jax.build_cohort(records, "mortality")._repr_html_()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ehr_jax.read_records("mimic5"), "Did you mean 'mimic"),
        (lambda: ehr_jax.read_records("mimic4", "/nowhere"), "/nowhere"),
        (lambda: ehr_jax.load_config("configs/mingel.py"), "Did you mean 'configs/mingle.py'"),
        (lambda: ehr_jax.load_config("configs/mingle.py:mimic9"), "no variant 'mimic9'"),
        (lambda: ehr_jax.load_config("configs/mingle.py", {"train.sed": 1}), "config.train.sed"),
        (
            lambda: ehr_jax.load_config("configs/mingle.py", {"model.dropout": 1.5}),
            "dropout is 1.5",
        ),
        (lambda: ehr_jax.load_config("configs/mingle.py", {"train.steps": "many"}), "'many'"),
        (lambda: ehr_jax.train({"model.name": "mingel"}, "run"), "config.model.name"),
        (lambda: ehr_jax.load_config(None), "config is None"),
        (lambda: ehr_jax.load_config("configs/mingle.py", {3: 1}), "the key 3"),
        (lambda: ehr_jax.train("configs/mingle.py", "run"), "config is a str"),
        (lambda: ehr_jax.train({"train": 1}, "run"), "config.train is 1"),
        (lambda: ehr_jax.read_records(None), "source is a NoneType"),
        (lambda: ehr_jax.read_records("synthetic", notes=[]), "notes is a list"),
        (lambda: ehr_jax.read_records("synthetic", notes=pl.DataFrame()), "'visit_id' is missing"),
        (
            lambda: ehr_jax.read_records("synthetic", notes=pl.DataFrame({"visit_id": ["SECRET"]})),
            "'visit_id' is String; expected Int64",
        ),
        (lambda: ehr_jax.build_cohort(None, "mortality"), "records is a NoneType"),
        (lambda: ehr_jax.encode("one text", saved_samples.ENCODER), "list of texts"),
        (lambda: ehr_jax.load_run("/nowhere"), "is no folder"),
        (lambda: ehr_jax.load_run("/"), "results.json is missing"),
        (lambda: ehr_jax.encode(["x"], "no-such-encoder"), "no-such-encoder"),
    ],
)
def test_mistakes_are_told_as_on_the_command_line(call, words):
    with pytest.raises(errors.UserError, match=words):
        call()


def test_values_of_numpy_lists_and_paths_are_taken(tmp_path):
    changes = {"train.steps": np.int64(80), "train.seeds": np.arange(2), "data.root": tmp_path}
    config = ehr_jax.load_config("configs/mingle.py", changes)
    assert (config.train.steps, config.train.seeds) == (80, (0, 1))
    assert config.data.root == str(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = {**SMALL, "knowledge.graph": scenes.graph_folder()}
    config = ehr_jax.load_config("configs/realm.py:synthetic_mortality", changes)
    return ehr_jax.train(config, tmp_path_factory.mktemp("api") / "run")


@pytest.mark.slow
def test_a_run_predicts_what_the_command_predicts(run, tmp_path):
    assert run.report.exists() and run.results["test"]["samples"] > 0
    assert run.folder.stat().st_mode & 0o777 == 0o700
    assert run.config.train.steps == 4 and "AUROC" in run._repr_html_()
    command = ["ehr_jax.main", "--mode=predict", f"--config.run={run.folder}"]
    assert main.main([*command, f"--workdir={tmp_path / 'scored'}"]) == 0
    expected = pl.read_parquet(tmp_path / "scored" / "predictions.parquet")
    expected = expected.group_by("sample_id").agg(pl.col("probability.mortality").mean())
    patients = run.config.synthetic.patients
    scored = run.predict(_hospital(patients))
    assert scored.columns == [
        "sample_id", "subject_id", "visit_id", "prediction_time", "split", "label", "probability",
        "low", "high",
    ]  # fmt: skip
    polars.testing.assert_frame_equal(
        scored.select("sample_id", pl.col("probability").cast(pl.Float64)),
        expected.sort("sample_id").select(
            "sample_id", probability=pl.col("probability.mortality").cast(pl.Float64)
        ),
        abs_tol=1e-6,
    )
    own = pl.read_parquet(run.folder / "split.parquet")
    both = scored.join(own, on="visit_id", suffix="_of_run")
    assert both["split"].equals(both["split_of_run"].rename("split")) and both.height
    inside = pl.col("probability").is_between(pl.col("low") - 1e-6, pl.col("high") + 1e-6)
    assert scored.select(inside.all()).item()


@pytest.mark.slow
def test_a_run_explains_single_samples(run):
    explained = run.explain(_hospital(80), [3, 1])
    assert set(explained["sample_id"]) == {1, 3}
    modalities = explained.filter(part="modality").group_by("sample_id").agg(pl.col("weight").sum())
    np.testing.assert_allclose(modalities["weight"], 1, atol=1e-4)
    assert set(explained["part"]) <= {"modality", "step", "note", "entity"}
    with pytest.raises(errors.ConfigError, match="sample_ids has 100000"):
        run.explain(_hospital(80), [100_000])


def _hospital(patients: int):
    from ehr_jax.synthetic import hospital

    return hospital.generate(patients, 0)


@pytest.mark.slow
def test_a_run_that_has_ended_is_opened_again(run):
    again = ehr_jax.load_run(run.folder)
    assert again.results == run.results
    assert again.predictions.height > 0
    assert again.config.to_dict() == run.config.to_dict()


def test_texts_become_vectors():
    vectors = ehr_jax.encode(["chest pain", "no fever"], saved_samples.ENCODER)
    assert vectors.shape == (2, 24) and vectors.dtype == np.float32
