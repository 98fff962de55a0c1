"""The sections `train` and `profile`, and that of training on one hypergraph file."""

import dataclasses
import math

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.settings import setting

SELECTIONS = ("auroc", "auprc", "loss")
OPTIMISERS = ("adam_l2", "adamw")
SCHEDULES = ("constant", "cosine")
APART = 1_000_000  # between the seeds of a seed's members
# Methods that can teach a network, by what it is given.
TEACHERS = tuple(name for name, entry in registry.METHODS.items() if entry.teaches)
_MOST = 1_000_000_000  # steps and what counts them, which are int32


def _is_weight(value: str) -> bool:
    """Whether a text is a weight of positive cells: balanced, or a number above 0."""
    try:
        return value == "balanced" or 0 < float(value) < math.inf
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """A step of a network; its settings are those of `config.train`."""

    optimiser: str = setting(
        "adam_l2",
        "adam_l2: weight_decay is L2 inside Adam, as published; adamw: it is apart from Adam.",
        choices=OPTIMISERS,
    )
    learning_rate: float = setting(1e-3, "The step size of Adam.", above=0)
    weight_decay: float = setting(1e-3, "How strongly parameters are drawn to 0.", least=0)
    clip: float = setting(1.0, "The greatest global norm of a gradient.", above=0)
    schedule: str = setting(
        "constant",
        "The course of the learning rate after the warm-up; cosine falls along a half cosine until "
        "the last step.",
        choices=SCHEDULES,
    )
    warmup_steps: int = setting(
        0, "The learning rate rises linearly in the first so many.", unit="steps", least=0,
        most=_MOST,
    )  # fmt: skip
    final_share: float = setting(
        0.0, "Of a cosine: the part of the learning rate that is left at the last step.",
        least=0, most=1,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Train(Optimiser):
    """Fitting a method."""

    seeds: tuple[int, ...] = setting(
        (0, 1, 2, 3, 4),
        "Training seeds; figures are means over them.",
        least=-(2**31),
        most=2**31 - 1,
        filled=True,
        distinct=True,
        expected="one or more distinct seeds, whole numbers of at most 31 bits (a flag given twice "
        "adds to the first)",
    )
    members: int = setting(
        1, "Fits of a seed; its probabilities are their mean.", least=1, most=1000
    )
    steps: int = setting(500, "At most so many.", unit="steps", least=1, most=_MOST)
    positive_weight: str = setting(
        "1",
        "The weight of a positive cell in the loss; balanced is negatives over positives.",
        fits=_is_weight,
        expected="'balanced' or a number above 0",
    )
    select: str = setting("auroc", "The validation metric that picks the step.", choices=SELECTIONS)
    teacher: str = setting(
        "",
        "A method that is no network, such as lightgbm_windows: networks learn, beside the labels, "
        "what it says of training samples, each from a fit without that patient.",
        choices=("", *TEACHERS),
    )
    teacher_share: float = setting(
        0.5, "The teacher's share in what is learned; the rest is the labels'.", least=0, most=1
    )
    batch: int = setting(
        64, "Stays of a step; networks over visits take all at once.", unit="stays", least=1,
        most=_MOST,
    )  # fmt: skip
    devices: int | None = setting(
        None,
        "Over how many devices visits, or the stays of a batch, are spread. None is all there are, "
        "or one if the members of all seeds go over the devices instead.",
        unit="devices",
        least=1,
    )
    shards: int = setting(
        1,
        "Of networks over visits, on one device: so many shards of visits are computed one after "
        "another, for a hypergraph whose states do not fit into its memory. It is slower, and the "
        "result is the same.",
        least=1,
        most=_MOST,
    )
    eval_every: int = setting(
        5, "From one validation to the next.", unit="steps", least=1, most=_MOST
    )
    patience: int = setting(
        20, "Training stops after so many without a better one.", unit="validations", least=1,
        most=_MOST,
    )  # fmt: skip
    checkpoint_every: int = setting(
        4, "From one checkpoint to the next.", unit="validations", least=1, most=_MOST
    )
    population: int | None = setting(
        None,
        "Seeds, or trials of a sweep, trained as one program at most; 1 is one after another, None "
        "as many as fit in memory.",
        least=1,
    )

    def check_together(self) -> None:
        """Raises ConfigError where the warm-up never ends, or the members of seeds would meet."""
        if self.warmup_steps >= self.steps:
            raise errors.ConfigError(
                f"config.train.warmup_steps is {self.warmup_steps}; expected below "
                f"config.train.steps, {self.steps}"
            )
        if self.members > 1 and any(abs(seed) >= APART for seed in self.seeds):
            raise errors.ConfigError(
                f"config.train.seeds is {self.seeds}; with config.train.members above 1 expected "
                f"seeds below {APART}"
            )


@dataclasses.dataclass(frozen=True)
class Run:
    """Keys without a section."""

    profile: bool = setting(
        False, "Write what training costs to profile/ in the run folder: cost, memory, trace."
    )


@dataclasses.dataclass(frozen=True)
class NodeTraining:
    """Training over random splits of one hypergraph."""

    seed: int = setting(
        0, "The seed of the splits, the parameters and dropout.", least=0, most=2**31 - 1
    )
    splits: int = setting(
        20, "Random splits, each trained from new parameters.", least=1, most=1_000_000
    )
    train_fraction: float = setting(0.5, "Of the nodes.", above=0, below=1)
    validation_fraction: float = setting(
        0.25, "Of the nodes; the rest is the test part.", above=0, below=1
    )
    epochs: int = setting(500, "Full-batch steps of a split.", unit="steps", least=1, most=_MOST)
    learning_rate: float = setting(1e-3, "The step size of Adam.", above=0)
    weight_decay: float = setting(0.0, "L2 inside Adam.", least=0)

    def check_together(self) -> None:
        """Raises ConfigError where the fractions leave no test part."""
        if self.train_fraction + self.validation_fraction >= 1:
            raise errors.ConfigError(
                "config.train.train_fraction and config.train.validation_fraction sum to "
                f"{self.train_fraction + self.validation_fraction:g}; expected below 1, the rest "
                "is the test part"
            )


def check_shards(name: str, shards: int) -> None:
    """Raises ConfigError where the method `name` cannot be computed in shards of visits."""
    inputs = registry.find(name).inputs
    if shards != 1 and not inputs.in_shards:
        raise errors.ConfigError(
            f"config.train.shards is {shards}, and '{name}' is given {inputs.name}, batch by "
            "batch; leave it 1, and lower config.train.batch where memory is short"
        )


def check_teacher(config) -> None:
    """Raises ConfigError unless config.train.teacher can teach the method of config.model.name.

    Args:
      config: of records; its sections model, realm and train are read.
    """
    teacher, name = config.train.teacher, config.model.name
    if not teacher or not config.train.teacher_share:
        return
    inputs = registry.find(name).inputs
    teachers = [one for one, entry in registry.METHODS.items() if inputs in entry.teaches]
    if teacher not in teachers:
        raise errors.ConfigError(
            f"config.train.teacher is '{teacher}'; '{name}' is given {inputs.name} and can be "
            f"taught by {', '.join(teachers) or 'none'}, or by none with ''."
            + errors.did_you_mean(teacher, teachers)
        )
    # What the teacher reads must not come back in what a network learns that does not read it.
    switches = [key for key, is_on in registry.find(teacher).overrides.items() if is_on is True]
    sections = {key: config[key.split(".")[0]][key.split(".")[1]] for key in switches}
    if switches and not any(sections.values()):
        raise errors.ConfigError(
            f"config.train.teacher is '{teacher}', and of what it reads nothing is read by "
            f"'{name}': config.{', config.'.join(switches)} is False; take another teacher, or set "
            "it to ''"
        )
