"""Results of folds: every key is of all folds, or a list named for that."""

import numpy as np
import polars as pl
import pytest

from ehr_jax.evaluation import evaluate
from ehr_jax.experiment import folds
from ehr_jax.reporting import predictions, report, tables
from ehr_jax.training import run_folder


def results(seed, samples):
    """What a fold of two seeds and two labels has to say."""
    rng = np.random.default_rng(seed)
    labels = rng.random((samples, 2)) < 0.4
    probabilities = np.clip(0.2 * labels + 0.8 * rng.random((2, samples, 2)), 0, 1)
    cuts = rng.random((2, 2))
    scored = evaluate.evaluate(
        probabilities, labels, np.arange(samples) // 2, ("a", "b"), cuts, resamples=20
    )
    return {"task": "t", "thresholds": cuts.tolist(), "test": scored, "validation": scored}


EACH = [results(seed, samples) for seed, samples in ((0, 40), (1, 60), (2, 50))]
JOINED = {split: folds.join([one[split] for one in EACH], summed) for split, summed in
          (("test", folds.COUNTS), ("validation", ()))}  # fmt: skip


def test_counts_of_test_folds_are_those_of_all_and_of_each():
    test = JOINED["test"]
    assert (test["samples"], test["fold_samples"]) == (150, [40, 60, 50])
    assert (test["patients"], test["fold_patients"]) == (75, [20, 30, 25])
    positives = [one["test"]["per_label"]["b"]["positives"] for one in EACH]
    assert test["per_label"]["b"]["positives"] == sum(positives)
    assert test["per_label"]["b"]["fold_positives"] == positives


def test_folds_that_share_patients_have_no_sum_of_counts():
    assert not set(JOINED["validation"]) & set(folds.COUNTS)
    assert JOINED["validation"]["fold_samples"] == [40, 60, 50]


def test_thresholds_are_those_of_each_fold():
    cuts = [one["test"]["per_label"]["a"]["thresholds"] for one in EACH]
    assert JOINED["test"]["per_label"]["a"]["fold_thresholds"] == cuts
    whole = folds.join([{k: one[k] for k in ("task", "thresholds")} for one in EACH])
    assert whole == {"task": "t", "fold_thresholds": [one["thresholds"] for one in EACH]}


def test_the_deviation_between_folds_is_not_called_that_of_seeds():
    entry, values = JOINED["test"]["macro"]["auprc"], [
        one["test"]["macro"]["auprc"]["value"] for one in EACH
    ]  # fmt: skip
    assert entry["fold_std"] == pytest.approx(np.std(values, ddof=1))
    assert entry["fold_values"] == values and entry["value"] == pytest.approx(np.mean(values))
    assert "seed_std" not in entry and entry["labels"] == 2
    assert entry["low"] < entry["value"] < entry["high"]


def test_a_fold_without_a_value_or_an_interval_is_told():
    one = {"value": 0.6, "low": 0.5, "high": 0.7, "seed_std": 0.1, "undefined_resamples": 3}
    bare = {"value": 0.8, "low": None, "high": None, "seed_std": None, "undefined_resamples": 15}
    none = {"value": None, "low": None, "high": None, "seed_std": None, "undefined_resamples": 20}
    assert folds.mean([none, none, none])["value"] is None
    entry = folds.mean([none, one, one])
    assert entry["fold_values"] == [None, 0.6, 0.6] and entry["undefined_resamples"] == 26
    assert entry["high"] == pytest.approx(0.6 + 0.1 / 2**0.5)
    entry = folds.mean([bare, one, none])
    assert entry["value"] == pytest.approx(0.7) and entry["low"] is None is entry["high"]


def test_data_of_folds_is_of_the_cohort_and_of_each_fold():
    each = [
        {"source": "s", "records": {"patients": 9}, "features": {"nodes": 5 + k},
         "notes": {"source": "own", "samples_with_text": k},
         "cohort": {"samples": 90, "splits": {"test": {"samples": 30 + k}}}}
        for k in (0, 1)
    ]  # fmt: skip
    data = folds.data_of(each)
    assert "features" not in data and data["cohort"] == {"samples": 90}
    assert data["notes"] == {"source": "own"}
    assert data["folds"]["fold_1"]["features"] == {"nodes": 6}
    assert data["folds"]["fold_1"]["splits"]["test"]["samples"] == 31


def test_tables_and_report_speak_of_folds(tmp_path):
    header, rows = tables.results_rows({"test": JOINED["test"]})
    spread = rows[0][header.index("SD")]
    assert spread == tables.number(JOINED["test"]["auroc"]["fold_std"])
    assert tables.spread_over(JOINED["test"]) == "folds"
    assert tables.spread_over(EACH[0]["test"]) == "seeds"
    whole = {"task": "t", "seeds": [0, 1], "folds": 3, "test": JOINED["test"]}
    run_folder.write_json(tmp_path / "results.json", whole)
    text = report.write_report(tmp_path).read_text()
    assert "150 of 75 patients" in text and "standard deviation over folds" in text


def test_predicted_values_take_the_threshold_of_their_fold(tmp_path):
    rows = pl.DataFrame(
        {"sample_id": [0, 1], "subject_id": [1, 2], "seed": [0, 0], "fold": [0, 1],
         "split": ["test"] * 2, "prediction_time": [0, 0], "label.a": [True, True],
         "probability.a": [0.5, 0.5]}
    ).with_columns(pl.col("prediction_time").cast(pl.Datetime("us")))  # fmt: skip
    rows.write_parquet(tmp_path / "predictions.parquet")
    per_label = {"a": {"fold_thresholds": [[0.4], [0.6]]}}
    run_folder.write_json(
        tmp_path / "results.json", {"seeds": [0], "folds": 2, "test": {"per_label": per_label}}
    )
    written = predictions.write_meds(tmp_path, tmp_path / "out")
    assert pl.read_parquet(written[0])["predicted_boolean_value"].to_list() == [True, False]
