"""The optimiser of config.train: optax's own where that has it, alike alone and in a population."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ehr_jax import config as base
from ehr_jax.training import fit, member_settings, optimiser

RATE, DECAY, STEPS = 0.1, 0.05, 12


def asked(**changes):
    config = base.defaults().train
    config.update(learning_rate=RATE, weight_decay=DECAY, steps=STEPS, **changes)
    return config


def path(made: optax.GradientTransformation, steps: int = STEPS) -> np.ndarray:
    """Parameters after each step down a bowl, [step, 2]."""
    params, places = jnp.array([2.0, -3.0]), []
    state = made.init(params)
    for _ in range(steps):
        updates, state = made.update(params * jnp.array([1.0, 0.3]), state, params)
        params = optax.apply_updates(params, updates)
        places.append(np.asarray(params))
    return np.stack(places)


def clipped(*parts) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), *parts)


def test_the_default_is_the_published_one_to_the_bit():
    published = clipped(optax.add_decayed_weights(DECAY), optax.adam(RATE))
    np.testing.assert_array_equal(path(fit.make_optimiser(asked())), path(published))


def test_adamw_decays_parameters_apart_from_adam():
    made = fit.make_optimiser(asked(optimiser="adamw"))
    adamw = clipped(optax.adamw(RATE, weight_decay=DECAY))
    np.testing.assert_allclose(path(made), path(adamw), rtol=1e-5)
    assert np.abs(path(made) - path(fit.make_optimiser(asked()))).max() > 1e-3


@pytest.mark.parametrize("name", ["adam_l2", "adamw"])
def test_a_course_is_the_schedule_of_optax(name):
    made = fit.make_optimiser(
        asked(optimiser=name, schedule="cosine", warmup_steps=4, final_share=0.1)
    )
    # optax's own warm-up is at its first value for a step; ours is at a share of it at once.
    rise = optax.linear_schedule(RATE / 4, RATE, 3)
    fall = optax.cosine_decay_schedule(RATE, STEPS - 4, alpha=0.1)
    schedule = optax.join_schedules([rise, fall], [4])
    if name == "adamw":
        wanted = clipped(optax.adamw(schedule, weight_decay=DECAY))
    else:
        wanted = clipped(optax.add_decayed_weights(DECAY), optax.adam(schedule))
    np.testing.assert_allclose(path(made), path(wanted), rtol=1e-4)


def test_the_rate_rises_to_all_of_it_and_falls_to_its_last_share():
    course = optimiser.Course(0.0, 1.0, 4.0, 0.25, 20.0)
    shares = np.asarray([optimiser.share(course, step) for step in range(21)])
    np.testing.assert_allclose(shares[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    assert (np.diff(shares[4:]) < 0).all()
    assert shares[-1] == pytest.approx(0.25) and shares[12] == pytest.approx(0.625)


def test_every_optimiser_has_one_state_so_that_checkpoints_stay():
    params = jnp.ones(3)
    kinds = [asked(), asked(optimiser="adamw"), asked(schedule="cosine", warmup_steps=2)]
    states = [jax.tree.structure(fit.make_optimiser(kind).init(params)) for kind in kinds]
    published = clipped(optax.add_decayed_weights(DECAY), optax.adam(RATE)).init(params)
    assert states == [jax.tree.structure(published)] * 3


def test_numbers_that_a_program_is_given_make_the_optimisers_of_their_configs():
    changes = [
        {},
        {"optimiser": "adamw"},
        {"schedule": "cosine", "warmup_steps": 3, "final_share": 0.2},
        {"optimiser": "adamw", "warmup_steps": 5},
    ]
    members = [member_settings.Member(0, values) for values in changes]
    course = member_settings.course_of(asked(), members)

    def one(course):
        return jnp.stack(_traced(optimiser.Fixed(RATE, DECAY, 1.0, course)))

    together = jax.jit(jax.vmap(one))(course)
    for found, change in zip(together, changes, strict=True):
        np.testing.assert_allclose(found, path(fit.make_optimiser(asked(**change))), rtol=1e-4)


def _traced(numbers) -> list[jax.Array]:
    made, params, places = optimiser.make(numbers), jnp.array([2.0, -3.0]), []
    state = made.init(params)
    for _ in range(STEPS):
        updates, state = made.update(params * jnp.array([1.0, 0.3]), state, params)
        params = optax.apply_updates(params, updates)
        places.append(params)
    return places


def test_members_with_the_published_optimiser_have_no_course():
    assert member_settings.course_of(asked(), [member_settings.Member(0)] * 2) is None
