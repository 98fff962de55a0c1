"""Decision thresholds, fitted on validation predictions and then only applied.

They are not fitted on training predictions: a method scores the samples that it has learned from
unlike all others, so the best threshold for those suits no others. Nor on test predictions ever.
"""

from collections.abc import Sequence

import numpy as np

from ehr_jax import disclosure

WITHOUT = 0.5  # the threshold of a label without a positive to fit to


def fit_f1(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The threshold of each label that maximises F1 on these predictions.

    It lies half-way between the lowest accepted score and the next one below, so that rounding
    moves no cell across it; of equally good ones the highest wins.

    Args:
        probabilities: [..., samples, labels] float; give validation samples only.
        labels: [samples, labels] bool or float with nan for cells to leave out.

    Returns:
        [..., labels] float64; WITHOUT for a label without a positive.
    """
    probabilities = np.asarray(probabilities, np.float64)
    labels = np.asarray(labels, np.float64)
    flat = probabilities.reshape(-1, *probabilities.shape[-2:])
    fitted = [[_fit_label(one[:, k], labels[:, k]) for k in range(one.shape[1])] for one in flat]
    return np.array(fitted).reshape(*probabilities.shape[:-2], probabilities.shape[-1])


def doubts(labels: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Returns a sentence for each label whose threshold rests on too few positives.

    Args:
        labels: [samples, labels], the labels that `fit_f1` fits to.
    """
    sentences = []
    for name, positives in zip(label_names, (np.asarray(labels) > 0).sum(axis=0), strict=True):
        if positives < disclosure.SMALLEST:
            sentences.append(
                f"'{name}' is uncertain: validation has fewer than {disclosure.SMALLEST} positives "
                f"(with none it is {WITHOUT})"
            )
    return sentences


def _fit_label(scores: np.ndarray, labels: np.ndarray) -> float:
    given = ~np.isnan(labels)
    order = np.argsort(-scores[given], kind="stable")
    scores, positive = scores[given][order], labels[given][order] > 0
    if not positive.any():
        return WITHOUT
    ends = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])  # last cell of each tied group
    hits = np.cumsum(positive)[ends]
    best = ends[np.argmax(2 * hits / (ends + 1 + positive.sum()))]
    below = scores[best + 1] if best + 1 < scores.size else scores[best]
    return float((scores[best] + below) / 2)
