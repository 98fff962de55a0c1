"""MINGLE's training step in shards: equality, bytes exchanged, time per visit, memory.

    python -m benchmarks.sharding --folder=FOLDER

On 8 simulated devices of a CPU: loss, gradients and scores over 1, 2, 3, 4 and 8 devices against
one device; bytes that a device receives in a step over 8 devices, read from the compiled programs
for 10,000, 100,000 and 1,000,000 visits. Then in processes of their own, on one device: seconds of
a step a visit and peak memory for as many visits, and of a million streamed in 8 shards.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

DEVICES = 8
SIZES = (10_000, 100_000, 1_000_000)  # visits
CODES, PER_VISIT = 7_423, 20
TEXT = 64  # width of note and name vectors
STEPS = 5


def main() -> int:
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.visits:
        print(json.dumps(_step(arguments.visits, arguments.shards)))
        return 0
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    from benchmarks import sides

    about = {"machine": sides.machine(), "versions": sides.versions("jax", "jaxlib", "flax")}
    print(json.dumps(about), flush=True)
    found = {**about, "equality": _equality(), "bytes": {}, "steps": []}
    for visits in SIZES:
        exchanged = found["bytes"][visits] = _bytes(visits)
        print(f"{visits:>9,} visits: a device receives {exchanged} bytes a step", flush=True)
    same = len({json.dumps(value) for value in found["bytes"].values()}) == 1
    print("the same for every number of visits" if same else "DIFFERENT by the number of visits")
    for visits, shards in [*((visits, 1) for visits in SIZES), (SIZES[-1], 8)]:
        given = [f"--visits={visits}", f"--shards={shards}", f"--folder={arguments.folder}"]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.sharding", *given],
            stdout=subprocess.PIPE, text=True, check=True,
            env={key: value for key, value in os.environ.items() if key != "XLA_FLAGS"},
        )  # fmt: skip
        step = json.loads(done.stdout.splitlines()[-1])
        found["steps"].append(step)
        print(
            f"{visits:>9,} visits{f', {shards} shards in turn' if shards > 1 else '':20} "
            f"{step['seconds']:8.2f} s a step ({step['least']:.2f} to {step['most']:.2f}), "
            f"{step['seconds'] / visits * 1e6:6.2f} us a visit, peak {step['peak_gb']:.2f} GB",
            flush=True,
        )
    path = arguments.folder / "sharding.json"
    path.write_text(json.dumps(found, indent=1))
    print(f"every run: {path}")
    return 0 if same and found["equality"]["most"] < 1e-5 else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for results")
    parser.add_argument("--visits", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def _equality() -> dict:
    """Greatest differences to one device, gradients over their greatest entry."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ehr_jax.training import partition, problem, sharded_problem

    arrays, model = _arrays(2_001, 300), _network()
    alone = problem.build(arrays, "balanced")
    params = alone.init(model, jax.random.key(0))

    def figures(data):
        step = jax.jit(jax.value_and_grad(lambda p, d: d.loss(p, model, jax.random.key(1), 0)[0]))
        loss, gradient = step(params, data)
        gradient = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])
        scores = data.probabilities(model, params, arrays)
        return loss, np.asarray(gradient / jnp.abs(gradient).max()), scores

    expected = figures(alone)
    found = {}
    for count in (1, 2, 3, 4, 8):
        data = sharded_problem.build(arrays, "balanced", partition.make_mesh(count))
        of_count = figures(data, sharded_problem)
        found[count] = [
            float(np.abs(np.asarray(a) - np.asarray(b)).max())
            for a, b in zip(of_count, expected, strict=True)
        ]
        loss, gradient, scores = found[count]
        print(
            f"{count} devices: loss differs by {loss:.1e}, gradients by {gradient:.1e}, scores by "
            f"{scores:.1e}",
            flush=True,
        )
    return {**found, "most": max(max(values) for values in found.values())}


