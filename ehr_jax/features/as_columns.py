"""The inputs of a method as columns of a table, so that each and all can be held to the outcome."""

import jraph
import numpy as np
import scipy.sparse

from ehr_jax.features import arrays as contract
from ehr_jax.nn import bipartite


def incidence(visits: jraph.GraphsTuple) -> scipy.sparse.csr_matrix:
    """[sample, node] float32: 1 where a sample of the graph holds the node."""
    node, sample, nodes, samples = bipartite.unpack(visits)
    ones = np.ones(len(node), np.float32)
    return scipy.sparse.csr_matrix((ones, (sample, node)), shape=(samples, nodes))


def of_visits(arrays) -> contract.Columns:
    """Returns the nodes and whether there is a note of `prepare.Arrays`."""
    has_note = arrays.has_note.astype(np.float32)[:, None]
    return contract.Columns(*_nodes(arrays), has_note, ("has a note",))


def _nodes(arrays) -> tuple[scipy.sparse.csr_matrix, tuple[str, ...]]:
    return incidence(arrays.visits), tuple(arrays.vocabulary.names)


def of_stays(arrays) -> contract.Columns:
    """Returns nodes, statics, and of each variable the last value, the mean and how often it was
    measured, of `stays.StayArrays`."""
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
    return contract.Columns(held, held_names, numbers, tuple(number_names))
