"""Stays and their hypergraph trained at once: one order, inductive states, masks, both learn."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import stays as make

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.features import hypergraph, prepare
from ehr_jax.models import registry, unified
from ehr_jax.nn import bipartite
from ehr_jax.training import fit, problem, stay_problem, unified_problem

NODES = 6


@dataclasses.dataclass(frozen=True)
class Arrays:
    """What `build` reads of features.stays.StayArrays."""

    stays: dict
    labels: np.ndarray
    survival: np.ndarray
    split: np.ndarray
    visits: prepare.Arrays | None

    @property
    def targets(self):
        return np.concatenate([self.labels, self.survival], axis=1)


def draw(count: int = 45, seed: int = 0) -> Arrays:
    """Stays of which every fifth has no code; the label is whether a stay has code 0."""
    rng = np.random.default_rng(seed)
    given = make.draw(batch=count, seed=seed)
    held = rng.random((count, NODES)) < 0.5
    held[::5] = False
    sample, node = np.nonzero(held)
    labels = held[:, :1].astype(np.float32)
    labels[9] = np.nan
    split = np.array(["train", "train", "validation", "test"])[np.arange(count) % 4]
    fields = {name: np.asarray(getattr(given, name)) for name in given.__dataclass_fields__}
    fields["visit"] = np.zeros((count, 0), np.float32)
    fields["has_visit"] = held.any(axis=1).astype(np.float32)
    hypergraph = prepare.Arrays(
        vocabulary=None,
        visits=bipartite.pack(node, sample, NODES, count),
        structure=rng.normal(size=(NODES, 4)).astype(np.float32),
        concepts=rng.normal(size=(NODES, 7)).astype(np.float32),
        notes=np.zeros((count, 7), np.float32),
        has_note=np.zeros(count, bool),
        labels=labels,
        label_names=("y",),
        split=split,
        subjects=np.arange(count),
        shapes=split == "train",
        counts={},
    )
    return Arrays(fields, labels, np.zeros((count, 0), np.float32), split, hypergraph)


@functools.cache
def network(depth: int = 1) -> unified.Unified:
    made = registry.configure(base.defaults(), "unified_codes")
    made.realm.update({"width": 8, "heads": 2, "feed_forward": 8, "variant": "concat"})
    made.model.update({"depth": depth, "width": 8, "heads": 2})
    return registry.build(made, 1)


@functools.cache
def ready():
    """(arrays, data, parameters before the first step) of the codes alone."""
    arrays = draw()
    data = unified_problem.build(arrays, 1.0, batch=8)
    params = make.quick_jit(lambda d, k: d.init(network(), k))(data, jax.random.key(0))
    return arrays, data, params


@functools.cache
def scorer():
    """(parameters, hypergraph, visits only read, stays) -> logits of [shaping ; read] visits."""

    def run(params, graph, reading, given):
        states = unified_problem.visit_states(network(), params, graph, reading)
        return network().stays.apply(params["stays"], given.replace(visit=states))

    return make.quick_jit(run)


def scores(params, arrays) -> np.ndarray:
    """[sample, 1] logits."""
    shapes = arrays.visits.shapes
    ordered = np.concatenate([np.flatnonzero(shapes), np.flatnonzero(~shapes)])
    data = unified_problem.build(arrays, 1.0, batch=8)
    read = problem.visits(arrays.visits, np.flatnonzero(~shapes), self_loops=False)
    found = scorer()(params, data.visits, read, stay_problem.rows(arrays, ordered))
    return np.asarray(found)[np.argsort(ordered)]


def without(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """The arrays without the samples `rows`."""
    kept = np.setdiff1d(np.arange(len(arrays.labels)), rows)
    graph = arrays.visits
    per_sample = ("notes", "has_note", "labels", "split", "subjects", "shapes")
    fewer = {name: getattr(graph, name)[kept] for name in per_sample}
    return Arrays(
        stays={name: x[kept] for name, x in arrays.stays.items()},
        labels=arrays.labels[kept],
        survival=arrays.survival[kept],
        split=arrays.split[kept],
        visits=dataclasses.replace(
            graph, visits=hypergraph.select_visits(graph.visits, kept), **fewer
        ),
    )


def test_labelled_samples_of_both_parts_stand_in_one_order():
    _, data, _ = ready()
    for name in ("train_labels", "validation_labels"):
        np.testing.assert_array_equal(getattr(data.visits, name), getattr(data.stays, name))
    assert len(data.visits.train_rows) == len(data.stays.train.has_visit) == 22


def test_probabilities_are_those_of_states_read_by_every_sample():
    arrays, data, params = ready()
    found = data.probabilities(network(), params, arrays)
    expected = 1 / (1 + np.exp(-scores(params, arrays)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    logits = make.quick_jit(lambda p, d: d.validation_logits(p, network()))(params, data)
    rows = np.flatnonzero((arrays.split == "validation") & ~np.isnan(arrays.labels[:, 0]))
    np.testing.assert_allclose(logits, scores(params, arrays)[rows], atol=1e-5)


def test_both_networks_have_gradients_of_one_loss():
    _, data, params = ready()
    gradient = make.quick_jit(jax.grad(lambda p, d: d.loss(p, network(), jax.random.key(1), 0)[0]))
    found = gradient(params, data)
    for part in ("codes", "stays"):
        assert any(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(found[part]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_a_visit_that_shaped_the_states_reads_the_state_it_had():
    arrays, data, params = ready()
    states, frozen = make.quick_jit(lambda p, d: unified.shape(network(), p, d.nodes, d.shaping))(
        params, data.visits
    )
    shaping = problem.visits(arrays.visits, np.flatnonzero(arrays.visits.shapes), self_loops=False)
    again = make.quick_jit(lambda p, d, v, f: unified.read(network(), p, d.nodes, v, f))(
        params, data.visits, shaping, frozen
    )
    np.testing.assert_allclose(states, again, atol=1e-5)


def test_no_score_depends_on_other_stays_that_are_scored():
    arrays, _, params = ready()
    whole = scores(params, arrays)
    gone = np.flatnonzero(arrays.split == "test")[:4]
    kept = np.setdiff1d(np.arange(len(whole)), gone)
    np.testing.assert_allclose(scores(params, without(arrays, gone)), whole[kept], atol=1e-5)


def test_training_visits_shape_the_states_that_others_read():
    arrays, _, params = ready()
    gone = np.flatnonzero(arrays.split == "train")[:6]
    kept = np.setdiff1d(np.arange(len(arrays.labels)), gone)
    test = (arrays.split[kept] == "test") & (arrays.stays["has_visit"][kept] > 0)
    change = np.abs(scores(params, without(arrays, gone)) - scores(params, arrays)[kept])
    assert change[test].max() > 1e-5


def test_a_stay_without_codes_has_no_visit_state_and_others_have():
    arrays, _, params = ready()
    whole = scores(params, arrays)
    moved = jax.tree.map(lambda x: x + 0.3, params["codes"])
    change = np.abs(scores({**params, "codes": moved}, arrays) - whole).max(axis=1)
    has = arrays.stays["has_visit"] > 0
    assert (~has).sum() > 5 and not change[~has].any()
    assert (change[has] > 1e-6).all()
    np.testing.assert_allclose(whole[~has], whole[~has][:1].repeat((~has).sum(), 0), atol=1e-6)


@pytest.mark.slow
def test_what_only_codes_tell_is_learnt(tmp_path):
    arrays = draw(160, seed=1)
    data, config = unified_problem.build(arrays, 1.0, batch=32), base.defaults().train
    config.learning_rate, config.weight_decay = 0.01, 0.0
    config.steps, config.eval_every, config.patience = 90, 15, 100
    model = network(depth=0)  # without E->V half-layers: quick to compile
    fitted = fit.fit(model, data, config, 0, tmp_path / "c" / "s", "unified")
    found = data.probabilities(model, fitted.params, arrays)
    known = (arrays.split == "test") & (arrays.stays["has_visit"] > 0)
    assert ((found > 0.5) == (arrays.labels > 0.5))[known].mean() > 0.85


def test_stays_whose_codes_were_not_prepared_are_refused():
    with pytest.raises(errors.ConfigError, match="config.realm.use_visit is False"):
        unified_problem.build(dataclasses.replace(draw(), visits=None), 1.0, batch=8)


def test_keys_of_the_codes_do_not_switch_on_notes_twice():
    made = network()
    assert made.stays.modalities == ("visit",) and not made.codes.use_notes
