"""A cohort before its split: what each task file gives to `tasks.build`."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import polars as pl

from ehr_jax.records import tables

DIED = pl.col("disposition").fill_null("unknown") == "died"  # in hospital, as the source states it


@dataclasses.dataclass(frozen=True)
class Draft:
    """Visits that take part in a task, with their labels.

    `rows` has visit_id, prediction_time and one nullable Boolean column a label, named as the
    label; a visit whose labels are null gives structure only. `published_split` is the split of
    the `paper` protocol. The rest is as in `cohort.Cohort`.
    """

    rows: pl.DataFrame
    labels: tuple[str, ...]
    at_discharge: bool
    description: str
    published_split: Literal["by_file_order", "by_sample"]
    excluded: Mapping[str, int] = dataclasses.field(default_factory=dict)
    faults: tuple[str, ...] = ()


def next_of_patient(column: str) -> pl.Expr:
    """Returns the value of `column` at the patient's next visit in the frame, null at the last."""
    return pl.col(column).shift(-1).over("subject_id", order_by="order")


def drop(
    frame: pl.DataFrame, reasons: Mapping[str, pl.Expr]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Leaves out the rows for which a reason holds; each counts under its first reason."""
    counts = {}
    for reason, holds in reasons.items():
        kept = frame.filter(~holds.fill_null(False))
        counts[reason] = frame.height - kept.height
        frame = kept
    return frame, counts


def has(records: tables.Records, table: str, *columns: str) -> bool:
    """Says whether some row of a table has a value in all these columns."""
    frame = getattr(records, table)
    return not frame.drop_nulls(list(columns)).is_empty()
