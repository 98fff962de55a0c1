"""From records to a cohort: the tasks by name, and how one is built under a protocol."""

import dataclasses
from collections.abc import Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import cohort, draft, labels, rules, settings, splits
from ehr_jax.cohorts import spec as specs
from ehr_jax.records.common import tables

# strict: split by patient, honest labels. paper: the published split and labels.
PROTOCOLS = settings.PROTOCOLS
SPLITTINGS = (*settings.SPLITTINGS, "none")


def build(
    records: tables.Records,
    task: str,
    protocol: str = "strict",
    split_seed: int = 0,
    fractions: tuple[float, float, float] = splits.FRACTIONS,
    split: str = "patient",
    changes: Mapping | None = None,
) -> cohort.Cohort:
    """Builds the cohort of a task, sorted by (subject_id, order) and split.

    Args:
      split: of the `strict` protocol: "patient" (at random, by `split_seed`), or "source" (the
        source's own); or, of either, "none": all are "test", with labels or without.
      changes: to the task's own description, by the keys of `spec.CHANGES`.

    Raises CohortError for an unknown task or protocol, records that cannot serve the task, and a
    split without a positive.
    """
    _check_name("task", task, specs.NAMES)
    _check_name("protocol", protocol, PROTOCOLS)
    check_split(records, split)
    spec = specs.find(task, protocol, dict(changes or {}))
    check_spec(spec)
    lacking = labels.find(spec.label).lacks(records, spec)
    if lacking:
        raise errors.CohortError(
            f"{records.source} cannot serve task '{task}': the task needs {lacking}. "
            f"Tasks possible with these records: {', '.join(possible(records)) or 'none'}."
        )
    drafted = draft.draft(records, spec)
    samples = samples_of(records, drafted)
    if split != "none" and not samples["labelled"].any():
        counts = ", ".join(f"{reason}: {n}" for reason, n in drafted.excluded.items() if n)
        raise errors.CohortError(
            f"task '{task}': no visit of {records.source} has a label, of {records.visits.height} "
            f"({counts or 'none left out'}). Use more records or another task."
        )
    if split == "none":
        assigned = samples.select("visit_id", split=pl.lit("test"))
    elif protocol == "strict":
        assigned = assign(records, samples, split, split_seed, fractions)
    elif specs.of(task).published_split == "by_sample":
        assigned = splits.by_sample(samples, split_seed, fractions)
    else:
        assigned = splits.by_file_order(samples, fractions)
    samples = with_split(samples, assigned)
    if split != "none":
        splits.check(samples, drafted.labels)
    return cohort.Cohort(
        task=task,
        protocol=protocol,
        description=draft.describe(spec, specs.of(task).note),
        labels=drafted.labels,
        samples=samples,
        at_discharge=spec.at_discharge,
        excluded=drafted.excluded,
        faults=specs.of(task).faults if protocol == "paper" else (),
        spec=spec,
        title=spec.title,
    )


def possible(records: tables.Records) -> tuple[str, ...]:
    """Returns the names of the tasks that these records can serve."""
    return tuple(
        name
        for name, task in specs.TASKS.items()
        if not labels.LABELS[task.strict.label].lacks(records, task.strict)
    )


def check_spec(spec: specs.Spec) -> None:
    """Raises UserError unless a task's label and rules are there, and its label names fit."""
    labels.names_of(spec)
    for name in spec.exclude:
        rules.find(name)


def check_split(records: tables.Records, split: str) -> None:
    """Raises CohortError where `split` is none of SPLITTINGS, or one these records cannot give."""
    _check_name("split", split, SPLITTINGS)
    if split == "source" and records.given_split.is_empty():
        raise errors.CohortError(
            f"{records.source} assigns no patient to a split; set config.cohort.split to 'patient'"
        )


def assign(
    records: tables.Records,
    samples: pl.DataFrame,
    split: str,
    split_seed: int,
    fractions: tuple[float, float, float],
) -> pl.DataFrame:
    """Returns (visit_id, split) of the `strict` protocol: by patient, or the source's own."""
    if split == "source":
        return splits.as_given(samples, records.given_split, split_seed, fractions)
    return splits.by_patient(samples, split_seed, fractions)


def folds(cohort_: cohort.Cohort, count: int, seed: int) -> list[cohort.Cohort]:
    """Returns the cohort `count` times, each with another part of its patients in "test"."""
    found, unsplit = [], cohort_.samples.drop("split")
    for fold in range(count):
        samples = with_split(unsplit, splits.by_fold(unsplit, seed, fold, count))
        splits.check(samples, cohort_.labels)
        found.append(dataclasses.replace(cohort_, samples=samples))
    return found


def with_split(samples: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    """Returns `samples` in the contract's columns, split as `assigned` (visit_id, split) says."""
    joined = samples.drop("split", strict=False).join(
        assigned, on="visit_id", how="left", maintain_order="left"
    )
    labels = [name for name in samples.columns if name.startswith("label.")]
    return joined.select(*cohort.SAMPLES, *labels)


def samples_of(records: tables.Records, drafted: draft.Draft) -> pl.DataFrame:
    """Returns the samples of a draft in the contract's columns, all but the split."""
    visits = records.visits.select("subject_id", "visit_id", "order")
    rows = visits.join(drafted.rows, on="visit_id").sort("subject_id", "order")
    return rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("sample_id"),
        "subject_id",
        "visit_id",
        pl.col("prediction_time").cast(tables.TIME),
        pl.col(drafted.labels[0]).is_not_null().alias("labelled"),
        *(pl.col(name).cast(pl.Boolean).alias(f"label.{name}") for name in drafted.labels),
    )


def _check_name(what: str, name: str, known) -> None:
    if name not in known:
        near = errors.did_you_mean(name, known)
        raise errors.CohortError(f"{what} '{name}' is unknown; known: {', '.join(known)}.{near}")
