"""Ranking metrics on the device against scikit-learn."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ehr_jax.nn import ranking


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from((4, 17, 60)), st.booleans())
def test_ranking_metrics_equal_scikit_learn_with_ties_and_gaps(seed, samples, tied):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(samples, 2)).astype(np.float32)
    scores = np.round(scores) if tied else scores
    labels = (rng.random((samples, 2)) < 0.4).astype(np.float32)
    labels[0], labels[1] = 0.0, 1.0
    labels[2:][rng.random((samples - 2, 2)) < 0.2] = np.nan
    auroc, auprc = ranking.auroc(scores, labels), ranking.auprc(scores, labels)
    for k in range(2):
        known = ~np.isnan(labels[:, k])
        truth, score = labels[known, k], scores[known, k]
        np.testing.assert_allclose(auroc[k], metrics.roc_auc_score(truth, score), atol=1e-5)
        expected = metrics.average_precision_score(truth, score)
        np.testing.assert_allclose(auprc[k], expected, atol=1e-5)


def test_a_label_of_one_class_has_no_auroc():
    assert np.isnan(ranking.auroc(np.zeros((3, 1)), np.ones((3, 1)))).all()
