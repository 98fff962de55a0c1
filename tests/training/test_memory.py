"""What training takes is told from shapes, before anything is placed on the device."""

import dataclasses
import re

import arrays as make
import jax
import pytest
import stays as make_stays

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.experiment import fitting
from ehr_jax.models import registry
from ehr_jax.training import (
    kinds,
    memory,
    problem,
    seeds,
    stay_kind,
    stay_problem,
    visit_kind,
)


def visits(**changes):
    config = make.make_config(**changes)
    return kinds.job(config, make.make_arrays())


def realm_config(**changes):
    config = registry.configure(base.defaults(), "realm")
    config.realm.update({"width": 8, "heads": 2, "feed_forward": 8, "variant": "concat"})
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in changes.items()})
    return config


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_the_outline_of_visits_has_the_shapes_of_the_problem(protocol):
    arrays = make.make_arrays(protocol=protocol)
    assert shapes(visit_kind.of_part(arrays, 1)) == shapes(problem.build(arrays, "1"))


def test_the_outline_of_stays_has_the_shapes_of_the_problem():
    built = stay_problem.build(make_stays.arrays(), "1", 8)
    assert shapes(stay_kind.of_batch(make_stays.arrays(), 8)) == shapes(built)


def test_visits_beside_stays_count_only_where_they_are_read(monkeypatch):
    config, alone = realm_config(train__devices=1, train__batch=8), make_stays.arrays()
    both = kinds.job(config, dataclasses.replace(alone, visits=make.make_arrays(40)))
    assert memory.need(both) == memory.need(kinds.job(config, alone))
    monkeypatch.setattr(memory, "free", lambda: 0)  # the program is compiled, of stays alone
    with pytest.raises(errors.ConfigError, match="are free"):
        memory.require(both)


def test_a_part_of_the_visits_takes_less_and_all_parts_hold_them_all():
    arrays = make.make_arrays(400)
    model = registry.build(make.make_config(), 2)
    each = [memory.member_bytes(model, visit_kind.of_part(arrays, n)) for n in (1, 2, 4, 8)]
    assert each == sorted(each, reverse=True) and each[-1] < each[0] / 3
    parts = visit_kind.of_part(arrays, 7)
    whole = visit_kind.of_part(arrays, 1)
    assert 0 <= 7 * parts.shaping.num_visits - whole.shaping.num_visits < 7


def test_where_the_input_lies_is_said_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(memory, "free", lambda: 10**12)
    config = make.make_config(train__devices=1)
    fitting.make_task(config, make.make_arrays())
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"input: arrays take [\d.]+ MB of each of 1 \w+ device\(s\), of 1e\+03 GB free, and lie "
        r"there for the whole run: no step waits for input. A step takes some [\d.]+ MB beside\n",
        said,
    )


@pytest.mark.parametrize(
    ("changes", "on_one"),
    [
        ({"train__seeds": (0, 1, 2, 3)}, True),
        ({"train__seeds": (0, 1), "train__members": 2}, True),
        ({"train__seeds": (0, 1, 2)}, False),  # fewer members than devices
        ({"train__seeds": (0, 1, 2, 3), "train__population": 1}, False),
        ({"train__seeds": (0, 1, 2, 3), "train__population": 2}, False),  # two devices would rest
        ({"train__seeds": (0, 1, 2, 3), "train__population": 4}, True),
        ({"train__seeds": (0, 1, 2, 3), "train__devices": 4}, False),
    ],
)
def test_members_of_seeds_go_over_the_devices_where_they_can(monkeypatch, changes, on_one):
    config, arrays = make.make_config(**changes), make.make_arrays()
    monkeypatch.setattr(fitting.jax, "local_device_count", lambda: 4)
    monkeypatch.setattr(memory, "free", lambda: 10**12)
    assert (fitting.placed(config, arrays).train.devices == 1) == on_one
    monkeypatch.setattr(memory, "free", lambda: 10)  # no device holds a whole member
    assert fitting.placed(config, arrays) is config


def test_memory_that_cannot_be_told_refuses_nothing(monkeypatch, capsys):
    monkeypatch.setattr(memory, "free", lambda: None)
    memory.require(visits(train__devices=1))
    assert "of an unknown number of bytes free" in capsys.readouterr().out


