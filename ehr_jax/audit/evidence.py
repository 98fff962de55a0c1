"""What the checks look at, and what each of them says."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jraph
import ml_collections
import numpy as np
import polars as pl

from ehr_jax import disclosure
from ehr_jax.audit import building, subset
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import once, vocabulary
from ehr_jax.records.common import identifiers, tables

Status = Literal["pass", "warn", "fail", "skip"]
NO_NOTES = "no method reads notes of the source"
SHOWN = 1000  # rows at fault that a finding keeps
EVERY_RUN, WHOLE = 200, 2000  # patients of `Evidence.some`: in every run, in --mode=audit
# Columns of rows that are of single patients, or of codes that few of them may have.
OF_PATIENTS = frozenset({"subject_id", "subject", "sample_id", "visit_id", "stay_id", "difference"})


class Evidence(NamedTuple):
    """A cohort, the records it came from, and the inputs made of it.

    Attributes:
      known: what the samples may use, as they were given it.
      config: of the whole experiment.
      reads: what the methods read.
      features: as config.features, by which the following were made.
      vocabulary, visits, structure: the samples as hyperedges over nodes, as in `prepare.Arrays`;
        where a method is given stays, their statics are nodes beside the codes.
      arrays: what the method is given.
      some: the records, lazy tables in memory where the method reads them, of the patients that
        the costly checks look at (`subset.choose`).
    """

    records: tables.Records
    cohort: cohorts.Cohort
    known: once.Known
    config: ml_collections.ConfigDict
    reads: features.Reads
    features: ml_collections.ConfigDict
    vocabulary: vocabulary.Vocabulary
    visits: jraph.GraphsTuple
    structure: np.ndarray
    arrays: features.Arrays
    some: tables.Records


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
      message: a sentence that may be shown; of few patients it says so in place of their number.
      rows: what is at fault, at most `SHOWN` rows; patients only hashed.
      count: how many are at fault.
      stops: a failure means that no figure of the run would be honest.
    """

    check: str
    status: Status
    message: str
    rows: pl.DataFrame = dataclasses.field(default_factory=pl.DataFrame)
    count: int = 0
    stops: bool = False

    def __post_init__(self):
        object.__setattr__(self, "message", disclosure.words(self.message))

    @property
    def is_of_patients(self) -> bool:
        """Are the rows at fault of single patients, or of codes that few of them may have?"""
        return bool(OF_PATIENTS & set(self.rows.columns))


def known_of(
    records: tables.Records,
    folds: Sequence[cohorts.Cohort],
    config: ml_collections.ConfigDict,
    reads: features.Reads,
    patients: int = EVERY_RUN,
) -> once.Known:
    """Returns what is known of the first of `folds`, which are one cohort however it is split.

    The rows that the costly checks look at, of some patients of each, are read with the others.
    """
    some = pl.concat([subset.choose(cohort, patients) for cohort in folds]).unique()
    visits = records.visits.filter(pl.col("subject_id").is_in(some.implode()))["visit_id"]
    return once.known_of(records, folds[0], config, reads, visits)


def of(
    known: once.Known,
    config: ml_collections.ConfigDict,
    reads: features.Reads,
    arrays: features.Arrays,
    patients: int = EVERY_RUN,
) -> Evidence:
    """Returns the evidence of `arrays`, made of `reads`, which a method of `config` is given."""
    records, cohort = known.records, known.cohort
    features_config, graph = building.graph(known, config, arrays)
    nodes = graph.vocabulary, graph.visits, graph.structure
    some = subset.collected(known, reads, subset.choose(cohort, patients))
    return Evidence(records, cohort, known, config, reads, features_config, *nodes, arrays, some)


def gather(
    records: tables.Records,
    cohort: cohorts.Cohort,
    config: ml_collections.ConfigDict,
    patients: int = EVERY_RUN,
) -> Evidence:
    """Makes the inputs of `cohort` without encoding texts."""
    reads = building.reads(config)
    known = known_of(records, [cohort], config, reads, patients)
    arrays = building.build(known, config, reads)
    return of(known, config, reads, arrays, patients)


def found(check: str, rows: pl.DataFrame, fault: str, fine: str, status: Status = "fail"):
    """Returns a Finding: `status` with `fault` where there are rows, else a pass with `fine`."""
    if rows.is_empty():
        return Finding(check, "pass", fine)
    count = rows.height
    if "subject_id" in rows.columns:
        patients = rows["subject_id"].drop_nulls().unique(maintain_order=True)
        hashes = pl.DataFrame({"subject_id": patients, "subject": identifiers.hashed(patients)})
        rows = rows.join(hashes, on="subject_id", how="left", maintain_order="left")
        rows = rows.drop("subject_id")
    finding = Finding(check, status, "", rows.head(SHOWN), count)
    said = disclosure.shown(count) if finding.is_of_patients else f"{count}"
    return dataclasses.replace(finding, message=fault.format(count=said))


def patients(subjects: np.ndarray, rows: np.ndarray) -> int:
    """How many patients some rows are of.

    Args:
      subjects: [row], the patient of each.
      rows: [row] bool.
    """
    return np.unique(subjects[rows]).size
