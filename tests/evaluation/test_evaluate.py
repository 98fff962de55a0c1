"""Intervals and results: the bootstrap against a plain loop, seeds, protocols, differences."""

import json

import numpy as np
import pytest
import sklearn.metrics

from ehr_jax import errors
from ehr_jax.evaluation import bootstrap, evaluate, metrics, paired


def make(samples=200, labels=1, seeds=1, patients=120, skill=1.0, seed=0):
    """Returns (probabilities, labels, subjects, names) of a made-up method."""
    rng = np.random.default_rng(seed)
    positive = rng.random((samples, labels)) < 0.3
    logits = rng.normal(size=(seeds, samples, labels)) + skill * positive - 1
    names = [f"label_{k}" for k in range(labels)]
    return 1 / (1 + np.exp(-logits)), positive, rng.integers(patients, size=samples), names


def test_resample_weights_count_whole_patients():
    subjects = np.array([7, 7, 3, 9, 3, 3])
    drawn = np.concatenate(list(bootstrap.weights(subjects, 500, np.random.default_rng(0))))
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn[:, 2] == drawn[:, 5]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert drawn[:, 0].mean() == pytest.approx(1, abs=0.15)


def test_draws_do_not_depend_on_the_chunk(monkeypatch):
    subjects = np.arange(50) // 2
    whole = np.concatenate(list(bootstrap.weights(subjects, 40, np.random.default_rng(5))))
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 150)
    parts = list(bootstrap.weights(subjects, 40, np.random.default_rng(5)))
    assert len(parts) > 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_intervals_equal_a_plain_loop_over_the_same_resamples():
    probabilities, labels, subjects, names = make(seeds=2)
    result = evaluate.evaluate(probabilities, labels, subjects, names, resamples=100, seed=11)
    rng, values, people = np.random.default_rng(11), [], np.unique(subjects)
    for _ in range(100):
        drawn = people[rng.integers(people.size, size=people.size)]
        rows = np.concatenate([np.flatnonzero(subjects == one) for one in drawn])
        scores = [sklearn.metrics.roc_auc_score(labels[rows, 0], p[rows, 0]) for p in probabilities]
        values.append(np.mean(scores))
    low, high = np.quantile(values, [0.025, 0.975])
    assert result["auroc"]["low"] == pytest.approx(low, abs=1e-9)
    assert result["auroc"]["high"] == pytest.approx(high, abs=1e-9)


def test_copied_samples_of_a_patient_narrow_no_interval():
    probabilities, labels, _, names = make(samples=150)
    width = {}
    for copies in (1, 4):
        repeated = (np.repeat(probabilities, copies, axis=1), np.repeat(labels, copies, axis=0))
        for unit in ("patient", "sample"):
            number = 150 * copies
            subjects = np.repeat(np.arange(150), copies) if unit == "patient" else np.arange(number)
            entry = evaluate.evaluate(*repeated, subjects, names, resamples=400)["auroc"]
            width[unit, copies] = entry["high"] - entry["low"]
    assert width["patient", 4] == pytest.approx(width["patient", 1], rel=1e-6)
    assert width["patient", 4] > 1.5 * width["sample", 4]


def test_the_value_is_the_mean_over_seeds_with_their_spread():
    probabilities, labels, subjects, names = make(labels=3, seeds=4)
    result = evaluate.evaluate(probabilities, labels, subjects, names, resamples=20)
    each = [
        np.mean([sklearn.metrics.roc_auc_score(labels[:, k], p[:, k]) for k in range(3)])
        for p in probabilities
    ]
    assert result["auroc"]["value"] == pytest.approx(np.mean(each))
    assert result["auroc"]["seed_std"] == pytest.approx(np.std(each, ddof=1))
    micro = [
        sklearn.metrics.average_precision_score(labels.ravel(), p.ravel()) for p in probabilities
    ]
    assert result["micro"]["auprc"]["value"] == pytest.approx(np.mean(micro))
    assert result["auroc"]["low"] < result["auroc"]["value"] < result["auroc"]["high"]


def test_one_label_is_its_own_macro_and_micro():
    result = evaluate.evaluate(*make(), resamples=30)
    for name in metrics.METRICS:
        only = result["per_label"]["label_0"][name]
        assert result[name] == only == result["micro"][name]
        assert result["macro"][name] == only | {"labels": 1}
    assert result["auroc"]["seed_std"] is None


