"""What a run writes of its samples, and what it makes of the members of a seed."""

import types

import numpy as np
import polars as pl

from ehr_jax.experiment import fitting

SAMPLES = pl.DataFrame(
    {"sample_id": [0, 1, 2, 3, 4], "subject_id": [1, 2, 3, 4, 5], "prediction_time": [None] * 5,
     "split": ["train", "validation", "test", "test", "test"],
     "labelled": [True, True, True, False, True], "label.y": [True, False, True, None, False]}
)  # fmt: skip
COHORT = types.SimpleNamespace(samples=SAMPLES, labels=("y",))


def written(folder, **everyone):
    scores = np.array([0.1, 0.2, 0.3, 0.4, np.nan])[:, None]
    fitting.write_predictions(COHORT, [7], [fitting.Seed(scores, {})], folder, **everyone)
    return pl.read_parquet(folder / "predictions.parquet")["sample_id"].to_list()


def test_predictions_are_of_labelled_samples_that_nothing_was_fitted_to(tmp_path):
    assert written(tmp_path) == [1, 2]


def test_where_records_are_scored_everyone_with_a_score_is_written(tmp_path):
    assert written(tmp_path, everyone=True) == [0, 1, 2, 3]


def test_rows_of_a_split_are_labelled_and_scored():
    labels = np.array([[1.0], [0.0], [1.0], [np.nan], [0.0]])
    arrays = types.SimpleNamespace(split=SAMPLES["split"].to_numpy(), labels=labels)
    assert fitting.rows_of(arrays, "test").tolist() == [2, 4]
    scored = np.array([True, True, True, True, False])
    assert fitting.rows_of(arrays, "test", scored).tolist() == [2]


def test_no_member_of_a_seed_has_the_seed_of_another():
    config = types.SimpleNamespace(members=3)
    numbers = [n for seed in (0, 1, 2) for n in fitting.member_seeds(config, seed)]
    assert len(set(numbers)) == 9 and numbers[::3] == [0, 1, 2]


def test_a_seed_of_members_has_their_mean():
    members = [fitting.Seed(np.full((2, 1), score), {"best_step": step})
               for score, step in ((0.2, 5), (0.6, 10))]  # fmt: skip
    mean = fitting.mean_of(members)
    np.testing.assert_allclose(mean.probabilities, 0.4)
    assert mean.facts["best_steps_of_members"] == [5, 10]
