"""Arrays of a cohort on the device, as the training loop uses them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.features import arrays as features
from ehr_jax.features import hypergraph, prepare
from ehr_jax.models import inputs
from ehr_jax.nn import bipartite, spmm
from ehr_jax.training import loss as losses
from ehr_jax.training import task


class Problem(task.ResidentLabels):
    """Visits that fit and visits that select, resident on the device; a `task.Task`.

    Attributes:
      nodes: vectors of the codes.
      shaping: visits that shape the network, self-loops appended.
      train_rows: [train] int32, positions among `shaping` of labelled training samples.
      train_labels: [train, label] float32; nan where missing.
      positive_weight: [label] float32, weight of a positive cell in the loss.
      validation: visits only read when selecting; empty where all visits shape the network.
      validation_rows: [validation] int32, positions among [shaping visits ; validation visits].
      validation_labels: [validation, label] float32.
    """

    nodes: inputs.Nodes
    shaping: inputs.Visits
    train_rows: jax.Array
    train_labels: jax.Array
    positive_weight: jax.Array
    validation: inputs.Visits
    validation_rows: jax.Array
    validation_labels: jax.Array

    def init(self, model: nn.Module, key: jax.Array) -> Any:
        """Parameters before the first step."""
        return model.init(key, self.nodes, self.shaping, train=False, method="encode")

    def loss(
        self, params, model: nn.Module, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Weighted cross-entropy over all labelled training cells; see `task.Task`."""
        rngs = {"dropout": jax.random.fold_in(key, step)}
        logits, _ = model.apply(
            params, self.nodes, self.shaping, train=True, method="encode", rngs=rngs
        )
        labelled = logits[self.train_rows]
        return losses.cross_entropy(labelled, self.train_labels, self.positive_weight), {}

    def validation_logits(self, params, model: nn.Module) -> jax.Array:
        """[validation, label] float32, without dropout."""
        return self.logits(params, model, self.validation)[self.validation_rows]

    def logits(self, params, model: nn.Module, reading: inputs.Visits) -> jax.Array:
        """Of [shaping visits ; visits only read], [visit, label] float32, without dropout."""
        shaping, frozen = model.apply(
            params, self.nodes, self.shaping, train=False, method="encode"
        )
        read = model.apply(params, self.nodes, reading, frozen, method="read")
        return jnp.concatenate([shaping, read])

    def probabilities(self, model: nn.Module, params: Any, arrays: prepare.Arrays) -> np.ndarray:
        """Probabilities of every sample, [sample, label] float32."""
        shaping, reading = np.flatnonzero(arrays.shapes), np.flatnonzero(~arrays.shapes)
        read = visits(arrays, reading, self_loops=False)
        score = jax.jit(lambda p, d, r: d.logits(p, model, r))
        ordered = np.empty(arrays.labels.shape, np.float32)
        ordered[np.concatenate([shaping, reading])] = score(params, self, read)
        return losses.unweighted(ordered, self.positive_weight)


def build(arrays: prepare.Arrays, positive_weight: float | str) -> Problem:
    """Places `arrays` on the device.

    Args:
      positive_weight: of a positive cell in the loss: a number, or "balanced" for negatives over
        positives among training labels, at most 100.
    """
    return jax.tree.map(jnp.asarray, layout(arrays, positive_weight))


def layout(arrays: prepare.Arrays, positive_weight: float | str) -> Problem:
    """Returns what `build` places, as numpy arrays; vectors of nodes and notes may be traced."""
    train, validation = features.training_rows(arrays)
    shaping = np.flatnonzero(arrays.shapes)
    reading = validation[~arrays.shapes[validation]]
    position = _positions(np.concatenate([shaping, reading]), arrays.shapes.size)
    train_labels = arrays.labels[train]
    return Problem(
        nodes=inputs.Nodes(arrays.structure, arrays.concepts),
        shaping=visits(arrays, shaping, self_loops=True),
        train_rows=position[train].astype(np.int32),
        train_labels=train_labels,
        positive_weight=losses.positive_weights(train_labels, positive_weight),
        validation=visits(arrays, reading, self_loops=False),
        validation_rows=position[validation].astype(np.int32),
        validation_labels=arrays.labels[validation],
    )


def visits(arrays: prepare.Arrays, rows: np.ndarray, self_loops: bool) -> inputs.Visits:
    """Returns the samples `rows` [row] as hyperedges, in host memory."""
    graph = hypergraph.select_visits(arrays.visits, rows)
    loops = np.zeros(0, np.int32)
    if self_loops:
        graph, loops = bipartite.with_self_loops(graph)
    return inputs.Visits(
        incidence=spmm.host_pairs(*bipartite.unpack(graph)),
        loops=loops.astype(np.int32),
        notes=arrays.notes[rows],
        has_note=arrays.has_note[rows].astype(np.float32),
        num_visits=len(rows),
    )


def _positions(rows: np.ndarray, size: int) -> np.ndarray:
    position = np.full(size, -1)
    position[rows] = np.arange(rows.size)
    return position
