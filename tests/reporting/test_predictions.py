import json

import fabricate
import numpy as np
import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records.common import tables
from ehr_jax.reporting import predictions

LABELS = ("heart failure", "sepsis")


@pytest.fixture
def run(tmp_path):
    """A run folder whose samples have times, and one of them no label for sepsis."""
    folder = tmp_path / "run"
    fabricate.write(folder, labels=LABELS, samples=60)
    path = folder / "predictions.parquet"
    pl.read_parquet(path).with_columns(
        prediction_time=(pl.col("sample_id") * 86_400_000_000).cast(tables.TIME),
        **{"label.sepsis": pl.when(pl.col("sample_id") > 0).then("label.sepsis")},
    ).write_parquet(path)
    return folder


def test_the_predictions_of_some_samples_keep_their_rows(run):
    whole = predictions.read(run / "predictions.parquet", "test")
    wanted = whole.samples[[5, 2, 9]]
    some = whole.only(wanted)
    np.testing.assert_array_equal(some.samples, np.sort(wanted))
    np.testing.assert_array_equal(some.probabilities, whole.probabilities[:, [2, 5, 9]])
    np.testing.assert_array_equal(some.labels, whole.labels[[2, 5, 9]])
    np.testing.assert_array_equal(some.subjects, whole.subjects[[2, 5, 9]])


def test_meds_files_hold_every_prediction_of_their_label_and_seed(run, tmp_path):
    written = predictions.write_meds(run, tmp_path / "out")
    names = [path.relative_to(tmp_path / "out").as_posix() for path in written]
    assert names == [
        f"{label}/seed_{k}.parquet" for label in ("heart_failure", "sepsis") for k in (0, 1)
    ]
    known = predictions.read(run / "predictions.parquet", "test")
    for k, path in enumerate(written):
        frame = pl.read_parquet(path)
        assert dict(frame.schema) == predictions.MEDS
        assert frame.null_count().sum_horizontal().item() == 0
        label, seed = divmod(k, 2)
        kept = ~np.isnan(known.labels[:, label])
        assert frame.height == kept.sum() == 60 - label
        ours = sorted(
            zip(known.subjects[kept], known.probabilities[seed, kept, label], strict=True)
        )
        columns = ("subject_id", "predicted_boolean_probability", "boolean_value")
        assert sorted(frame.select(columns[:2]).rows()) == ours
        assert frame["boolean_value"].sum() == np.nansum(known.labels[:, label])


def test_predicted_values_follow_the_thresholds_of_the_run(run, tmp_path):
    path = run / "results.json"
    results = json.loads(path.read_text())
    results["test"]["per_label"]["sepsis"]["thresholds"] = [0.0, 1.5]
    path.write_text(json.dumps(results))
    *_, low, high = (pl.read_parquet(p) for p in predictions.write_meds(run, tmp_path / "out"))
    assert low["predicted_boolean_value"].all() and not high["predicted_boolean_value"].any()
    path.unlink()
    for file in predictions.write_meds(run, tmp_path / "again"):
        frame = pl.read_parquet(file)
        half = frame["predicted_boolean_probability"] >= 0.5
        assert frame["predicted_boolean_value"].equals(half, check_names=False)


def test_meds_files_pass_the_meds_package(run, tmp_path):
    schemas = pytest.importorskip("meds")
    parquet = pytest.importorskip("pyarrow.parquet")
    for path in predictions.write_meds(run, tmp_path / "out"):
        table = parquet.read_table(path)
        schemas.LabelSchema.validate(table.drop_columns(list(predictions.MEDS)[3:]))


def test_labels_of_one_spelling_get_files_of_their_own(tmp_path):
    assert predictions._file_names(["a b", "a/b", "c"]) == ["a_b_0", "a_b_1", "c"]


def test_predictions_without_times_are_refused(tmp_path):
    fabricate.write(tmp_path / "run", labels=LABELS, samples=40)
    with pytest.raises(errors.RunFolderError, match="have no prediction_time, which MEDS needs"):
        predictions.write_meds(tmp_path / "run", tmp_path / "out")
    with pytest.raises(errors.RunFolderError, match="has no row of split 'validation'"):
        predictions.write_meds(tmp_path / "run", tmp_path / "out", "validation")
    with pytest.raises(errors.RunFolderError, match="no such file"):
        predictions.write_meds(tmp_path / "none", tmp_path / "out")
