"""What weighed in predictions: the largest first, and nothing that few patients have."""

import types

import numpy as np

from ehr_jax import disclosure
from ehr_jax.experiment import explanations

MODEL = types.SimpleNamespace(modalities=("series", "text"))


def test_the_largest_weights_stand_first_with_their_hours():
    found = explanations._largest(np.array([0.1, 0.0, 0.6, 0.3]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert [(row["hour"], row["weight"]) for row in found] == [(3.0, 0.6), (4.0, 0.3), (1.0, 0.1)]


def test_the_summary_names_no_entity_of_few_patients():
    enough = disclosure.SMALLEST
    weighed = [("asthma", patient, 0.5) for patient in range(enough)]
    # Many samples of few patients are few.
    weighed += [("rare disease", patient % (enough - 1), 0.9) for patient in range(5 * enough)]
    weights = {"modality": np.array([[0.2, 0.8], [0.4, 0.6]])}
    found = explanations._summary(MODEL, weights, weighed)
    assert [row["name"] for row in found["entities"]] == ["asthma"]
    assert found["modalities"] == {"series": 0.30000000000000004, "text": 0.7}
