"""The section `train` and the key `profile`; also the section `train` of hypergraph files."""

import dataclasses
import math

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.settings import Settings, setting

SELECTIONS = ("auroc", "auprc", "loss")
NODE_SELECTIONS = ("accuracy", "loss")
OPTIMISERS = ("adam_l2", "adamw")
SCHEDULES = ("constant", "cosine")
APART = 1_000_000  # the distance between the seeds of two members of a seed
# Methods that can teach networks over the same input.
TEACHERS = tuple(name for name, entry in registry.METHODS.items() if entry.teaches)
_MOST = 1_000_000_000  # of steps and counts of steps, which are int32


def _is_weight(value: str) -> bool:
    """Returns True for a weight of positive labels: "balanced", or a number above 0."""
    try:
        return value == "balanced" or 0 < float(value) < math.inf
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class Optimiser(Settings):
    """The settings of `config.train` for one optimiser step."""

    optimiser: str = setting(
        "adam_l2",
        "adam_l2: weight_decay is L2 inside Adam, as published; adamw: decay is decoupled.",
        choices=OPTIMISERS,
    )
    learning_rate: float = setting(1e-3, "The step size of Adam.", above=0)
    weight_decay: float = setting(
        1e-3, "The strength of the decay of parameters towards 0.", least=0
    )
    clip: float | None = setting(
        1.0, "The greatest global norm of a gradient; None is no limit.", above=0
    )
    schedule: str = setting(
        "constant",
        "The learning rate after the warm-up; cosine is half a cosine until the last step.",
        choices=SCHEDULES,
    )
    warmup_steps: int = setting(
        0, "Steps in which the learning rate rises linearly from 0.", unit="steps", least=0,
        most=_MOST,
    )  # fmt: skip
    final_share: float = setting(
        0.0, "With cosine: the share of the learning rate that is left at the last step.",
        least=0, most=1,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Loop(Optimiser):
    """The settings of `config.train` for the loop of training, whatever is trained."""

    steps: int = setting(500, "The greatest number of steps.", unit="steps", least=1, most=_MOST)
    eval_every: int = setting(
        5, "Steps between two validations.", unit="steps", least=1, most=_MOST
    )
    patience: int = setting(
        20, "Training stops after so many validations without a better one.",
        unit="validations", least=1, most=_MOST,
    )  # fmt: skip
    checkpoint_every: int = setting(
        4, "Validations between two checkpoints.", unit="validations", least=1, most=_MOST
    )

    def check_together(self) -> None:
        """Raises ConfigError where the warm-up never ends."""
        if self.warmup_steps >= self.steps:
            raise errors.ConfigError(
                f"config.train.warmup_steps is {self.warmup_steps}; expected below "
                f"config.train.steps, {self.steps}"
            )


@dataclasses.dataclass(frozen=True)
class Train(Loop):
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
        1, "Fits of each seed; the seed's probabilities are their mean.", least=1, most=1000
    )
    positive_weight: str = setting(
        "1",
        "The weight of a positive label in the loss; balanced is negatives over positives.",
        fits=_is_weight,
        expected="'balanced' or a number above 0",
    )
    select: str = setting(
        "auroc", "The validation metric that picks the best step.", choices=SELECTIONS
    )
    teacher: str = setting(
        "",
        "A method that is no network, such as lightgbm_windows: networks learn, beside the labels, "
        "its probabilities of training samples, each from a fit without that patient; '' is none.",
        choices=("", *TEACHERS),
    )
    teacher_share: float = setting(
        0.5,
        "The teacher's share of every training label; the rest is the label itself.",
        least=0,
        most=1,
    )
    batch: int = setting(
        64, "Stays in a step; networks over visits take all visits in every step.",
        unit="stays", least=1, most=_MOST,
    )  # fmt: skip
    devices: int | None = setting(
        None,
        "The number of devices over which visits, or the stays of a batch, are spread. None is all "
        "devices, or one if the members of all seeds are spread over the devices instead.",
        unit="devices",
        least=1,
    )
    shards: int = setting(
        1,
        "For networks over visits, on one device: the number of shards of visits, computed one "
        "after another, for a hypergraph whose states do not fit into memory. It is slower, and "
        "the result is the same.",
        least=1,
        most=_MOST,
    )
    population: int | None = setting(
        None,
        "The most seeds, or trials of a sweep, that train as one program; 1 trains one after "
        "another, None as many as fit in memory.",
        least=1,
    )

    def check_together(self) -> None:
        """Raises ConfigError where the warm-up never ends, or members would share a seed."""
        super().check_together()
        if self.members > 1 and any(abs(seed) >= APART for seed in self.seeds):
            raise errors.ConfigError(
                f"config.train.seeds is {self.seeds}; with config.train.members above 1 expected "
                f"seeds below {APART}"
            )


@dataclasses.dataclass(frozen=True)
class Run(Settings):
    """Keys outside the sections."""

    profile: bool = setting(
        False, "Write operations, memory and a trace of training to profile/ in the run folder."
    )


@dataclasses.dataclass(frozen=True)
class NodeTraining(Loop):
    """Training over random splits of one hypergraph; a step is of all training nodes."""

    seed: int = setting(
        0, "The seed of the splits, the parameters and dropout.", least=0, most=2**31 - 1
    )
    splits: int = setting(
        20, "Random splits, each trained from new parameters.", least=1, most=1_000_000
    )
    train_fraction: float = setting(0.5, "The share of nodes to train on.", above=0, below=1)
    validation_fraction: float = setting(
        0.25, "The share of nodes to validate on; the rest is the test part.", above=0, below=1
    )
    select: str = setting(
        "accuracy",
        "The validation metric that picks the best step.",
        choices=NODE_SELECTIONS,
    )

    def check_together(self) -> None:
        """Raises ConfigError where the warm-up never ends, or the fractions leave no test part."""
        super().check_together()
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
      config: of an experiment on records; its sections model, realm and train are read.
    """
    teacher, name = config.train.teacher, config.model.name
    if not teacher or not config.train.teacher_share:
        return
    inputs = registry.find(name).inputs
    teachers = [one for one, entry in registry.METHODS.items() if inputs in entry.teaches]
    if teacher not in teachers:
        raise errors.ConfigError(
            f"config.train.teacher is '{teacher}'; '{name}' is given {inputs.name} and can be "
            f"taught by {', '.join([*teachers, 'none'])}; for none set it to ''."
            + errors.did_you_mean(teacher, teachers)
        )
    # A network must not learn, through a teacher's scores, from an input that it does not read.
    switches = [key for key, is_on in registry.find(teacher).overrides.items() if is_on is True]
    sections = {key: config[key.split(".")[0]][key.split(".")[1]] for key in switches}
    if switches and not any(sections.values()):
        raise errors.ConfigError(
            f"config.train.teacher is '{teacher}', and of what it reads nothing is read by "
            f"'{name}': config.{', config.'.join(switches)} is False; take another teacher, or set "
            "it to ''"
        )