@pytest.mark.slow
def test_a_hypergraph_too_large_is_refused_before_it_is_placed_and_the_shards_named_fit(
    monkeypatch, capsys
):
    config = make.make_config(train__devices=1)
    arrays = make.make_arrays(400)
    job = kinds.job(config, arrays)
    found, compiled = memory.need(job), memory._compiled(job)
    monkeypatch.setattr(memory, "_compiled", lambda *_: compiled)
    available = found.arrays + compiled // 2
    monkeypatch.setattr(memory, "free", lambda: available)
    monkeypatch.setattr(problem, "build", lambda *_: pytest.fail("placed"))
    with pytest.raises(errors.ConfigError, match="are free; set config.train.shards=") as caught:
        fitting.make_task(config, arrays)
    config.train.shards = int(re.search(r"config.train.shards=(\d+)", str(caught.value))[1])
    assert 2 <= config.train.shards <= 16
    monkeypatch.undo()
    monkeypatch.setattr(memory, "free", lambda: available + compiled)
    fitting.make_task(config, arrays)
    assert "no step waits" in capsys.readouterr().out


def test_what_the_compiler_finds_to_fit_is_not_refused_for_its_estimate(monkeypatch, capsys):
    job = visits(train__devices=1)
    found = memory.need(job)
    monkeypatch.setattr(memory, "free", lambda: found.total - 1)
    monkeypatch.setattr(memory, "_compiled", lambda *_: found.work // 2)
    memory.require(job)
    assert f"{found.work // 2 / 1e6:.3g} MB beside" in capsys.readouterr().out


def test_a_compiler_that_does_not_tell_refuses_no_more_than_arrays(monkeypatch, capsys):
    job = visits(train__devices=1)
    found = memory.need(job)
    monkeypatch.setattr(memory, "_compiled", lambda *_: None)
    monkeypatch.setattr(memory, "free", lambda: found.arrays)
    memory.require(job)
    assert f"{found.work / 1e6:.3g} MB beside" in capsys.readouterr().out
    monkeypatch.setattr(memory, "free", lambda: found.arrays - 1)
    with pytest.raises(errors.ConfigError, match="spread it over more devices"):
        memory.require(job)


def test_a_batch_too_large_is_refused_and_one_that_fits_named(monkeypatch):
    config = realm_config(train__devices=1, train__batch=12)
    job = kinds.job(config, make_stays.arrays())
    found = memory.need(job)
    monkeypatch.setattr(memory, "free", lambda: found.arrays + found.work * 3 // 4)
    monkeypatch.setattr(memory, "_compiled", lambda *_: found.work)
    with pytest.raises(errors.ConfigError, match="are free; set config.train.batch=[36],"):
        memory.require(job)


def test_arrays_that_alone_do_not_fit_name_what_makes_them_smaller(monkeypatch):
    job = visits(train__devices=1)
    monkeypatch.setattr(memory, "free", lambda: 1000)
    monkeypatch.setattr(memory, "_compiled", lambda *_: 1)
    with pytest.raises(errors.ConfigError, match="0.001 MB are free; spread it over more"):
        memory.require(job)


def test_memory_that_ends_in_training_is_explained_and_other_errors_are_not():
    exhausted = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
    stays = kinds.job(realm_config(), make_stays.arrays())
    for job, key in ((visits(), "shards=2"), (stays, "batch=32")):
        with pytest.raises(errors.ConfigError, match=f"population=1, .*config.train.{key}"):
            with memory.explained(job):
                raise exhausted
    with pytest.raises(jax.errors.JaxRuntimeError), memory.explained(stays):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_every_device_of_a_cpu_has_its_share_of_the_memory():
    free = memory.free()
    assert free is None or free > 1e6


def test_seeds_in_turn_share_one_compiled_program(tmp_path, capsys):
    config = registry.configure(make.make_config(train__population=1, train__steps=10), "mlp")
    model, data, config = (
        registry.build(config, 2),
        problem.build(make.make_arrays(), "1"),
        config.train,
    )
    found = seeds.fit_seeds(model, data, config, (0, 1), tmp_path, "test")
    assert "test: 1 program compiled for 2 seed(s)" in capsys.readouterr().out
    assert [one.steps for one in found] == [10, 10]
    seeds.fit_seeds(model, data, config, (0, 1), tmp_path, "test")
    assert "compiled" not in capsys.readouterr().out
