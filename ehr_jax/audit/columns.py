"""The inputs of a method as columns of a table, so that each and all can be held to the outcome."""

from typing import NamedTuple

import jraph
import numpy as np
import scipy.sparse
import scipy.stats

from ehr_jax.audit import building, evidence
from ehr_jax.features import prepare, stays
from ehr_jax.nn import bipartite


class Columns(NamedTuple):
    """Inputs of samples.

    Attributes:
      held: [sample, node] float32, 1 where the sample holds the node.
      held_names: of the nodes.
      numbers: [sample, number] float32, nan where there is none.
      number_names: of the numbers.
    """

    held: scipy.sparse.csr_matrix
    held_names: tuple[str, ...]
    numbers: np.ndarray
    number_names: tuple[str, ...]


def of(given: evidence.Evidence) -> Columns:
    """Returns what the method is given, all but vectors of texts."""
    if building.over_stays(given.config):
        return _of_stays(given.arrays)
    has_note = given.arrays.has_note.astype(np.float32)[:, None]
    return Columns(*_nodes(given.arrays), has_note, ("has a note",))


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


def incidence(visits: jraph.GraphsTuple) -> scipy.sparse.csr_matrix:
    """[sample, node] float32: 1 where a sample of the graph holds the node."""
    node, sample, nodes, samples = bipartite.unpack(visits)
    ones = np.ones(len(node), np.float32)
    return scipy.sparse.csr_matrix((ones, (sample, node)), shape=(samples, nodes))


def holders(held: scipy.sparse.csr_matrix, subjects: np.ndarray) -> np.ndarray:
    """[node] int: how many patients have a sample that holds each node of [sample, node]."""
    _, patient = np.unique(subjects, return_inverse=True)
    ones = np.ones(patient.size, np.float32)
    of_patient = scipy.sparse.csr_matrix((ones, (patient, np.arange(patient.size))))
    return (of_patient @ held).getnnz(axis=0)


def _nodes(arrays: prepare.Arrays) -> tuple[scipy.sparse.csr_matrix, tuple[str, ...]]:
    return incidence(arrays.visits), tuple(arrays.vocabulary.names)


def _of_stays(arrays: stays.StayArrays) -> Columns:
    count = len(arrays.labels)
    held, held_names = scipy.sparse.csr_matrix((count, 0), dtype=np.float32), ()
    if arrays.visits is not None:
        held, held_names = _nodes(arrays.visits)
    values, seen = arrays.stays["values"], arrays.stays["observed"] > 0
    times = seen.sum(axis=1)
    there = np.where(times > 0, 1, np.nan)
    mean = np.where(seen, values, 0).sum(axis=1) / np.maximum(times, 1) * there
    last = values[:, -1] * there if values.shape[1] else mean
    statics = arrays.stays["statics"]
    names = [static.name for static in arrays.fitted.statics][: statics.shape[1]]
    parts, number_names = [statics], list(names)
    for word, part in (("last", last), ("mean", mean), ("times measured", times)):
        parts.append(part)
        number_names += [f"{name}, {word}" for name in arrays.variables[: part.shape[1]]]
    for name in ("note_mask", "knowledge_mask"):
        parts.append(arrays.stays[name].sum(axis=1)[:, None])
        number_names.append({"note_mask": "pieces of notes", "knowledge_mask": "entities"}[name])
    numbers = np.concatenate(parts, axis=1).astype(np.float32)
    return Columns(held, held_names, numbers, tuple(number_names))
