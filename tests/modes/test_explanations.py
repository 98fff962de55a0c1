"""What weighed in predictions: the largest first, and nothing that few samples have."""

import types

import numpy as np

from ehr_jax.modes import explanations

MODEL = types.SimpleNamespace(modalities=("series", "text"))


def test_the_largest_weights_stand_first_with_their_hours():
    found = explanations._largest(np.array([0.1, 0.0, 0.6, 0.3]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert [(row["hour"], row["weight"]) for row in found] == [(3.0, 0.6), (4.0, 0.3), (1.0, 0.1)]


def test_the_summary_names_no_entity_of_few_samples():
    enough = explanations.FEWEST
    weighed = [("asthma", 0.5)] * enough + [("rare disease", 0.9)] * (enough - 1)
    weights = {"modality": np.array([[0.2, 0.8], [0.4, 0.6]])}
    found = explanations._summary(MODEL, weights, weighed)
    assert [row["name"] for row in found["entities"]] == ["asthma"]
    assert found["modalities"] == {"series": 0.30000000000000004, "text": 0.7}
