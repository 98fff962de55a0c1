"""A benchmark's differences are the reference's figure minus another's, over samples of both."""

import types

import numpy as np
import polars as pl
import pytest

from ehr_jax import config as base
from ehr_jax.modes import benchmark

COHORT = types.SimpleNamespace(protocol="strict", labels=("y",))
LABELS = np.arange(200) % 2 == 0


def write(folder, name, noise, rows):
    rng = np.random.default_rng(0)
    scores = np.clip(0.3 + 0.4 * LABELS + noise * rng.normal(size=LABELS.size), 0, 1)
    frame = pl.DataFrame(
        {"sample_id": range(200), "subject_id": range(200), "seed": [0] * 200,
         "split": ["test"] * 200, "label.y": LABELS, "probability.y": scores.astype(np.float32)}
    )  # fmt: skip
    (folder / "methods" / name).mkdir(parents=True)
    frame[rows].write_parquet(folder / "methods" / name / "predictions.parquet")


@pytest.fixture
def differences(tmp_path):
    config = base.defaults()
    config.benchmark.reference, config.evaluation.resamples = "mingle", 50
    write(tmp_path, "mingle", 0.1, slice(0, 200))
    write(tmp_path, "mlp", 1.0, slice(40, 200))
    return benchmark._differences(config, COHORT, tmp_path, ("mlp", "mingle"))


def test_a_better_reference_is_above_the_others(differences):
    found = differences["reference_minus"]
    assert set(found) == {"mlp"} and 0 < found["mlp"]["auroc"]["low"]
    assert found["mlp"]["auroc"]["low"] < found["mlp"]["auroc"]["value"]


def test_the_difference_is_over_samples_that_both_score(differences):
    assert differences["reference_minus"]["mlp"]["samples"] == 160