def test_a_label_of_one_class_is_null_and_left_out_of_the_macro_mean():
    probabilities, labels, subjects, names = make(labels=3)
    labels[:, 1] = False
    result = evaluate.evaluate(probabilities, labels, subjects, names, resamples=20)
    entry = result["per_label"]["label_1"]["auroc"]
    assert entry["value"] is None and entry["low"] is None and entry["undefined_resamples"] == 20
    assert result["macro"]["auroc"]["labels"] == 2 and result["macro"]["brier"]["labels"] == 3
    assert "NaN" not in json.dumps(result, allow_nan=False)


def test_undefined_resamples_are_counted():
    probabilities, labels, _, names = make(samples=30)
    labels[:], labels[4] = False, True
    entry = evaluate.evaluate(probabilities, labels, np.arange(30), names)["auroc"]
    assert entry["undefined_resamples"] / 1000 == pytest.approx((1 - 1 / 30) ** 30, abs=0.05)
    assert entry["low"] is not None


def test_masked_cells_change_no_result():
    probabilities, labels, subjects, names = make(labels=2)
    masked = labels.astype(float)
    masked[:40] = np.nan
    spoiled = probabilities.copy()
    spoiled[:, :40] = np.nan
    one = evaluate.evaluate(spoiled, masked, subjects, names, resamples=5)
    two = evaluate.evaluate(probabilities[:, 40:], labels[40:], subjects[40:], names, resamples=5)
    for group in ("macro", "micro"):
        for name in metrics.METRICS:
            assert one[group][name]["value"] == pytest.approx(two[group][name]["value"])


def test_thresholds_of_each_seed_and_label_are_used():
    probabilities, labels, subjects, names = make(labels=2, seeds=2)
    at = np.array([[0.2, 0.4], [0.3, 0.6]])
    result = evaluate.evaluate(probabilities, labels, subjects, names, at, resamples=5)
    for k, name in enumerate(names):
        wanted = [
            sklearn.metrics.f1_score(labels[:, k], probabilities[s, :, k] >= at[s, k])
            for s in range(2)
        ]
        assert result["per_label"][name]["f1"]["value"] == pytest.approx(np.mean(wanted))


def test_the_paper_headline_of_many_labels_is_micro_with_f1_over_labels():
    probabilities, labels, subjects, names = make(labels=4)
    labels[:, 3] = False
    result = evaluate.evaluate(
        probabilities, labels, subjects, names, 0.2, resamples=5, protocol="paper"
    )
    said = probabilities[0] >= 0.5
    f1 = sklearn.metrics.f1_score(labels, said, average="macro", zero_division=0)
    assert result["f1"]["value"] == pytest.approx(f1)
    assert result["accuracy"]["value"] == pytest.approx((labels == said).mean())
    micro = sklearn.metrics.roc_auc_score(labels.ravel(), probabilities[0].ravel())
    assert result["auroc"]["value"] == pytest.approx(micro)
    assert result["conventions"]["auroc"].startswith("micro")


def test_the_paper_f1_of_one_label_is_the_mean_over_both_classes():
    probabilities, labels, subjects, names = make()
    result = evaluate.evaluate(
        probabilities, labels, subjects, names, resamples=5, protocol="paper"
    )
    f1 = sklearn.metrics.f1_score(labels[:, 0], probabilities[0, :, 0] >= 0.5, average="macro")
    assert result["f1"]["value"] == pytest.approx(f1)
    assert "class 0" in result["conventions"]["f1"]


def test_probabilities_that_are_no_numbers_are_refused():
    probabilities, labels, subjects, names = make(labels=2, seeds=2)
    probabilities[1, 5, 1] = np.nan
    with pytest.raises(errors.UserError, match="label 'label_1' under seed number 1"):
        evaluate.evaluate(probabilities, labels, subjects, names)
    with pytest.raises(errors.ConfigError, match="Did you mean 'strict'"):
        evaluate.evaluate(*make(), protocol="strikt")


