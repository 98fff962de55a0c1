"""The JAX side of gru.py."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.nn import compiling, recurrent


def about(_) -> dict:
    """Says what it runs on."""
    return {"device": jax.devices()[0].device_kind}


def prepare(kind: str, _, path: str) -> tuple[Callable[[], np.ndarray], dict]:
    """The states of all steps, or the gradients of weights and inputs."""
    data = {name: jnp.asarray(value) for name, value in np.load(path).items()}
    weights = recurrent.Weights(*(data[name] for name in recurrent.Weights._fields))
    mask = jnp.ones(data["x"].shape[:2])

    def states(weights, x):
        return recurrent.gru(weights, x, mask)[0]

    def along(weights, x):
        return (states(weights, x) * data["onto"]).sum()

    step = compiling.jit(states if kind == "forward" else jax.grad(along, (0, 1)))

    def run():
        found = jax.block_until_ready(step(weights, data["x"]))
        return np.concatenate([np.asarray(part).ravel() for part in jax.tree.leaves(found)])

    return run, {}
