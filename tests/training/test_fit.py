"""Fitting a network: independence of test visits, padding, resume, selection, weights."""

import dataclasses

import arrays as make
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import saved
from sklearn import metrics

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.nn import bipartite
from ehr_jax.training import checkpoints, fit, loss, problem


def network(config, labels: int = 2):
    return registry.build(config, labels)


def start(config, arrays):
    model, data = network(config), problem.build(arrays, config.train.positive_weight)
    state = fit.init_state(model, fit.make_optimiser(config.train), data, jax.random.key(0))
    # A few steps away from the start, where many things are zero.
    noise = [
        leaf + 0.1 * jax.random.normal(jax.random.key(k), leaf.shape)
        for k, leaf in enumerate(jax.tree.leaves(state.params))
    ]
    return model, data, jax.tree.unflatten(jax.tree.structure(state.params), noise)


def without_samples(arrays, dropped: np.ndarray):
    """`arrays` in which the samples `dropped` hold no node, no note, and stay in place."""
    node, sample, num_nodes, num_samples = bipartite.unpack(arrays.visits)
    keep = ~np.isin(sample, dropped)
    has_note = arrays.has_note.copy()
    has_note[dropped] = False
    return dataclasses.replace(
        arrays,
        visits=bipartite.pack(node[keep], sample[keep], num_nodes, num_samples),
        has_note=has_note,
    )


@pytest.mark.parametrize("method", ["mingle", "hypehr", "alldeepsets", "mlp_notes"])
@pytest.mark.slow
def test_in_strict_a_test_visit_is_scored_alone(method):
    config = registry.configure(make.make_config(), method)
    arrays = make.make_arrays()
    model, data, params = start(config, arrays)
    everyone = data.probabilities(model, params, arrays)
    test = np.flatnonzero(arrays.split == "test")
    for one in test[:3]:
        others = without_samples(arrays, test[test != one])
        alone = problem.build(others, "1").probabilities(model, params, others)
        np.testing.assert_allclose(alone[one], everyone[one], atol=1e-6)
    assert np.ptp(everyone[test], axis=0).min() > 1e-3  # the scores do differ by visit


def test_in_paper_a_test_visit_shapes_the_others():
    config = make.make_config()
    arrays = make.make_arrays(protocol="paper")
    model, data, params = start(config, arrays)
    everyone = data.probabilities(model, params, arrays)
    test = np.flatnonzero(arrays.split == "test")
    others = without_samples(arrays, test[1:])
    alone = problem.build(others, "1").probabilities(model, params, others)
    assert np.abs(alone[test[0]] - everyone[test[0]]).max() > 1e-5


@pytest.mark.slow
def test_reading_the_shaping_visits_gives_their_encoded_scores():
    config = make.make_config(model__depth=2)
    arrays = make.make_arrays()
    model, data, params = start(config, arrays)
    encoded, frozen = model.apply(params, data.nodes, data.shaping, train=False, method="encode")
    shaping = problem.visits(arrays, np.flatnonzero(arrays.shapes), self_loops=False)
    read = model.apply(params, data.nodes, shaping, frozen, method="read")
    np.testing.assert_allclose(read, encoded, atol=1e-5)


def test_order_of_samples_changes_no_score():
    config = make.make_config()
    arrays = make.make_arrays()
    model, data, params = start(config, arrays)
    order = np.random.default_rng(1).permutation(arrays.split.size)
    place = np.argsort(order)
    node, sample, num_nodes, num_samples = bipartite.unpack(arrays.visits)
    shuffled = dataclasses.replace(
        arrays,
        visits=bipartite.pack(node, place[sample], num_nodes, num_samples),
        **{
            name: getattr(arrays, name)[order]
            for name in ("notes", "has_note", "labels", "split", "subjects", "shapes")
        },
    )
    again = problem.build(shuffled, "1").probabilities(model, params, shuffled)
    expected = data.probabilities(model, params, arrays)
    np.testing.assert_allclose(again, expected[order], atol=1e-5)


def test_notes_change_scores_only_where_they_are_used():
    arrays = make.make_arrays()
    blank = dataclasses.replace(arrays, notes=arrays.notes * 0.0)
    for method, changes in (("mingle", True), ("mingle_no_notes", False), ("hypehr", False)):
        config = registry.configure(make.make_config(), method)
        model, data, params = start(config, arrays)
        scores = data.probabilities(model, params, arrays)
        other = problem.build(blank, "1").probabilities(model, params, blank)
        assert (np.abs(scores - other).max() > 1e-4) == changes


@pytest.mark.slow
def test_fit_learns_and_keeps_the_best_validation(tmp_path):
    config = make.make_config(train__steps=60, train__learning_rate=0.03)
    config.model.input_dropout = 0.0
    arrays = make.make_arrays(samples=400)
    data = problem.build(arrays, "1")
    model = network(config)
    fitted = fit.fit(model, data, config.train, 0, tmp_path / "checkpoints" / "seed_0", "test")
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == fitted.steps // config.train.eval_every
    scores = data.validation_logits(fitted.params, model)
    known = ~np.isnan(np.asarray(data.validation_labels)).any(axis=1)
    auroc = metrics.roc_auc_score(
        np.asarray(data.validation_labels)[known], np.asarray(scores)[known]
    )
    assert auroc > 0.7


