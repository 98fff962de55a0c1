"""The nodes of one hypergraph as a kind of input: some fit, others select and test.

Unlike the kinds over records, of which `kinds.Kind` is the contract, it has one task for each
random split of the nodes; all have the same shapes, so that one program trains them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ehr_jax.features import hypergraph_file
from ehr_jax.nn import bipartite, hops, sparse_rows
from ehr_jax.training import task


class Split(NamedTuple):
    """Node ids of one random split, int32, each ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class NodeTask(task.Resident):
    """One split on the device: what its training rows and its other rows depend on.

    Attributes:
      features: [node, column], sparse.
      train_hops, held_out_hops: layers of the hypergraph with a singleton hyperedge per node, that
        reach the training nodes and [validation nodes ; test nodes].
      train_classes: [train] int32.
      held_out_classes: [validation + test] int32.
      start_key, step_key: the randomness of the split, whatever key its training is given.
      num_validation: static.
    """

    features: sparse_rows.SparseRows
    train_hops: tuple[hops.Hop, ...]
    held_out_hops: tuple[hops.Hop, ...]
    train_classes: jax.Array
    held_out_classes: jax.Array
    start_key: jax.Array
    step_key: jax.Array
    num_validation: int = flax.struct.field(pytree_node=False)

    def init(self, model: nn.Module, key: jax.Array) -> Any:
        """Returns the initial parameters."""
        return model.init(self.start_key, self.features, self.held_out_hops, train=False)

    def loss(
        self, params, model: nn.Module, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Returns the mean cross-entropy of the training nodes; see `task.Task`."""
        rngs = {"dropout": jax.random.fold_in(self.step_key, step)}
        logits = model.apply(params, self.features, self.train_hops, train=True, rngs=rngs)
        logits = logits[: self.train_classes.size]
        costs = optax.softmax_cross_entropy_with_integer_labels(logits, self.train_classes)
        return costs.mean(), {}

    def held_out_logits(self, params, model: nn.Module) -> jax.Array:
        """Returns logits [validation + test, class] float32, without dropout."""
        logits = model.apply(params, self.features, self.held_out_hops, train=False)
        return logits[: self.held_out_classes.size]

    def validation_logits(self, params, model: nn.Module) -> jax.Array:
        """Returns logits [validation, class] float32, without dropout."""
        return self.held_out_logits(params, model)[: self.num_validation]

    def metrics(self, logits: jax.Array) -> dict[str, jax.Array]:
        """Returns the accuracy and the cross-entropy of validation nodes; see `task.Task`."""
        classes = self.held_out_classes[: self.num_validation]
        costs = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
        return {
            "not_finite": (~jnp.isfinite(logits)).any(-1).sum(dtype=jnp.int32),
            "validation_accuracy": accuracy(logits, classes),
            "validation_loss": costs.mean(),
        }

    def accuracies(self, params, model: nn.Module) -> tuple[jax.Array, jax.Array]:
        """Returns the accuracies of validation nodes and of test nodes, [] each."""
        logits, count = self.held_out_logits(params, model), self.num_validation
        parts = jnp.split(logits, [count]), jnp.split(self.held_out_classes, [count])
        validation, test = map(accuracy, *parts)
        return validation, test


def accuracy(logits: jax.Array, classes: jax.Array) -> jax.Array:
    """Returns the share of rows of logits [row, class] that are highest at their own class, []; nan
    where a score is not finite."""
    right = (logits.argmax(-1) == classes).astype(jnp.float32)
    return jnp.where(jnp.isfinite(logits).all(-1), right, jnp.nan).mean()


def build(
    data: hypergraph_file.HypergraphFile, splits: Sequence[Split], depth: int, seed: int
) -> list[NodeTask]:
    """Places a task for each split on the device.

    Args:
      depth: the number of layers of the network.
      seed: the seed of parameters and dropout, from which each split has keys of its own.
    """
    graph, _ = bipartite.with_self_loops(data.graph)
    features = sparse_rows.from_csr(data.indptr, data.indices, data.values, data.feature_shape)
    held_out = [np.concatenate([split.validation, split.test]) for split in splits]
    train_hops = hops.reaching(graph, depth, [split.train for split in splits])
    held_out_hops = hops.reaching(graph, depth, held_out)
    tasks = []
    for k, split in enumerate(splits):
        start_key, step_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), k))
        tasks.append(
            NodeTask(
                features=features,
                train_hops=train_hops[k],
                held_out_hops=held_out_hops[k],
                train_classes=jnp.asarray(data.labels[split.train]),
                held_out_classes=jnp.asarray(data.labels[held_out[k]]),
                start_key=start_key,
                step_key=step_key,
                num_validation=split.validation.size,
            )
        )
    return tasks
