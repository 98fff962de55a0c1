"""Stays in host memory: Grain reads the batches of the next steps ahead, onto the device.

For arrays that the device does not hold; the samples of every step, and its randomness, are those
of `stay_problem.StayProblem`, so the result is the same but for rounding.
"""

import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.features import arrays as features
from ehr_jax.features import loader, stays
from ehr_jax.models import inputs
from ehr_jax.nn import compiling
from ehr_jax.training import loss as losses
from ehr_jax.training import partition, stay_problem, stepping, task

IN_FLIGHT = 2  # steps given to the device that may not have ended
# Batches on the device at once: what waits, what is being read, and what steps are given.
BATCHES = loader.READING.prefetch_buffer_size + loader.READING.num_threads + IN_FLIGHT


@dataclasses.dataclass(frozen=True)
class FedStays:
    """What is fitted and what selects, in host memory but for `head`.

    Attributes:
      head: the problem of the first training batch alone; nothing to validate.
      stays: name to [sample, ...], of `features.stays.StayArrays`.
      labels, survival: as there.
      train, validation: [row] int, the labelled samples of these splits.
      batch: stays a step.
      mesh: over which each batch is spread; None on one device.
    """

    head: stay_problem.StayProblem
    stays: Mapping[str, np.ndarray]
    labels: np.ndarray
    survival: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    batch: int
    mesh: jax.sharding.Mesh | None

    @property
    def positive_weight(self) -> jax.Array:
        """[label] float32, weight of a positive cell in the loss."""
        return self.head.positive_weight

    @property
    def train_labels(self) -> np.ndarray:
        """[train, label] float32; nan where missing."""
        return self.labels[self.train]

    @property
    def train_targets(self) -> np.ndarray:
        """[sample, label and survival day] float32; nan where missing."""
        return np.concatenate([self.train_labels, self.survival[self.train]], axis=1)

    @property
    def validation_labels(self) -> np.ndarray:
        """[validation, label] float32; nan where missing."""
        return self.labels[self.validation]

    @property
    def takes_all(self) -> bool:
        """True: the memory of the device is that of one member's batches."""
        return True

    @property
    def on_device(self) -> stay_problem.StayProblem:
        """The first batch."""
        return self.head

    def init(self, model: nn.Module, key: jax.Array) -> Any:
        """Parameters before the first step."""
        return self.head.init(model, key)

    def product_size(self, model: nn.Module) -> int:
        """Rows times columns of a step's products: those of a batch."""
        return self.head.product_size(model)

    def probabilities(self, model: nn.Module, params: Any, arrays: stays.StayArrays) -> np.ndarray:
        """Probabilities of every sample, [sample, label] float32."""
        return self.head.probabilities(model, params, arrays)

    def compile_chunk(
        self, chunk: task.Chunk, state: stepping.State
    ) -> tuple[Callable, jax.stages.Compiled]:
        """As of `task.Task`; the program to look at is one step of the chunk."""
        return compile_chunk(chunk, state, self)


def build(
    arrays: stays.StayArrays,
    positive_weight: float | str,
    batch: int,
    mesh: jax.sharding.Mesh | None = None,
) -> FedStays:
    """Leaves `arrays` where they are; arguments and errors as of `stay_problem.build`."""
    train, validation = features.training_rows(arrays)
    few = train[:batch] if batch > 0 else train
    head = stay_problem.build(
        dataclasses.replace(
            arrays,
            stays={name: x[few] for name, x in arrays.stays.items()},
            labels=arrays.labels[few],
            survival=arrays.survival[few],
            split=arrays.split[few],
        ),
        1.0,
        batch,
        mesh,
    )
    weight = losses.positive_weights(arrays.labels[train], positive_weight)
    return FedStays(
        head=head.replace(positive_weight=partition.put(weight, head.mesh)),
        stays=arrays.stays,
        labels=arrays.labels,
        survival=arrays.survival,
        train=train,
        validation=validation,
        batch=head.batch,
        mesh=head.mesh,
    )


