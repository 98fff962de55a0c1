"""The inputs of a method as columns of a table, so that each and all can be held to the outcome."""

import numpy as np
import scipy.sparse
import scipy.stats

from ehr_jax.audit import evidence


def labels(given: evidence.Evidence) -> np.ndarray:
    """[sample, label] float32, nan where a sample has none."""
    return np.asarray(given.arrays.labels, np.float32)


def subjects(given: evidence.Evidence) -> np.ndarray:
    """[sample] int64, the patient of each."""
    return given.cohort.samples["subject_id"].to_numpy()


def auroc(numbers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[number] float64, AUROC of each column of `numbers` [sample, number], either way up.

    A number that is missing stands at the median of the column.
    """
    ranks = scipy.stats.rankdata(filled(numbers), axis=0)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    above = ranks[truth].sum(axis=0) - positives * (positives + 1) / 2
    return 0.5 + np.abs(above / (positives * negatives) - 0.5)


def filled(numbers: np.ndarray) -> np.ndarray:
    """Returns [sample, number] with what is missing at the median of its column."""
    there = np.isfinite(numbers)
    median = [
        np.median(column[known]) if known.any() else 0.0
        for column, known in zip(numbers.T, there.T, strict=True)
    ]
    return np.where(there, numbers, np.array(median))


def holders(held: scipy.sparse.csr_matrix, subjects: np.ndarray) -> np.ndarray:
    """[node] int: how many patients have a sample that holds each node of [sample, node]."""
    _, patient = np.unique(subjects, return_inverse=True)
    ones = np.ones(patient.size, np.float32)
    of_patient = scipy.sparse.csr_matrix((ones, (patient, np.arange(patient.size))))
    return (of_patient @ held).getnnz(axis=0)
