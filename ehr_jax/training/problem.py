"""Arrays of a cohort on the device, as the training loop uses them."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors
from ehr_jax.features import prepare
from ehr_jax.models import inputs
from ehr_jax.nn import bipartite, spmm


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
        positive_weight=jnp.asarray(_positive_weight(train_labels, positive_weight)),
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


def _positive_weight(labels: np.ndarray, wanted: float | str) -> np.ndarray:
    positives = np.maximum(np.nansum(labels, axis=0), 1.0)
    if wanted == "balanced":
        negatives = (~np.isnan(labels)).sum(axis=0) - positives
        return np.clip(negatives / positives, 1.0, 100.0).astype(np.float32)
    try:
        return np.full(labels.shape[1], float(wanted), np.float32)
    except ValueError:
        raise errors.ConfigError(
            f"config.train.positive_weight is '{wanted}'; expected 'balanced' or a number"
        ) from None


def _positions(rows: np.ndarray, size: int) -> np.ndarray:
    position = np.full(size, -1)
    position[rows] = np.arange(rows.size)
    return position
