"""Ranking metrics on the device against scikit-learn."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ehr_jax.evaluation import metrics as host
from ehr_jax.nn import ranking

both = jax.jit(
    lambda scores, labels: (ranking.auroc(scores, labels), ranking.auprc(scores, labels))
)
BOUND = 2.0**-21  # what the module promises


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from((4, 17, 60)), st.booleans())
def test_ranking_metrics_equal_scikit_learn_with_ties_and_gaps(seed, samples, tied):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(samples, 2)).astype(np.float32)
    scores = np.round(scores) if tied else scores
    labels = (rng.random((samples, 2)) < 0.4).astype(np.float32)
    labels[0], labels[1] = 0.0, 1.0
    labels[2:][rng.random((samples - 2, 2)) < 0.2] = np.nan
    for k in range(2):
        check(scores[:, k], labels[:, k])


def check(scores, labels):
    """Both metrics of one column are within BOUND of scikit-learn's."""
    auroc, auprc = both(scores[:, None], labels[:, None])
    known = ~np.isnan(labels)
    truth, score = labels[known], scores[known].astype(np.float64)
    np.testing.assert_allclose(auroc[0], metrics.roc_auc_score(truth, score), atol=BOUND)
    expected = metrics.average_precision_score(truth, score)
    np.testing.assert_allclose(auprc[0], expected, atol=BOUND)


def draw(samples, positives, kind="distinct", missing=0.0):
    """Scores, and labels of which exactly so many are positive before some are taken away."""
    rng = np.random.default_rng(samples + positives)
    labels = rng.permutation(np.arange(samples) < positives).astype(np.float32)
    scores = rng.normal(size=samples).astype(np.float32) + labels
    labels[rng.random(samples) < missing] = np.nan
    levels = {"distinct": scores, "tied": np.round(2 * scores) / 2, "constant": 0 * scores}
    return levels[kind].astype(np.float32), labels


MANY = [
    pytest.param(100_000, 50_000, "distinct", 0.0, id="products_beyond_int32"),
    pytest.param(185_000, 25_000, "tied", 0.0, id="imbalanced"),
    pytest.param(100_000, 99_990, "tied", 0.0, id="nearly_all_positive"),
    pytest.param(1_000_000, 100_000, "tied", 0.3, id="million_masked"),
    pytest.param(1_000_000, 100, "constant", 0.0, id="million_constant"),
] + [
    pytest.param(
        10_000_000, *rest, id=f"{rest[0]}_of_ten_million_{rest[1]}", marks=pytest.mark.slow
    )
    for rest in (
        (5_000_000, "distinct", 0.0),
        (1_000_000, "tied", 0.3),
        (100, "distinct", 0.0),
        (9_999_000, "constant", 0.0),
    )
]


@pytest.mark.parametrize(("samples", "positives", "kind", "missing"), MANY)
def test_ranking_metrics_of_many_samples_equal_scikit_learn(samples, positives, kind, missing):
    check(*draw(samples, positives, kind, missing))


def test_the_mean_of_many_shares_loses_none_of_them():
    shares = np.full(3_000_000, 0.3, np.float32)
    shares[0] = 1.0
    found = jax.jit(ranking.mean_share)(shares, np.ones(shares.size, bool))
    np.testing.assert_allclose(found, shares.mean(dtype=np.float64), atol=2.0**-22)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [np.nan, np.nan, 1], []])
def test_labels_of_one_class_or_none_have_no_ranking(labels):
    labels = np.array(labels, np.float32)[:, None]
    for metric in both(np.zeros(labels.shape, np.float32), labels):
        assert np.isnan(metric).all()


@pytest.mark.parametrize("scores", [[np.nan, 1, 0, 0.5], [1, np.nan, 0, 0.5], [1, 1, 0, np.nan]])
def test_a_score_that_is_no_number_has_no_rank_on_the_device_nor_on_the_host(scores):
    scores, labels = np.array(scores, np.float32), np.array([1, 1, 0, 0], np.float32)
    for metric in both(scores[:, None], labels[:, None]):
        assert np.isnan(metric[0])
    for metric in (host.auroc, host.average_precision, host.min_precision_recall):
        assert np.isnan(metric(scores, labels))
    # It is nobody's business where there is no label.
    labels = np.where(np.isnan(scores), np.nan, labels)
    assert both(scores[:, None], labels[:, None])[0][0] == host.auroc(scores, labels) == 1.0


def test_infinite_scores_rank_as_the_highest_and_the_lowest():
    scores = np.array([np.inf, 1, -np.inf, 0, np.inf], np.float32)
    labels = np.array([1, 1, 0, 0, 0], np.float32)
    auroc, auprc = both(scores[:, None], labels[:, None])
    np.testing.assert_allclose(auroc[0], host.auroc(scores, labels), atol=BOUND)
    np.testing.assert_allclose(auprc[0], host.average_precision(scores, labels), atol=BOUND)


def test_cells_without_a_finite_score_are_counted_where_there_is_a_label():
    scores = np.array([[np.nan, 1.0], [np.inf, -np.inf], [0.0, np.nan]])
    labels = np.array([[1.0, 0.0], [np.nan, 1.0], [0.0, np.nan]])
    assert ranking.not_finite(scores, labels) == 2
