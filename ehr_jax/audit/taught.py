"""What training learns from: a teacher's scores of patients whose labels it has not seen.

Asked of the teacher of the run, fitted to the patients of `Evidence.some`. Validation patients stop
or choose a teacher's fit as they do any fit, so of the held-out patients those of test are changed.
"""

import dataclasses

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.audit import alter, building, evidence, subset
from ehr_jax.features import once
from ehr_jax.records.common import tables
from ehr_jax.training import teacher

CHECK = "the teacher's scores"


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the finding of this file: a score changes by neither test patients nor own labels."""
    if not teacher.used(given.config):
        return [evidence.Finding(CHECK, "skip", "no teacher is used")]
    samples = given.cohort.samples.join(
        given.some.patients.select("subject_id"), on="subject_id", how="semi"
    )
    cohort = subset.renumbered(given.cohort, samples)
    quick = building.quick(given.config)
    knowledge = building.open_knowledge(quick, given.reads)

    def build(records: tables.Records):
        known = once.known_of(records, cohort, quick, given.reads)
        return building.build(known, quick, given.reads, None, knowledge)

    try:
        arrays = build(given.some)
        scores = teacher.out_of_fold(given.config, arrays)
        others = samples.filter(split="test")["subject_id"].unique()
        changed = alter.people(given.some, others)
        others_changed = build(changed)
        labels = _flipped(others_changed.labels, others_changed.split == "test")
        others_changed = dataclasses.replace(others_changed, labels=labels)
        by_test = teacher.out_of_fold(given.config, others_changed)
        taught, counts = np.unique(
            arrays.subjects[~np.isnan(scores).all(axis=1)], return_counts=True
        )
        # The patient with the most samples, as one sample's label may tell of another's.
        own = arrays.subjects == taught[np.argmax(counts)]
        flipped = dataclasses.replace(arrays, labels=_flipped(arrays.labels, own))
        by_own = teacher.out_of_fold(given.config, flipped)
    except errors.UserError as error:
        return [evidence.Finding(CHECK, "skip", f"too few patients to teach: {error}")]
    train = arrays.split == "train"
    rows = [
        (*who, why)
        for why, again, asked in (("test patients", by_test, train), ("own label", by_own, own))
        for who in samples.select("sample_id", "subject_id", "split")
        .filter(pl.Series(building.rows_that_differ(scores, again) & asked))
        .rows()
    ]
    schema = {"sample_id": pl.Int64, "subject_id": pl.Int64, "split": pl.String, "by": pl.String}
    return [
        evidence.found(
            CHECK,
            pl.DataFrame(rows, schema=schema, orient="row"),
            "{count} score(s) of the teacher change with test patients or with the label of the "
            "patient they are of",
            "scores of the teacher are the same bits whatever test patients and a patient's own "
            "labels are",
        )
    ]


def _flipped(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.where(rows[:, None], 1 - labels, labels).astype(np.float32)
