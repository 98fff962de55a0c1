"""Sequences of visits as a kind of input: on the devices for the whole run, batch by batch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import hypergraph, sequences
from ehr_jax.models import gru_visits
from ehr_jax.training import kinds, partition, stay_problem, task
from ehr_jax.training.stay_kind import DIVISION, DIVISOR, divided  # noqa: F401

NARROWER = "model.width"
RESTS_ON_TRAINING = True
CAN_BE_FED = False


def reads(config: ml_collections.ConfigDict) -> features.Reads:
    """Returns that codes alone are read."""
    return features.Reads(visits=True)


def make_arrays(
    known, config, reads, fitted=None, encoding=None, knowledge=None
) -> sequences.SequenceArrays:
    """Makes the sequences of a cohort; what follows `config` is of no use here."""
    return sequences.build(known, config)


def restore(stored: features.Stored, cohort: cohorts.Cohort) -> sequences.SequenceArrays:
    """Returns the arrays of `cohort` that were taken apart."""
    return sequences.restore(stored, cohort)


def graph(known, config, arrays) -> tuple[Any, hypergraph.Graph]:
    """Returns (config.features, nodes) of the codes of the samples' own visits."""
    return config.features, hypergraph.fit_graph(known, config.features, structured=False)


def rows(arrays: sequences.SequenceArrays, chosen: np.ndarray) -> gru_visits.Sequences:
    """Returns the samples with the indices `chosen` [row] as a batch on the device."""
    fields = {name: jnp.asarray(array[chosen]) for name, array in arrays.visits.items()}
    return gru_visits.Sequences(**fields, num_codes=len(arrays.vocabulary.codes))


def build(job: kinds.Job, resident: bool = True) -> task.LabelTask:
    """Places the sequences, each batch spread over the devices."""
    config = job.config
    mesh = partition.make_mesh(config.devices)
    return stay_problem.build(job.arrays, config.positive_weight, config.batch, mesh, rows)


def outline(job: kinds.Job, fed: bool = False) -> kinds.Outline:
    """Returns the shapes of what `build` places on a device, and of a step on one device."""

    def of_batch(batch: int):
        def build_traced(fields):
            arrays = dataclasses.replace(job.arrays, visits=fields)
            return stay_problem.build(arrays, 1.0, batch, None, rows)

        return jax.eval_shape(build_traced, dict(job.arrays.visits))

    devices = partition.make_mesh(job.config.devices).size
    step = of_batch(max(1, job.config.batch // devices))
    return kinds.Outline(task.size(of_batch(job.config.batch)), step, step)


def explain(job: kinds.Job, params: Any, data: task.LabelTask) -> None:
    """Returns None: the network keeps no attention weights that explain a score."""
