"""The contract of a kind of input: how a method's arrays are made, placed and made smaller.

A kind is a module with these functions, named by the methods of the registry that are given it.
Adding one takes a file of features (its arrays), a file of training (its task and its kind) and a
file of models (its network).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import ml_collections

from ehr_jax.features import arrays as features
from ehr_jax.models import registry
from ehr_jax.training import task


class Job(NamedTuple):
    """What is to be trained.

    Attributes:
      kind: of the input.
      model: the network.
      arrays: its samples.
      config: config.train.
    """

    kind: "Kind"
    model: Any
    arrays: features.Arrays
    config: ml_collections.ConfigDict


def job(config: ml_collections.ConfigDict, arrays: features.Arrays) -> Job:
    """Returns the training of config.model on `arrays`; ConfigError where settings do not fit."""
    method = registry.resolve(config.model.name)
    network = method.network(config, arrays.labels.shape[1])
    return Job(method.kind, network, arrays, config.train)


class Outline(NamedTuple):
    """A task as shapes alone (`jax.ShapeDtypeStruct`), by `jax.eval_shape` of its own build.

    Attributes:
      held: bytes that lie on each device for the whole run.
      step: the task of what one device computes at a time.
      program: the task whose compiled step is looked at where memory is short.
    """

    held: int
    step: task.Task
    program: task.Task


class Reads(NamedTuple):
    """Which costly tables of the records the inputs of a config come from."""

    measurements: bool
    notes: bool
    knowledge: bool


class Kind(Protocol):
    """A kind of input.

    Attributes:
      DIVISOR: the key of config.train that divides the work of a step: "shards" or "batch".
      DIVISION: what advice to set that key adds.
      NARROWER: the key whose lower value makes the network smaller.
      RESTS_ON_TRAINING: True if scoring a sample takes the training samples, which a run folder
        does not hold.
      CAN_BE_FED: True if batches can be read from host memory.
    """

    DIVISOR: str
    DIVISION: str
    NARROWER: str
    RESTS_ON_TRAINING: bool
    CAN_BE_FED: bool

    def reads(self, config: ml_collections.ConfigDict) -> Reads:
        """Returns which costly tables `make_arrays` reads."""

    def make_arrays(
        self,
        records: Any,
        cohort: Any,
        config: ml_collections.ConfigDict,
        fitted: Any = None,
        encoding: Any = None,
        knowledge: Any = None,
    ) -> features.Arrays:
        """Makes the arrays of `cohort`.

        Args:
          fitted: of the samples that a model was trained on; None fits to training samples.
          encoding: how texts become vectors; None takes the encoder of config.text.
          knowledge: what entities are found in; None opens the graph of config.knowledge.
        """

    def graph(self, records: Any, cohort: Any, config: Any, arrays: features.Arrays) -> Any:
        """Returns (config.features, nodes): all single facts of the samples as hyperedges over
        nodes, with the fields of `features.prepare.Graph`, for the audit to look at."""

    def build(self, job: Job, resident: bool = True) -> task.Task:
        """Places the samples; where `resident` is False they are fed from host memory."""

    def outline(self, job: Job, fed: bool = False) -> Outline:
        """Returns the shapes of what `build` places, and of a step; places nothing."""

    def divided(self, job: Job) -> Iterator[ml_collections.ConfigDict]:
        """Yields config.train with the work of a step divided further and further."""

    def explain(self, job: Job, params: Any, data: task.Task) -> Any:
        """Returns (network over stays, its parameters, its arrays) whose weights explain scores;
        None where there is none."""
