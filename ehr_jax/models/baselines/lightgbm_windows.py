"""Gradient-boosted trees (LightGBM) on statistics of each series over windows, and statics."""

import numpy as np

from ehr_jax.models.baselines import lightgbm_trees

SETTINGS = lightgbm_trees.SETTINGS | {
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_data_in_leaf": 30,
    "force_col_wise": True,
    "feature_fraction": 0.15,
    "lambda_l2": 5.0,
    "metric": "binary_logloss",  # the AUROC of few validation stays stops too early
}
WINDOWS = ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.875, 1.0))  # of the grid


def fit_predict(arrays, config, seed: int) -> np.ndarray:
    """Returns probabilities of every sample, [sample, label] float32, one model a label."""
    return lightgbm_trees.boosted(statistics(arrays.stays), arrays, SETTINGS, seed)


def statistics(stays) -> np.ndarray:
    """Returns [sample, feature] float32: over each of `WINDOWS` mean, least, greatest, deviation,
    first, last and number of the values observed, nan where none is; and the statics."""
    values, seen = stays["values"], stays["observed"] > 0
    length = values.shape[1]
    parts = [stays["statics"]]
    for start, stop in WINDOWS:
        rows = slice(int(start * length), max(int(stop * length), 1))
        v, s = values[:, rows].astype(np.float64), seen[:, rows]
        if not v.shape[1]:
            continue
        count = s.sum(1)
        there = np.where(count > 0, 1.0, np.nan)
        mean = np.where(s, v, 0).sum(1) / np.maximum(count, 1)
        spread = np.sqrt(np.where(s, (v - mean[:, None]) ** 2, 0).sum(1) / np.maximum(count, 1))
        first = np.take_along_axis(v, s.argmax(1)[:, None], 1)[:, 0]
        last = np.take_along_axis(v, (v.shape[1] - 1 - s[:, ::-1].argmax(1))[:, None], 1)[:, 0]
        least, greatest = np.where(s, v, np.inf).min(1), np.where(s, v, -np.inf).max(1)
        parts += [part * there for part in (mean, spread, first, last)]
        parts += [np.where(count > 0, part, np.nan) for part in (least, greatest)] + [count]
    return np.concatenate(parts, axis=1).astype(np.float32)
