"""Metrics against scikit-learn, with ties, weights, masked cells and single classes."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ehr_jax.evaluation import metrics, thresholds


@st.composite
def scored(draw, both_classes=True):
    """Scores with many ties, labels and small integer weights (zeros included)."""
    size = draw(st.integers(3, 60))
    levels = draw(st.integers(1, 12))
    scores = draw(hnp.arrays(np.int64, size, elements=st.integers(0, levels))) / levels
    labels = draw(hnp.arrays(np.bool_, size))
    weights = draw(hnp.arrays(np.int32, size, elements=st.integers(0, 4)))
    if both_classes:
        labels[:2], weights[:2] = [True, False], 1
    return scores, labels, weights


def min_precision_recall(scores, labels, weights):
    precision, recall, _ = sklearn.metrics.precision_recall_curve(
        labels, scores, sample_weight=weights
    )
    return np.minimum(precision, recall).max()


REFERENCES = [
    (metrics.auroc, lambda s, y, w: sklearn.metrics.roc_auc_score(y, s, sample_weight=w)),
    (
        metrics.average_precision,
        lambda s, y, w: sklearn.metrics.average_precision_score(y, s, sample_weight=w),
    ),
    (metrics.min_precision_recall, min_precision_recall),
]


@pytest.mark.parametrize("ours,reference", REFERENCES)
@settings(deadline=None, max_examples=150)
@given(data=scored())
def test_ranking_metrics_equal_scikit_learn_on_tied_and_weighted_data(ours, reference, data):
    assert ours(*data) == pytest.approx(reference(*data), abs=1e-12)


@settings(deadline=None)
@given(data=scored())
def test_a_weight_means_a_repetition(data):
    scores, labels, weights = data
    for ours, _ in REFERENCES:
        repeated = ours(np.repeat(scores, weights), np.repeat(labels, weights))
        assert ours(scores, labels, weights) == pytest.approx(repeated, abs=1e-12)


def test_ranking_metrics_equal_scikit_learn_on_distinct_float32_scores():
    rng = np.random.default_rng(3)
    labels = rng.random(3000) < 0.1
    scores = rng.normal(size=3000).astype(np.float32) + labels
    for ours, reference in REFERENCES:
        assert ours(scores, labels) == pytest.approx(reference(scores, labels, None), abs=1e-12)


@settings(deadline=None)
@given(data=scored(both_classes=False), cut=st.sampled_from([0.25, 0.5, 0.75]))
def test_decision_metrics_equal_scikit_learn(data, cut):
    scores, labels, weights = data
    cells = metrics.tally(scores[:, None], labels[:, None].astype(float), np.array([cut]))
    counts = metrics.count(cells, weights[None])
    if not weights.any():
        assert np.isnan(metrics.accuracy(counts)) and np.isnan(metrics.brier(counts))
        return
    said = scores >= cut
    accuracy = sklearn.metrics.accuracy_score(labels, said, sample_weight=weights)
    assert metrics.accuracy(counts) == pytest.approx(accuracy)
    brier = np.average((scores - labels) ** 2, weights=weights)
    assert metrics.brier(counts) == pytest.approx(brier)
    for ours, positive in ((metrics.f1, True), (metrics.f1_negative, False)):
        if (weights * (labels == positive)).any():
            reference = sklearn.metrics.f1_score(
                labels == positive, said == positive, sample_weight=weights, zero_division=0
            )
            assert ours(counts) == pytest.approx(reference)
        else:
            assert np.isnan(ours(counts))


def test_brier_equals_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.random(200), rng.random(200) < 0.3
    cells = metrics.tally(probabilities[:, None], labels[:, None].astype(float), np.array([0.5]))
    value = metrics.brier(metrics.count(cells, np.ones((1, 200))))
    assert value == pytest.approx(sklearn.metrics.brier_score_loss(labels, probabilities))


def test_masked_cells_change_nothing():
    rng = np.random.default_rng(1)
    scores, labels = rng.random(300), (rng.random(300) < 0.4).astype(float)
    masked = np.where(rng.random(300) < 0.3, np.nan, labels)
    kept = ~np.isnan(masked)
    for ours, _ in REFERENCES:
        assert ours(scores, masked) == ours(scores[kept], labels[kept])
    one = metrics.count(
        metrics.tally(scores[:, None], masked[:, None], np.array([0.5])), np.ones((1, 300))
    )
    two = metrics.count(
        metrics.tally(scores[kept, None], labels[kept, None], np.array([0.5])),
        np.ones((1, kept.sum())),
    )
    np.testing.assert_allclose(np.array(one), np.array(two))


@pytest.mark.parametrize("labels", [np.zeros(5, bool), np.ones(5, bool), np.full(5, np.nan)])
def test_one_class_alone_gives_nan(labels):
    for ours, _ in REFERENCES:
        assert np.isnan(ours(np.arange(5.0), labels))


def test_a_resample_that_lost_its_positives_gives_nan_and_leaves_the_others():
    ranking = metrics.rank(np.array([0.9, 0.5, 0.1]), np.array([True, False, False]))
    values = metrics.ranking_metrics(ranking, np.array([[0, 2, 1], [1, 1, 1]], np.int32))
    assert np.isnan(values["auroc"][0]) and values["auroc"][1] == 1.0


def test_macro_is_the_mean_over_defined_labels():
    rng = np.random.default_rng(2)
    scores, labels = rng.random((80, 3)), (rng.random((80, 3)) < 0.5).astype(float)
    labels[:, 1] = 0.0
    wanted = np.mean([metrics.auroc(scores[:, k], labels[:, k]) for k in (0, 2)])
    assert metrics.macro(metrics.auroc, scores, labels) == pytest.approx(wanted)
    assert np.isnan(metrics.macro(metrics.auroc, scores, np.zeros((80, 3))))


@settings(deadline=None)
@given(data=scored())
def test_the_fitted_threshold_reaches_the_best_f1(data):
    scores, labels, _ = data
    fitted = thresholds.fit_f1(scores[:, None], labels[:, None])[0]
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels, scores)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert sklearn.metrics.f1_score(labels, scores >= fitted) == pytest.approx(best)


def test_thresholds_are_fitted_for_each_seed_and_label():
    labels = np.array([[1, 0, 0.0], [0, 0, np.nan], [0, 0, 1]])
    probabilities = np.array([[[0.8, 0.1, 0.9], [0.2, 0.2, 1.0], [0.1, 0.3, 0.6]]])
    fitted = thresholds.fit_f1(np.concatenate([probabilities, probabilities / 2]), labels)
    np.testing.assert_allclose(fitted, [[0.5, 0.5, 0.6], [0.25, 0.5, 0.3]])


def test_a_threshold_that_rests_on_few_positives_is_said_to():
    labels = np.zeros((40, 3))
    labels[:9, 1], labels[:10, 2] = 1, 1
    first, second = thresholds.doubts(labels, ("none", "few", "enough"))
    assert "'none' is uncertain: validation has fewer than 10" in first and "it is 0.5" in first
    assert "'few' is uncertain: validation has fewer than 10" in second


def test_a_probability_at_the_threshold_is_predicted_positive():
    probabilities = np.array([[0.3], [0.5], [0.7]])
    cells = metrics.tally(probabilities, np.ones((3, 1)), np.array([0.5]))
    given, positive, predicted, hits, _ = cells[:, :, 0].T
    assert given.tolist() == positive.tolist() == [1, 1, 1]
    assert predicted.tolist() == hits.tolist() == [0, 1, 1]
