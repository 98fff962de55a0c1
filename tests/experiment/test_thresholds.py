"""Numbers of a run: thresholds of validation alone, and nothing that cannot be evaluated."""

import types

import arrays as make
import numpy as np
import pytest

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.experiment import fitting

NAMES = ("label_0", "label_1")


def fit(probabilities, given, protocol="strict"):
    results = {}
    cohort = types.SimpleNamespace(protocol=protocol, labels=NAMES)
    return fitting.fit_thresholds(probabilities, given, cohort, True, results), results


@pytest.mark.parametrize("split", ["train", "test", "validation"])
def test_thresholds_move_with_validation_predictions_alone(split):
    given, rng = make.make_arrays(samples=300), np.random.default_rng(0)
    probabilities = rng.random((2, 300, 2))
    cuts, results = fit(probabilities, given)
    other = np.where((given.split == split)[:, None], probabilities**4, probabilities)
    moved, _ = fit(other, given)
    assert (np.abs(moved - cuts).max() > 0.01) == (split == "validation")
    assert results["thresholds"] == cuts.tolist() and "validation" in results["thresholds_from"]


def test_a_label_without_a_positive_in_validation_takes_a_half_and_says_so(capsys):
    given = make.make_arrays(samples=300)
    given.labels[given.split == "validation", 1] = 0.0
    cuts, results = fit(np.random.default_rng(0).random((2, 300, 2)), given)
    assert (cuts[:, 1] == 0.5).all() and (cuts[:, 0] != 0.5).all()
    assert len(results["thresholds_in_doubt"]) == 1 and "'label_1'" in capsys.readouterr().out


def test_the_published_protocol_keeps_a_half():
    given = make.make_arrays(samples=300, protocol="paper")
    cuts, results = fit(np.random.default_rng(0).random((2, 300, 2)), given, "paper")
    assert (cuts == 0.5).all() and "paper" in results["thresholds_from"]


@pytest.mark.parametrize("method", ["mingle", "lightgbm", "realm"])
def test_resamples_that_cannot_be_drawn_are_refused_before_anything_is_read(method):
    config = base.defaults()
    config.model.name, config.evaluation.resamples = method, 0
    with pytest.raises(errors.ConfigError, match="config.evaluation.resamples is 0"):
        base.check(config)


def test_labels_that_are_neither_0_nor_1_are_refused_before_a_fit(tmp_path):
    given, config = make.make_arrays(), make.make_config(model__name="lightgbm")
    given.labels[4, 1] = 2
    with pytest.raises(errors.UserError, match="label 'label_1': 1 of 120 values"):
        fitting.fit_and_score(config, None, given, tmp_path)
