"""Every kind of input keeps one contract; one that is new in its own files trains in all ways."""

import functools
import importlib
import json

import arrays as make
import jax
import numpy as np
import pytest

from ehr_jax import config as base
from ehr_jax.cohorts import tasks
from ehr_jax.experiment import fitting
from ehr_jax.features import arrays as features
from ehr_jax.features import once, sequences
from ehr_jax.models import registry
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.training import fit, kinds, member_settings, memory, population, population_loop, task


@functools.cache
def cohort_of(patients: int = 150):
    records = synthetic.generate(patients, 0)
    return records, tasks.build(records, "phenotype_next", "strict", 0)


def config_of(**changes):
    config = registry.configure(make.make_config(**changes), "gru_visits")
    config.features.min_visits = 2
    return config


@functools.cache
def arrays_of():
    records, cohort = cohort_of()
    config = config_of()
    known = once.known_of(records, cohort, config, features.Reads())
    return sequences.build(known, config)


def test_every_kind_has_every_part_of_the_contract():
    contract = vars(kinds.Kind) | kinds.Kind.__annotations__
    wanted = {name for name in contract if name[0] != "_"}
    modules = {registry.find(name).inputs.module for name in registry.OF_RECORDS}
    assert len(modules) == 4
    for module in modules:
        assert wanted <= set(vars(importlib.import_module(module))), module


def test_a_network_is_what_its_entry_says():
    for name, entry in registry.METHODS.items():
        module = registry.resolve(name).module
        assert hasattr(module, "build") == entry.is_network != hasattr(module, "fit_predict")


def test_a_sequence_ends_with_the_sample_s_own_visit_and_holds_nothing_later():
    records, cohort = cohort_of()
    made = arrays_of()
    order = dict(records.visits.select("visit_id", "order").iter_rows())
    by_subject = records.visits.group_by("subject_id").agg("order")
    orders = dict(by_subject.iter_rows())
    for row, (visit, subject) in enumerate(
        cohort.samples.select("visit_id", "subject_id").iter_rows()
    ):
        earlier = sum(one < order[visit] for one in orders[subject])
        assert made.visits["mask"][row].sum() <= earlier + 1
    assert (made.visits["gaps"][:, -1] == 0).all()
    padding = made.visits["codes"] == len(made.vocabulary.codes)
    assert padding[made.visits["mask"] == 0].all()


def test_padding_of_slots_and_visits_changes_no_score():
    made, config = arrays_of(), config_of(train__devices=1)
    job = kinds.job(config, made)
    data = job.kind.build(job)
    params = data.init(job.model, jax.random.key(0))
    wider = {
        "codes": np.pad(
            made.visits["codes"],
            ((0, 0), (2, 0), (0, 3)),
            constant_values=len(made.vocabulary.codes),
        ),
        "mask": np.pad(made.visits["mask"], ((0, 0), (2, 0))),
        "gaps": np.pad(made.visits["gaps"], ((0, 0), (2, 0))),
    }
    padded = sequences.dataclasses.replace(made, visits=wider)
    np.testing.assert_allclose(
        data.probabilities(job.model, params, padded),
        data.probabilities(job.model, params, made),
        atol=1e-6,
    )


def test_its_memory_is_told_from_the_shapes_of_its_own_build(monkeypatch, capsys):
    job = kinds.job(config_of(train__devices=1), arrays_of())
    shapes = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)  # noqa: E731
    assert shapes(job.kind.outline(job).step) == shapes(job.kind.build(job))
    assert memory.need(job).arrays == task.size(job.kind.build(job))
    monkeypatch.setattr(memory, "free", lambda: 10**12)
    assert memory.require(job) and "no step waits" in capsys.readouterr().out


@pytest.mark.slow
def test_a_population_equals_its_members_one_by_one(tmp_path):
    config = config_of(train__steps=10, train__eval_every=5, train__devices=1)
    job = kinds.job(config, arrays_of())
    data = job.kind.build(job)
    members = [
        member_settings.Member(0, {"dropout": 0.0, "learning_rate": 3e-3}),
        member_settings.Member(1, {"dropout": 0.25, "learning_rate": 1e-2}),
    ]
    logs = [tmp_path / "log"] * 2
    logs[0].mkdir()
    together = population_loop.train(
        job.model, data, config.train, members, tmp_path / "both", logs, "both"
    )
    for row, member in enumerate(members):
        alone = config_of(train__steps=10, train__eval_every=5, train__devices=1)
        alone.model.dropout, alone.train.learning_rate = member.values.values()
        single = fit.fit(
            kinds.job(alone, arrays_of()).model, data, alone.train, member.seed,
            tmp_path / f"{row}" / "checkpoints" / "seed", "one",
        )  # fmt: skip
        best = population.member(together, row).best_params
        for one, other in zip(jax.tree.leaves(best), jax.tree.leaves(single.params), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_run_of_sequences_fits_its_training_labels(tmp_path):
    _, cohort = cohort_of()
    config = config_of(train__steps=60, train__seeds=(0,), train__batch=32, train__devices=1)
    config.train.update({"learning_rate": 0.02, "eval_every": 20})
    config.model.width = 16
    results = fitting.fit_and_score(config, cohort, arrays_of(), tmp_path)
    assert results["label"] == "GRU over visits" and "macro" in results["test"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]


@pytest.mark.parametrize("name", ["mingle", "realm", "gru_visits"])
def test_shards_are_refused_by_the_kinds_that_have_none(name):
    config = registry.configure(base.defaults(), name)
    config.train.shards, config.train.devices = 2, 1
    if name == "mingle":
        fitting.check_method(config)
    else:
        with pytest.raises(fitting.errors.ConfigError, match="config.train.shards is 2"):
            fitting.check_method(config)
