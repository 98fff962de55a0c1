"""Points of the ROC, precision-recall and reliability curves, on fixed grids, safe to publish.

A curve is drawn only where enough patients of either class stand behind it (`disclosure`).
"""

import warnings
from typing import NamedTuple

import numpy as np

from ehr_jax import disclosure

GRID = np.linspace(0, 1, 201)
BINS = 10


class Curve(NamedTuple):
    """Mean over seeds of one curve on GRID."""

    name: str
    values: np.ndarray  # [201] true-positive rate at GRID of false-positive rate, or precision
    prevalence: float


class Reliability(NamedTuple):
    """Observed against predicted risk by bins of the prediction; nan where a bin is too small."""

    predicted: np.ndarray  # [bins]
    observed: np.ndarray  # [bins]
    counts: np.ndarray  # [bins] cells, a mean over seeds; 0 where too small


def roc(
    name: str, probabilities: np.ndarray, labels: np.ndarray, subjects: np.ndarray
) -> Curve | None:
    """Mean over seeds of the true-positive rate; its area is the mean of the AUROCs.

    Args:
        probabilities: [seeds, cells] float.
        labels: [cells] float with nan.
        subjects: [cells], the patient of each.

    Returns:
        None where too few patients of either class stand behind it.
    """
    return _mean_curve(name, probabilities, labels, subjects, _true_positive_rate)


def precision_recall(
    name: str, probabilities: np.ndarray, labels: np.ndarray, subjects: np.ndarray
) -> Curve | None:
    """Mean over seeds of the precision at each recall; arguments as in `roc`."""
    return _mean_curve(name, probabilities, labels, subjects, _precision)


def mean(name: str, found: list[Curve]) -> Curve:
    """The mean of several labels' curves."""
    return Curve(
        name,
        np.mean([one.values for one in found], axis=0),
        float(np.mean([one.prevalence for one in found])),
    )


def reliability(probabilities: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> Reliability:
    """Bins of equal width over all seeds; arguments as in `roc`.

    A bin is left out where few patients of a class stand behind it, or where a bin that is left out
    would be told by the others.
    """
    given = ~np.isnan(labels)
    scores, positive = probabilities[:, given].astype(np.float64), labels[given] > 0
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    of_bin = [place == k for k in range(BINS)]
    counts = np.array([chosen.sum() / len(scores) for chosen in of_bin])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of an empty bin is nan
        predicted = np.array([scores[chosen].mean() for chosen in of_bin])
        truth = np.broadcast_to(positive, scores.shape)
        observed = np.array([truth[chosen].mean() for chosen in of_bin])
    few = [
        _is_few(positive, subjects[given], chosen.any(axis=0)) or 0 < count < disclosure.SMALLEST
        for chosen, count in zip(of_bin, counts, strict=True)
    ]
    order = np.argsort(counts, kind="stable")
    small = np.zeros(BINS, bool)
    small[order] = disclosure.hidden([few[k] for k in order], counts[order].tolist())
    small |= counts == 0
    return Reliability(
        np.where(small, np.nan, predicted),
        np.where(small, np.nan, observed),
        np.where(small, 0, counts),
    )


def _is_few(positive: np.ndarray, subjects: np.ndarray, chosen: np.ndarray) -> bool:
    """Whether few patients of either class are behind the `chosen` cells."""
    classes = (subjects[chosen & positive], subjects[chosen & ~positive])
    return any(disclosure.is_few(np.unique(each).size) for each in classes)


def _mean_curve(name, probabilities, labels, subjects, one_seed) -> Curve | None:
    given = ~np.isnan(labels)
    positive = labels[given] > 0
    if not disclosure.enough(positive, subjects[given]):
        return None
    values = [one_seed(*_steps(scores[given], positive)) for scores in probabilities]
    return Curve(name, np.mean(values, axis=0), float(positive.mean()))


def _steps(scores, positive) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives at every distinct threshold, highest first."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    hits = np.cumsum(positive[order])[ends]
    return hits, ends + 1 - hits


def _true_positive_rate(hits, misses) -> np.ndarray:
    return np.interp(GRID, np.r_[0, misses] / misses[-1], np.r_[0, hits] / hits[-1])


def _precision(hits, misses) -> np.ndarray:
    first = np.searchsorted(hits / hits[-1], GRID)  # the first threshold that reaches the recall
    return (hits / (hits + misses))[np.minimum(first, len(hits) - 1)]
