"""Structure vectors of nodes: DeepWalk in its matrix-factorisation form (NetMF).

Nodes that share a hyperedge are joined (clique expansion, weight = shared hyperedges). With
P = D^-1 A, window T and b negative samples, DeepWalk factorises

    log max(1, vol(A) / (b T) * (sum_{r=1..T} P^r) D^-1)

(Qiu et al. 2018, "Network embedding as matrix factorization", Eq. 4 and Algorithms 3-4), with no
walk to sample and so no randomness. MINGLE says DeepWalk; its settings are not published.
"""

import jraph
import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from ehr_jax.nn import bipartite

EXACT_NODES = 4096  # above, powers of P come from its leading eigenvectors (Algorithm 4)
EIGENVECTORS = 256


def netmf(graph: jraph.GraphsTuple, width: int, window: int, negatives: float = 1.0) -> np.ndarray:
    """Returns [node, width] float32 vectors of the nodes of a bipartite graph.

    Pass the graph of training visits alone. A node that shares no hyperedge gets a zero vector.
    Vectors are scaled to a root mean square of 1 over entries of the joined nodes.
    """
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(graph)
    incidence = scipy.sparse.csr_matrix(
        (np.ones(node.size), (hyperedge, node)), shape=(num_hyperedges, num_nodes)
    )
    adjacency = (incidence.T @ incidence).tolil()
    adjacency.setdiag(0)
    adjacency = adjacency.tocsr()
    adjacency.eliminate_zeros()
    joined = np.flatnonzero(np.asarray(adjacency.sum(axis=1)).ravel() > 0)
    vectors = np.zeros((num_nodes, width), np.float32)
    if joined.size < 2:
        return vectors
    adjacency = adjacency[joined][:, joined]
    target = _deepwalk_matrix(adjacency, window, negatives)
    if not target.any():  # two nodes, or walks that tell nothing
        return vectors
    rank = min(width, joined.size - 1)
    # A fixed start makes the vectors repeatable, signs included.
    left, values, _ = scipy.sparse.linalg.svds(
        target, rank, v0=_start(joined.size), rng=np.random.default_rng(0)
    )
    found = (left * np.sqrt(values))[:, ::-1]
    vectors[joined, :rank] = found / max(float(np.sqrt(np.mean(found**2))), 1e-12)
    return vectors


def _deepwalk_matrix(adjacency: scipy.sparse.csr_matrix, window: int, negatives: float):
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    root = 1.0 / np.sqrt(degree)
    symmetric = scipy.sparse.diags(root) @ adjacency @ scipy.sparse.diags(root)
    # sum_r P^r D^-1 = D^-1/2 (sum_r S^r) D^-1/2 with S = D^-1/2 A D^-1/2.
    if degree.size <= EXACT_NODES:
        dense = symmetric.toarray()
        power, summed = dense, dense.copy()
        for _ in range(window - 1):
            power = power @ dense
            summed += power
    else:
        start = _start(degree.size)
        values, vectors = scipy.sparse.linalg.eigsh(
            symmetric, EIGENVECTORS, v0=start, rng=np.random.default_rng(0)
        )
        powers = sum(values**r for r in range(1, window + 1))
        summed = (vectors * np.maximum(powers, 0)) @ vectors.T
    scaled = degree.sum() / (negatives * window) * summed * root[:, None] * root[None, :]
    return np.log(np.maximum(scaled, 1.0))


def _start(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=size)
