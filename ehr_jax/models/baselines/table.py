"""Samples as rows of a table, for methods that know nothing of hypergraphs."""

from collections.abc import Callable

import numpy as np
import scipy.sparse

from ehr_jax.nn import bipartite


def multi_hot(arrays) -> scipy.sparse.csr_matrix:
    """Returns [sample, node] float32, 1 where the sample holds the node."""
    node, sample, num_nodes, num_samples = bipartite.unpack(arrays.visits)
    ones = np.ones(node.size, np.float32)
    return scipy.sparse.csr_matrix((ones, (sample, node)), shape=(num_samples, num_nodes))


def per_label(arrays, fit: Callable[..., np.ndarray]) -> np.ndarray:
    """Fits one label after another: [sample, label] float32 probabilities.

    Args:
      fit: called with (train rows, their labels, validation rows, their labels); returns the
        probability of every sample. Not called for a label with one class in training: that gets
        its training prevalence.
    """
    out = np.empty(arrays.labels.shape, np.float32)
    for column in range(arrays.labels.shape[1]):
        labels = arrays.labels[:, column]
        train = np.flatnonzero(~np.isnan(labels) & (arrays.split == "train"))
        validation = np.flatnonzero(~np.isnan(labels) & (arrays.split == "validation"))
        if np.unique(labels[train]).size < 2:
            out[:, column] = labels[train].mean() if train.size else 0.5
            continue
        out[:, column] = fit(
            train, labels[train].astype(int), validation, labels[validation].astype(int)
        )
    return out
