"""The inputs of a method as columns of a table, so that each and all can be held to the outcome."""

import numpy as np
import scipy.sparse

from ehr_jax.audit import evidence
from ehr_jax.evaluation import metrics


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
    areas = np.array([metrics.auroc(column, truth) for column in filled(numbers).T])
    return 0.5 + np.abs(areas - 0.5)


def auroc_of_nodes(held: scipy.sparse.csr_matrix, truth: np.ndarray) -> np.ndarray:
    """[node] float64, AUROC of whether a sample holds each node of [sample, node], either way up.

    Of a column of two values it is told by the shares of positives and negatives that hold it.
    """
    of_positives, of_negatives = (
        np.asarray(held[rows].sum(axis=0)).ravel() / rows.sum() for rows in (truth, ~truth)
    )
    return 0.5 + np.abs(of_positives - of_negatives) / 2


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
