"""From records to a cohort: the tasks by name, and how one is built under a protocol."""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import cohort, draft, mortality, next_visit, readmission30, splits
from ehr_jax.records import tables


class Task(NamedTuple):
    """A task: `draft(records, protocol)`, and `lacks(records)`, what they lack for it or ""."""

    draft: Callable[[tables.Records, str], draft.Draft]
    lacks: Callable[[tables.Records], str]


TASKS = {
    "phenotype_next": Task(next_visit.phenotype_next, next_visit.lacks),
    "readmission30": Task(readmission30.readmission30, readmission30.lacks),
    "cvd_next": Task(next_visit.cvd_next, next_visit.lacks),
    "mortality": Task(mortality.mortality, mortality.lacks),
}

# strict: split by patient, honest labels. paper: the published split and labels.
PROTOCOLS = ("strict", "paper")
SPLITTINGS = ("patient", "source")


def build(
    records: tables.Records,
    task: str,
    protocol: str = "strict",
    split_seed: int = 0,
    fractions: tuple[float, float, float] = splits.FRACTIONS,
    split: str = "patient",
) -> cohort.Cohort:
    """Builds the cohort of a task, sorted by (subject_id, order) and split.

    Args:
      split: of the `strict` protocol: "patient" (at random, by `split_seed`), or "source" (the
        source's own).

    Raises CohortError for an unknown task or protocol, records that cannot serve the task, and a
    split without a positive.
    """
    _check_name("task", task, TASKS)
    _check_name("protocol", protocol, PROTOCOLS)
    _check_name("split", split, SPLITTINGS)
    if split == "source" and records.given_split.is_empty():
        raise errors.CohortError(
            f"{records.source} assigns no patient to a split; set config.cohort.split to 'patient'"
        )
    lacking = TASKS[task].lacks(records)
    if lacking:
        raise errors.CohortError(
            f"{records.source} cannot serve task '{task}': the task needs {lacking}. "
            f"Tasks possible with these records: {', '.join(possible(records)) or 'none'}."
        )
    drafted = TASKS[task].draft(records, protocol)
    samples = _samples(records, drafted)
    if not samples["labelled"].any():
        counts = ", ".join(f"{reason}: {n}" for reason, n in drafted.excluded.items() if n)
        raise errors.CohortError(
            f"task '{task}': no visit of {records.source} has a label, of {records.visits.height} "
            f"({counts or 'none left out'}). Use more records or another task."
        )
    if protocol == "strict" and split == "source":
        assigned = splits.as_given(samples, records.given_split, split_seed, fractions)
    elif protocol == "strict":
        assigned = splits.by_patient(samples, split_seed, fractions)
    elif drafted.published_split == "by_sample":
        assigned = splits.by_sample(samples, split_seed, fractions)
    else:
        assigned = splits.by_file_order(samples, fractions)
    samples = with_split(samples, assigned)
    splits.check(samples, drafted.labels)
    return cohort.Cohort(
        task=task,
        protocol=protocol,
        description=drafted.description,
        labels=drafted.labels,
        samples=samples,
        at_discharge=drafted.at_discharge,
        excluded=drafted.excluded,
        faults=drafted.faults,
    )


def possible(records: tables.Records) -> tuple[str, ...]:
    """Returns the names of the tasks that these records can serve."""
    return tuple(name for name, task in TASKS.items() if not task.lacks(records))


def with_split(samples: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    """Returns `samples` in the contract's columns, split as `assigned` (visit_id, split) says."""
    joined = samples.drop("split", strict=False).join(
        assigned, on="visit_id", how="left", maintain_order="left"
    )
    labels = [name for name in samples.columns if name.startswith("label.")]
    return joined.select(*cohort.SAMPLES, *labels)


def _samples(records: tables.Records, drafted: draft.Draft) -> pl.DataFrame:
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
