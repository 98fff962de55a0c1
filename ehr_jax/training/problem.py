"""Arrays of a cohort on the device, as the training loop uses them."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.features import prepare
from ehr_jax.models import inputs
from ehr_jax.nn import bipartite, spmm
from ehr_jax.training import loss as losses


class Problem(flax.struct.PyTreeNode):
    """What is fitted and what selects, resident on the device.

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

    def loss(self, params, model: nn.Module, key: jax.Array, step: jax.Array) -> jax.Array:
        """Weighted cross-entropy over all labelled training cells; the key is the run's."""
        rngs = {"dropout": jax.random.fold_in(key, step)}
        logits, _ = model.apply(
            params, self.nodes, self.shaping, train=True, method="encode", rngs=rngs
        )
        return losses.cross_entropy(
            logits[self.train_rows], self.train_labels, self.positive_weight
        )

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


def build(arrays: prepare.Arrays, positive_weight: float | str) -> Problem:
    """Places `arrays` on the device.

    Args:
      positive_weight: of a positive cell in the loss: a number, or "balanced" for negatives over
        positives among training labels, at most 100.
    """
    labelled = ~np.isnan(arrays.labels).all(axis=1)
    shaping = np.flatnonzero(arrays.shapes)
    reading = np.flatnonzero(~arrays.shapes & labelled & (arrays.split == "validation"))
    position = _positions(np.concatenate([shaping, reading]), arrays.shapes.size)
    train = np.flatnonzero(labelled & (arrays.split == "train"))
    validation = np.flatnonzero(labelled & (arrays.split == "validation"))
    train_labels = arrays.labels[train]
    return Problem(
        nodes=inputs.Nodes(jnp.asarray(arrays.structure), jnp.asarray(arrays.concepts)),
        shaping=visits(arrays, shaping, self_loops=True),
        train_rows=jnp.asarray(position[train], jnp.int32),
        train_labels=jnp.asarray(train_labels),
        positive_weight=jnp.asarray(losses.positive_weights(train_labels, positive_weight)),
        validation=visits(arrays, reading, self_loops=False),
        validation_rows=jnp.asarray(position[validation], jnp.int32),
        validation_labels=jnp.asarray(arrays.labels[validation]),
    )


def visits(arrays: prepare.Arrays, rows: np.ndarray, self_loops: bool) -> inputs.Visits:
    """Returns the samples `rows` [row] as hyperedges on the device."""
    graph = prepare.select_visits(arrays.visits, rows)
    loops = np.zeros(0, np.int32)
    if self_loops:
        graph, loops = bipartite.with_self_loops(graph)
    return inputs.Visits(
        incidence=spmm.from_graph(graph),
        loops=jnp.asarray(loops, jnp.int32),
        notes=jnp.asarray(arrays.notes[rows]),
        has_note=jnp.asarray(arrays.has_note[rows], jnp.float32),
        num_visits=len(rows),
    )


def probabilities(
    model: nn.Module, params: Any, arrays: prepare.Arrays, data: Problem
) -> np.ndarray:
    """Probabilities of every sample, [sample, label] float32."""
    shaping, reading = np.flatnonzero(arrays.shapes), np.flatnonzero(~arrays.shapes)
    read = visits(arrays, reading, self_loops=False)
    score = jax.jit(lambda p, d, r: d.logits(p, model, r))
    ordered = np.empty(arrays.labels.shape, np.float32)
    ordered[np.concatenate([shaping, reading])] = score(params, data, read)
    return losses.unweighted(ordered, data.positive_weight)


def _positions(rows: np.ndarray, size: int) -> np.ndarray:
    position = np.full(size, -1)
    position[rows] = np.arange(rows.size)
    return position
