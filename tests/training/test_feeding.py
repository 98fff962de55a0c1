"""Stays fed from the host are fitted as stays that lie on the device are."""

import contextlib
import dataclasses
import json
import pathlib
import sys

import jax
import numpy as np
import pytest
import saved
import stays as make
import two_devices

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.experiment import fitting
from ehr_jax.models import registry
from ehr_jax.training import feeding, fit, kinds, memory, partition, seeds, stay_problem

BOTH = stay_problem, feeding


def config_of(**changes):
    config = registry.configure(base.defaults(), "realm")
    config.realm.update({"width": 8, "heads": 2, "feed_forward": 8, "variant": "concat"})
    config.realm.survival_days = (30, 90)
    config.train.update({"batch": 12, "steps": 12, "eval_every": 4, "positive_weight": "balanced"})
    config.train.update({"checkpoint_every": 1, "learning_rate": 1e-3, "devices": 1} | changes)
    return config


def learnable(count: int = 96):
    arrays = make.arrays(count)
    labels = (arrays.stays["statics"][:, :1] > 0.5).astype(np.float32)
    labels[::7] = np.nan  # not labelled
    return dataclasses.replace(arrays, labels=labels)


def fitted(place, room, folder, config, mesh=None):
    """Fits and returns (parameters, rows of metrics.jsonl without the time)."""
    asked = config.train
    data = room.build(learnable(), asked.positive_weight, asked.batch, mesh)
    return fit.fit(registry.build(config, 1), data, asked, 3, place / folder / "c" / "s", folder)


def close(one, other):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_steps_take_the_samples_that_they_take_on_the_device():
    arrays, key = learnable(), jax.random.key(5)
    data = stay_problem.build(arrays, 1.0, batch=12)
    count = len(data.train_labels)
    assert count // 12 == 2  # so that ten steps are five epochs
    told = feeding.step_rows(key, 3, 10, count, 12)
    rows = jax.jit(data.batch_rows)
    np.testing.assert_array_equal(told, [rows(key, step) for step in range(3, 13)])
    fed = feeding.build(arrays, 1.0, batch=12)
    np.testing.assert_array_equal(arrays.labels[fed.train[told[0]]], data.train_labels[told[0]])


def test_a_fit_is_that_of_stays_on_the_device_and_tells_how_long_it_waited(tmp_path, capsys):
    one, other = (fitted(tmp_path, room, room.__name__, config_of()) for room in BOTH)
    close(one.params, other.params)
    assert (one.best_step, one.steps) == (other.best_step, other.steps) == (other.best_step, 12)
    assert "% of the time steps waited for input" in capsys.readouterr().out
    logs = [(tmp_path / room.__name__ / "metrics.jsonl").read_text().splitlines() for room in BOTH]
    for line, other_line in zip(*logs, strict=True):
        row, fed = map(json.loads, (line, other_line))
        assert 0 <= fed.pop("input_wait") <= 1
        np.testing.assert_allclose(row["loss"], fed["loss"], rtol=1e-5)
        assert row["validation"] == pytest.approx(fed["validation"], rel=1e-4)


def test_a_stopped_fit_goes_on_to_the_same(tmp_path):
    fitted(tmp_path, feeding, "whole", config_of())
    fitted(tmp_path, feeding, "rest", config_of(steps=4))
    fitted(tmp_path, feeding, "rest", config_of())
    saved.assert_same_end(*(tmp_path / folder / "c" / "s" for folder in ("whole", "rest")))


def test_validation_in_blocks_is_that_of_all_at_once(monkeypatch):
    config, arrays = config_of(), learnable()
    model = registry.build(config, 1)
    on_device, fed = (room.build(arrays, 1.0, 12) for room in BOTH)
    params = on_device.init(model, jax.random.key(0))
    logits = jax.jit(lambda p, data: data.validation_logits(p, model))(params, on_device)
    monkeypatch.setattr(stay_problem, "SCORED_AT_ONCE", 10)  # 27 or 28 samples
    told = feeding.validation_logits(jax.jit(model.apply), params, fed)
    np.testing.assert_allclose(told, logits, atol=1e-6)


def test_stays_that_do_not_fit_are_fed_and_sweeps_of_them_refused(monkeypatch, capsys):
    monkeypatch.setattr(stay_problem, "SCORED_AT_ONCE", 32)
    config, arrays = config_of(), learnable(3000)
    job = kinds.job(config, arrays)
    found, fed = (memory.need(job, fed) for fed in (False, True))
    assert fed.arrays < found.arrays / 2 and fed.work == found.work
    monkeypatch.setattr(memory, "free", lambda: fed.total)
    monkeypatch.setattr(memory, "_compiled", lambda *_: found.work)
    data = fitting.make_task(config, arrays)
    assert isinstance(data, feeding.FedStays)
    assert "are read from host memory" in capsys.readouterr().out
    scores = data.probabilities(job.model, data.init(job.model, jax.random.key(0)), arrays)
    assert scores.shape == arrays.labels.shape
    with pytest.raises(errors.ConfigError, match="are free; "):
        fitting.make_task(config, arrays, alone=False)
    assert seeds.at_once(job.model, data, config.train, 5) == 1
    with pytest.raises(errors.ConfigError, match="population is 5, .* read from host memory"):
        seeds.at_once(job.model, data, config_of(population=5).train, 5)
    monkeypatch.setattr(memory, "free", lambda: fed.arrays)
    with pytest.raises(errors.ConfigError, match="config.train.batch=[36],"):
        fitting.make_task(config, arrays)
    monkeypatch.setattr(memory, "_compiled", lambda *_: None)  # then what fits is what arrays do
    assert isinstance(fitting.make_task(config, arrays), feeding.FedStays)


@pytest.mark.slow
def test_the_memory_that_feeding_takes_does_not_grow_with_the_samples(monkeypatch):
    config, few, many = config_of(), learnable(4_000), learnable(20_000)
    needs = [memory.need(kinds.job(config, arrays), fed=True) for arrays in (few, many)]
    assert needs[0] == needs[1]
    # Less than the estimate, so that the program is compiled and looked at.
    monkeypatch.setattr(memory, "free", lambda: needs[0].total - 1)
    taken = []
    compiled = memory._compiled
    monkeypatch.setattr(
        memory, "_compiled", lambda *given: taken.append(compiled(*given)) or taken[-1]
    )
    for arrays in (few, many):
        with contextlib.suppress(errors.ConfigError):
            memory.require(kinds.job(config, arrays))
    assert len(taken) == 4 and taken[2] > 2 * taken[0]  # all samples on the device
    assert taken[1] == taken[3]


def test_an_impossible_batch_is_refused():
    with pytest.raises(errors.ConfigError, match="config.train.batch is 0"):
        feeding.build(learnable(), 1.0, batch=0)


@pytest.mark.slow
def test_batches_over_two_devices_train_as_on_one(tmp_path):
    found = two_devices.load(__file__, tmp_path)
    close(fitted(tmp_path, feeding, "one", config_of()).params, found)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1])
    mesh = partition.make_mesh(2)
    two_devices.save(fitted(place, feeding, "two", config_of(devices=2), mesh).params, place)
