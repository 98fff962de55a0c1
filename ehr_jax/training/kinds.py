"""The contract of a kind of input: how its arrays are made, placed on devices, and divided.

A kind is a module with the functions of `Kind`; each method of `models/registry.py` names the
module of its kind. A new kind is a file in features/ (its arrays), one in training/ (its task and
the functions of `Kind`) and one in models/ (its network).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import ml_collections

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import once
from ehr_jax.models import registry
from ehr_jax.training import task


class Job(NamedTuple):
    """A network, the samples it is trained on, and the training settings.

    Attributes:
      kind: the kind of input.
      model: the network.
      arrays: the samples, as numpy arrays.
      config: the section config.train.
    """

    kind: "Kind"
    model: Any
    arrays: features.Arrays
    config: ml_collections.ConfigDict


def job(config: ml_collections.ConfigDict, arrays: features.Arrays) -> Job:
    """Returns the job that trains the network of `config` on `arrays`.

    Raises ConfigError where settings contradict each other.
    """
    method = registry.resolve(config.model.name)
    network = method.network(config, arrays.labels.shape[1])
    return Job(method.kind, network, arrays, config.train)


class Outline(NamedTuple):
    """The shapes of a task (`jax.ShapeDtypeStruct`), by `jax.eval_shape` of the kind's own `build`.

    Attributes:
      resident: bytes that stay on each device for the whole run.
      step: the part of the task that one device computes at a time.
      program: the task whose step is compiled to measure its memory, where memory is short.
    """

    resident: int
    step: task.Task
    program: task.Task


class Kind(Protocol):
    """A kind of input.

    Attributes:
      DIVISOR: the key of config.train that divides the work of a step: "shards" or "batch".
      DIVISION: text appended to the advice to change that key, or "".
      NARROWER: the config key whose lower value makes the network smaller.
      RESTS_ON_TRAINING: True if the training samples, which a run folder does not hold, are needed
        to score a sample.
      CAN_BE_FED: True if batches can be read from host memory.
    """

    DIVISOR: str
    DIVISION: str
    NARROWER: str
    RESTS_ON_TRAINING: bool
    CAN_BE_FED: bool

    def reads(self, config: ml_collections.ConfigDict) -> features.Reads:
        """Returns what the method of `config` reads, and its teacher."""

    def make_arrays(
        self,
        known: once.Known,
        config: ml_collections.ConfigDict,
        reads: features.Reads,
        fitted: Any = None,
        encoding: Any = None,
        knowledge: Any = None,
    ) -> features.Arrays:
        """Makes the arrays of the cohort that `known` is of.

        Args:
          reads: what is made; the rest is left empty.
          fitted: `Arrays.fitted` of the samples that a model was trained on; None fits to the
            training samples of `cohort`.
          encoding: how texts become vectors; None takes the encoder of config.text, if one is read.
          knowledge: the graph in which entities are looked up; None opens that of config.knowledge.
        """

    def restore(self, stored: features.Stored, cohort: cohorts.Cohort) -> features.Arrays:
        """Returns the arrays of `cohort` that `Arrays.stored` took apart."""

    def graph(self, known: once.Known, config: Any, arrays: features.Arrays) -> Any:
        """Returns (config.features, graph) for the audit: each sample as a hyperedge over the nodes
        of its codes and attributes, with the fields of `features.hypergraph.Graph`."""

    def build(self, job: Job, resident: bool = True) -> task.LabelTask:
        """Places the samples on the devices; if not `resident`, batches are fed from the host."""

    def outline(self, job: Job, fed: bool = False) -> Outline:
        """Returns the shapes of what `build` would place, and of a step.

        Args:
          fed: the samples are in host memory.
        """

    def divided(self, job: Job) -> Iterator[ml_collections.ConfigDict]:
        """Yields copies of config.train that divide the work of a step ever further."""

    def explain(self, job: Job, params: Any, data: task.LabelTask) -> Any:
        """Returns (network over stays, its parameters, its arrays), from whose attention weights
        scores are explained; None for networks that keep no such weights."""
