"""Logistic regression on multi-hot codes and note vectors; L2 strength by validation."""

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ehr_jax.models.baselines import table

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # inverse regularisation, scikit-learn's C


def fit_predict(arrays, config, seed: int) -> np.ndarray:
    """Returns probabilities of every sample, [sample, label] float32, one model a label."""
    x = table.multi_hot(arrays)
    if config.model.use_notes:
        x = scipy.sparse.hstack([x, scipy.sparse.csr_matrix(arrays.notes)]).tocsr()
    return table.per_label(arrays, lambda *parts: _fit(*parts, x=x))


def _fit(train, train_labels, validation, validation_labels, x):
    best, best_score = None, -np.inf
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=200)
        model.fit(x[train], train_labels)
        score = -np.inf
        if validation.size:
            score = _score(validation_labels, model.decision_function(x[validation]))
        if best is None or score > best_score:
            best, best_score = model, score
    return best.predict_proba(x)[:, 1]


def _score(labels, scores):
    if np.unique(labels).size < 2:
        return -float(np.mean(np.abs(scores)))
    return roc_auc_score(labels, scores)
