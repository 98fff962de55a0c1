"""What the checks look at, and what each of them says."""

import dataclasses
from typing import Literal, NamedTuple

import jraph
import numpy as np
import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import prepare, vocabulary
from ehr_jax.records import identifiers, tables

Status = Literal["pass", "warn", "fail", "skip"]
SHOWN = 1000  # rows at fault that a finding keeps


class Evidence(NamedTuple):
    """A cohort, the records it came from, and the inputs made of it.

    Attributes:
      config: of the whole experiment.
      vocabulary, visits, structure: as in `prepare.Arrays`: what a model is given.
    """

    records: tables.Records
    cohort: cohorts.Cohort
    config: object
    vocabulary: vocabulary.Vocabulary
    visits: jraph.GraphsTuple
    structure: np.ndarray


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
      rows: what is at fault, at most `SHOWN` rows; patients only hashed.
      count: how many are at fault.
    """

    check: str
    status: Status
    message: str
    rows: pl.DataFrame = dataclasses.field(default_factory=pl.DataFrame)
    count: int = 0


def of(records: tables.Records, cohort: cohorts.Cohort, config, made) -> Evidence:
    """Returns the evidence of `made`, a `prepare.Graph` or `prepare.Arrays`."""
    return Evidence(records, cohort, config, made.vocabulary, made.visits, made.structure)


def gather(records: tables.Records, cohort: cohorts.Cohort, config) -> Evidence:
    """Makes the inputs of `cohort`, all but vectors of text."""
    return of(records, cohort, config, prepare.fit_graph(records, cohort, config.features))


def found(check: str, rows: pl.DataFrame, fault: str, fine: str, status: Status = "fail"):
    """Returns a Finding: `status` with `fault` where there are rows, else a pass with `fine`."""
    if rows.is_empty():
        return Finding(check, "pass", fine)
    if "subject_id" in rows.columns:
        patients = identifiers.hashed(rows["subject_id"]).alias("subject")
        rows = rows.with_columns(patients).drop("subject_id")
    return Finding(check, status, fault.format(count=rows.height), rows.head(SHOWN), rows.height)
