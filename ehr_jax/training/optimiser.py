"""The optimiser: Adam after clipping, with decay of either kind and a course of the learning rate.

All of it may be numbers that a compiled program is given, so that the members of a population
differ in it. Whatever is asked for, the state is that of `optax.adam` after clipping and decay.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from ehr_jax import settings
from ehr_jax.training import settings as train_settings


class Course(NamedTuple):
    """What differs from Adam with L2 and one learning rate; all are float32 or Python numbers.

    Attributes:
      decoupled: 1 where decay is of the parameters (AdamW), 0 where it is of the gradient.
      cosine: 1 where the learning rate falls along a half cosine after the warm-up, 0 where not.
      warmup_steps: steps in which it rises from 0.
      final_share: of the learning rate, at the last step of a cosine.
      steps: of the whole training.
    """

    decoupled: float | jax.Array
    cosine: float | jax.Array
    warmup_steps: float | jax.Array
    final_share: float | jax.Array
    steps: float | jax.Array


class Numbers(Protocol):
    """What `make` is told, of one member."""

    learning_rate: float | jax.Array
    weight_decay: float | jax.Array
    clip: float | jax.Array
    course: Course | None


class Fixed(NamedTuple):
    """`Numbers` of a config."""

    learning_rate: float
    weight_decay: float
    clip: float
    course: Course | None


def of_config(config) -> Fixed:
    """Returns the numbers of config.train."""
    checked = settings.read(train_settings.Train, config, "config.train")
    course = course_of(checked)
    return Fixed(
        checked.learning_rate,
        checked.weight_decay,
        checked.clip,
        None if is_plain(course) else course,
    )


def course_of(train: train_settings.Train) -> Course:
    """Returns what `train` says of it."""
    return Course(
        float(train.optimiser == "adamw"),
        float(train.schedule == "cosine"),
        float(train.warmup_steps),
        float(train.final_share),
        float(train.steps),
    )


def is_plain(course: Course) -> bool:
    """Is it Adam with L2 and one learning rate, as published?"""
    return not (course.decoupled or course.cosine or course.warmup_steps)


def make(numbers: Numbers) -> optax.GradientTransformation:
    """Returns the optimiser.

    Without a course it is that of the published code: L2 is added to the gradient (not AdamW),
    after clipping.
    """
    course = numbers.course
    if course is None:
        of_gradient, adam = numbers.weight_decay, optax.adam(numbers.learning_rate)
    else:
        of_gradient, adam = numbers.weight_decay * (1 - course.decoupled), _adam(numbers, course)
    return optax.chain(
        optax.clip_by_global_norm(numbers.clip), optax.add_decayed_weights(of_gradient), adam
    )


def share(course: Course, step: jax.Array) -> jax.Array:
    """Returns what part of the learning rate holds after `step` steps, [] float32."""
    step = jnp.asarray(step, jnp.float32)
    risen = jnp.minimum(1.0, (step + 1) / jnp.maximum(course.warmup_steps, 1.0))
    left = jnp.maximum(course.steps - course.warmup_steps, 1.0)
    part = jnp.clip((step - course.warmup_steps) / left, 0.0, 1.0)
    fallen = course.final_share + (1 - course.final_share) * 0.5 * (1 + jnp.cos(jnp.pi * part))
    return risen * jnp.where(course.cosine > 0, fallen, 1.0)


def _adam(numbers: Numbers, course: Course) -> optax.GradientTransformation:
    """`optax.adam`, whose learning rate has a course and whose decay may be decoupled."""
    moments = optax.scale_by_adam()

    def init(params):
        return moments.init(params), optax.EmptyState()

    def update(gradient, state, params):
        updates, of_moments = moments.update(gradient, state[0], params)
        rate = numbers.learning_rate * share(course, of_moments.count - 1)
        decay = numbers.weight_decay * course.decoupled
        scaled = jax.tree.map(lambda u, p: -rate * (u + decay * p), updates, params)
        return scaled, (of_moments, optax.EmptyState())

    return optax.GradientTransformation(init, update)
