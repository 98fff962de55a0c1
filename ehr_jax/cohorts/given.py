"""A cohort of samples that something else found: rows of a subject, a prediction time and a label.

Each row goes to the visit that holds its prediction time, and what that visit knew by then is its
input, as for any task. A visit is sampled once, at the first of its prediction times. Rows without
such a visit are left out and counted.
"""

import dataclasses
from collections.abc import Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.cohorts import cohort, draft, splits, tasks
from ehr_jax.cohorts import spec as specs
from ehr_jax.records.common import tables

ROWS = {"subject_id": pl.Int64, "prediction_time": tables.TIME, "label": pl.Boolean}

INCOMPLETE = "samples without a prediction time or a label"
REPEATED = "samples said again"
CONTRADICTED = "samples said both true and false at one time"
BEFORE = "samples before the patient's first visit"
DEAD = "samples at or after the patient's death"
OUTSIDE = "samples between visits, or after the last"
LATER = "samples of a visit that an earlier one stands for"


@dataclasses.dataclass(frozen=True)
class Given:
    """Samples, and what they are samples of.

    Attributes:
      rows: `ROWS`, in any order.
      task, label: their names.
      says: what a sample is and what is asked of it, in words.
      query: what found them.
      excluded: how many were left out before, by reason.
    """

    rows: pl.DataFrame
    task: str
    label: str
    says: str
    query: specs.Query
    excluded: Mapping[str, int]


def build(
    records: tables.Records,
    given: Given,
    split_seed: int = 0,
    fractions: tuple[float, float, float] = splits.FRACTIONS,
    split: str = "patient",
) -> cohort.Cohort:
    """Builds the `strict` cohort of `given`, sorted by (subject_id, order) and split.

    Raises CohortError for records whose times compare within a visit only, samples of which none
    lies in a visit, and a split without a positive.
    """
    tasks.check_split(records, split)
    given = dataclasses.replace(given, rows=checked(given.rows))
    if not records.dated:
        raise errors.CohortError(
            f"{records.source} cannot serve {given.task}: its times compare within a visit only, "
            "and a prediction time is of the patient's whole record; use a task of config.cohort"
        )
    placed, excluded = place(records, given.rows)
    excluded = {**given.excluded, **excluded}
    if placed.is_empty():
        counts = ", ".join(f"{reason}: {n}" for reason, n in excluded.items() if n)
        raise errors.CohortError(
            f"{given.task}: no sample lies in a visit of {records.source}, of "
            f"{given.rows.height} found ({counts or 'none left out'}). Is the query meant for this "
            "data set, with its codes?"
        )
    drafted = draft.Draft(placed.rename({"label": given.label}), (given.label,), excluded)
    samples = tasks.samples_of(records, drafted)
    assigned = tasks.assign(records, samples, split, split_seed, fractions)
    samples = tasks.with_split(samples, assigned)
    splits.check(samples, drafted.labels)
    return cohort.Cohort(
        task=given.task,
        protocol="strict",
        description=f"{given.says} A visit is sampled once, at its first prediction time; its "
        "input is what it had recorded by then.",
        labels=drafted.labels,
        samples=samples,
        at_discharge=_all_at_discharge(records, placed),
        excluded=excluded,
        spec=given.query,
    )


def checked(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns `rows` with labels that are true, false or null, said as Booleans or as 1 and 0.

    Raises CohortError for any other label.
    """
    label = rows["label"]
    if label.dtype == pl.Boolean:
        return rows
    number = label.cast(pl.Float64, strict=False)
    wrong = label.is_not_null() & ~number.is_in([0.0, 1.0]).fill_null(False)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise errors.CohortError(
            f"row {row + 1} of the samples has the label {label[row]!r}; expected 0, 1 or none"
        )
    return rows.with_columns(label=number == 1)


def place(records: tables.Records, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Returns (visit_id, prediction_time, label), one row a visit, and counts of rows left out.

    A visit holds the times from its start to its end, both included. Where one ends as the next
    begins, the moment is of the one that ends; of visits that overlap it is of the last to begin.
    """
    excluded = {}
    complete = rows.drop_nulls(list(ROWS))
    excluded[INCOMPLETE] = rows.height - complete.height
    distinct = complete.unique(list(ROWS), maintain_order=True)
    excluded[REPEATED] = complete.height - distinct.height
    key = ["subject_id", "prediction_time"]
    sure = distinct.filter(~pl.struct(key).is_duplicated())
    excluded[CONTRADICTED] = distinct.height - sure.height
    deaths = records.patients.select("subject_id", "death_time")
    dead = pl.col("prediction_time") >= pl.col("death_time")
    alive = sure.join(deaths, on="subject_id", how="left").filter(~dead.fill_null(False))
    excluded[DEAD] = sure.height - alive.height
    sure = alive.drop("death_time")
    time = pl.col("prediction_time")
    visits = records.visits.select("subject_id", "visit_id", "start", "end")
    inside = sure.join(visits, on="subject_id").filter(time.is_between("start", "end"))
    held = inside.sort(
        *key, pl.col("start") == time, "start", "visit_id",
        descending=[False, False, False, True, True],
    ).unique(key, keep="first", maintain_order=True)  # fmt: skip
    lost = sure.join(held, on=key, how="anti")
    first = visits.group_by("subject_id").agg(first=pl.col("start").min())
    early = lost.join(first, on="subject_id", how="left").filter(
        (time < pl.col("first")).fill_null(True)
    )
    excluded[BEFORE] = early.height
    excluded[OUTSIDE] = lost.height - early.height
    placed = held.sort(key).unique("visit_id", keep="first", maintain_order=True)
    excluded[LATER] = held.height - placed.height
    return placed.select("visit_id", "prediction_time", "label"), excluded


def _all_at_discharge(records: tables.Records, placed: pl.DataFrame) -> bool:
    ends = placed.join(records.visits.select("visit_id", "end"), on="visit_id")
    return bool((ends["prediction_time"] == ends["end"]).all())
