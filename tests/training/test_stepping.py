"""What a validation makes of the state: the best is kept, and nothing that is not finite."""

import dataclasses

import arrays as make
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.training import fit, member_settings, population_loop, problem, stepping
from ehr_jax.training import settings as train_settings

LABELS = np.array([[1.0], [0.0], [1.0], [0.0]], np.float32)
GOOD = np.array([[2.0], [-1.0], [1.0], [0.0]], np.float32)
WORSE = np.array([[-2.0], [-1.0], [1.0], [0.0]], np.float32)


def validate(select, *scores):
    """The state after validations of these scores, each at a step whose number is the parameter."""
    params = {"w": jnp.zeros(())}
    none = jnp.zeros((), jnp.int32)
    state = stepping.State(params, {}, none, params, jnp.array(-jnp.inf), none, none)
    means = stepping.Found(*(jnp.zeros(()),) * 3)
    for step, each in enumerate(scores, 1):
        metrics = stepping.label_metrics(each, LABELS, jnp.ones(1))
        now = stepping.Done({"w": jnp.array(float(step))}, {}, jnp.int32(step))
        state, told = stepping.validated(state, now, means, metrics, select)
    return state, told


@pytest.mark.parametrize("select", train_settings.SELECTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_whose_scores_are_not_finite_is_never_the_best(select, bad):
    spoilt = np.where(np.arange(4)[:, None] == 1, bad, GOOD).astype(np.float32)
    state, told = validate(select, spoilt, WORSE, spoilt)
    assert (state.best_step, state.best_params["w"], state.stale) == (2, 2.0, 1)
    assert told["not_finite"] == 1 and "1 validation label" in stepping.fault(told)
    state, told = validate(select, WORSE, GOOD)
    assert state.best_step == 2 and stepping.fault(told) == ""


def test_what_is_logged_is_without_the_count_of_faults():
    _, told = validate("auroc", GOOD)
    assert set(told) - set(stepping.logged(told)) == {"not_finite"}


def spoilt():
    """(config.train, network, data): the notes of validation samples are no numbers."""
    arrays = make.make_arrays()
    notes = np.where((arrays.split == "validation")[:, None], np.nan, arrays.notes)
    config = registry.configure(make.make_config(), "mlp_notes")
    config.model.width = 4
    data = problem.build(dataclasses.replace(arrays, notes=notes.astype(np.float32)), "1")
    return config.train, registry.build(config, 2), data


def test_a_run_whose_validation_scores_are_not_finite_says_so_at_once(tmp_path):
    config, model, data = spoilt()
    with pytest.raises(errors.ConfigError, match="step 5 the scores of .* are not finite"):
        fit.fit(model, data, config, 0, tmp_path / "checkpoints" / "s", "bad")


def test_a_member_whose_validation_scores_are_not_finite_stops_and_has_no_best(tmp_path, capsys):
    config, model, data = spoilt()
    members, logs = [member_settings.Member(k) for k in (0, 1)], [tmp_path / "0", tmp_path / "1"]
    for log in logs:
        log.mkdir()
    found = population_loop.train(model, data, config, members, tmp_path / "c", logs, "test")
    assert list(found.failed) == [5, 5] and np.isneginf(found.state.best_score).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.state.params))
    assert "member 1 stopped at step 5, where the scores of" in capsys.readouterr().out
