"""The contract of what is trained, whatever its input: visits, stays, or a kind not yet thought of.

A `Task` is data where training reads them, with the functions that turn parameters into a loss and
into validation scores. A `Kind` says how a method's arrays are made and become a task. `fit`,
`population`, `memory` and the modes know these two and nothing of any one kind.
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
    """The samples that fit a network and those that select its best step.

    Attributes:
      train_labels: [..., label] float32, the training labels; nan where missing.
      train_targets: the same, and behind them what is learned beside them.
      validation_labels: [validation, label] float32; nan where missing.
      positive_weight: [label] float32, weight of a positive cell in the loss.
      mesh: the devices over which the data of one member are spread; None on one device.
      takes_all: True if training one member takes all devices, or all memory of the one there is.
      on_device: the pytree of the task that initial parameters are drawn for.
    """

    train_labels: Any
    train_targets: Any
    validation_labels: Any
    positive_weight: Any

    @property
    def mesh(self) -> jax.sharding.Mesh | None: ...

    @property
    def takes_all(self) -> bool: ...

    @property
    def on_device(self) -> Any: ...

    def init(self, model: Any, key: jax.Array) -> Any:
        """Returns the parameters before the first step."""

    def loss(
        self, params: Any, model: Any, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Returns the loss of `step`, and the running statistics that the step leaves, if any.

        Args:
          key: the run's; the randomness of a step is `fold_in(key, step)`.
        """

    def validation_logits(self, params: Any, model: Any) -> jax.Array:
        """Returns [validation, label] float32, without dropout."""

    def weighed(self, positive_weight: jax.Array) -> "Task":
        """Returns the task with other weights [label] of positive cells."""

    def product_size(self, model: Any) -> int:
        """Returns rows times columns of a step's dense products; 0 if most of its time is not in
        them (see `nn.compiling.jit`)."""

    def compile_chunk(self, chunk: "Chunk", state: Any) -> tuple[Callable, jax.stages.Compiled]:
        """Compiles `eval_every` steps and the validation after them.

        Args:
          state: an outline of `stepping.State`.

        Returns:
          (state, task, key) -> (state, metrics); and the compiled program to look at.
        """

    def probabilities(self, model: Any, params: Any, arrays: features.Arrays) -> np.ndarray:
        """Returns the probabilities of every sample of `arrays`, [sample, label] float32."""


def size(tree: Any) -> int:
    """Returns the bytes of a task, or of an outline of one."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Chunk(NamedTuple):
    """What a compiled chunk of training is made of.

    Attributes:
      model: the network.
      optimiser: its `optax.GradientTransformation`.
      steps: steps before the validation, config.train.eval_every.
      select: the validation metric that picks the best step, config.train.select.
    """

    model: Any
    optimiser: Any
    steps: int
    select: str


class Resident(flax.struct.PyTreeNode):
    """The parts of `Task` that all tasks share whose data lie on the device for the whole run."""

    @property
    def mesh(self) -> jax.sharding.Mesh | None:
        """None: the data lie on one device."""
        return None

    @property
    def takes_all(self) -> bool:
        """True if the data of one member are spread over devices."""
        return self.mesh is not None

    @property
    def train_targets(self) -> jax.Array:
        """The training labels alone."""
        return self.train_labels

    @property
    def on_device(self) -> "Resident":
        """The task itself."""
        return self

    def weighed(self, positive_weight: jax.Array) -> "Resident":
        """Returns the task with other weights [label] of positive cells."""
        return self.replace(positive_weight=positive_weight)

    def product_size(self, model: Any) -> int:
        """0: most of the time of a step goes to sparse products."""
        return 0

    def compile_chunk(
        self, chunk: Chunk, state: stepping.State
    ) -> tuple[Callable, jax.stages.Compiled]:
        """Compiles the steps and the validation after them as one program; see `Task`."""
        run = compiling.jit(
            functools.partial(stepping.run_chunk, chunk),
            self.product_size(chunk.model),
            donate_argnums=0,
            out_shardings=partition.everywhere(self.mesh),
        )
        compiled = run.lower(state, self, jax.random.key(0)).compile()
        return compiled, compiled
