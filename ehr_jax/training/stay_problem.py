"""Stays on the device, as training uses them: batches drawn there, in an order by epoch.

Nothing here looks into a stay: any samples of which each is scored by itself are trained so, by a
function that reads their rows (`build`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors
from ehr_jax.features import arrays as features
from ehr_jax.features import stays
from ehr_jax.models import inputs
from ehr_jax.nn import compiling
from ehr_jax.training import loss as losses
from ehr_jax.training import partition, task

SCORED_AT_ONCE = 512  # stays


class Batch(NamedTuple):
    """The samples of a step; labels [batch, label], survival [batch, day] as of `StayProblem`."""

    stays: Any
    labels: jax.Array
    survival: jax.Array


# (arrays, [row]) -> the samples of these rows on the device, every leaf with a leading [sample].
Read = Callable[[features.Arrays, np.ndarray], Any]


def rows(arrays: stays.StayArrays, chosen: np.ndarray) -> inputs.Stays:
    """Returns the samples `chosen` [row] on the device."""
    return inputs.Stays(**{name: jnp.asarray(x[chosen]) for name, x in arrays.stays.items()})


class StayProblem(task.ResidentLabels):
    """Stays that fit and stays that select, resident on the device; a `task.Task`.

    Attributes:
      train, validation: labelled samples.
      train_labels, validation_labels: [sample, label] float32; nan where missing.
      train_survival: [sample, day] float32, learned beside the labels; see `StayArrays.survival`.
      positive_weight: [label] float32, weight of a positive cell in the loss.
      batch: stays a step, static.
      mesh: over which each batch is spread, static; None on one device.
      read: (arrays, [row]) -> the samples of these rows on the device, static.
    """

    train: Any
    train_labels: jax.Array
    train_survival: jax.Array
    positive_weight: jax.Array
    validation: Any
    validation_labels: jax.Array
    batch: int = flax.struct.field(pytree_node=False)
    mesh: jax.sharding.Mesh | None = flax.struct.field(pytree_node=False, default=None)
    read: Read = flax.struct.field(pytree_node=False, default=rows)

    @property
    def train_targets(self) -> jax.Array:
        """[sample, label and survival day] float32; nan where missing."""
        return jnp.concatenate([self.train_labels, self.train_survival], axis=1)

    def init(self, model: nn.Module, key: jax.Array) -> Any:
        """Parameters before the first step."""
        return model.init(key, jax.tree.map(lambda x: x[: self.batch], self.train))

    def loss(
        self, params, model: nn.Module, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Weighted cross-entropy of the batch of `step`, where a day of `survival_days` counts as a
        label does, and the running statistics that the step leaves where norms keep any.

        Every epoch has its own order, drawn from key and epoch alone; what is left over by whole
        batches waits for another order.
        """
        rows = self.batch_rows(key, step)
        batch = Batch(
            self._spread(jax.tree.map(lambda x: x[rows], self.train)),
            self.train_labels[rows],
            self.train_survival[rows],
        )
        return batch_loss(params, model, key, step, batch, self.positive_weight)

    def _spread(self, batch: Any) -> Any:
        """A batch with its stays over the devices; the compiler adds the sums of gradients."""
        if self.mesh is None:
            return batch
        rows = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(partition.AXIS))
        return jax.lax.with_sharding_constraint(batch, rows)

    def batch_rows(self, key: jax.Array, step: jax.Array) -> jax.Array:
        """[batch] int32, the training samples of a step."""
        size = self.train_labels.shape[0]
        epoch, place = jnp.divmod(step, size // self.batch)
        order = epoch_order(key, epoch, size)
        return jax.lax.dynamic_slice(order, (place * self.batch,), (self.batch,))

    def validation_logits(self, params, model: nn.Module) -> jax.Array:
        """[validation, label] float32, without dropout."""
        return score(params, model, self.validation)

    def product_size(self, model: nn.Module) -> int:
        """Rows times columns of a step's products: those of a batch."""
        return self.batch * model.width

    def probabilities(self, model: nn.Module, params: Any, arrays: features.Arrays) -> np.ndarray:
        """Probabilities of every sample, [sample, label] float32."""
        return score_all(model, params, arrays, np.asarray(self.positive_weight), self.read)


def batch_loss(
    params,
    model: nn.Module,
    key: jax.Array,
    step: jax.Array,
    batch: Batch,
    positive_weight: jax.Array,
) -> tuple[jax.Array, dict]:
    """Weighted cross-entropy of `batch`, and the running statistics that norms keep, where any do.

    Args:
      key: the run's.
      positive_weight: [label] float32.
    """
    rngs = {"dropout": jax.random.fold_in(key, step)}
    logits, kept = model.apply(params, batch.stays, train=True, rngs=rngs, mutable=["batch_stats"])
    targets = jnp.concatenate([batch.labels, batch.survival], axis=1)
    weight = jnp.concatenate([positive_weight, jnp.ones(batch.survival.shape[1])])
    return losses.cross_entropy(logits, targets, weight), dict(kept)


def epoch_order(key: jax.Array, epoch: jax.Array, count: int) -> jax.Array:
    """[count] int32, the order in which an epoch takes the samples; the key is the run's."""
    # Apart from the keys of steps and of parameters, which are fold_in of `key` itself.
    own = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 2), epoch)
    return jax.random.permutation(own, count)


