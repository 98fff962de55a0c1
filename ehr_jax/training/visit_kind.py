"""Visits over codes as a kind of input: on one device, over several, or in shards one by one."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import prepare
from ehr_jax.models import registry
from ehr_jax.training import kinds, partition, problem, sharded_problem, task, teacher

DIVISOR = "shards"
DIVISION = "; visits are then streamed, to the same result"
NARROWER = "model.width"
RESTS_ON_TRAINING = True
CAN_BE_FED = False


def reads(config: ml_collections.ConfigDict) -> features.Reads:
    """Returns what the method of `config` reads, and its teacher."""
    reads_nodes = registry.find(config.model.name).reads_nodes
    texts = config.model.use_notes
    if teacher.used(config):
        texts |= registry.configure(config, config.train.teacher).model.use_notes
    return features.Reads(
        texts=texts,
        visits=True,
        names=reads_nodes and config.model.use_concepts,
        structure=reads_nodes,
        measurements=config.features.measurements,
        notes=texts and config.notes.source in ("auto", "own"),
    )


def make_arrays(known, config, reads, fitted=None, encoding=None, knowledge=None) -> prepare.Arrays:
    """Makes the hypergraph of a cohort; `fitted` and `knowledge` are of no use here."""
    return prepare.prepare(known, config, reads, config.text.cache or None, encoding)


def restore(stored: features.Stored, cohort: cohorts.Cohort) -> prepare.Arrays:
    """Returns the arrays of `cohort` that were taken apart."""
    return prepare.restore(stored, cohort)


def graph(known, config, arrays: prepare.Arrays) -> tuple[Any, prepare.Arrays]:
    """Returns (config.features, the arrays themselves)."""
    return config.features, arrays


def build(job: kinds.Job, resident: bool = True) -> task.LabelTask:
    """Places the visits: on one device, spread over a mesh, or in shards computed one by one."""
    weight, mesh = job.config.positive_weight, partition.make_mesh(job.config.devices)
    if mesh.size > 1:
        return sharded_problem.build(job.arrays, weight, mesh)
    if job.config.shards != 1:
        return sharded_problem.build(job.arrays, weight, None, job.config.shards)
    return problem.build(job.arrays, weight)


def outline(job: kinds.Job, fed: bool = False) -> kinds.Outline:
    """Returns the shapes of what `build` places on a device, and of a step on one device."""
    devices = partition.make_mesh(job.config.devices).size
    placed = of_part(job.arrays, devices)
    step = of_part(job.arrays, devices * job.config.shards) if job.config.shards > 1 else placed
    return kinds.Outline(task.size(placed), step, step)


def of_part(arrays: prepare.Arrays, parts: int) -> problem.Problem:
    """Returns the shapes of one of `parts` equal parts of the visits, with all nodes."""

    def layout(vectors):
        traced = dataclasses.replace(arrays, **vectors)
        if parts == 1:
            return problem.layout(traced, 1.0)
        return sharded_problem.first_shard(sharded_problem.layout(traced, 1.0, parts))

    vectors = {"structure": arrays.structure, "concepts": arrays.concepts, "notes": arrays.notes}
    return jax.eval_shape(layout, vectors)


def divided(job: kinds.Job) -> Iterator[ml_collections.ConfigDict]:
    """Yields config.train with 2, 4, 8, ... times the shards, where the network can have them."""
    changed = ml_collections.ConfigDict(job.config.to_dict())
    if not job.model.SPREADS or partition.make_mesh(job.config.devices).size > 1:
        return
    while 2 * changed.shards <= int(job.arrays.shapes.sum()):
        changed.shards *= 2
        yield changed


def explain(job: kinds.Job, params: Any, data: task.LabelTask) -> None:
    """Returns None: networks over visits keep no attention weights that explain a score."""
