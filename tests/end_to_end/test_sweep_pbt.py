"""--mode=sweep with config.sweep.pbt_every: what is refused, the schedule, the best run, a kill."""

import json
import pathlib
import shutil

import numpy as np
import polars as pl
import pytest
import small_sweep

from ehr_jax import config as base
from ehr_jax import errors, main
from ehr_jax.models import registry
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.sweeps import pbt as sweep_pbt
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import checkpoints, population

GRID = {"train": {"learning_rate": (1e-5, 1e-3, 1e-2, 1e30)}, "model": {"dropout": (0.125,)}}
COMMAND = (
    *small_sweep.ARGUMENTS,
    "--config.train.steps=20",
    "--config.train.checkpoint_every=1",
    "--config.sweep.seeds=(0, 3)",
    f"--config.sweep.grid={GRID}",
    "--config.sweep.pbt_every=5",
)


def planned(**keys):
    """What is checked of the defaults with a grid of four rates and `keys`."""
    config = registry.configure(base.defaults(), "hypehr")
    config.sweep.grid = {"train": {"learning_rate": (1e-4, 1e-3, 3e-3, 1e-2)}}
    config.sweep.pbt_every = 10
    for key, value in keys.items():
        section, name = key.split("__")
        config[section][name] = value
    trials = sweep_trials.planned(config)
    return sweep_pbt.checked(config, trials, sweep_plan.groups(config, trials))


def test_values_are_numbers_where_they_can_be():
    grid = {"train": {"positive_weight": ("1", "2.5", 3, 4.0)}}
    assert [values["train.positive_weight"] for values in planned(sweep__grid=grid)] == [
        1.0,
        2.5,
        3.0,
        4.0,
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"sweep__pbt_every": 7}, "a multiple of config.train.eval_every, 5"),
        ({"sweep__pbt_every": -5}, "config.sweep.pbt_every is -5"),
        ({"sweep__pbt_every": 500}, "below config.train.steps, 500"),
        ({"sweep__halving": (50,)}, "config.sweep.halving .50,.; both replace"),
        ({"train__members": 2}, "config.train.members is 2"),
        ({"sweep__grid": {"train": {"learning_rate": (1e-3, 1e-2, 3e-2)}}}, "3 trial.s. are"),
        (
            {"sweep__grid": {"train": {"learning_rate": (1e-3, 1e-2)},
                             "model": {"width": (8, 16), "depth": (1, 2)}}},
            "model.depth, model.width cannot be explored .* explore learning_rate, weight_decay",
        ),
        (
            {"sweep__grid": {"train": {"positive_weight": ("1", "balanced", 2.0, 3.0)}}},
            "'train.positive_weight' has the value 'balanced'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_evolve_is_refused(keys, words):
    with pytest.raises(errors.ConfigError, match=words):
        planned(**keys)


def test_populations_are_of_whole_seeds():
    assert sweep_parts._of_whole_islands(11, 5) == 10
    with pytest.raises(
        errors.ConfigError, match="the 5 trials of a seed are one population, and 4"
    ):
        sweep_parts._of_whole_islands(4, 5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("pbt") / "run"
    assert main.main([*COMMAND, f"--workdir={folder}"]) == 0
    return folder


@pytest.mark.slow
def test_the_schedule_can_be_read_and_seeds_are_populations_of_their_own(finished):
    schedule = pl.read_parquet(finished / "pbt.parquet")
    assert schedule.columns == [
        "trial", "seed", "step", "from_trial", "model.dropout", "train.learning_rate",
    ]  # fmt: skip
    begun = schedule.filter(pl.col("step") == 0)
    assert begun.height == 8 and begun["from_trial"].null_count() == 8
    assert set(schedule["step"]) == {0, 5, 10, 15}
    values = ["train.learning_rate", "model.dropout"]
    for seed in (0, 3):
        now = {}
        own = schedule.filter(pl.col("seed") == seed)
        for step in (0, 5, 10, 15):
            before = dict(now)
            for row in own.filter(pl.col("step") == step).iter_rows(named=True):
                now[row["trial"]] = np.array([row[name] for name in values])
                if step:
                    factors = now[row["trial"]] / before[row["from_trial"]]
                    assert factors[0] == pytest.approx(0.8) or factors[0] == pytest.approx(1.25)
                    assert abs(factors[1] - 1) < 0.3 and factors[1] != 1
        # The one that diverged at once goes on from another.
        diverged = own.filter((pl.col("trial") == 3) & (pl.col("step") == 5))
        assert diverged["from_trial"].item() in (0, 1, 2)


@pytest.mark.slow
def test_the_best_run_is_of_the_best_member_of_each_seed(finished):
    table = pl.read_parquet(finished / "trials.parquet")
    assert table.height == 8 and set(table["status"]) == {"finished"}
    results = json.loads((finished / "best" / "results.json").read_text())
    best = table.sort("validation_auroc", descending=True).group_by("seed", maintain_order=True)
    best = best.first()
    fits = {fit["seed"]: fit for fit in results["fits"]}
    lines = (finished / "best" / "metrics.jsonl").read_text().splitlines()
    for row in best.iter_rows(named=True):
        # Of equal ones the table's order says nothing.
        same = table.filter(
            (pl.col("seed") == row["seed"])
            & (pl.col("validation_auroc") == row["validation_auroc"])
        )
        assert fits[row["seed"]]["best_step"] in list(same["best_step"])
        own = [line for line in map(json.loads, lines) if line["seed"] == row["seed"]]
        assert max(line["validation"]["auroc"] for line in own) == row["validation_auroc"]
    assert results["seeds"] == [0, 3]
    text = (finished / "best.py").read_text()
    assert "SWEEP/pbt.parquet has the schedule" in text and "constant values need not" in text
    config = json.loads((finished / "best" / "config.json").read_text())
    held = table.filter(pl.col("train.learning_rate") == config["train"]["learning_rate"])
    assert held["validation_auroc"].max() == table["validation_auroc"].max()
    assert config["sweep"]["pbt_every"] == 0


@pytest.mark.slow
def test_best_py_runs_as_it_is(finished, tmp_path):
    shutil.copytree(finished / "best", tmp_path / "best")
    command = [f"--config={finished / 'best.py'}", f"--workdir={tmp_path / 'best'}"]
    assert main.main(["ehr_jax.main", *command]) == 0


@pytest.mark.slow
def test_a_start_after_a_kill_evolves_as_the_unbroken_one(finished, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def save_then_die(manager, step, state):
        original(manager, step, state)
        manager.wait_until_finished()
        if isinstance(state, population.Population) and step == 3:
            raise Killed

    original = checkpoints.save
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints, "save", save_then_die)
        main.main([*COMMAND, f"--workdir={tmp_path / 'run'}"])
    assert main.main([*COMMAND, f"--workdir={tmp_path / 'run'}"]) == 0
    for name in ("pbt.parquet", "trials.parquet"):
        one, other = (pl.read_parquet(place / name) for place in (finished, tmp_path / "run"))
        assert one.equals(other)
    results = [
        json.loads((place / "best" / "results.json").read_text())
        for place in (finished, tmp_path / "run")
    ]
    assert results[0]["test"] == results[1]["test"]
