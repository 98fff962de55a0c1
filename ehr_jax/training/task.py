"""The contract of a training task, the same for every kind of input.

A `Task` holds the samples where training reads them (on devices or in host memory) and has the
functions that turn parameters into a loss and into validation logits. A `kinds.Kind` makes a
method's arrays and builds a task from them. `fit`, `population`, `memory` and the modes use these
two contracts and depend on no single kind.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import numpy as np

from ehr_jax.features import arrays as features
from ehr_jax.nn import compiling
from ehr_jax.training import partition, stepping


class Task(Protocol):
    """The training samples, and the validation samples that select the best step.

    Attributes:
      mesh: the devices over which the samples of one member are spread; None on one device.
      takes_all: True if one member uses all devices, or fills the memory of a single device, so
        that members train one after another.
      on_device: the pytree of device arrays that `init` and compiled programs are given.
    """

    @property
    def mesh(self) -> jax.sharding.Mesh | None: ...

    @property
    def takes_all(self) -> bool: ...

    @property
    def on_device(self) -> Any: ...

    def init(self, model: Any, key: jax.Array) -> Any:
        """Returns the initial parameters."""

    def loss(
        self, params: Any, model: Any, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Returns the loss of `step`, [] float32, and running statistics (of batch norms) to merge
        into the parameters, {} if there are none.

        Args:
          key: the key of the run; a step draws from `fold_in(key, step)`.
          step: [] int32.
        """

    def validation_logits(self, params: Any, model: Any) -> jax.Array:
        """Returns logits [validation, label or class] float32, without dropout."""

    def metrics(self, logits: jax.Array) -> dict[str, jax.Array]:
        """Returns what validation logits are worth, each []: "validation_loss", "validation_" and
        every other metric by which a step may be selected, and "not_finite", the number of scores
        that are not finite."""

    def product_size(self, model: Any) -> int:
        """Returns rows times columns of the dense products that dominate a step, 0 if none do.

        `nn.compiling.jit` picks compiler options by it.
        """

    def compile_chunk(self, chunk: "Chunk", state: Any) -> tuple[Callable, jax.stages.Compiled]:
        """Compiles `eval_every` steps and the validation after them.

        Args:
          state: a `stepping.State` of shapes (`jax.ShapeDtypeStruct`).

        Returns:
          A function (state, task, key) -> (state, metrics), and the compiled program, whose memory
          and cost can be read.
        """


class LabelTask(Task, Protocol):
    """A task whose samples have labels of 0 and 1, in which members of a population can take part.

    Attributes:
      train_labels: [..., label] float32, the training labels; nan where missing.
      train_targets: [..., target] float32, the training labels, followed by auxiliary targets.
      validation_labels: [validation, label] float32; nan where missing.
      positive_weight: [label] float32, the weight of a positive label in the loss.
    """

    train_labels: Any
    train_targets: Any
    validation_labels: Any
    positive_weight: Any

    def weighed(self, positive_weight: jax.Array) -> "LabelTask":
        """Returns the task with other weights [label] float32 of positive labels."""

    def probabilities(self, model: Any, params: Any, arrays: features.Arrays) -> np.ndarray:
        """Returns the probabilities of every sample of `arrays`, [sample, label] float32."""


def size(tree: Any) -> int:
    """Returns the bytes of the arrays of a pytree, or of its shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Chunk(NamedTuple):
    """The static inputs of a compiled chunk of training: some steps and the validation after them.

    Attributes:
      model: the network.
      optimiser: an `optax.GradientTransformation`.
      steps: the number of steps, config.train.eval_every.
      select: the validation metric that picks the best step, config.train.select.
    """

    model: Any
    optimiser: Any
    steps: int
    select: str


class Resident(flax.struct.PyTreeNode):
    """The methods shared by tasks whose samples stay on the device for the whole run."""

    @property
    def mesh(self) -> jax.sharding.Mesh | None:
        """None: the samples are on one device."""
        return None

    @property
    def takes_all(self) -> bool:
        """True if the samples of one member are spread over devices."""
        return self.mesh is not None

    @property
    def on_device(self) -> "Resident":
        """The task itself."""
        return self

    def product_size(self, model: Any) -> int:
        """0: sparse products take most of a step's time."""
        return 0

    def compile_chunk(
        self, chunk: Chunk, state: stepping.State
    ) -> tuple[Callable, jax.stages.Compiled]:
        """Compiles the steps and the validation after them as one program (see `Task`)."""
        run = compiling.jit(
            functools.partial(stepping.run_chunk, chunk),
            self.product_size(chunk.model),
            donate_argnums=0,
            out_shardings=partition.everywhere(self.mesh),
        )
        compiled = run.lower(state, self, jax.random.key(0)).compile()
        return compiled, compiled


class ResidentLabels(Resident):
    """The methods that `Resident` tasks of labels of 0 and 1 share; see `LabelTask`."""

    @property
    def train_targets(self) -> jax.Array:
        """The training labels alone."""
        return self.train_labels

    def metrics(self, logits: jax.Array) -> dict[str, jax.Array]:
        """Returns the metrics of validation logits [validation, label]."""
        return stepping.label_metrics(logits, self.validation_labels, self.positive_weight)

    def weighed(self, positive_weight: jax.Array) -> "ResidentLabels":
        """Returns the task with other weights [label] float32 of positive labels."""
        return self.replace(positive_weight=positive_weight)
