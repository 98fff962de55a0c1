"""How training ends: with its best parameters, after its patience, or where it is told to."""

import signal

import arrays as make
import jax
import pytest
import saved
import stays as make_stays

from ehr_jax import stopping, storage
from ehr_jax.models import registry
from ehr_jax.training import logs, loss, problem, seeds

TOGETHER = pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
SEEDS = (0, 3)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Compiles in a hurry: how fast the programs are does not matter here."""
    slowly = jax.jit
    monkeypatch.setattr(
        jax, "jit", lambda f, **more: slowly(f, **(more | {"compiler_options": make_stays.QUICK}))
    )


def parts(together: bool, **changes):
    """(network, data, config.train) of a network over visits."""
    config = make.make_config(**{"train__select": "loss", "model__dropout": 0.2} | changes)
    config = registry.configure(config, "mlp")
    config.train.population = None if together else 1
    return registry.build(config, 2), problem.build(make.make_arrays(), "1"), config.train


@TOGETHER
def test_a_fit_gives_the_parameters_of_its_best_step(together, tmp_path):
    model, data, config = parts(together, train__steps=60, train__learning_rate=0.1)
    fits = seeds.fit_seeds(model, data, config, SEEDS, tmp_path, "overfit")
    for seed, fitted in zip(SEEDS, fits, strict=True):
        assert 0 < fitted.best_step < fitted.steps
        scores = data.validation_logits(fitted.params, model)
        lowest = min(r["validation"]["loss"] for r in saved.rows(tmp_path) if r["seed"] == seed)
        found = loss.cross_entropy(scores, data.validation_labels, data.positive_weight)
        assert float(found) == pytest.approx(lowest, abs=1e-5)


@TOGETHER
def test_a_fit_ends_after_so_many_validations_that_are_no_better(together, tmp_path):
    changes = {"train__learning_rate": 1e-30, "train__patience": 2, "train__steps": 40}
    model, data, config = parts(together, **changes)
    for fitted in seeds.fit_seeds(model, data, config, SEEDS, tmp_path, "still"):
        assert (fitted.best_step, fitted.steps) == (5, 15)


@TOGETHER
@pytest.mark.parametrize("shows", [False, True])
def test_validation_of_few_patients_chooses_a_step_and_is_not_told_nor_is_a_loss_of_few(
    together, shows, tmp_path, capsys
):
    model, data, config = parts(together, train__steps=10)
    (fitted, _) = seeds.fit_seeds(
        model, data, config, SEEDS, tmp_path, "few", shows_validation=shows, shows_loss=shows
    )
    told = capsys.readouterr().out
    assert "few" in told and "10/10" in told
    assert ("validation" in told) is shows
    assert ("loss" in told) is shows
    assert fitted.best_step in (5, 10) and saved.rows(tmp_path)[0]["validation"]


def write_and_tell(log, step, metrics, seconds, write=logs.Log.write):
    write(log, step, metrics, seconds)
    if step == 10 and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # not a second time
        signal.raise_signal(signal.SIGTERM)


@TOGETHER
def test_a_fit_that_is_told_to_end_saves_the_step_it_is_at(together, tmp_path, monkeypatch):
    model, data, config = parts(together, train__checkpoint_every=1000)
    name = "together_0_2" if together else "seed_0"
    seeds.fit_seeds(model, data, config, SEEDS, tmp_path / "whole", "whole")
    with monkeypatch.context() as patch, pytest.raises(stopping.Stopped), stopping.by_signal():
        patch.setattr(logs.Log, "write", write_and_tell)
        seeds.fit_seeds(model, data, config, SEEDS, tmp_path / "told", "told")
    step, state = saved.last_state(tmp_path / "told" / "checkpoints" / name)
    assert step == (2 if together else 10)
    seeds.fit_seeds(model, data, config, SEEDS, tmp_path / "told", "rest")
    for seed in SEEDS:
        ends = [tmp_path / run / "checkpoints" / f"seed_{seed}" for run in ("whole", "told")]
        saved.assert_same_end(*ends)


def test_a_kill_while_what_seeds_shared_is_removed_stops_no_later_start(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def remove_numbers_and_die(folder, **more):
        for path in folder.glob("**/d/*"):
            path.unlink()
        raise Killed

    model, data, config = parts(True)
    seeds.fit_seeds(model, data, config, SEEDS, tmp_path / "whole", "whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(storage.shutil, "rmtree", remove_numbers_and_die)
        seeds.fit_seeds(model, data, config, SEEDS, tmp_path / "killed", "killed")
    seeds.fit_seeds(model, data, config, SEEDS, tmp_path / "killed", "again")
    for seed in SEEDS:
        ends = [tmp_path / run / "checkpoints" / f"seed_{seed}" for run in ("whole", "killed")]
        saved.assert_same_end(*ends)
