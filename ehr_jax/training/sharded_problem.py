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
from ehr_jax.features import arrays as features
from ehr_jax.features import prepare
from ehr_jax.models import inputs
from ehr_jax.nn import spread
from ehr_jax.training import loss as losses
from ehr_jax.training import partition, problem, task

_EACH, _ALL = jax.sharding.PartitionSpec(partition.AXIS), jax.sharding.PartitionSpec()


class ShardedProblem(task.ResidentLabels):
    """Visits that fit and visits that select, as `problem.Problem` but in shards.

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
    mesh: jax.sharding.Mesh | None = flax.struct.field(pytree_node=False, default=None)

    def init(self, model: nn.Module, key: jax.Array) -> Any:
        """Parameters before the first step: those of one device, as shapes are the same."""
        first = jax.tree.map(lambda x: x[0], self.shaping)
        return model.init(key, self.nodes, first, train=False, method="encode")

    @property
    def takes_all(self) -> bool:
        """True: one member takes all devices, or the memory of the one that streams."""
        return True

    def loss(
        self, params, model: nn.Module, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Weighted cross-entropy over all labelled training cells; see `task.Task`."""

        def of_shard(shared, shard, axis):
            params, nodes, weight, key = shared
            shaping, labels = shard
            logits, _ = model.clone(axis=axis).apply(
                params, nodes, shaping, train=True, method="encode", rngs={"dropout": key}
            )
            cost, known = spread.total(losses.cost_and_count(logits, labels, weight), axis)
            return cost / jnp.maximum(known, 1)

        shared = params, self.nodes, self.positive_weight, jax.random.fold_in(key, step)
        return self._over_shards(of_shard, shared, (self.shaping, self.train_labels)), {}

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

    def probabilities(self, model: nn.Module, params: Any, arrays: prepare.Arrays) -> np.ndarray:
        """Probabilities of every sample, [sample, label] float32."""
        shards = self.train_labels.shape[0]
        shaping = partition.visits(arrays, np.flatnonzero(arrays.shapes), True, shards)
        reading = partition.visits(arrays, np.flatnonzero(~arrays.shapes), False, shards)
        read = partition.put(reading.visits, self.mesh, (partition.AXIS,))
        # Every process is given all of it.
        whole = jax.sharding.NamedSharding(self.mesh, _ALL) if self.mesh else None
        score = jax.jit(lambda p, d, r: d.logits(p, model, r), out_shardings=whole)
        logits = np.asarray(score(params, self, read))
        position = _positions(shaping.rows, reading.rows, arrays.labels.shape[0])
        return losses.unweighted(logits[position], np.asarray(self.positive_weight))

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
    host = layout(arrays, positive_weight, shards)
    everywhere = functools.partial(partition.put, mesh=mesh)
    dealt = functools.partial(partition.put, mesh=mesh, axes=(partition.AXIS,))
    return ShardedProblem(
        nodes=everywhere(host.nodes),
        shaping=dealt(host.shaping),
        train_labels=dealt(host.train_labels),
        positive_weight=everywhere(host.positive_weight),
        validation=dealt(host.validation),
        validation_rows=everywhere(host.validation_rows),
        validation_labels=everywhere(host.validation_labels),
        mesh=mesh,
    )


def layout(arrays: prepare.Arrays, positive_weight: float | str, shards: int) -> ShardedProblem:
    """Returns what `build` places, as numpy arrays; vectors of nodes and notes may be traced."""
    train, validation = features.training_rows(arrays)
    shaping = partition.visits(arrays, np.flatnonzero(arrays.shapes), True, shards)
    reading = partition.visits(arrays, validation[~arrays.shapes[validation]], False, shards)
    trains = np.isin(shaping.rows, train)
    train_labels = np.where(trains[..., None], arrays.labels[shaping.rows], np.nan)
    position = _positions(shaping.rows, reading.rows, arrays.labels.shape[0])
    return ShardedProblem(
        nodes=inputs.Nodes(arrays.structure, arrays.concepts),
        shaping=shaping.visits,
        train_labels=train_labels.astype(np.float32),
        positive_weight=losses.positive_weights(arrays.labels[train], positive_weight),
        validation=reading.visits,
        validation_rows=position[validation].astype(np.int32),
        validation_labels=arrays.labels[validation].astype(np.float32),
        mesh=None,
    )


def first_shard(data: ShardedProblem) -> problem.Problem:
    """Returns what the device of the first shard holds and computes, as a problem of its own."""
    shaping, train_labels, validation = jax.tree.map(
        lambda x: x[0], (data.shaping, data.train_labels, data.validation)
    )
    return problem.Problem(
        nodes=data.nodes,
        shaping=shaping,
        train_rows=np.arange(len(train_labels), dtype=np.int32),
        train_labels=train_labels,
        positive_weight=data.positive_weight,
        validation=validation,
        validation_rows=data.validation_rows,
        validation_labels=data.validation_labels,
    )


def _positions(shaping: np.ndarray, reading: np.ndarray, samples: int) -> np.ndarray:
    """Where each sample stands among the visits of all shards, [sample]; 0 for those nowhere."""
    rows = np.concatenate([shaping.ravel(), reading.ravel()])
    position = np.zeros(samples, np.int64)
    there = np.flatnonzero(rows != partition.PADDING)
    position[rows[there]] = there
    return position
