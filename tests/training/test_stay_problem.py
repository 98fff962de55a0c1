"""Training over stays: every epoch sees every stay, padding of the last block changes nothing."""

import jax
import numpy as np
import pytest
import saved
import stays as make

from ehr_jax import config as base
from ehr_jax.models import realm
from ehr_jax.training import fit, stay_problem, stepping


class Arrays:
    """What `build` reads of features.stays.StayArrays."""

    def __init__(self, count: int = 40, seed: int = 0):
        rng = np.random.default_rng(seed)
        given = make.draw(batch=count, seed=seed)
        self.stays = {name: np.asarray(getattr(given, name)) for name in given.__dataclass_fields__}
        self.labels = (rng.random((count, 1)) < 0.4).astype(np.float32)
        self.survival = np.zeros((count, 0), np.float32)
        self.split = np.array(["train", "validation", "test"])[np.arange(count) % 3]

    @property
    def targets(self):
        return np.concatenate([self.labels, self.survival], axis=1)


def network(**changes):
    made = base.defaults().realm
    made.width, made.heads, made.feed_forward = 8, 2, 8
    made.variant, made.use_notes, made.use_knowledge = "concat", False, False  # quick to compile
    made.update(changes)
    return realm.build(made, 1)


def first_params(model, data):
    return jax.jit(lambda given, key: given.init(model, key))(data, jax.random.key(1))


def validation_logits(model, data, params):
    return np.asarray(jax.jit(lambda p, given: given.validation_logits(p, model))(params, data))


def test_an_epoch_takes_every_stay_once_in_an_order_of_its_own():
    data = stay_problem.build(Arrays(), 1.0, batch=7)
    count = len(data.train_labels)
    rows = jax.jit(lambda step: data.batch_rows(jax.random.key(0), step))
    epochs = [np.concatenate([rows(2 * e), rows(2 * e + 1)]) for e in range(3)]
    assert count == 14
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    assert not np.array_equal(epochs[0], epochs[1])


def test_every_step_drops_out_anew():
    model, data = network(dropout=0.5), stay_problem.build(Arrays(), 1.0, batch=14)
    batch = stay_problem.Batch(data.train, data.train_labels, data.train_survival)
    loss = jax.jit(
        lambda params, step: stay_problem.batch_loss(
            params, model, jax.random.key(0), step, batch, data.positive_weight
        )[0]
    )
    params = first_params(model, data)
    losses = [float(loss(params, step)) for step in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


def test_scores_do_not_depend_on_what_is_scored_together(monkeypatch):
    arrays = Arrays()
    model, data = network(), stay_problem.build(arrays, 1.0, batch=8)
    params = first_params(model, data)
    everyone = data.probabilities(model, params, arrays)
    logits = validation_logits(model, data, params)
    monkeypatch.setattr(stay_problem, "SCORED_AT_ONCE", 6)
    np.testing.assert_allclose(data.probabilities(model, params, arrays), everyone, atol=1e-6)
    np.testing.assert_allclose(validation_logits(model, data, params), logits, atol=1e-5)


def test_survival_is_learned_beside_the_labels_and_never_scored():
    arrays, key = Arrays(), jax.random.key(0)
    arrays.survival = (arrays.stays["statics"][:, :1] > np.array([0.0, 1.0])).astype(np.float32)
    arrays.survival[arrays.split != "train"] = np.nan
    arrays.survival[0, 1] = np.nan  # unknown
    model = network(survival_days=(30, 90), dropout=0.0)
    data = stay_problem.build(arrays, 2.0, batch=14)
    params = first_params(model, data)
    logits = model.apply(params, data.train, train=True, rngs={"dropout": key})
    assert logits.shape == (14, 3)
    truth = np.concatenate([data.train_labels, data.train_survival], axis=1)
    chance = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    cost = -np.array([2.0, 1, 1]) * truth * np.log(chance) - (1 - truth) * np.log(1 - chance)
    loss, _ = data.loss(params, model, key, 0)
    np.testing.assert_allclose(loss, np.nanmean(cost), rtol=1e-5)
    assert np.isnan(cost).sum() == 1
    assert data.probabilities(model, params, arrays).shape == arrays.labels.shape
    assert validation_logits(model, data, params).shape == data.validation_labels.shape


def test_a_fit_learns_and_resumes_to_the_same(tmp_path):
    arrays = Arrays(90)
    arrays.labels = (arrays.stays["statics"][:, :1] > 0).astype(np.float32)
    data, config = stay_problem.build(arrays, 1.0, batch=16), base.defaults().train
    config.learning_rate, config.weight_decay, config.steps = 0.01, 0.0, 60
    config.eval_every, config.checkpoint_every, config.patience = 10, 1, 100
    whole = fit.fit(network(), data, config, 0, tmp_path / "a" / "c" / "s", "whole")
    scores = data.probabilities(network(), whole.params, arrays)
    test = arrays.split == "test"
    assert ((scores > 0.5) == arrays.labels)[test].mean() > 0.75
    config.steps = 30
    fit.fit(network(), data, config, 0, tmp_path / "b" / "c" / "s", "half")
    config.steps = 60
    fit.fit(network(), data, config, 0, tmp_path / "b" / "c" / "s", "rest")
    saved.assert_same_end(tmp_path / "a" / "c" / "s", tmp_path / "b" / "c" / "s")


def test_statistics_of_batch_norms_are_carried_through_training_and_scored_with(tmp_path):
    arrays = Arrays(60)
    data, config = stay_problem.build(arrays, 1.0, batch=16), base.defaults().train
    config.steps, config.eval_every = 4, 2
    changes = {"use_notes": True, "use_visit": True, "use_series": False}
    model = network(variant="emerge_paper", norm="batch", **changes)
    first = first_params(model, data)
    fitted = fit.fit(model, data, config, 0, tmp_path / "a" / "c" / "s", "batch").params
    for old, new in zip(
        *(jax.tree.leaves(tree["batch_stats"]) for tree in (first, fitted)), strict=True
    ):
        assert np.isfinite(new).all() and np.abs(old - new).max() > 1e-3
    # The statistics that a step leaves are those of its batch, whatever the optimiser did.
    step = jax.jit(lambda params: data.loss(params, model, jax.random.key(0), 0)[1])
    kept = stepping.merged(first, step(first))["batch_stats"]
    assert jax.tree.structure(kept) == jax.tree.structure(fitted["batch_stats"])
    scored = data.probabilities(model, fitted, arrays)
    other = fitted | {"batch_stats": first["batch_stats"]}
    assert np.abs(scored - data.probabilities(model, other, arrays)).max() > 1e-5


def test_an_impossible_batch_is_refused():
    with pytest.raises(stay_problem.errors.ConfigError, match="config.train.batch is 0"):
        stay_problem.build(Arrays(), 1.0, batch=0)