def build(
    arrays: features.Arrays,
    positive_weight: float | str,
    batch: int,
    mesh: jax.sharding.Mesh | None = None,
    read: Read = rows,
) -> StayProblem:
    """Places the labelled training and validation samples on the device, or on all of a mesh.

    Args:
      positive_weight: of a positive cell in the loss: a number, or "balanced".
      batch: samples a step.
      read: what reads rows of `arrays`.

    Raises:
      ConfigError: an impossible batch or weight.
    """
    train, validation = features.training_rows(arrays)
    if batch < 1 or not train.size:
        raise errors.ConfigError(
            f"config.train.batch is {batch}, with {train.size} labelled training samples; "
            "both must be 1 or more"
        )
    asked, batch = batch, min(batch, train.size)
    mesh = mesh if mesh is not None and mesh.size > 1 else None
    if mesh is not None and batch % mesh.size:
        raise errors.ConfigError(
            f"config.train.batch is {asked}, with {train.size} labelled training samples, and "
            f"{mesh.size} devices do not divide a batch of {batch} evenly; set a multiple of "
            f"{mesh.size} that is no more than the samples, or config.train.devices=1"
        )
    labels = arrays.labels.shape[1]
    built = StayProblem(
        train=read(arrays, train),
        train_labels=jnp.asarray(arrays.labels[train]),
        train_survival=jnp.asarray(arrays.targets[train][:, labels:]),
        positive_weight=jnp.asarray(losses.positive_weights(arrays.labels[train], positive_weight)),
        validation=read(arrays, validation),
        validation_labels=jnp.asarray(arrays.labels[validation]),
        batch=batch,
        mesh=mesh,
        read=read,
    )
    return built if mesh is None else partition.put(built, mesh)


def score(params, model: nn.Module, given: Any) -> jax.Array:
    """Logits [sample, label] float32 without dropout, a bounded number of stays at a time."""
    count = len(jax.tree.leaves(given)[0])
    if count <= SCORED_AT_ONCE:
        return model.apply(params, given)
    blocks = -(-count // SCORED_AT_ONCE)

    def blocked(x):
        padded = jnp.pad(x, ((0, blocks * SCORED_AT_ONCE - count), *((0, 0),) * (x.ndim - 1)))
        return padded.reshape(blocks, SCORED_AT_ONCE, *x.shape[1:])

    logits = jax.lax.map(lambda part: model.apply(params, part), jax.tree.map(blocked, given))
    return logits.reshape(blocks * SCORED_AT_ONCE, -1)[:count]


def score_all(
    model: nn.Module,
    params: Any,
    arrays: features.Arrays,
    positive_weight: np.ndarray,
    read: Read = rows,
) -> np.ndarray:
    """Probabilities of every sample, [sample, label] float32; the weight [label] is the loss's."""
    run = compiling.jit(model.apply, SCORED_AT_ONCE * model.width)
    parts = []
    for start in range(0, len(arrays.labels), SCORED_AT_ONCE):
        chosen = np.arange(start, start + SCORED_AT_ONCE)
        # The last batch is filled up, so that one program serves all.
        part = run(params, read(arrays, np.minimum(chosen, len(arrays.labels) - 1)))
        parts.append(np.asarray(part)[: len(arrays.labels) - start])
    return losses.unweighted(np.concatenate(parts), positive_weight)