def compile_chunk(
    chunk: task.Chunk, state: stepping.State, data: FedStays
) -> tuple[Callable, jax.stages.Compiled]:
    """Returns a chunk as `fit.Program.run`, and its compiled step.

    Of the metrics "input_wait" is the share of the steps' time that passed waiting for a batch. The
    blocks of the validation after them are read as they are scored.

    Args:
      state: its outline.
    """
    model, size = chunk.model, data.product_size(chunk.model)
    weight, nothing = data.positive_weight, stepping.Found(*(jnp.zeros(()),) * 3)
    nothing = partition.put(nothing, data.mesh)
    validation_labels = partition.put(data.labels[data.validation], data.mesh)

    def step(before, total, batch, weight, key):
        def objective(params, number):
            return stay_problem.batch_loss(params, model, key, number, batch, weight)

        now, found = stepping.step(chunk.optimiser, objective, before)
        return now, jax.tree.map(jnp.add, total, found)

    first = _placed(data, data.train[: data.batch])
    key = jax.random.key(0)
    stepped = compiling.jit(
        step, size, donate_argnums=0, out_shardings=partition.everywhere(data.mesh)
    )
    stepped = stepped.lower(stepping.done(state), nothing, first, weight, key).compile()
    score = compiling.jit(model.apply, stay_problem.SCORED_AT_ONCE * model.width)

    @jax.jit
    def settled(state, now, means, scores, labels, weight):
        metrics = stepping.label_metrics(scores, labels, weight)
        return stepping.validated(state, now, means, metrics, chunk.select)

    def run(state: stepping.State, data: FedStays, key: jax.Array):
        began = time.monotonic()
        now, total, given = stepping.done(state), nothing, collections.deque()
        batches = iter(_batches(data, key, int(state.step), chunk.steps))
        waited = time.monotonic() - began
        try:
            for _ in range(chunk.steps):
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                now, total = stepped(now, total, batch, weight, key)
                given.append(total)
                if len(given) > IN_FLIGHT:
                    given.popleft().loss.block_until_ready()
        finally:
            batches.close()
        share = waited / (time.monotonic() - began)
        means = jax.tree.map(lambda x: x / chunk.steps, total)
        scores = validation_logits(score, now.params, data)
        state, metrics = settled(state, now, means, scores, validation_labels, weight)
        return state, metrics | {"input_wait": share}

    return run, stepped


def step_rows(key: jax.Array, first: int, steps: int, count: int, batch: int) -> np.ndarray:
    """[steps, batch] int, the training samples of so many steps from `first`, of `count`; as
    `stay_problem.StayProblem.batch_rows` has them."""
    epochs, places = np.divmod(np.arange(first, first + steps), count // batch)
    orders = {
        epoch: np.asarray(stay_problem.epoch_order(key, epoch, count))
        for epoch in np.unique(epochs)
    }
    return np.stack(
        [
            orders[epoch][place * batch : (place + 1) * batch]
            for epoch, place in zip(epochs, places, strict=True)
        ]
    )


def _batches(data: FedStays, key: jax.Array, first: int, steps: int) -> grain.IterDataset:
    """The batches of so many steps, read and sent to the device by threads."""
    rows = data.train[step_rows(key, first, steps, len(data.train), data.batch)]
    read = functools.partial(_placed, data)
    return grain.MapDataset.source(rows).map(read).to_iter_dataset(loader.READING)


def _placed(data: FedStays, rows: np.ndarray) -> stay_problem.Batch:
    given = stay_problem.Batch(_stays(data, rows), data.labels[rows], data.survival[rows])
    return partition.put(given, data.mesh, (partition.AXIS,))


def _stays(data: FedStays, rows: np.ndarray) -> inputs.Stays:
    """The samples `rows`, on the host, in the dtypes of the device."""
    kinds = {name: x.dtype for name, x in vars(data.head.train).items()}
    return inputs.Stays(**{name: x[rows].astype(kinds[name]) for name, x in data.stays.items()})


def validation_logits(score: Callable, params, data: FedStays) -> jax.Array:
    """[validation, label] float32 by `score`, the network's jitted `apply`."""
    count, parts = len(data.validation), []
    if not count:
        return jnp.zeros((0, data.labels.shape[1]))
    size = min(count, stay_problem.SCORED_AT_ONCE)
    for start in range(0, count, size):
        # The last is filled up, so that one program serves all.
        chosen = np.minimum(np.arange(start, start + size), count - 1)
        part = partition.put(_stays(data, data.validation[chosen]), data.mesh)
        parts.append(score(params, part)[: count - start])
        if len(parts) > 1:
            parts[-2].block_until_ready()  # no more than two blocks are on the device
    return jnp.concatenate(parts)
