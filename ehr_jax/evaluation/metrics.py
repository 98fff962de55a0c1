"""Metrics of binary predictions under sample weights.

A bootstrap resample is a vector of integer weights, so every metric here is weighted and computes
many resamples at once: scores are sorted once (`rank`), and each row of weights then costs two
cumulative sums. With weights of one the values equal scikit-learn's, tied scores included.

A metric that the labels leave undefined is nan: AUROC, average precision and min(+P,Se) where only
one class carries weight, F1 where no positive does, all of them where nothing does. A score that is
nan has no rank: the three are nan where a cell with a label has one, as on the device
(`nn.ranking`).
"""

from typing import NamedTuple

import numpy as np

RANKING = ("auroc", "auprc", "min_p_se")
DECISION = ("f1", "accuracy", "brier")
METRICS = RANKING + DECISION


class Ranking(NamedTuple):
    """Cells (one sample, one label) by falling score, with the groups of tied scores marked.

    Only groups that hold a positive are kept: no metric here changes at any other.
    """

    rows: np.ndarray  # [cells] int: the sample of each cell, best score first
    positives: np.ndarray  # [positives] int: places in `rows` that are positive
    starts: np.ndarray  # [groups] int: place of a group's first cell
    ends: np.ndarray  # [groups] int: one past a group's last cell
    hits: np.ndarray  # [groups] int: positives up to the end of a group, counted unweighted


class Counts(NamedTuple):
    """Weighted sums over cells, each of one shape; they add up over labels."""

    cells: np.ndarray
    positives: np.ndarray
    predicted: np.ndarray  # cells at or above the threshold
    hits: np.ndarray  # positives at or above the threshold
    squared_error: np.ndarray


def auroc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve of one label.

    Args:
        scores: [samples] float, any scale.
        labels: [samples] bool or 0/1; nan marks a sample without a label, which is left out.
        weights: [samples] non-negative, default 1.
    """
    return _single(scores, labels, weights, "auroc")


def average_precision(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Area under the precision-recall steps of one label; arguments as in `auroc`."""
    return _single(scores, labels, weights, "auprc")


