"""What members of a population have of their own: a seed, and settings that change no shape."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors, settings
from ehr_jax.models import settings as model_settings
from ehr_jax.training import loss as losses
from ehr_jax.training import optimiser, task
from ehr_jax.training import settings as train_settings

OF_COURSE = ("optimiser", "schedule", "warmup_steps", "final_share")
OF_TRAINING = ("learning_rate", "weight_decay", "clip", "positive_weight", *OF_COURSE)


class Member(NamedTuple):
    """A seed, and values in place of those of config.train and of the network, by key."""

    seed: int
    values: Mapping[str, Any] = {}


class Settings(flax.struct.PyTreeNode):
    """What members differ in, as numbers the program is given.

    Attributes:
      learning_rate, weight_decay, clip: [member] float32.
      positive_weight: [member, label] float32.
      course: each [member] float32; None where all have the published optimiser.
      rates: [member] float32 of each rate of the network that is not the same for all.
    """

    learning_rate: jax.Array
    weight_decay: jax.Array
    clip: jax.Array
    positive_weight: jax.Array
    course: optimiser.Course | None
    rates: dict[str, jax.Array]


def traceable(model: nn.Module) -> tuple[str, ...]:
    """The keys in which members may differ: those that change numbers and no shape."""
    return (*OF_TRAINING, *model.RATES)


def settle(
    model: nn.Module,
    data: task.LabelTask,
    config,
    members: Sequence[Member],
    traced: Collection[str] = (),
) -> tuple[nn.Module, Settings]:
    """The network with what all members share, and what each has of its own.

    Args:
      traced: rates of the network that are each member's own even where they are all the same.

    Raises:
      ConfigError: there are no members, a key cannot differ between them, or a value is not
        possible.
    """
    if not members:
        raise errors.ConfigError(
            "a population of size 0 was asked for; give one member or more: a seed in "
            "config.train.seeds, or a trial of --mode=sweep"
        )
    for member in members:
        for name, value in member.values.items():
            check_value(model, name, value)

    def column(name):
        values = [member.values.get(name, config[name]) for member in members]
        return np.array([np.inf if value is None else value for value in values], np.float32)

    labels = np.asarray(data.train_labels)
    labels = labels.reshape(-1, labels.shape[-1])  # of shards too
    weights = [member.values.get("positive_weight", config.positive_weight) for member in members]
    shared, rates = {}, {}
    for name in model.RATES:
        own = getattr(model, name)
        of_members = [rounded_rate(one.values.get(name, own)) for one in members]
        if len(set(of_members)) == 1 and name not in traced:
            shared[name] = of_members[0]
        else:
            rates[name] = jnp.asarray(of_members, jnp.float32)
    return model.clone(**shared) if shared else model, Settings(
        learning_rate=jnp.asarray(column("learning_rate")),
        weight_decay=jnp.asarray(column("weight_decay")),
        clip=jnp.asarray(column("clip")),
        course=course_of(config, members),
        positive_weight=jnp.stack([losses.positive_weights(labels, one) for one in weights]),
        rates=rates,
    )


def check_value(model: nn.Module, name: str, value: Any) -> None:
    """Raises ConfigError unless members of `model` may have `value` of their own for `name`."""
    if name not in traceable(model):
        raise errors.ConfigError(
            f"'{name}' cannot differ between members of one program: it changes a shape, or the "
            f"program itself. Members may differ in {', '.join(traceable(model))}; train the "
            "others as a population of their own, as --mode=sweep does by itself"
        )
    room = train_settings.Train if name in OF_TRAINING else model_settings.Model
    is_text = settings.kind_of(room, name).type is str
    settings.check_value(room, name, str(value) if is_text else value, f"'{name}'")


def course_of(config, members: Sequence[Member]) -> optimiser.Course | None:
    """What members have of their own for OF_COURSE, each [member] float32."""
    each = [
        optimiser.course_of(
            settings.read(
                train_settings.Train,
                {**config} | {key: one.values[key] for key in OF_COURSE if key in one.values},
                "config.train",
            )
        )
        for one in members
    ]
    if all(map(optimiser.is_plain, each)):
        return None
    return optimiser.Course(
        *(jnp.asarray(column, jnp.float32) for column in zip(*each, strict=True))
    )


def rounded_rate(rate: float) -> float:
    """What dropout rounds `rate` to, so that a traced rate is the one it stands for."""
    return round(256 * rate) / 256
