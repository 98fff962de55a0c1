"""The optimiser: clipping, then Adam with L2 or decoupled decay and a learning-rate schedule.

Every setting may be an array argument of the compiled program, so that the members of a population
can differ in it. The state is always that of the chain clip, add_decayed_weights, `optax.adam`.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from ehr_jax import settings
from ehr_jax.training import settings as train_settings


class Course(NamedTuple):
    """The schedule, and the form of decay; each a Python number or a float32 array.

    Attributes:
      decoupled: 1 for decoupled decay (AdamW), 0 for L2 added to the gradient.
      cosine: 1 if the learning rate falls along a half cosine after the warm-up, 0 if constant.
      warmup_steps: the number of steps over which the learning rate rises linearly from 0.
      final_share: the fraction of the learning rate that is left at the last step of a cosine.
      steps: the number of training steps.
    """

    decoupled: float | jax.Array
    cosine: float | jax.Array
    warmup_steps: float | jax.Array
    final_share: float | jax.Array
    steps: float | jax.Array


class Numbers(Protocol):
    """The settings of one member that `make` reads; course None is L2 at a constant rate."""

    learning_rate: float | jax.Array
    weight_decay: float | jax.Array
    clip: float | jax.Array | None
    course: Course | None


class Fixed(NamedTuple):
    """The `Numbers` of a config, as Python numbers."""

    learning_rate: float
    weight_decay: float
    clip: float | None
    course: Course | None


def of_config(config) -> Fixed:
    """Returns the numbers of config.train."""
    checked = settings.read(train_settings.Loop, config, "config.train")
    course = course_of(checked)
    return Fixed(
        checked.learning_rate,
        checked.weight_decay,
        checked.clip,
        None if is_plain(course) else course,
    )


def course_of(train: train_settings.Loop) -> Course:
    """Returns the course that `train` describes."""
    return Course(
        float(train.optimiser == "adamw"),
        float(train.schedule == "cosine"),
        float(train.warmup_steps),
        float(train.final_share),
        float(train.steps),
    )


def is_plain(course: Course) -> bool:
    """Returns True for Adam with L2 and a constant learning rate, as published."""
    return not (course.decoupled or course.cosine or course.warmup_steps)


def make(numbers: Numbers) -> optax.GradientTransformation:
    """Returns the optimiser.

    Without a course it is that of the published code: L2 is added to the clipped gradient (not
    AdamW), at a constant learning rate.
    """
    course = numbers.course
    if course is None:
        l2, adam = numbers.weight_decay, optax.adam(numbers.learning_rate)
    else:
        l2, adam = numbers.weight_decay * (1 - course.decoupled), _adam(numbers, course)
    clip = optax.identity() if numbers.clip is None else optax.clip_by_global_norm(numbers.clip)
    return optax.chain(clip, optax.add_decayed_weights(l2), adam)


def share(course: Course, step: jax.Array) -> jax.Array:
    """Returns the factor, [] float32, on the learning rate in the step after `step` steps."""
    step = jnp.asarray(step, jnp.float32)
    warmup = jnp.minimum(1.0, (step + 1) / jnp.maximum(course.warmup_steps, 1.0))
    decay_steps = jnp.maximum(course.steps - course.warmup_steps, 1.0)
    progress = jnp.clip((step - course.warmup_steps) / decay_steps, 0.0, 1.0)
    half_cosine = 0.5 * (1 + jnp.cos(jnp.pi * progress))
    decay = course.final_share + (1 - course.final_share) * half_cosine
    return warmup * jnp.where(course.cosine > 0, decay, 1.0)


def _adam(numbers: Numbers, course: Course) -> optax.GradientTransformation:
    """Returns Adam with the schedule and decay of `course`, and the state of `optax.adam`."""
    adam = optax.scale_by_adam()

    def init(params):
        return adam.init(params), optax.EmptyState()

    def update(gradient, state, params):
        directions, moments = adam.update(gradient, state[0], params)
        rate = numbers.learning_rate * share(course, moments.count - 1)
        decay = numbers.weight_decay * course.decoupled
        updates = jax.tree.map(lambda d, p: -rate * (d + decay * p), directions, params)
        return updates, (moments, optax.EmptyState())

    return optax.GradientTransformation(init, update)
