"""--mode=sweep: the plan it makes of a config, its table, its best run, a second start."""

import json
import pathlib
import shutil

import jax
import polars as pl
import pytest
import small_sweep

from ehr_jax import config as base
from ehr_jax import errors, main
from ehr_jax.models import registry
from ehr_jax.modes import sweep, together
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.sweeps import plan as sweep_plan
from ehr_jax.sweeps import trials as sweep_trials
from ehr_jax.training import population_loop, run_folder

GRID = {
    "train": {"learning_rate": (1e-3, 1e-2)},
    "model": {"input_dropout": (0.0, 0.3), "width": (4, 8)},
}


def run(workdir: pathlib.Path, *more: str) -> int:
    return main.main([*small_sweep.ARGUMENTS, f"--workdir={workdir}", *more])


def spec(name: str = "hypehr", **keys):
    """The defaults of a method with `keys` of config.sweep."""
    config = registry.configure(base.defaults(), name)
    for key, value in keys.items():
        config.sweep[key] = value
    return config


def test_a_grid_is_each_value_with_each():
    made = sweep_trials.planned(spec(grid=GRID))
    assert len(made) == 8 and len({tuple(sorted(values.items())) for values in made}) == 8
    assert {values["model.width"] for values in made} == {4, 8}


def test_draws_stay_in_their_ranges_and_more_draws_begin_with_the_fewer():
    ranges = {
        "train": {"learning_rate": ("log", 1e-4, 1e-2), "positive_weight": ("choice", "1", 3.0)},
        "model": {
            "width": ("choice", 8, 16, 24),
            "depth": ("integer", 1, 3),
            "dropout": ("uniform", 0.1, 0.5),
        },
    }
    made = sweep_trials.planned(spec(ranges=ranges, draws=40))
    assert {values["model.depth"] for values in made} == {1, 2, 3}
    assert {values["train.positive_weight"] for values in made} == {"1", 3.0}
    rates = sorted(values["train.learning_rate"] for values in made)
    assert 1e-4 <= rates[0] < 5e-4 and 2e-3 < rates[-1] <= 1e-2  # spread over decades
    assert all(0.1 <= values["model.dropout"] <= 0.5 for values in made)
    assert sweep_trials.planned(spec(ranges=ranges, draws=7)) == made[:7]


