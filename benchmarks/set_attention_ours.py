"""The JAX side of set_attention.py."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.nn import set_attention, spmm


def about(_) -> dict:
    """Says what it runs on."""
    return {"device": jax.devices()[0].device_kind, "backend": spmm.default_backend()}


def prepare(kind: str, _, path: str) -> tuple[Callable[[], np.ndarray], dict]:
    """A forward and backward pass; `kind` is "ours" or "ours: BACKEND"."""
    data = np.load(path)
    sizes = int(data["nodes"]), int(data["hyperedges"])
    incidence = spmm.from_pairs(data["node"], data["hyperedge"], *sizes)
    backend = kind.partition(": ")[2] or spmm.default_backend()
    onto = jnp.asarray(data["onto"])

    def along(x, value, query, incidence, onto):
        heads = query.shape[1]
        scores = jax.nn.leaky_relu(x @ query, 0.2)
        values = (x @ value).reshape(len(x), heads, -1)
        pooled = set_attention.pool(incidence, scores, values, backend)
        return (pooled.reshape(onto.shape) * onto).sum()

    step = jax.jit(jax.grad(along, (0, 1, 2)))
    given = [jnp.asarray(data[name]) for name in ("x", "value", "query")]

    def run():
        gradients = jax.block_until_ready(step(*given, incidence, onto))
        return np.concatenate([np.asarray(gradient).ravel() for gradient in gradients])

    return run, {"backend": backend}
