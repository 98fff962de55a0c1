"""What test_many_devices.py runs in a process of its own, on eight simulated devices.

    python tests/training/many_devices.py FOLDER

Losses, gradients and scores of hypergraphs spread over 1 to 8 devices; FOLDER/found.npz.
"""

import os
import sys
from pathlib import Path

# The programs are tiny and many: the second flag is for quick compilations.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import arrays as make  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import test_stay_problem as of_stays  # noqa: E402

from ehr_jax.models import registry  # noqa: E402
from ehr_jax.training import (  # noqa: E402
    exchange,
    partition,
    problem,
    sharded_problem,
    stay_problem,
)

SHARDS = (1, 3, 8)  # benchmarks/sharding.py has more
# Method, and what the keys of its set attention are multiplied by: scores that span more than
# exp can tell apart (here some 90) take another path.
CASES = {"mingle": 1.0, "mingle, wide": 30.0, "alldeepsets": 1.0}
WIDENED = ("key", "key_bias")  # not the seeds, which are added to states and would drown them


def main(folder: Path) -> None:
    found = {}
    for case in CASES:
        found |= compare(case)
    found["stays 0"], found["stays 4"] = stays_of(1), stays_of(4)
    found["bytes"] = np.array([bytes_of_a_step(samples) for samples in (60, 600)])
    np.savez(folder / "found.npz", **found)


def compare(case: str) -> dict[str, np.ndarray]:
    """Loss, gradient and probabilities on one device (0) and on meshes."""
    arrays = make.make_arrays()
    model = network(case.split(",")[0])
    alone = problem.build(arrays, "balanced")
    params = alone.init(model, jax.random.key(0))
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: x * CASES[case] if path[-1].key in WIDENED else x, params
    )
    found = {f"{case} 0": figures(model, params, arrays, alone, problem)}
    for shards in SHARDS if case == "mingle" else (3,):
        data = sharded_problem.build(arrays, "balanced", partition.make_mesh(shards))
        # Scores take a compilation each.
        found[f"{case} {shards}"] = figures(model, params, arrays, data, scored=shards == 3)
    if case != "alldeepsets":
        data = sharded_problem.build(arrays, "balanced", None, shards=3)
        found[f"{case} streamed"] = figures(model, params, arrays, data, scored=True)
    return found


def figures(model, params, arrays, data, scored: bool) -> np.ndarray:
    """Loss, gradient (over its greatest entry) and, if `scored`, probabilities, in one line."""
    step = jax.jit(jax.value_and_grad(lambda p, d: d.loss(p, model, jax.random.key(1), 0)[0]))
    loss, gradient = step(params, data)
    gradient = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])
    scores = data.probabilities(model, params, arrays).ravel() if scored else []
    return np.concatenate([[loss], gradient / jnp.abs(gradient).max(), scores])


def stays_of(devices: int) -> np.ndarray:
    """Loss and gradient of a batch of stays, by dropout's own draws."""
    made = of_stays.Arrays()
    data = stay_problem.build(made, 1.0, 8, partition.make_mesh(devices))
    model = of_stays.network()
    params = data.init(model, jax.random.key(0))
    step = jax.jit(jax.value_and_grad(lambda p, d: d.loss(p, model, jax.random.key(1), 0)[0]))
    loss, gradient = step(params, data)
    return np.concatenate([[loss], *(leaf.ravel() for leaf in jax.tree.leaves(gradient))])


def bytes_of_a_step(samples: int) -> int:
    """What each of 4 devices receives in a training step."""
    data = sharded_problem.build(make.make_arrays(samples), 1.0, partition.make_mesh(4))
    model = network("mingle")
    params = data.init(model, jax.random.key(0))
    step = jax.jit(jax.value_and_grad(lambda p, d: d.loss(p, model, jax.random.key(1), 0)[0]))
    found = exchange.exchanged_bytes(step.lower(params, data).compile().as_text())
    assert set(found) == {"all-reduce"}, found
    return found["all-reduce"]


def network(method: str):
    config = registry.configure(make.make_config(), method)
    model = registry.build(config, 2)
    return model.clone(dropout=0.0, input_dropout=0.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
