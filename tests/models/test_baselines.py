"""Baselines where there is nothing to choose by."""

import dataclasses

import arrays as make
import numpy as np
import pytest

from ehr_jax.models import registry


@pytest.mark.parametrize("method", ["logistic_regression", "lightgbm"])
def test_a_baseline_without_validation_samples_has_scores_all_the_same(method):
    given = make.make_arrays(600)
    split = np.where(given.split == "validation", "test", given.split)
    config = registry.configure(make.make_config(), method)
    given = dataclasses.replace(given, split=split)
    scores = registry.resolve(method).fit_predict(given, config, 0)
    assert np.isfinite(scores).all() and np.ptp(scores, axis=0).min() > 0.01
