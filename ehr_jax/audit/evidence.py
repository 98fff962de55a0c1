"""What the checks look at, and what each of them says."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jraph
import ml_collections
import numpy as np
import polars as pl

from ehr_jax import disclosure
from ehr_jax.audit import building, subset
from ehr_jax.audit.verdict import SHOWN, Finding, Status
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import once, vocabulary
from ehr_jax.records.common import identifiers, tables

NO_NOTES = "no method reads notes of the source"
EVERY_RUN, WHOLE = 200, 2000  # patients of `Evidence.some`: in every run, in --mode=audit


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