def min_precision_recall(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """min(+P, Se): the best min(precision, recall) over all thresholds; arguments as in `auroc`.

    This is event 1 of the PhysioNet 2012 challenge.
    """
    return _single(scores, labels, weights, "min_p_se")


def macro(metric, scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of `metric(scores, labels)` over the labels where it is defined; nan where none is.

    Args:
        metric: such as `auroc`.
        scores: [samples, labels] float.
        labels: [samples, labels] bool or float with nan.
    """
    values = np.array([metric(scores[:, k], labels[:, k]) for k in range(scores.shape[1])])
    return float(mean_of(values[~np.isnan(values)]))


def rank(scores: np.ndarray, labels: np.ndarray, rows: np.ndarray | None = None) -> Ranking:
    """Sorts cells for `ranking_metrics`.

    Args:
        scores: [cells] float.
        labels: [cells] bool or float with nan; nan cells are left out.
        rows: [cells] int, the sample each cell belongs to; default its own place.

    Returns:
        A ranking without positives, and so without metrics, where a score is nan.
    """
    labels = np.asarray(labels, np.float64)
    given = np.flatnonzero(~np.isnan(labels))
    order = given[np.argsort(-np.asarray(scores)[given], kind="stable")]
    ranked, positive = np.asarray(scores)[order], labels[order] > 0
    if np.isnan(ranked).any():
        return Ranking(order, *(np.zeros(0, int) for _ in Ranking._fields[1:]))
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True][: ranked.size]) + 1
    starts = np.r_[0, ends[:-1]][: ends.size]
    hits = np.cumsum(positive)[ends - 1]
    kept = np.diff(hits, prepend=0) > 0
    rows = order if rows is None else np.asarray(rows)[order]
    return Ranking(rows, np.flatnonzero(positive), starts[kept], ends[kept], hits[kept])


def ranking_metrics(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC, average precision and min(+P,Se) under each row of weights.

    Args:
        ranking: of `rank`.
        weights: [resamples, samples] integer or float, non-negative.

    Returns:
        {name: [resamples] float64}, nan where undefined.
    """
    if not ranking.positives.size:
        return {name: np.full(len(weights), np.nan) for name in RANKING}
    ordered = np.take(weights, ranking.rows, axis=1)
    total = np.cumsum(ordered, axis=1, dtype=weights.dtype)
    found = np.cumsum(ordered[:, ranking.positives], axis=1, dtype=weights.dtype)
    hits = found[:, ranking.hits - 1].astype(np.float64)  # [resamples, groups]
    above = np.where(ranking.starts > 0, total[:, ranking.starts - 1], 0)
    predicted = total[:, ranking.ends - 1].astype(np.float64)
    positives = found[:, -1:].astype(np.float64)
    negatives = total[:, -1:] - positives

    gains = np.diff(hits, axis=1, prepend=0)
    negatives_above = above - (hits - gains)
    tied = predicted - hits - negatives_above
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, 0.0)
        recall = hits / positives
        won = gains * (negatives - negatives_above - tied / 2)
        values = {
            "auroc": won.sum(axis=1) / (positives * negatives)[:, 0],
            "auprc": (gains * precision).sum(axis=1) / positives[:, 0],
            "min_p_se": np.minimum(precision, recall).max(axis=1),
        }
    defined = ((positives > 0) & (negatives > 0))[:, 0]
    return {name: np.where(defined, value, np.nan) for name, value in values.items()}


def tally(probabilities: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The parts of `Counts` cell by cell, ready for `count`.

    Args:
        probabilities: [..., samples, labels] float.
        labels: [samples, labels] float with nan.
        thresholds: [..., labels] float; a cell at or above its own is predicted positive.

    Returns:
        [samples, parts, ..., labels] float64.
    """
    given = np.broadcast_to(~np.isnan(labels), probabilities.shape)
    positive = given & (labels > 0)
    predicted = given & (probabilities >= np.asarray(thresholds)[..., None, :])
    error = np.where(given, probabilities - positive.astype(np.float64), 0.0)
    parts = [given, positive, predicted, predicted & positive, np.square(error)]
    return np.stack([np.moveaxis(part, -2, 0) for part in parts], axis=1).astype(np.float64)


def count(cells: np.ndarray, weights: np.ndarray) -> Counts:
    """Sums `cells` of `tally` under each row of weights.

    Args:
        cells: [samples, parts, ..., labels] float64.
        weights: [resamples, samples].

    Returns:
        Counts of [resamples, ..., labels] float64.
    """
    sums = np.tensordot(weights.astype(np.float64), cells, axes=1)
    return Counts(*np.moveaxis(sums, 1, 0))


def pool(counts: Counts) -> Counts:
    """Adds counts over their last axis, the labels: the counts of all cells together."""
    return Counts(*(part.sum(axis=-1) for part in counts))


def f1(counts: Counts) -> np.ndarray:
    """F1 of the positive class; nan where no positive carries weight."""
    return _ratio(2 * counts.hits, counts.predicted + counts.positives, counts.positives > 0)


def f1_negative(counts: Counts) -> np.ndarray:
    """F1 of the negative class; nan where no negative carries weight."""
    negatives = counts.cells - counts.positives
    rejected = counts.cells - counts.predicted
    right = rejected - (counts.positives - counts.hits)
    return _ratio(2 * right, rejected + negatives, negatives > 0)


def accuracy(counts: Counts) -> np.ndarray:
    """Share of cells on the right side of the threshold."""
    wrong = counts.predicted + counts.positives - 2 * counts.hits
    return _ratio(counts.cells - wrong, counts.cells, counts.cells > 0)


def brier(counts: Counts) -> np.ndarray:
    """Mean squared error of the probability."""
    return _ratio(counts.squared_error, counts.cells, counts.cells > 0)


def mean_of(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis; nan where one of them is, or where there is none."""
    number = np.array(values.shape[-1])
    return _ratio(values.sum(axis=-1), number, number > 0)


def _ratio(above: np.ndarray, below: np.ndarray, defined: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, above / below, np.nan)


def _single(scores, labels, weights, name: str) -> float:
    weights = np.ones(len(scores), np.int64) if weights is None else np.asarray(weights)
    return float(ranking_metrics(rank(scores, labels), weights[None])[name][0])
