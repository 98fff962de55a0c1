"""Members of a population as one program, against as many runs of one compiled program in turn.

    python -m benchmarks.population [--kinds=mingle,realm] [--members=32] [--devices=1] [--out=FILE]

Two heads on precomputed features: MINGLE over a random hypergraph, REALM over random stays. Both
sides have compiled before, once: the population one program of all members, the runs in turn the
program of one. A repeat is a chunk of training steps and the validation after it, of every member;
sides take turns. Printed: medians, spread, the ratio, compile times, and how far the losses of
members lie from those of the runs in turn after the first chunk, and at the end, when rounding has
been through Adam many times; the exit status is 1 where the first is beyond 1e-5.

With --devices=2 members are shared by two devices of a CPU; the runs in turn have one, as they do
where it is the only one.
"""

import argparse
import functools
import json
import sys
import time

import jax
import numpy as np

from benchmarks import generated, sides
from ehr_jax import config as configs
from ehr_jax.features import prepare
from ehr_jax.models import registry
from ehr_jax.nn import bipartite
from ehr_jax.training import (
    fit,
    member_settings,
    population,
    problem,
    stay_problem,
    stepping,
    task,
)
from ehr_jax.training import optimiser as optimisers

STEPS = 5  # of a chunk


def main() -> int:
    arguments = _parse()
    if arguments.devices > 1:
        jax.config.update("jax_num_cpu_devices", arguments.devices)
    print(sides.machine(), jax.default_backend(), jax.devices()[0].device_kind)
    print(sides.versions("jax", "jaxlib", "flax", "optax", "numpy"))
    found = {kind: compare(kind, arguments) for kind in arguments.kinds.split(",")}
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            about = {"machine": sides.machine(), "versions": sides.versions("jax", "flax")}
            json.dump(about | {"members": arguments.members, "kinds": found}, file, indent=2)
    return int(any(one["difference"] > 1e-5 for one in found.values()))


def compare(kind: str, arguments) -> dict:
    """Times both sides of one kind; returns what is written of it."""
    config, model, data = {"mingle": _mingle, "realm": _realm}[kind](arguments)
    train = config.train
    members = [
        member_settings.Member(seed, {"learning_rate": 1e-3 * (1 + seed / arguments.members)})
        for seed in range(arguments.members)
    ]
    model, settings = member_settings.settle(model, data, train, members)
    keys = jax.numpy.stack([jax.random.key(member.seed) for member in members])
    train.eval_every = STEPS

    whole = jax.jit(functools.partial(population.start, model, train))(data, keys)
    work = population.Work(model, data, train, settings, keys, until=2**30, patience=2**30)
    together, whole = population.compile_chunk(work, whole, np.arange(len(members)))
    placed = together.place(settings)
    first = functools.partial(fit.first_state, model, fit.make_optimiser(train))
    started = jax.jit(first)
    states = [started(data, key) for key in keys]

    def chunk(state, own, data, key):
        chunk = task.Chunk(model, optimisers.make(own), STEPS, train.select)
        return stepping.run_chunk(chunk, state, data.weighed(own.positive_weight), key)

    own = [jax.tree.map(lambda x, k=k: x[k], settings) for k in range(len(members))]
    began = time.perf_counter()
    alone = jax.jit(chunk, donate_argnums=0).lower(states[0], own[0], data, keys[0]).compile()
    compile_alone = time.perf_counter() - began

    seconds, differences = {"together": [], "in turn": []}, []
    for _ in range(arguments.repeats + 1):
        began = time.perf_counter()
        whole, told = jax.block_until_ready(together.run(whole, placed))
        seconds["together"].append(time.perf_counter() - began)
        began, losses = time.perf_counter(), []
        for k in range(len(members)):
            states[k], metrics = jax.block_until_ready(alone(states[k], own[k], data, keys[k]))
            losses.append(float(metrics["loss"]))
        seconds["in turn"].append(time.perf_counter() - began)
        differences.append(float(np.abs(np.asarray(told["loss"]) - losses).max()))
    # The first turn of either side warms up.
    medians = {name: float(np.median(values[1:])) for name, values in seconds.items()}
    ratio = medians["in turn"] / medians["together"]
    print(f"\n{kind}: {len(members)} members, {STEPS} steps and a validation a repeat")
    for name, values in seconds.items():
        rate = len(members) * STEPS / medians[name]
        print(
            f"  {name:9s} {medians[name]:8.3f} s ({min(values[1:]):.3f} to {max(values[1:]):.3f}), "
            f"{rate:,.0f} member steps/s"
        )
    print(
        f"  together {ratio:.2f} times as fast; compiled in {together.seconds:.1f} s, one in "
        f"{compile_alone:.1f} s; greatest difference of a loss {differences[0]:.1e} after {STEPS} "
        f"steps, {differences[-1]:.1e} after {STEPS * len(differences)}"
    )
    return {
        "seconds": {name: values[1:] for name, values in seconds.items()},
        "ratio": ratio,
        "compile_seconds": {"together": together.seconds, "one": compile_alone},
        "difference": differences[0],
        "differences": differences,
    }


def _mingle(arguments):
    """A hypergraph of visits over codes, ten a visit, with vectors of notes and code names."""
    rng, visits, nodes = np.random.default_rng(0), arguments.visits, arguments.visits // 4
    sample = np.repeat(np.arange(visits), 10)
    pairs = np.unique(np.stack([rng.integers(0, nodes, sample.size), sample]), axis=1)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    split = rng.choice(["train", "validation", "test"], visits, p=[0.7, 0.1, 0.2])
    arrays = prepare.Arrays(
        vocabulary=None,  # not read here
        visits=bipartite.pack(pairs[0], pairs[1], nodes, visits),
        structure=normal(nodes, 64),
        concepts=normal(nodes, 64),
        notes=normal(visits, 64),
        has_note=np.ones(visits, bool),
        labels=(rng.random((visits, 1)) < 0.3).astype(np.float32),
        label_names=("label",),
        split=split,
        subjects=np.arange(visits),
        shapes=split == "train",
        counts={},
    )
    config = configs.defaults()
    config.model.depth, config.model.width = 1, arguments.width
    return config, registry.build(config, 1), problem.build(arrays, "1")


def _realm(arguments):
    """Stays of 24 hours with 17 variables, four pieces of notes and four entities."""
    arrays = generated.of_stays(arguments.stays, 24, 17, 4, 4, 64)
    config = configs.defaults()
    config.realm.width, config.realm.feed_forward = arguments.width, 2 * arguments.width
    data = stay_problem.build(arrays, "1", arguments.batch)
    config.model.name = "realm"
    return config, registry.build(config, 1), data


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default="mingle,realm")
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--visits", type=int, default=400, help="of MINGLE's hypergraph")
    parser.add_argument("--stays", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32, help="stays a step")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--devices", type=int, default=1, help="of a CPU, for members together")
    parser.add_argument("--out", help="a JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
