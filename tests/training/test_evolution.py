"""Population-based training: who takes whose state, what is explored, kills that change nothing."""

import json
import pathlib
import signal
import sys

import arrays as make
import jax
import numpy as np
import pytest
import saved
import stays as make_stays
import two_devices
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax import errors, stopping
from ehr_jax.models import registry
from ehr_jax.training import (
    checkpoints,
    evolution,
    logs,
    member_settings,
    population,
    population_loop,
    problem,
)

STEPS, EVERY = 20, 10
RATES = (0.0, 0.5, 0.25, 0.125)
VALUES = [{"learning_rate": 10.0**-k, "dropout": rate} for k, rate in enumerate(RATES, 2)]


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Compiles in a hurry: how fast the programs are does not matter here."""
    slowly = jax.jit
    monkeypatch.setattr(
        jax, "jit", lambda f, **more: slowly(f, **(more | {"compiler_options": make_stays.QUICK}))
    )


def members(values=VALUES, seeds=(0,)) -> list[member_settings.Member]:
    return [member_settings.Member(seed, own) for seed in seeds for own in values]


def evolve(folder, **changes) -> evolution.Evolution:
    keys = ("learning_rate", "dropout")
    return evolution.Evolution(EVERY, keys, 0, folder / "schedule.json")._replace(**changes)


def train(folder, given_members, **changes) -> population.Population:
    """Four members of a perceptron over visits."""
    config = make.make_config(
        train__steps=STEPS, train__select="loss", train__checkpoint_every=1, train__patience=1
    )
    config = registry.configure(config, "mlp")
    config.model.width = 8
    model = registry.build(config, 2)
    data = problem.build(make.make_arrays(), "1")
    places = [folder / f"member_{k}" for k in range(len(given_members))]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    return population_loop.train(
        model, data, config.train, given_members, folder / "checkpoints", places, "test",
        evolve=evolve(folder, **changes),
    )  # fmt: skip


def logged(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@given(
    st.lists(st.sampled_from([0.1, 0.5, 0.9, float("nan"), -1e30]), min_size=4, max_size=13),
    st.randoms(use_true_random=False),
)
def test_the_worst_go_and_the_best_stay_whatever_failed(scores, random):
    scores, failed = np.array(scores), np.array([random.random() < 0.3 for _ in scores])
    worst, best = evolution.quarters(scores, failed)
    if failed.all():
        assert not len(worst) and not len(best)
        return
    assert set(np.flatnonzero(failed)) <= set(worst) and not set(best) & set(worst)
    assert len(best) and not failed[best].any()
    assert len(worst) == max(len(scores) // 4, failed.sum())
    ranked = np.nan_to_num(scores, nan=-np.inf)
    rest = sorted(set(range(len(scores))) - set(worst) - set(best))
    for k in rest:
        assert ranked[k] <= ranked[best].min()
        assert all(failed[j] or ranked[j] <= ranked[k] for j in worst)


def test_of_equal_members_the_first_are_the_best():
    worst, best = evolution.quarters(np.zeros(8), np.zeros(8, bool))
    assert list(best) == [0, 1] and list(worst) == [6, 7]


@given(st.floats(0, 255 / 256), st.floats(1e-12, 1e6), st.integers(0, 99))
def test_what_is_explored_is_possible_and_near(rate, size, seed):
    values = {"dropout": rate, "learning_rate": size, "clip": size, "weight_decay": 0.0}
    found = evolution.explored(values, list(values), np.random.default_rng(seed))
    assert 0 <= found["dropout"] < 1 and (256 * found["dropout"]).is_integer()
    assert found["weight_decay"] == 0
    for key in ("learning_rate", "clip"):
        assert found[key] / size == pytest.approx(0.8, rel=1e-5) or found[
            key
        ] / size == pytest.approx(1.25, rel=1e-5)
    assert values["learning_rate"] == size  # what it was made of is as it was


def test_islands_are_apart_and_each_evolves_as_it_would_alone():
    scores = np.random.default_rng(0).random(12)
    no = np.zeros(12, bool)
    three = members(seeds=(0, 7, 3))
    found = evolution.next_turn(
        evolve(pathlib.Path()), evolution.first_turn(three), three, EVERY, scores, no
    )
    assert all(source // 4 == k // 4 for k, source in enumerate(found.sources))
    assert (found.sources != np.arange(12)).sum() == 3
    alone = members(seeds=(7,))
    one = evolution.next_turn(
        evolve(pathlib.Path()), evolution.first_turn(alone), alone, EVERY, scores[4:8], no[:4]
    )
    assert list(one.sources + 4) == list(found.sources[4:8]) and one.values == found.values[4:8]


def test_islands_of_equal_scores_explore_values_of_their_own():
    eight = members(seeds=range(8))
    scores, no = np.tile(np.arange(4.0), 8), np.zeros(32, bool)
    first = evolution.first_turn(eight)
    found = evolution.next_turn(evolve(pathlib.Path()), first, eight, EVERY, scores, no)
    assert found.sources.tolist() == [k - k % 4 + (3, 1, 2, 3)[k % 4] for k in range(32)]
    assert len({tuple(values.values()) for values in found.values[::4]}) > 1


def test_the_worst_goes_on_from_the_best_which_goes_on_as_it_would(tmp_path):
    found = train(tmp_path / "pbt", members())
    plain = train(tmp_path / "plain", members(), every=1000)
    turns = evolution.read(tmp_path / "pbt" / "schedule.json")
    assert [turn.step for turn in turns] == [0, EVERY]
    # The last validation before the turn decides.
    losses = [
        next(row["validation"]["loss"] for row in logged(tmp_path / "pbt" / f"member_{k}")
             if row["step"] == EVERY)
        for k in range(4)
    ]  # fmt: skip
    worst, best = int(np.argmax(losses)), int(np.argmin(losses))
    moved = {k: s for k, s in enumerate(turns[1].sources) if k != s}
    assert moved == {worst: best}
    assert turns[1].values[worst] != turns[0].values[best]
    for k in set(range(4)) - {worst}:
        for one, other in zip(
            *(jax.tree.leaves(population.member(p, k)) for p in (found, plain)), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    # Nobody stops early, though patience is 1.
    assert list(found.state.step) == [STEPS] * 4
    assert [row["step"] for row in logged(tmp_path / "pbt" / f"member_{worst}")] == [5, 10, 15, 20]
    # Its best validation stays its own.
    assert -float(found.state.best_score[worst]) <= losses[worst]


def test_the_state_taken_is_the_whole_of_it_but_the_best_so_far(tmp_path):
    found = train(tmp_path, members(), every=1000)
    sources = np.array([3, 1, 2, 3])
    moved = population.exploit(found, jax.numpy.asarray(sources))
    for name in ("params", "moments", "step"):
        for one, other in zip(
            *map(jax.tree.leaves, (getattr(moved.state, name), getattr(found.state, name))),
            strict=True,
        ):
            np.testing.assert_array_equal(one, np.asarray(other)[sources])
    for name in ("best_params", "best_score", "best_step"):
        for one, other in zip(
            *map(jax.tree.leaves, (getattr(moved.state, name), getattr(found.state, name))),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_a_member_that_failed_goes_on_from_a_good_one(tmp_path):
    values = [dict(VALUES[0], learning_rate=1e30), *VALUES[1:]]
    found = train(tmp_path, members(values))
    assert not found.failed.any() and list(found.state.step) == [STEPS] * 4
    turn = evolution.read(tmp_path / "schedule.json")[1]
    assert turn.sources[0] != 0 and turn.values[0]["learning_rate"] < 1
    assert [row["step"] for row in logged(tmp_path / "member_0")] == [15, 20]


def test_where_all_failed_there_is_no_turn(tmp_path):
    values = [dict(own, learning_rate=1e30) for own in VALUES]
    found = train(tmp_path, members(values), every=5)
    assert (found.failed > 0).all()
    assert len(evolution.read(tmp_path / "schedule.json")) == 1


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_broken_population_evolves_as_the_unbroken_one(killed_at, tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", members(), every=5)

    class Killed(Exception):
        pass

    def save_then_die(manager, step, state):
        original(manager, step, state)
        manager.wait_until_finished()
        if step == killed_at:
            raise Killed

    original = checkpoints.save
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints, "save", save_then_die)
        train(tmp_path / "broken", members(), every=5)
    # A turn whose checkpoint was not written is made again.
    schedule = evolve(tmp_path / "broken")
    turns = evolution.read(schedule.path)
    evolution.write(schedule, [*turns, turns[-1]._replace(step=turns[-1].step + 5)])
    resumed = train(tmp_path / "broken", members(), every=5)
    for one, other in zip(*map(jax.tree.leaves, (whole, resumed)), strict=True):
        np.testing.assert_array_equal(one, other)
    texts = [(tmp_path / name / "schedule.json").read_text() for name in ("whole", "broken")]
    assert texts[0] == texts[1]


def test_a_population_told_to_end_evolves_as_the_unbroken_one(tmp_path, monkeypatch):
    def write_and_tell(log, step, *more, write=logs.Log.write):
        write(log, step, *more)
        if step == 10 and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGTERM)

    whole = train(tmp_path / "whole", members(), every=5)
    with monkeypatch.context() as patch, pytest.raises(stopping.Stopped), stopping.by_signal():
        patch.setattr(logs.Log, "write", write_and_tell)
        train(tmp_path / "told", members(), every=5)
    assert saved.last_state(tmp_path / "told" / "checkpoints")[0] == 2
    resumed = train(tmp_path / "told", members(), every=5)
    for one, other in zip(*map(jax.tree.leaves, (whole, resumed)), strict=True):
        np.testing.assert_array_equal(one, other)
    texts = [(tmp_path / name / "schedule.json").read_text() for name in ("whole", "told")]
    assert texts[0] == texts[1]


def test_a_schedule_that_is_not_the_populations_is_refused(tmp_path):
    schedule = evolve(tmp_path)
    evolution.write(schedule, [evolution.first_turn(members())])
    assert len(evolution.turns_until(schedule, members(), 5, STEPS)) == 1
    with pytest.raises(errors.RunFolderError, match="after turns at .0, 10."):
        evolution.turns_until(schedule, members(), 15, STEPS)


@pytest.mark.slow
def test_members_that_go_on_from_others_on_another_device_are_those_of_one(tmp_path):
    found = two_devices.load(__file__, tmp_path / "two")
    expected = jax.tree.leaves(train(tmp_path / "one", members()).state.params)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
    schedules = [(tmp_path / name / "schedule.json").read_text() for name in ("one", "two")]
    assert schedules[0] == schedules[1]


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1])
    trained = train(place, members())
    two_devices.save(trained.state.params, place)
