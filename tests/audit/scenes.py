"""Small cohorts that the audit is silent on, to plant faults in."""

import dataclasses
import functools
import pathlib
import tempfile
from typing import NamedTuple

import ml_collections
import polars as pl

from ehr_jax import config as base
from ehr_jax.audit import evidence
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.cohorts import tasks
from ehr_jax.knowledge import disk, graph
from ehr_jax.models import registry
from ehr_jax.records.common import tables
from ehr_jax.synthetic import hospital as synthetic


class Scene(NamedTuple):
    """What a run is made of."""

    records: tables.Records
    cohort: cohorts.Cohort
    config: ml_collections.ConfigDict


def look(scene: Scene) -> evidence.Evidence:
    """Returns what the audit looks at."""
    return evidence.gather(*scene, patients=120)


def with_records(scene: Scene, **tables_of) -> Scene:
    """The scene with other tables; lazy ones stay in memory."""
    return scene._replace(records=dataclasses.replace(scene.records, **tables_of))


def with_samples(scene: Scene, *columns, **named) -> Scene:
    """The scene with other samples."""
    samples = scene.cohort.samples.with_columns(*columns, **named)
    return scene._replace(cohort=dataclasses.replace(scene.cohort, samples=samples))


def with_config(scene: Scene, **changes) -> Scene:
    """The scene with another config; a key is written with two underscores for a point."""
    made = ml_collections.ConfigDict(scene.config.to_dict())
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return scene._replace(config=made)


def with_attribute(scene: Scene, text: pl.Expr, name: str = "a planted fact") -> Scene:
    """The scene with one more attribute, known from the start of each sampled visit."""
    rows = scene.cohort.samples.join(scene.records.visits, on="visit_id").select(
        "visit_id",
        name=pl.lit(name),
        text=text.cast(pl.String),
        number=pl.lit(None, pl.Float64),
        time="start",
    )
    attributes = pl.concat([scene.records.attributes, rows.drop_nulls("text")])
    return with_records(scene, attributes=attributes)


@functools.cache
def visits() -> Scene:
    """Death in hospital, over codes, facts, measurements and history, with notes."""
    config = _config("mingle")
    config.features.columns = "full"
    config.features.measurements = True
    config.features.history = True
    return Scene(_records(), tasks.build(_records(), "mortality"), config)


@functools.cache
def discharge() -> Scene:
    """Readmission, predicted at discharge, over codes and facts."""
    config = _config("mingle")
    config.features.columns = "full"
    config.features.history = True
    config.notes.source = "own"
    return Scene(_records(), tasks.build(_records(), "readmission30"), config)


@functools.cache
def stays() -> Scene:
    """Death in hospital, over series, notes, knowledge and codes, with survival and scores."""
    config = _config("unified")
    config.series.variables = "mimic17"
    config.series.step_hours, config.series.length = 4.0, 12
    config.realm.survival_days = (30.0, 365.0)
    config.knowledge.graph = graph_folder()
    cohort = tasks.build(_records(), "mortality")
    known = cohort.samples.select(
        "visit_id", name=pl.lit("theirs"), probability=pl.lit(0.3), time="prediction_time"
    )
    late = known.with_columns(pl.col("time") + pl.duration(hours=1), name=pl.lit("later"))
    records = dataclasses.replace(_records(), scores=pl.concat([known, late]))
    return Scene(records, cohort, config)


def _config(model: str) -> ml_collections.ConfigDict:
    config = registry.configure(base.defaults(), model)
    config.notes.source = "own"
    config.features.structure_width, config.features.structure_window = 4, 1
    config.features.min_visits = 3  # few nodes, as structure vectors take the time of these tests
    return config


@functools.cache
def _records() -> tables.Records:
    records = synthetic.generate(300, 3)
    return dataclasses.replace(
        records,
        measurements=records.measurements.collect().lazy(),
        notes=records.notes.collect().lazy(),
    )


@functools.cache
def graph_folder() -> str:
    """The folder of a graph of what the generated notes name."""
    names = ("pneumonia", "sepsis", "heart failure", "diabetes", "hypertension", "anemia",
             "atrial fibrillation", "chronic kidney disease", "fever", "tachycardia")  # fmt: skip
    nodes = pl.DataFrame(
        {
            "id": [f"D:{k}" for k in range(len(names))],
            "type": ["disease"] * len(names),
            "name": names,
            "definition": [None] * len(names),
            "description": [None] * len(names),
        },
        schema=graph.NODES,
    )
    none = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean})
    edges = pl.DataFrame(schema={"head": pl.String, "relation": pl.Int32, "tail": pl.String})
    folder = pathlib.Path(tempfile.mkdtemp()) / "graph"
    disk.write(graph.build(graph.Parts("made up", "none", nodes, none, edges, [])), folder)
    return str(folder)
