"""Populations: members are the runs of their own, stop alone, resume, and shrink to the same."""

import json
import pathlib
import sys

import arrays as make
import jax
import numpy as np
import pytest
import stays as make_stays
import two_devices

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.models import realm, registry
from ehr_jax.training import (
    checkpoints,
    fit,
    member_settings,
    memory,
    population,
    population_loop,
    problem,
    seeds,
    sharded_problem,
    stay_problem,
)
from ehr_jax.training import loss as losses

STEPS = 20
# Nearly all tests train three members with rates of their own: one program, compiled once.
RATES = (0.0, 0.5, 0.25)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Compiles in a hurry: how fast the programs are does not matter here."""
    slowly = jax.jit
    monkeypatch.setattr(
        jax, "jit", lambda f, **more: slowly(f, **(more | {"compiler_options": make_stays.QUICK}))
    )


def visits(method: str = "mlp", **changes):
    """(config.train, network, data) of a method over visits."""
    config = make.make_config(train__steps=STEPS, train__select="loss", **changes)
    config = registry.configure(config, method)
    config.model.width = 8
    return config.train, registry.build(config, 2), problem.build(make.make_arrays(), "1")


def over_stays():
    """(config.train, network, data) of a small network over stays."""
    rng, count = np.random.default_rng(0), 40
    given = make_stays.draw(batch=count, time=4)
    arrays = type("Arrays", (), {})()
    arrays.stays = {name: np.asarray(getattr(given, name)) for name in given.__dataclass_fields__}
    arrays.labels = (rng.random((count, 1)) < 0.4).astype(np.float32)
    arrays.targets = arrays.labels
    arrays.split = np.array(["train", "validation", "test"])[np.arange(count) % 3]
    config = base.defaults()
    config.train.steps = STEPS
    config.realm.width, config.realm.heads, config.realm.feed_forward = 8, 2, 8
    config.realm.variant, config.realm.use_knowledge = "concat", False  # quick to compile
    return config.train, realm.build(config.realm, 1), stay_problem.build(arrays, "1", batch=7)


def three(*values: dict) -> list[member_settings.Member]:
    values = values or ({},) * 3
    return [member_settings.Member(k, {"dropout": RATES[k]} | values[k]) for k in range(3)]


def train(problem_of, members, folder: pathlib.Path, **more) -> population.Population:
    config, model, data = problem_of
    logs = [folder / f"member_{k}" for k in range(len(members))]
    for log in logs:
        log.mkdir(parents=True, exist_ok=True)
    return population_loop.train(
        model, data, config, members, folder / "checkpoints", logs, "test", **more
    )


def logged(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same(one, other, atol: float = 1e-6):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mingle", "realm"])
def test_a_member_equals_the_run_of_its_seed_and_settings(kind, tmp_path):
    config, model, data = visits("mingle", model__depth=0) if kind == "mingle" else over_stays()
    members = [
        member_settings.Member(0, {"learning_rate": 1e-3, "dropout": 0.0}),
        member_settings.Member(
            3, {"learning_rate": 0.01, "dropout": 0.3, "weight_decay": 0.1,
                "clip": 0.05, "positive_weight": "balanced", "optimiser": "adamw",
                "schedule": "cosine", "warmup_steps": 4, "final_share": 0.1},
        ),
        member_settings.Member(3),
    ]  # fmt: skip
    train((config, model, data), members, tmp_path / "together")
    own = members[1].values
    for name in ("learning_rate", "weight_decay", "clip", *member_settings.OF_COURSE):
        config[name] = own[name]
    weights = losses.positive_weights(np.asarray(data.train_labels), "balanced")
    folder = tmp_path / "alone"
    fit.fit(
        model.clone(dropout=0.3),
        data.replace(positive_weight=jax.numpy.asarray(weights)),
        config,
        3,
        folder / "checkpoints" / "seed_3",
        "alone",
    )
    alone, together = logged(folder), logged(tmp_path / "together" / "member_1")
    other = logged(tmp_path / "together" / "member_2")
    assert len(alone) == STEPS // config.eval_every
    for one, same, different in zip(alone, together, other, strict=True):
        assert (one["seed"], one["step"]) == (same["seed"], same["step"])
        assert same["loss"] == pytest.approx(one["loss"], abs=1e-5)
        assert same["validation"]["loss"] == pytest.approx(one["validation"]["loss"], abs=1e-5)
        assert abs(different["loss"] - one["loss"]) > 1e-3


def test_a_member_that_diverges_stops_alone_and_is_named(tmp_path, capsys):
    bad = {"learning_rate": 1e30}
    with_bad = train(visits(), three(bad, {}, {}), tmp_path / "a")
    without = train(visits(), three(), tmp_path / "b")
    assert list(with_bad.failed > 0) == [True, False, False]
    assert list(with_bad.state.step[1:]) == [STEPS] * 2
    for row in (1, 2):
        assert_same(population.member(with_bad, row), population.member(without, row))
    for leaf in jax.tree.leaves(with_bad.state.params):
        assert np.isfinite(leaf).all()
    assert "member 0 stopped at step 5" in capsys.readouterr().out
    assert not (tmp_path / "a" / "member_0" / "metrics.jsonl").exists()


def test_what_stopped_early_no_longer_changes_and_a_smaller_program_does_the_rest(
    tmp_path, monkeypatch
):
    still = {"learning_rate": 1e-30}  # never better than at first, so out of patience
    parts = visits(train__patience=2)
    monkeypatch.setattr(population_loop, "SHRINK_WHERE_SAVED", np.inf)
    whole = train(parts, three(still, {}, still), tmp_path / "whole")
    monkeypatch.setattr(population_loop, "SHRINK_WHERE_SAVED", -np.inf)
    shrunk = train(parts, three(still, {}, still), tmp_path / "shrunk")
    assert list(whole.state.step) == [15, STEPS, 15]
    assert_same(whole.state, shrunk.state)


def test_members_taken_into_another_population_are_what_they_would_have_been(tmp_path):
    whole = train(visits(), three(), tmp_path / "whole")
    first = train(visits(), three(), tmp_path / "first", until=10)
    assert list(first.state.step) == [10] * 3
    rows = np.array([2, 1, 2])  # one dropped, one copied
    taken = [three()[row] for row in rows]
    rest = train(visits(), taken, tmp_path / "rest", begin=population.take(first, rows))
    assert_same(population.take(whole, rows).state, rest.state)


def test_a_broken_population_ends_as_the_unbroken_one(tmp_path, monkeypatch):
    parts, members = visits(train__checkpoint_every=1), three()
    whole = train(parts, members, tmp_path / "whole")

    class Killed(Exception):
        pass

    def save_then_die(manager, step, state):
        original(manager, step, state)
        manager.wait_until_finished()
        if step == 2:
            raise Killed

    original = checkpoints.save
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints, "save", save_then_die)
        train(parts, members, tmp_path / "broken")
    resumed = train(parts, members, tmp_path / "broken")
    for one, other in zip(*map(jax.tree.leaves, (whole, resumed)), strict=True):
        np.testing.assert_array_equal(one, other)
    for k in range(3):
        steps = [row["step"] for row in logged(tmp_path / "broken" / f"member_{k}")]
        assert steps == [5, 10, 15, 20]


def test_seeds_together_leave_the_folder_of_seeds_one_after_another(tmp_path):
    config, model, data = visits()
    found = {}
    for name, most in (("together", None), ("alone", 1)):
        config.population = most
        found[name] = seeds.fit_seeds(model, data, config, (0, 4, 2), tmp_path / name, "test")
    names = [sorted(x.name for x in (tmp_path / n / "checkpoints").iterdir()) for n in found]
    assert names == [["seed_0", "seed_2", "seed_4"]] * 2
    for one, other in zip(*found.values(), strict=True):
        assert one.best_step == other.best_step and one.steps == other.steps
        assert_same(one.params, other.params, atol=1e-4)
    like = fit.init_state(model, fit.make_optimiser(config), data, jax.random.key(0))
    manager = checkpoints.open_manager(seeds.seed_folder(tmp_path / "together", 4))
    step, state = checkpoints.restore_latest(manager, like)
    checkpoints.close(manager)
    assert step == found["together"][1].steps
    assert_same(state.best_params, found["together"][1].params, atol=0)


def test_seeds_begun_one_after_another_go_on_together(tmp_path):
    config, model, data = visits()
    whole = seeds.fit_seeds(model, data, config, (0, 4, 2), tmp_path / "whole", "test")
    config.steps, config.population = 10, 1
    seeds.fit_seeds(model, data, config, (0,), tmp_path / "half", "test")
    config.steps, config.population = STEPS, None
    rest = seeds.fit_seeds(model, data, config, (0, 4, 2), tmp_path / "half", "test")
    for one, other in zip(whole, rest, strict=True):
        assert one.steps == other.steps and one.best_step == other.best_step
        assert_same(one.params, other.params, atol=1e-4)
    again = seeds.fit_seeds(model, data, config, (0, 4, 2), tmp_path / "half", "test")
    assert_same([one.params for one in rest], [one.params for one in again], atol=0)


def test_a_seed_that_diverges_is_told_once_the_others_are_fitted(tmp_path):
    config, model, data = visits(train__learning_rate=1e30)
    for _ in range(2):
        with pytest.raises(errors.ConfigError, match="with seed 0 at step 5, 4 at step 5"):
            seeds.fit_seeds(model, data, config, (0, 4, 2), tmp_path, "test")


def test_members_at_once_are_bounded_by_memory_and_by_the_config(monkeypatch, capsys):
    config, model, data = visits()
    assert seeds.at_once(model, data, config, 5) == 5
    each = memory.member_bytes(model, data)
    parameters = sum(x.size for x in jax.tree.leaves(data.init(model, jax.random.key(0))))
    assert each > 20 * parameters
    monkeypatch.setattr(memory, "free", lambda: int(3.5 * each / seeds.SHARE))
    assert seeds.at_once(model, data, config, 5) == 3
    assert "3 of 5 members at once" in capsys.readouterr().out
    config.population = 4
    assert seeds.at_once(model, data, config, 5) == 4
    config.population = 0
    with pytest.raises(errors.ConfigError, match="config.train.population is 0"):
        seeds.at_once(model, data, config, 5)


def test_a_population_of_none_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="size 0"):
        train(visits(), [], tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("width", 16, "it changes a shape"),
        ("input_dropout", 0.1, "may differ in learning_rate"),  # this network has none
        ("dropout", 1.0, "from 0 to below 1"),
        ("learning_rate", "fast", "above 0"),
        ("weight_decay", -1e-3, "0 or more"),
        ("positive_weight", "heavy", "above 0"),
    ],
)
def test_a_value_that_no_member_may_have_is_refused(name, value, words, tmp_path):
    with pytest.raises(errors.ConfigError, match=words):
        train(visits(), [member_settings.Member(0, {name: value})], tmp_path)


@pytest.mark.slow
def test_members_over_two_devices_are_those_of_one(tmp_path):
    found = two_devices.load(__file__, tmp_path / "two")
    expected = jax.tree.leaves(train(visits(), three() * 2, tmp_path / "one").state.params)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_members_computed_a_few_at_a_time_are_those_of_all(monkeypatch, tmp_path):
    members = [
        member_settings.Member(seed, {"learning_rate": 1e-3 * (1 + seed)}) for seed in range(4)
    ]
    whole = train(visits(), members, tmp_path / "whole").state.params
    monkeypatch.setattr(population, "_at_a_time", lambda count: 2)
    pairs = train(visits(), members, tmp_path / "pairs").state.params
    for one, other in zip(*map(jax.tree.leaves, (whole, pairs)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_weights_of_members_are_those_of_the_samples_however_they_lie_in_shards():
    config, arrays = make.make_config(), make.make_arrays()
    whole = problem.build(arrays, "balanced")
    shards = sharded_problem.build(arrays, "balanced", None, shards=3)
    model = registry.build(registry.configure(config, "mingle"), 2)
    members = [
        member_settings.Member(k, {"positive_weight": w}) for k, w in ((0, "balanced"), (1, 3.0))
    ]
    for data in (whole, shards):
        _, settings = member_settings.settle(model, data, config.train, members)
        np.testing.assert_allclose(settings.positive_weight[0], whole.positive_weight)
        np.testing.assert_allclose(settings.positive_weight[1], 3.0)


def test_seeds_go_one_by_one_where_the_data_of_one_take_all():
    config, arrays = make.make_config(), make.make_arrays()
    shards = sharded_problem.build(arrays, 1.0, None, shards=3)
    assert seeds.at_once(None, shards, config.train, 5) == 1
    config.train.population = 4
    with pytest.raises(errors.ConfigError, match="config.train.population is 4.*shards=1"):
        seeds.at_once(None, shards, config.train, 5)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1])
    trained = train(visits(), three() * 2, place)  # three members a device
    two_devices.save(trained.state.params, place)
