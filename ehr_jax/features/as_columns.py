"""The inputs of a method as a table, whose columns the audit compares with the outcome."""

import jraph
import numpy as np
import scipy.sparse

from ehr_jax.features import arrays as contract
from ehr_jax.nn import bipartite


def incidence(visits: jraph.GraphsTuple) -> scipy.sparse.csr_matrix:
    """Returns [sample, node] float32: 1 where a hyperedge of the graph, a sample, has the node."""
    node, sample, nodes, samples = bipartite.unpack(visits)
    ones = np.ones(len(node), np.float32)
    return scipy.sparse.csr_matrix((ones, (sample, node)), shape=(samples, nodes))


def of_visits(arrays) -> contract.Columns:
    """Returns the table of `prepare.Arrays`: the nodes, and whether a sample has a note."""
    has_note = arrays.has_note.astype(np.float32)[:, None]
    return contract.Columns(*_nodes(arrays), has_note, ("has a note",))


def _nodes(arrays) -> tuple[scipy.sparse.csr_matrix, tuple[str, ...]]:
    return incidence(arrays.visits), tuple(arrays.vocabulary.names)


def of_stays(arrays) -> contract.Columns:
    """Returns the table of `stays.StayArrays`: nodes, statics, each variable's last value, mean and
    number of steps with a value, and the numbers of pieces of notes and of entities."""
    count = len(arrays.labels)
    nodes, node_names = scipy.sparse.csr_matrix((count, 0), dtype=np.float32), ()
    if arrays.visits is not None:
        nodes, node_names = _nodes(arrays.visits)
    values, observed = arrays.stays["values"], arrays.stays["observed"] > 0
    times = observed.sum(axis=1)
    or_nan = np.where(times > 0, 1, np.nan)  # [sample, variable], nan if never observed
    mean = np.where(observed, values, 0).sum(axis=1) / np.maximum(times, 1) * or_nan
    last = values[:, -1] * or_nan if values.shape[1] else mean
    statics = arrays.stays["statics"]
    names = [static.name for static in arrays.fitted.statics][: statics.shape[1]]
    blocks, number_names = [statics], list(names)
    for statistic, block in (("last", last), ("mean", mean), ("times measured", times)):
        blocks.append(block)
        number_names += [f"{name}, {statistic}" for name in arrays.variables[: block.shape[1]]]
    for mask, name in (("note_mask", "pieces of notes"), ("knowledge_mask", "entities")):
        blocks.append(arrays.stays[mask].sum(axis=1)[:, None])
        number_names.append(name)
    numbers = np.concatenate(blocks, axis=1).astype(np.float32)
    return contract.Columns(nodes, node_names, numbers, tuple(number_names))