@pytest.mark.parametrize("select", ["auroc", "loss"])
def test_a_fit_stops_and_keeps_what_its_log_says(select, tmp_path):
    config = registry.configure(make.make_config(train__learning_rate=0.1), "mlp_notes")
    config.train.update(steps=80, eval_every=2, patience=3, select=select)
    data, model = problem.build(make.make_arrays(), "1"), network(config)
    fitted = fit.fit(model, data, config.train, 0, tmp_path / "checkpoints" / "s", "test")
    rows = [row["validation"] for row in saved.rows(tmp_path)]
    costs = [row["loss"] if select == "loss" else -row["auroc"] for row in rows]
    best = int(np.argmin(costs))  # the first of equal ones
    assert len(rows) == best + 1 + config.train.patience < 40
    assert fitted.best_step == 2 * (best + 1) and fitted.steps == 2 * len(rows)
    scores = data.validation_logits(fitted.params, model)
    found = float(loss.cross_entropy(scores, data.validation_labels, data.positive_weight))
    assert found == pytest.approx(rows[best]["loss"], rel=1e-4)
    assert found != pytest.approx(rows[-1]["loss"], rel=1e-2)


def test_weight_decay_is_added_to_the_gradient():
    config = make.make_config(train__weight_decay=0.1).train
    params, optimiser = jnp.array([2.0, -3.0]), fit.make_optimiser(config)
    update, _ = optimiser.update(jnp.zeros(2), optimiser.init(params), params)
    np.testing.assert_allclose(update, -config.learning_rate * jnp.sign(params), rtol=1e-4)


def test_a_broken_run_ends_as_the_unbroken_one(tmp_path, monkeypatch):
    config = make.make_config(train__steps=40, train__checkpoint_every=2, model__dropout=0.2)
    arrays = make.make_arrays()
    data = problem.build(arrays, "1")
    model = network(config)
    whole = fit.fit(model, data, config.train, 3, tmp_path / "a" / "checkpoints" / "s", "whole")

    class Killed(Exception):
        pass

    steps = []

    def kill_after_two(manager, step, state):
        if len(steps) == 2:
            raise Killed
        steps.append(step)
        original(manager, step, state)
        manager.wait_until_finished()

    original = checkpoints.save
    folder = tmp_path / "b" / "checkpoints" / "s"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", kill_after_two)
        with pytest.raises(Killed):
            fit.fit(model, data, config.train, 3, folder, "broken")
    resumed = fit.fit(model, data, config.train, 3, folder, "resumed")
    assert resumed.best_step == whole.best_step
    saved.assert_same_end(tmp_path / "a" / "checkpoints" / "s", folder)


def test_cross_entropy_is_that_of_optax_over_known_cells():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(9, 3)).astype(np.float32)
    labels = rng.integers(0, 2, (9, 3)).astype(np.float32)
    labels[2, 1] = np.nan
    known = ~np.isnan(labels)
    costs = optax.sigmoid_binary_cross_entropy(logits, np.nan_to_num(labels))
    expected = float(costs[known].mean())
    found = float(loss.cross_entropy(logits, labels, jnp.ones(3)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_two_is_two_copies_of_each_positive():
    logits = np.array([[0.3], [-1.0], [0.7]], np.float32)
    labels = np.array([[1.0], [0.0], [1.0]], np.float32)
    weighted = loss.cross_entropy(logits, labels, jnp.array([2.0])) * 3
    copied = loss.cross_entropy(logits[[0, 0, 1, 2, 2]], labels[[0, 0, 1, 2, 2]], jnp.ones(1)) * 5
    assert float(weighted) == pytest.approx(float(copied), rel=1e-5)


def test_probabilities_of_a_weighted_loss_are_the_prevalence():
    labels, weight = jnp.array([[1.0], [0.0], [0.0], [0.0]]), jnp.array([3.0])
    # The logit at which the weighted loss of one positive in four is least.
    slope = jax.grad(lambda logit: loss.cross_entropy(jnp.full((4, 1), logit), labels, weight))
    assert float(slope(0.0)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(loss.unweighted(np.zeros((1, 1)), weight), 0.25, rtol=1e-6)


def test_balanced_weight_counts_training_labels():
    arrays = make.make_arrays()
    train = arrays.labels[(arrays.split == "train") & ~np.isnan(arrays.labels).any(axis=1)]
    expected = np.clip((train == 0).sum(0) / (train == 1).sum(0), 1, 100)
    np.testing.assert_allclose(problem.build(arrays, "balanced").positive_weight, expected)


@pytest.mark.slow
def test_a_diverging_loss_names_the_key(tmp_path):
    config = make.make_config(train__learning_rate=1e30)
    data = problem.build(make.make_arrays(), "1")
    with pytest.raises(errors.ConfigError, match="config.train.learning_rate"):
        fit.fit(network(config), data, config.train, 0, tmp_path / "checkpoints" / "s", "bad")


def test_an_unknown_positive_weight_is_refused():
    with pytest.raises(errors.ConfigError, match="positive_weight"):
        problem.build(make.make_arrays(), "heavy")