def test_a_method_differs_from_itself_by_nothing():
    probabilities, labels, subjects, names = make(labels=2, seeds=2)
    result = paired.difference(probabilities, probabilities, labels, subjects, names, resamples=50)
    assert set(result) == set(paired.COMPARED) and not set(result) & {"f1", "accuracy"}
    for name in paired.COMPARED:
        assert (result[name]["value"], result[name]["low"], result[name]["high"]) == (0, 0, 0)


def test_paired_differences_are_tighter_than_the_two_intervals():
    probabilities, labels, subjects, names = make(samples=400)
    worse = np.clip(probabilities + np.random.default_rng(1).normal(0, 0.1, (2, 400, 1)), 0, 1)
    result = paired.difference(probabilities, worse, labels, subjects, names)["auroc"]
    alone = evaluate.evaluate(probabilities, labels, subjects, names)["auroc"]
    swapped = paired.difference(worse, probabilities, labels, subjects, names)["auroc"]
    assert result["high"] - result["low"] < alone["high"] - alone["low"]
    assert result["value"] == pytest.approx(-swapped["value"])
    assert result["low"] == pytest.approx(-swapped["high"])
    assert swapped["value"] < 0 < result["value"]  # the first minus the second


def test_a_split_without_samples_has_null_results():
    result = evaluate.evaluate(np.zeros((2, 0, 3)), np.zeros((0, 3)), np.zeros(0), list("abc"))
    assert all(result[name]["value"] is None for name in metrics.METRICS)
    assert result["samples"] == 0 and result["auroc"]["undefined_resamples"] == 1000


def test_a_macro_mean_is_of_the_same_labels_in_every_resample():
    """Of a label that few resamples hold, those that do not are left out, and counted."""
    probabilities, labels, _, names = make(samples=60, labels=2)
    labels[:, 1] = np.arange(60) == 7
    subjects, resamples = np.arange(60), 300
    result = evaluate.evaluate(probabilities, labels, subjects, names, resamples=resamples)
    drawn = np.concatenate(list(bootstrap.weights(subjects, resamples, np.random.default_rng(0))))
    values = []
    for weights in drawn:
        if weights[7]:
            each = [metrics.auroc(probabilities[0, :, k], labels[:, k], weights) for k in (0, 1)]
            values.append(np.mean(each))
    assert result["macro"]["auroc"]["labels"] == 2
    assert result["auroc"]["undefined_resamples"] == resamples - len(values) > 50
    low, high = np.quantile(values, [0.025, 0.975])
    assert result["auroc"]["low"] == pytest.approx(low, abs=1e-12)
    assert result["auroc"]["high"] == pytest.approx(high, abs=1e-12)
    other = np.random.default_rng(1).random(probabilities.shape)
    compared = paired.difference(probabilities, other, labels, subjects, names, resamples)
    assert compared["auroc"]["undefined_resamples"] == result["auroc"]["undefined_resamples"]


def test_there_is_no_interval_where_most_resamples_are_undefined():
    values = np.where(np.arange(100) < 51, np.nan, 0.5)
    low, high, undefined = bootstrap.interval(values)
    assert np.isnan([low, high]).all() and undefined == 51
    assert bootstrap.interval(values[2:])[:2] == (0.5, 0.5)


@pytest.mark.parametrize("changes", [{"resamples": 0}, {"resamples": -5}, {"resamples": 2.5},
                                     {"resamples": True}, {"seed": -1}])  # fmt: skip
def test_resamples_that_cannot_be_drawn_are_refused_by_their_key(changes):
    key = f"config.evaluation.{next(iter(changes))}"
    with pytest.raises(errors.ConfigError, match=key):
        evaluate.evaluate(*make(), **changes)
    probabilities, *rest = make()
    with pytest.raises(errors.ConfigError, match=key):
        paired.difference(probabilities, probabilities, *rest, **changes)


@pytest.mark.parametrize("other", [2, -1, 0.5, np.inf])
def test_a_label_that_is_neither_0_nor_1_is_refused_by_its_name(other):
    probabilities, labels, subjects, names = make(labels=2)
    labels = labels.astype(float)
    labels[3, 0], labels[4:6, 1] = np.nan, other
    with pytest.raises(errors.UserError, match="label 'label_1': 2 of 200 values"):
        evaluate.evaluate(probabilities, labels, subjects, names)
