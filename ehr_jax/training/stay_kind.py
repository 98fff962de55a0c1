"""Stays as a kind of input: on the devices for the whole run, or fed from host memory."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import hypergraph, stays
from ehr_jax.training import feeding, kinds, partition, stay_problem, task

DIVISOR = "batch"
DIVISION = ""
NARROWER = "realm.width"
RESTS_ON_TRAINING = False
CAN_BE_FED = True


def reads(config: ml_collections.ConfigDict) -> features.Reads:
    """Returns what the method of `config` reads; its teacher is given no more."""
    uses = config.realm
    grid = bool(config.series.variables) and (uses.use_series or uses.use_knowledge)
    return features.Reads(
        series=uses.use_series,
        statics=uses.use_statics,
        texts=uses.use_notes,
        knowledge=uses.use_knowledge,
        visits=uses.use_visit,
        names=uses.use_visit and config.model.use_concepts,
        structure=uses.use_visit,
        measurements=grid or config.features.measurements,
        notes=(uses.use_notes or uses.use_knowledge) and config.notes.source in ("auto", "own"),
    )


def make_arrays(
    known, config, reads, fitted=None, encoding=None, knowledge=None
) -> stays.StayArrays:
    """Makes the stays of a cohort; see `kinds.Kind`."""
    cache = config.text.cache or None
    return stays.prepare_stays(known, config, reads, cache, fitted, encoding, knowledge)


def restore(stored: features.Stored, cohort: cohorts.Cohort) -> stays.StayArrays:
    """Returns the arrays of `cohort` that were taken apart."""
    return stays.restore(stored, cohort)


def graph(known, config, arrays: stays.StayArrays) -> tuple[Any, hypergraph.Graph]:
    """Returns (config.features, nodes) of the codes and statics that the stays have."""
    asked = config.features.copy_and_resolve_references()
    asked.columns = "full"
    return asked, hypergraph.fit_graph(known, asked, structured=False)


def build(job: kinds.Job, resident: bool = True) -> task.LabelTask:
    """Places the stays, each batch spread over the devices, or leaves them in host memory."""
    module = stay_problem if resident else feeding
    mesh = partition.make_mesh(job.config.devices)
    return module.build(job.arrays, job.config.positive_weight, job.config.batch, mesh)


def outline(job: kinds.Job, fed: bool = False) -> kinds.Outline:
    """Returns the shapes of what `build` places on a device, and of a step on one device."""
    arrays, config = job.arrays, job.config
    devices = partition.make_mesh(config.devices).size
    batch = max(1, config.batch // devices)
    whole, step = of_batch(arrays, config.batch), of_batch(arrays, batch)
    if not fed:
        return kinds.Outline(task.size(whole), step, step)
    train, validation = map(len, features.training_rows(arrays))
    stay = task.size(whole.train) / max(1, train)
    # Batches read ahead are spread over the devices. Every device also has the whole first batch
    # and the block of validation stays that is being scored, with the next one.
    block, first = stay_problem.SCORED_AT_ONCE, min(config.batch, train)
    rows = feeding.BATCHES * first / devices + first
    rows += validation if validation <= block else 2 * block
    return kinds.Outline(int(rows * stay), step, of_batch(_one_batch(arrays, batch), batch))


def of_batch(arrays: stays.StayArrays, batch: int) -> stay_problem.StayProblem:
    """Returns the shapes of the resident task of `arrays`, with batches of `batch` stays."""

    def build_traced(fields):
        return stay_problem.build(dataclasses.replace(arrays, stays=fields), 1.0, batch)

    return jax.eval_shape(build_traced, dict(arrays.stays))


def divided(job: kinds.Job) -> Iterator[ml_collections.ConfigDict]:
    """Yields config.train with 1/2, 1/4, 1/8, ... of the batch, while the devices divide it."""
    changed = ml_collections.ConfigDict(job.config.to_dict())
    devices = partition.make_mesh(changed.devices).size
    while True:
        changed.batch //= 2
        if changed.batch < devices or changed.batch % devices:
            return
        yield changed


def explain(job: kinds.Job, params: Any, data: task.LabelTask) -> tuple[Any, Any, stays.StayArrays]:
    """Returns the network, its parameters and its arrays."""
    return job.model, params, job.arrays


def _one_batch(arrays: stays.StayArrays, batch: int) -> stays.StayArrays:
    """Returns one batch of the training samples, and one block of the validation samples."""
    train, validation = features.training_rows(arrays)
    rows = np.concatenate([train[:batch], validation[: stay_problem.SCORED_AT_ONCE]])
    return dataclasses.replace(
        arrays,
        stays={name: x[rows] for name, x in arrays.stays.items()},
        labels=arrays.labels[rows],
        survival=arrays.survival[rows],
        split=arrays.split[rows],
    )
