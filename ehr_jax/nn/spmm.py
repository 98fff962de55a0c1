"""One sparse product: sums of source rows over the targets they belong to, and its gradient.

The incidence is sorted both ways once, on the host, so that the backward product of one direction
is the forward product of the other and nothing is sorted or scattered twice.
"""

import functools
import math
import warnings
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jax.experimental import sparse

from ehr_jax.nn import batching, bipartite, native, operands

# "native" is this package's CPU kernel, where it was built (`nn.native`); "bcsr" XLA's compiled CSR
# kernel for a CPU, one thread; "segment" XLA's segment sum; "jraph" the reference path.
BACKENDS = ("native", "bcsr", "segment", "jraph")


class Lists(flax.struct.PyTreeNode):
    """One direction of an incidence: for each target, the sources incident on it.

    Lists may be longer than the incidences they hold. What follows the last offset is padding: its
    target is `num_targets`, which no sum is made for, and a CSR kernel never reads it.

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
    source: np.ndarray,
    target: np.ndarray,
    num_sources: int,
    num_targets: int,
    num_incidences: int | None = None,
) -> Incidence:
    """Returns the incidence of pairs `source[i]` in `target[i]`, [incidence] integers each, on the
    default device.

    Args:
      num_incidences: length of the lists, to which they are padded; None for that of the pairs.
    """
    on_host = host_pairs(source, target, num_sources, num_targets, num_incidences)
    return jax.tree.map(jnp.asarray, on_host)


def host_pairs(
    source: np.ndarray,
    target: np.ndarray,
    num_sources: int,
    num_targets: int,
    num_incidences: int | None = None,
) -> Incidence:
    """Returns what `from_pairs` does, as numpy arrays."""
    length = len(source) if num_incidences is None else num_incidences
    return Incidence(
        _lists(source, target, num_sources, num_targets, length),
        _lists(target, source, num_targets, num_sources, length),
    )


def default_backend() -> str:
    """The fastest backend known for the default device."""
    if jax.default_backend() != "cpu":
        return "segment"
    return "native" if native.built() else "bcsr"


def product(
    incidence: Incidence, x: jax.Array, backend: str | None = None, precision: str = "float32"
) -> jax.Array:
    """Sums the rows of `x` over each target: y[t] = sum of x[s] over sources s of t.

    Args:
      x: [source, ...] float.
      backend: one of BACKENDS; None for the device's default.
      precision: of the rows that are gathered (`nn.operands`), of `x` and of its cotangents; sums
        are float32.

    Returns:
      [target, ...], zero for a target without sources.
    """
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    summed = _product(incidence, flat, backend or default_backend(), precision)
    return summed.reshape(summed.shape[0], *x.shape[1:])


def sums(
    lists: Lists,
    x: jax.Array,
    weights: jax.Array | None = None,
    backend: str | None = None,
    precision: str = "float32",
) -> jax.Array:
    """One direction of `product`, each row taken by its weight; has no gradient.

    Args:
      x: [source, column] float.
      weights: [incidence] float; None for 1.
      precision: of the rows of `x`, as in `product`; weights are not rounded.

    Returns:
      [target, column].
    """
    backend = backend or default_backend()
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend '{backend}'; one of {BACKENDS}")
    if precision == "bfloat16":
        # The kernels of a CPU know float32 alone: the numbers are the same, and nothing is gained.
        x = operands.rounded(x)
        x = x if backend in ("native", "bcsr") else x.astype(jnp.bfloat16)
    return _sums(backend)((lists, weights), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _product(incidence: Incidence, x: jax.Array, backend: str, precision: str) -> jax.Array:
    return sums(incidence.forward, x, backend=backend, precision=precision)


def _product_forward(incidence, x, backend, precision):
    return _product(incidence, x, backend, precision), incidence


def _product_backward(backend, precision, incidence, cotangent):
    return None, _product(incidence.transpose, cotangent, backend, precision)


_product.defvjp(_product_forward, _product_backward)


@functools.cache
def _sums(backend: str) -> Callable:
    kernel = {"segment": _segment, "bcsr": _bcsr, "jraph": _jraph, "native": _native}[backend]
    return batching.side_by_side(lambda lists_weights, x: kernel(*lists_weights, x))


def _segment(lists, weights, x):
    return jax.ops.segment_sum(
        _rows(lists, weights, x), lists.targets, lists.num_targets, indices_are_sorted=True
    )


def _jraph(lists, weights, x):
    return jraph.segment_sum(_rows(lists, weights, x), lists.targets, lists.num_targets)


def _rows(lists, weights, x):
    rows = x[lists.sources]
    rows = rows.astype(jnp.float32) if rows.dtype == jnp.bfloat16 else rows
    return rows if weights is None else weights[:, None] * rows


def _bcsr(lists, weights, x):
    weights = jnp.ones(lists.sources.shape, x.dtype) if weights is None else weights
    shape = (lists.num_targets, lists.num_sources)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=sparse.CuSparseEfficiencyWarning)
        return sparse.BCSR((weights, lists.sources, lists.offsets), shape=shape) @ x


def _native(lists, weights, x):
    if x.dtype != jnp.float32:
        return _segment(lists, weights, x)
    return native.sums(lists.offsets, lists.sources, weights, x)


def _lists(source, target, num_sources: int, num_targets: int, length: int) -> Lists:
    order = np.lexsort((source, target))
    counts = np.bincount(target, minlength=num_targets)
    padding = (0, length - len(order))
    return Lists(
        sources=np.pad(source[order], padding).astype(np.int32),
        targets=np.pad(target[order], padding, constant_values=num_targets).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        num_sources=int(num_sources),
        num_targets=int(num_targets),
    )
