"""The patients that a costly check looks at, their samples and their records."""

import dataclasses
import hashlib

import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import once
from ehr_jax.records.common import tables


def choose(cohort: cohorts.Cohort, count: int) -> pl.Series:
    """Returns the subject_id of at most `count` patients, the same for the same cohort.

    Each split keeps its share of patients and every split is there. In a split, patients with a
    positive label take turns with the others, so that a rare outcome is there too.
    """
    labels = [name for name in cohort.samples.columns if name.startswith("label.")]
    positive = pl.any_horizontal(pl.col(name).fill_null(False) for name in labels)
    patients = cohort.samples.group_by("subject_id").agg(
        pl.col("split").min(), positive=positive.any()
    )
    drawn = [_digest(subject) for subject in patients["subject_id"]]
    patients = patients.with_columns(drawn=pl.Series(drawn, dtype=pl.UInt64)).sort("drawn")
    turn = pl.int_range(pl.len()).over("split", "positive")
    patients = patients.with_columns(turn=turn).sort("split", "turn", "drawn")
    share = min(1.0, count / max(patients.height, 1))
    place = pl.int_range(pl.len()).over("split")
    within = place < (pl.len().over("split") * share).ceil().clip(lower_bound=1)
    return patients.filter(within)["subject_id"].sort()


def one_each(samples: pl.DataFrame, subjects: pl.Series) -> pl.DataFrame:
    """Returns one sample of each of these patients, in the cohort's order.

    Which of several it is depends on the patient alone, so first and later visits are all there.
    """
    of_patient = samples.filter(pl.col("subject_id").is_in(subjects.implode()))
    digests = {subject: _digest(subject) for subject in of_patient["subject_id"].unique()}
    drawn = pl.Series([digests[subject] for subject in of_patient["subject_id"]], dtype=pl.UInt64)
    of_patient = of_patient.with_columns(drawn=drawn)
    place = pl.int_range(pl.len()).over("subject_id")
    chosen = place == pl.col("drawn") % pl.len().over("subject_id").cast(pl.UInt64)
    return of_patient.filter(chosen).drop("drawn")


def renumbered(cohort: cohorts.Cohort, samples: pl.DataFrame) -> cohorts.Cohort:
    """Returns the cohort of `samples` alone; their sample_id are the rows' numbers again."""
    numbered = samples.with_columns(sample_id=pl.int_range(pl.len(), dtype=pl.Int64))
    return dataclasses.replace(cohort, samples=numbered)


def records_of(records: tables.Records, subjects: pl.Series) -> tables.Records:
    """Returns the records of these patients; measurements and notes stay lazy."""
    of_patient = pl.col("subject_id").is_in(subjects.implode())
    visits = records.visits.filter(of_patient)
    of_visit = pl.col("visit_id").is_in(visits["visit_id"].implode())
    return dataclasses.replace(
        records,
        patients=records.patients.filter(of_patient),
        visits=visits,
        stays=records.stays.filter(of_visit),
        codes=records.codes.filter(of_visit),
        attributes=records.attributes.filter(of_visit),
        measurements=records.measurements.filter(of_visit),
        notes=records.notes.filter(of_visit),
        given_split=records.given_split.filter(of_patient),
        scores=records.scores.filter(of_visit),
    )


def collected(known: once.Known, reads: features.Reads, subjects: pl.Series) -> tables.Records:
    """Returns the records of these patients, lazy tables as they were read, or without rows where
    nothing reads them."""
    measurements = known.measured.rows if reads.measurements else tables.empty(tables.MEASUREMENTS)
    notes = known.written if reads.notes else tables.empty(tables.NOTES)
    read = dataclasses.replace(known.records, measurements=measurements.lazy(), notes=notes.lazy())
    return in_memory(records_of(read, subjects))


def in_memory(records: tables.Records) -> tables.Records:
    """Returns the records with lazy tables in memory."""
    return dataclasses.replace(
        records,
        measurements=records.measurements.collect().lazy(),
        notes=records.notes.collect().lazy(),
    )


def _digest(subject: int) -> int:
    whole = hashlib.blake2b(f"subset {subject}".encode(), digest_size=6).digest()
    return int.from_bytes(whole, "little")
