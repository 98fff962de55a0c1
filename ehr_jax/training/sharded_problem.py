"""A hypergraph in shards of visits, as the training loop uses it: exactly the problem of the whole.

Over devices (a mesh): visits lie on different devices, nodes and parameters on all. Hyperedges are
computed where they lie; what is exchanged in a step are sums over hyperedges for each node,
statistics of norms and the gradients, so the bytes depend on nodes and widths and not on the number
of visits.

Streamed (no mesh): one device computes shard after shard, several times over and again backward, so
that what it holds beside the hypergraph is the work of one shard.
"""

import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors
from ehr_jax.features import prepare
from ehr_jax.models import inputs
from ehr_jax.nn import spread
from ehr_jax.training import loss as losses
from ehr_jax.training import partition

_EACH, _ALL = jax.sharding.PartitionSpec(partition.AXIS), jax.sharding.PartitionSpec()


class ShardedProblem(flax.struct.PyTreeNode):
    """What is fitted and what selects, as `problem.Problem` but in shards.

    Attributes:
      nodes: vectors of the codes, on all devices.
      shaping: visits that shape the network, self-loops appended, [shard, ...].
      train_labels: [shard, visit, label] float32; nan where missing, or not a training sample.
      positive_weight: [label] float32, weight of a positive cell in the loss.
      validation: visits only read when selecting, [shard, ...].
      validation_rows: [validation] int32, positions among the shaping visits of all shards, and
        behind them the visits only read.
      validation_labels: [validation, label] float32.
      mesh: over which shards are spread, static; None where they are streamed.
    """

    nodes: inputs.Nodes
    shaping: inputs.Visits
    train_labels: jax.Array
    positive_weight: jax.Array
    validation: inputs.Visits
    validation_rows: jax.Array
    validation_labels: jax.Array
    mesh: jax.sharding.Mesh | None = flax.struct.field(pytree_node=False)

    def init(self, model: nn.Module, key: jax.Array) -> Any:
        """Parameters before the first step: those of one device, as shapes are the same."""
        first = jax.tree.map(lambda x: x[0], self.shaping)
        return model.init(key, self.nodes, first, train=False, method="encode")

    def loss(self, params, model: nn.Module, key: jax.Array, step: jax.Array) -> jax.Array:
        """Weighted cross-entropy over all labelled training cells; the key is the run's."""

        def of_shard(shared, shard, axis):
            params, nodes, weight, key = shared
            shaping, labels = shard
            logits, _ = model.clone(axis=axis).apply(
                params, nodes, shaping, train=True, method="encode", rngs={"dropout": key}
            )
            cost, known = spread.total(losses.cost_and_count(logits, labels, weight), axis)
            return cost / jnp.maximum(known, 1)

        shared = params, self.nodes, self.positive_weight, jax.random.fold_in(key, step)
        return self._over_shards(of_shard, shared, (self.shaping, self.train_labels))

    def validation_logits(self, params, model: nn.Module) -> jax.Array:
        """[validation, label] float32, without dropout."""
        return self.logits(params, model, self.validation)[self.validation_rows]

    def logits(self, params, model: nn.Module, reading: inputs.Visits) -> jax.Array:
        """Of the shaping visits of all shards, then of visits only read; [visit, label] float32,
        without dropout."""

        def of_shard(shared, shard, axis):
            (params, nodes), (shaping, reading) = shared, shard
            here = model.clone(axis=axis)
            shaped, frozen = here.apply(params, nodes, shaping, train=False, method="encode")
            return shaped, here.apply(params, nodes, reading, frozen, method="read")

        found = self._over_shards(
            of_shard, (params, self.nodes), (self.shaping, reading), each=True
        )
        return jnp.concatenate([logits.reshape(-1, logits.shape[-1]) for logits in found])

    def _over_shards(self, function, shared, shards, each: bool = False):
        """`function(shared, shard, axis)` over the devices, or in a stream; see `spread.stream`."""
        if self.mesh is None:
            return spread.stream(lambda shard, axis: function(shared, shard, axis), shards, each)

        def local(shared, own):
            # The axis of shards has length 1 here.
            found = function(shared, jax.tree.map(lambda x: x[0], own), partition.AXIS)
            return jax.tree.map(lambda x: x[None], found) if each else found

        return jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(_ALL, _EACH),
            out_specs=_EACH if each else _ALL,
            check_vma=False,  # see nn/spread.py
        )(shared, shards)