def test_values_that_change_shapes_make_groups_and_others_do_not():
    config = spec(grid=GRID)
    made = sweep_trials.planned(config)
    groups = sweep_plan.groups(config, made)
    assert [group.config.model.width for group in groups] == [4, 8]
    assert sorted(trial for group in groups for trial in group.trials) == list(range(8))
    for group in groups:
        assert {made[trial]["model.width"] for trial in group.trials} == {group.config.model.width}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "size 0"),
        ({"grid": {"train": {"learning_rate": ()}}}, "size 0"),
        ({"grid": {"train": {"learning_rate": 1e-3}}}, "expected a tuple"),
        ({"grid": {"train": {"learning_rat": (1e-3,)}}}, "Did you mean 'train.learning_rate'"),
        ({"grid": {"features": {"bins": (5, 10)}}}, "all trials have one cohort"),
        ({"grid": {"train": {"seeds": ((0,), (1,))}}}, "one for the whole sweep"),
        ({"grid": {"realm": {"survival_days": ((), (30,))}}}, "one for the whole sweep"),
        ({"grid": {"train": {"learning_rate": ("fast",)}}}, "'fast'; expected a number"),
        ({"grid": {"train": {"steps": (10.5,)}}}, "expected a whole number"),
        ({"grid": {"model": {"train_nodes": (1,)}}}, "expected True or False"),
        ({"grid": {"model": {"dropout": (1.5,)}}}, "config.model.dropout is 1.5; .*below 1"),
        ({"name": "mlp", "grid": {"model": {"heads": (2, 4)}}}, "not read by 'mlp'"),
        ({"name": "mlp", "grid": {"model": {"width": (16, 32)}}}, "fixed by the method 'mlp'"),
        ({"grid": {"model": {"heads": (4, 5)}}}, "must divide config.model.width"),
        ({"ranges": {"train": {"learning_rate": ("log", 1e-4, 1e-2)}}}, "how many draws"),
        ({"draws": 3}, "what to draw from"),
        ({"ranges": {"train": {"learning_rate": ("logg", 1, 2)}}, "draws": 1}, "mean 'log'"),
        ({"ranges": {"train": {"learning_rate": ("log", 0, 2)}}, "draws": 1}, "above 0 for log"),
        ({"grid": GRID, "ranges": {"model": {"width": ("integer", 1, 2)}}, "draws": 1}, "leave"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_spec_is_told(keys, words):
    config = spec(**keys)
    with pytest.raises(errors.ConfigError, match=words):
        sweep_plan.groups(config, sweep_trials.planned(config))


def test_a_drawn_trial_that_contradicts_itself_is_told_by_its_values():
    config = spec(ranges={"model": {"heads": ("choice", 5, 7)}}, draws=1)
    with pytest.raises(errors.ConfigError, match="a trial with model.heads=[57]: .* must divide"):
        together.check_sweep(config)


@pytest.mark.parametrize("steps", [(10, 5), (500,), (0,), (2.5,)])
def test_impossible_rungs_are_refused(steps):
    with pytest.raises(errors.ConfigError, match="config.sweep.halving"):
        sweep_keys.rungs(spec(halving=steps))


def test_the_worse_half_is_dropped_and_a_failed_trial_first():
    end = lambda score, failed=0: sweep_parts.End(  # noqa: E731
        type("State", (), {"best_score": score})(), failed
    )
    ends = {(0, 0): end(0.9), (0, 1): end(0.1), (1, 0): end(0.6), (2, 0): end(0.99, 5)}
    scores = sweep_parts.scores(ends, 3)
    assert list(scores) == [0.5, 0.6, -float("inf")]
    assert sweep._better_half({0, 1, 2}, scores) == {0, 1}
    assert sweep._better_half({0, 1}, scores) == {1}


def test_a_method_without_a_program_is_refused(tmp_path, capsys):
    assert run(tmp_path, "--config.model.name=logistic_regression") == 2
    assert "no network" in capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    assert run(folder, f"--config.sweep.grid={GRID}", "--config.sweep.halving=(5,)") == 0
    return folder


def test_memory_that_ends_in_a_sweep_is_explained(tmp_path, monkeypatch, capsys):
    def exhausted(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")

    monkeypatch.setattr(sweep_parts.population_loop, "train", exhausted)
    given = "{'train': {'learning_rate': (1e-3, 1e-2)}}"
    assert run(tmp_path, f"--config.sweep.grid={given}", "--config.synthetic.patients=60") == 2
    assert "the device ran out of memory" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_has_a_row_a_trial_and_seed_with_its_end(finished):
    table = pl.read_parquet(finished / "trials.parquet")
    assert table.height == 16
    assert table.select("trial", "seed").n_unique() == 16
    ended = dict(table.group_by("status").agg(pl.col("steps").unique().alias("at")).iter_rows())
    assert ended == {"dropped": [5], "finished": [10]}
    assert table.filter(pl.col("status") == "dropped").height == 8
    assert not [name for name in table.columns if "test" in name]
    for row in table.iter_rows(named=True):
        log = finished / "trials" / f"{row['trial']:03d}" / "metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        aurocs = [line["validation"]["auroc"] for line in lines if line["seed"] == row["seed"]]
        assert row["validation_auroc"] == pytest.approx(max(aurocs), abs=1e-6)


@pytest.mark.slow
def test_the_best_by_validation_is_a_run_of_its_own_that_its_config_repeats(finished, tmp_path):
    table = pl.read_parquet(finished / "trials.parquet").filter(pl.col("status") == "finished")
    mean = table.group_by("trial").agg(pl.col("validation_auroc").mean(), pl.first("model.width"))
    best = mean.sort("validation_auroc", "trial", descending=[True, False]).row(0, named=True)
    config = json.loads((finished / "best" / "config.json").read_text())
    assert config["model"]["width"] == best["model.width"]
    results = json.loads((finished / "best" / "results.json").read_text())
    assert results["seeds"] == [0, 1] and "auroc" in results["test"]
    assert (finished / "best" / "report.html").exists()
    # The folder is that of a run of best.py, which finds it finished.
    shutil.copytree(finished / "best", tmp_path / "best")
    command = [f"--config={finished / 'best.py'}", f"--workdir={tmp_path / 'best'}"]
    assert main.main(["ehr_jax.main", *command]) == 0
    again = json.loads((tmp_path / "best" / "results.json").read_text())
    assert again["test"] == results["test"] and again["fits"] == results["fits"]


@pytest.mark.slow
def test_trials_are_taught_as_the_run_of_the_best_is(tmp_path):
    flags = ("--config.train.teacher=lightgbm", "--config.train.teacher_share=0.8")
    given = "{'train': {'learning_rate': (1e-3, 1e-2)}}"
    assert run(tmp_path / "sweep", f"--config.sweep.grid={given}", *flags) == 0
    best = tmp_path / "sweep" / "best"
    command = [f"--config={tmp_path / 'sweep' / 'best.py'}", f"--workdir={tmp_path / 'run'}"]
    assert main.main(["ehr_jax.main", *command]) == 0
    one, other = (json.loads((at / "results.json").read_text()) for at in (best, tmp_path / "run"))
    assert one["label"].endswith(", taught by LightGBM") and one["label"] == other["label"]
    score = pl.col("^probability.*$")
    frames = [
        pl.read_parquet(at / "predictions.parquet").select(score) for at in (best, tmp_path / "run")
    ]
    assert (frames[0] - frames[1]).select(score.abs().max()).item() < 1e-5
    assert (best / run_folder.TEACHER).read_bytes() == (
        tmp_path / "run" / run_folder.TEACHER
    ).read_bytes()


@pytest.mark.slow
def test_a_start_after_a_kill_keeps_what_was_finished(finished, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "best")
    shutil.rmtree(folder / "checkpoints" / "part_1" / "end")
    (folder / "trials.parquet").unlink()
    trained = []
    advance = population_loop._advance
    monkeypatch.setattr(
        population_loop,
        "_advance",
        lambda work, watch, whole: trained.append(watch.show) or advance(work, watch, whole),
    )
    assert run(folder, f"--config.sweep.grid={GRID}", "--config.sweep.halving=(5,)") == 0
    assert trained == ["population 2 of 2"]
    tables = [pl.read_parquet(place / "trials.parquet") for place in (finished, folder)]
    assert tables[0].drop("validation_loss").equals(tables[1].drop("validation_loss"))
    results = [(place / "best" / "results.json").read_text() for place in (finished, folder)]
    assert json.loads(results[0])["test"] == json.loads(results[1])["test"]
