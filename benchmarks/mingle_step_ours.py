"""The JAX side of mingle_step.py: the package's network, loss and optimiser."""

import functools
from collections.abc import Callable

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from ehr_jax.models import inputs, mingle
from ehr_jax.nn import bipartite, spmm
from ehr_jax.training import fit
from ehr_jax.training import loss as losses


def about(_) -> dict:
    """Says what it runs on."""
    return {"device": jax.devices()[0].device_kind, "backend": spmm.default_backend()}


def make(_, path: str, weights: str) -> dict:
    """Draws the first weights, for both sides."""
    model, given = _problem(path, 0.0)
    init = jax.jit(functools.partial(model.init, train=False, method="encode"))
    params = init(jax.random.key(0), *given[:2])
    np.savez(weights, **flax.traverse_util.flatten_dict(params["params"], sep="/"))
    return {}


def prepare(
    kind: str, _, path: str, weights: str, dropout: float = 0.2, steps: int = 1
) -> tuple[Callable[[], np.ndarray], dict]:
    """Training steps that go on from one call to the next; gives the loss before each."""
    model, given = _problem(path, dropout)
    optimiser = fit.make_optimiser(
        ml_collections.ConfigDict({"clip": 1.0, "weight_decay": 1e-3, "learning_rate": 1e-3})
    )
    params = {"params": flax.traverse_util.unflatten_dict(dict(np.load(weights)), sep="/")}
    params = jax.tree.map(jnp.asarray, params)

    @functools.partial(jax.jit, donate_argnums=0)
    def train(state, nodes, visits, labels):
        def step(state, _):
            params, moments, number = state

            def loss(params):
                rngs = {"dropout": jax.random.fold_in(jax.random.key(0), number)}
                logits, _ = model.apply(
                    params, nodes, visits, train=True, method="encode", rngs=rngs
                )
                ones = jnp.ones(labels.shape[1])
                return losses.cross_entropy(logits[: len(labels)], labels, ones)

            value, gradient = jax.value_and_grad(loss)(params)
            updates, moments = optimiser.update(gradient, moments, params)
            return (optax.apply_updates(params, updates), moments, number + 1), value

        return jax.lax.scan(step, state, length=steps)

    state = params, optimiser.init(params), jnp.zeros((), jnp.int32)

    def run():
        nonlocal state
        state, values = train(state, *given)
        return np.asarray(values)

    return run, {"backend": spmm.default_backend()}


def _problem(path: str, dropout: float):
    data = np.load(path)
    graph = bipartite.pack(data["code"], data["visit"], len(data["structure"]), len(data["notes"]))
    graph, loops = bipartite.with_self_loops(graph)
    visits = inputs.Visits(
        incidence=spmm.from_graph(graph),
        loops=jnp.asarray(loops),
        notes=jnp.asarray(data["notes"]),
        has_note=jnp.asarray(data["has_note"]),
        num_visits=len(data["notes"]),
    )
    nodes = inputs.Nodes(jnp.asarray(data["structure"]), jnp.asarray(data["concept"]))
    model = mingle.Mingle(labels=data["labels"].shape[1], input_dropout=dropout)
    return model, (nodes, visits, jnp.asarray(data["labels"]))
