"""Gradient-boosted trees (LightGBM) on multi-hot codes, stopped on validation."""

import lightgbm
import numpy as np

from ehr_jax.models.baselines import table

SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "metric": "auc",
    "deterministic": True,
    "verbosity": -1,
}
ROUNDS, PATIENCE = 1000, 50
UNSTOPPED = 5.0  # rounds times learning rate, where nothing can stop them


def fit_predict(arrays, config, seed: int) -> np.ndarray:
    """Returns probabilities of every sample, [sample, label] float32, one model a label."""
    return boosted(table.multi_hot(arrays), arrays, SETTINGS, seed)


def boosted(x, arrays, settings: dict, seed: int) -> np.ndarray:
    """Fits trees to the rows of `x` [sample, feature]: [sample, label] float32 probabilities."""

    def fit(train, train_labels, validation, validation_labels):
        data = lightgbm.Dataset(x[train], train_labels)
        settled = round(UNSTOPPED / settings["learning_rate"])
        stops = np.unique(validation_labels).size == 2
        booster = lightgbm.train(
            settings | {"seed": seed},
            data,
            num_boost_round=ROUNDS if stops else settled,
            valid_sets=[data.create_valid(x[validation], validation_labels)] if stops else None,
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)] if stops else None,
        )
        return booster.predict(x)

    return table.per_label(arrays, fit)