def _bytes(visits: int) -> dict[str, int]:
    """From shapes alone: nothing of this size is made."""
    import jax
    import jax.numpy as jnp

    from ehr_jax.models import inputs
    from ehr_jax.nn import spmm
    from ehr_jax.training import exchange, partition, sharded_problem

    mesh = partition.make_mesh(DEVICES)
    each, whole = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in ((partition.AXIS,), ())
    )

    def spread(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct((DEVICES, *shape), dtype, sharding=each)

    def shared(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

    def lists(sources, targets, count):
        indices = spread(count, dtype=jnp.int32)
        offsets = spread(targets + 1, dtype=jnp.int32)
        return spmm.Lists(indices, indices, offsets, sources, targets)

    def hyperedges(visits, loops):
        rows, count = visits + loops, visits * PER_VISIT + loops
        return inputs.Visits(
            incidence=spmm.Incidence(lists(CODES, rows, count), lists(rows, CODES, count)),
            loops=spread(loops, dtype=jnp.int32),
            notes=spread(visits, TEXT),
            has_note=spread(visits),
            num_visits=visits,
            real=spread(rows),
        )

    own = visits // DEVICES
    data = sharded_problem.ShardedProblem(
        nodes=inputs.Nodes(shared(CODES, 64), shared(CODES, TEXT)),
        shaping=hyperedges(own, -(-CODES // DEVICES)),
        train_labels=spread(own, 25),
        positive_weight=shared(25),
        validation=hyperedges(own // 10, 0),
        validation_rows=shared(visits // 10, dtype=jnp.int32),
        validation_labels=shared(visits // 10, 25),
        mesh=mesh,
    )
    model = _network()
    params = jax.eval_shape(lambda d: d.init(model, jax.random.key(0)), data)
    params = jax.tree.map(lambda x: shared(*x.shape), params)
    step = jax.jit(jax.value_and_grad(lambda p, d: d.loss(p, model, jax.random.key(1), 0)[0]))
    return exchange.exchanged_bytes(step.lower(params, data).compile().as_text())


def _step(visits: int, shards: int) -> dict:
    """Seconds of training steps, after one that compiles; peak memory of the process."""
    import jax

    from ehr_jax.training import problem, sharded_problem

    arrays, model = _arrays(visits, CODES), _network()
    if shards == 1:
        data = problem.build(arrays, 1.0)
    else:
        data = sharded_problem.build(arrays, 1.0, None, shards)
    del arrays
    params = data.init(model, jax.random.key(0))
    step = jax.jit(jax.value_and_grad(lambda p, d: d.loss(p, model, jax.random.key(1), 0)[0]))
    seconds = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        jax.block_until_ready(step(params, data))
        seconds.append(time.perf_counter() - began)
    timed = sorted(seconds[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {
        "visits": visits, "shards": shards, "seconds": timed[len(timed) // 2], "least": timed[0],
        "most": timed[-1], "peak_gb": peak,
    }  # fmt: skip


def _network():
    from ehr_jax import config as base
    from ehr_jax.models import registry

    config = base.defaults()
    config.model.depth, config.model.width, config.model.heads = 1, 32, 4
    model = registry.resolve("mingle").network(config, 25)
    return model.clone(dropout=0.0, input_dropout=0.0)


def _arrays(visits: int, codes: int):
    """Random visits over codes as common as codes are: a few in most visits, many in hardly any."""
    import numpy as np

    from ehr_jax.features import prepare, vocabulary
    from ehr_jax.nn import bipartite

    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, codes + 1)
    drawn = rng.choice(codes, visits * PER_VISIT, p=share / share.sum())
    visit = np.repeat(np.arange(visits), PER_VISIT)
    visit, code = np.divmod(np.unique(visit * codes + drawn), codes)
    names = tuple(map(str, range(codes)))
    return prepare.Arrays(
        vocabulary=vocabulary.Vocabulary(names, ("diagnosis",) * codes, names),
        visits=bipartite.pack(code, visit, codes, visits),
        structure=rng.normal(size=(codes, 64)).astype(np.float32),
        concepts=rng.normal(size=(codes, TEXT)).astype(np.float32),
        notes=rng.normal(size=(visits, TEXT)).astype(np.float32),
        has_note=rng.random(visits) < 0.9,
        labels=(rng.random((visits, 25)) < 0.2).astype(np.float32),
        label_names=tuple(map(str, range(25))),
        split=np.where(np.arange(visits) % 10 == 0, "validation", "train"),
        subjects=np.arange(visits),
        shapes=np.arange(visits) % 10 != 0,
        counts={},
    )


if __name__ == "__main__":
    sys.exit(main())
