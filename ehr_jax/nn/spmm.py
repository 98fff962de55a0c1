"""One sparse product: sums of source rows over the targets they belong to, and its gradient.

The incidence is sorted both ways once, on the host, so that the backward product of one direction
is the forward product of the other and nothing is sorted or scattered twice.
"""

import functools
import warnings

import flax.struct
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jax.experimental import sparse

from ehr_jax.nn import bipartite

BACKENDS = ("segment", "bcsr", "jraph")


class Lists(flax.struct.PyTreeNode):
    """One direction of an incidence: for each target, the sources incident on it.

    Attributes:
      sources: [incidence] int32, grouped by target.
      targets: [incidence] int32, ascending.
      offsets: [target + 1] int32, where each target's group starts.
      num_sources, num_targets: static sizes.
    """

    sources: jax.Array
    targets: jax.Array
    offsets: jax.Array
    num_sources: int = flax.struct.field(pytree_node=False)
    num_targets: int = flax.struct.field(pytree_node=False)


class Incidence(flax.struct.PyTreeNode):
    """A hypergraph's incidence, both ways: `forward` sums into targets, `backward` into sources."""

    forward: Lists
    backward: Lists

    @property
    def transpose(self) -> "Incidence":
        """The same incidence with sources and targets exchanged; nothing is copied."""
        return Incidence(self.backward, self.forward)


def from_graph(graph: jraph.GraphsTuple) -> Incidence:
    """Returns the node -> hyperedge incidence of a bipartite graph (see `nn.bipartite`)."""
    return from_pairs(*bipartite.unpack(graph))


def from_pairs(
    source: np.ndarray, target: np.ndarray, num_sources: int, num_targets: int
) -> Incidence:
    """Returns the incidence of pairs `source[i]` in `target[i]`, [incidence] integers each."""
    return Incidence(
        _lists(source, target, num_sources, num_targets),
        _lists(target, source, num_targets, num_sources),
    )


def default_backend() -> str:
    """The fastest backend known for the default device."""
    return "bcsr" if jax.default_backend() == "cpu" else "segment"


def product(incidence: Incidence, x: jax.Array, backend: str | None = None) -> jax.Array:
    """Sums the rows of `x` over each target: y[t] = sum of x[s] over sources s of t.

    Args:
      x: [source, ...] float.
      backend: one of BACKENDS; "bcsr" is a compiled CSR kernel on the CPU, "segment" XLA's segment
        sum, "jraph" the reference path through jraph's own segment function.

    Returns:
      [target, ...], zero for a target without sources.
    """
    backend = backend or default_backend()
    flat = x.reshape(x.shape[0], -1)
    if backend == "jraph":
        lists = incidence.forward
        summed = jraph.segment_sum(flat[lists.sources], lists.targets, lists.num_targets)
    elif backend in BACKENDS:
        summed = _product(incidence, flat, backend)
    else:
        raise ValueError(f"unknown backend '{backend}'; one of {BACKENDS}")
    return summed.reshape(summed.shape[0], *x.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(incidence: Incidence, x: jax.Array, backend: str) -> jax.Array:
    lists = incidence.forward
    if backend == "segment":
        return jax.ops.segment_sum(
            x[lists.sources], lists.targets, lists.num_targets, indices_are_sorted=True
        )
    ones = jnp.ones(lists.sources.shape, x.dtype)
    matrix = sparse.BCSR(
        (ones, lists.sources, lists.offsets), shape=(lists.num_targets, lists.num_sources)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=sparse.CuSparseEfficiencyWarning)
        return matrix @ x


def _product_forward(incidence, x, backend):
    return _product(incidence, x, backend), incidence


def _product_backward(backend, incidence, cotangent):
    return None, _product(incidence.transpose, cotangent, backend)


_product.defvjp(_product_forward, _product_backward)


def _lists(source: np.ndarray, target: np.ndarray, num_sources: int, num_targets: int) -> Lists:
    order = np.lexsort((source, target))
    counts = np.bincount(target, minlength=num_targets)
    return Lists(
        sources=jnp.asarray(source[order], jnp.int32),
        targets=jnp.asarray(target[order], jnp.int32),
        offsets=jnp.asarray(np.concatenate([[0], np.cumsum(counts)]), jnp.int32),
        num_sources=int(num_sources),
        num_targets=int(num_targets),
    )