def build(
    arrays: prepare.Arrays,
    positive_weight: float | str,
    mesh: jax.sharding.Mesh | None,
    shards: int | None = None,
) -> ShardedProblem:
    """Spreads `arrays` over a mesh, or where that is None divides them into so many `shards`;
    `positive_weight` as in `problem.build`.

    Raises:
      ConfigError: more shards than visits, or an impossible weight.
    """
    shards = mesh.size if mesh else shards
    visits = int(arrays.shapes.sum())
    if not 1 <= shards <= visits:
        raise errors.ConfigError(
            f"config.train.shards is {shards}; expected 1 to {visits}, the visits that shape the "
            "network"
        )
    labelled = ~np.isnan(arrays.labels).all(axis=1)
    shaping = partition.visits(arrays, np.flatnonzero(arrays.shapes), True, shards)
    selects = labelled & (arrays.split == "validation")
    reading = partition.visits(arrays, np.flatnonzero(~arrays.shapes & selects), False, shards)
    trains = (shaping.rows >= 0) & (labelled & (arrays.split == "train"))[shaping.rows]
    train_labels = np.where(trains[..., None], arrays.labels[shaping.rows], np.nan)
    position = _positions(shaping.rows, reading.rows, arrays.labels.shape[0])
    validation = np.flatnonzero(selects)
    training = arrays.labels[labelled & (arrays.split == "train")]
    each = functools.partial(partition.put, mesh=mesh)
    return ShardedProblem(
        nodes=each(inputs.Nodes(arrays.structure, arrays.concepts)),
        shaping=partition.put(shaping.visits, mesh, partition.AXIS),
        train_labels=partition.put(train_labels.astype(np.float32), mesh, partition.AXIS),
        positive_weight=each(losses.positive_weights(training, positive_weight)),
        validation=partition.put(reading.visits, mesh, partition.AXIS),
        validation_rows=each(position[validation].astype(np.int32)),
        validation_labels=each(arrays.labels[validation].astype(np.float32)),
        mesh=mesh,
    )


def probabilities(
    model: nn.Module, params: Any, arrays: prepare.Arrays, data: ShardedProblem
) -> np.ndarray:
    """Probabilities of every sample, [sample, label] float32."""
    shards = data.train_labels.shape[0]
    shaping = partition.visits(arrays, np.flatnonzero(arrays.shapes), True, shards)
    reading = partition.visits(arrays, np.flatnonzero(~arrays.shapes), False, shards)
    read = partition.put(reading.visits, data.mesh, partition.AXIS)
    # Every process is given all of it.
    whole = jax.sharding.NamedSharding(data.mesh, _ALL) if data.mesh else None
    score = jax.jit(lambda p, d, r: d.logits(p, model, r), out_shardings=whole)
    found = np.asarray(score(params, data, read))
    position = _positions(shaping.rows, reading.rows, arrays.labels.shape[0])
    return losses.unweighted(found[position], np.asarray(data.positive_weight))


def _positions(shaping: np.ndarray, reading: np.ndarray, samples: int) -> np.ndarray:
    """Where each sample stands among the visits of all shards, [sample]; 0 for those nowhere."""
    rows = np.concatenate([shaping.ravel(), reading.ravel()])
    position = np.zeros(samples, np.int64)
    there = np.flatnonzero(rows != partition.PADDING)
    position[rows[there]] = there
    return position
