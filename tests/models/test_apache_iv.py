"""APACHE IV as a method: its own scores, none invented, and no other task."""

import types

import numpy as np
import pytest

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.models import registry


def arrays(labels=("mortality",), **scores):
    return types.SimpleNamespace(label_names=labels, scores=scores)


def run(given):
    return registry.resolve("apache_iv").fit_predict(given, base.defaults(), 0)


def test_its_scores_are_the_sources_own_and_stay_missing_where_they_are():
    found = run(arrays(**{"apache iv": np.array([0.2, np.nan, 0.9]), "apache iva": np.zeros(3)}))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[0.2], [np.nan], [0.9]], np.float32))


def test_another_task_and_records_without_scores_are_refused():
    with pytest.raises(errors.ConfigError, match="predicts death in hospital alone"):
        run(arrays(labels=("readmission",)))
    with pytest.raises(errors.ConfigError, match="apachePatientResult"):
        run(arrays())
