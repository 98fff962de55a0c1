"""REALM's training with stays on the device, fed from the host ahead of it, and read in turn.

    python -m benchmarks.feeding [--stays=20000] [--batch=64] [--repeats=5] [--out=FILE]

For arrays that a device does not hold (`ehr_jax.training.feeding`). A repeat is a chunk of steps
and the validation after it; sides take turns. Printed: medians, spread, the share of the chunk that
steps waited for a batch, and how far the losses lie from those of stays on the device; the exit
status is 1 where that is beyond 1e-3. "In turn" reads a batch when the step before has been given
to the device, as a loop without read-ahead does.
"""

import argparse
import json
import sys
import time
import unittest.mock

import grain
import jax
import numpy as np

from benchmarks import generated, sides
from ehr_jax import config as configs
from ehr_jax.features import loader
from ehr_jax.models import registry
from ehr_jax.training import feeding, fit, stay_problem

IN_TURN = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


def main() -> int:
    arguments = _parse()
    print(sides.machine(), jax.default_backend(), jax.devices()[0].device_kind)
    print(sides.versions("jax", "jaxlib", "flax", "grain", "numpy"))
    config = configs.defaults()
    config.realm.width, config.realm.feed_forward = arguments.width, 2 * arguments.width
    config.model.name, config.train.eval_every = "realm", arguments.steps
    arrays = generated.of_stays(arguments.stays, 48, 76, 8, 8, 384)
    model, key = registry.build(config, 1), jax.random.key(0)
    size = sum(x.nbytes for x in arrays.stays.values())
    print(f"{arguments.stays:,} stays, {size / 1e9:.2f} GB; batches of {arguments.batch}")
    rooms = {"on the device": stay_problem, "fed": feeding, "in turn": feeding}
    runs, losses = {}, {}
    for name, room in rooms.items():
        data = room.build(arrays, "1", arguments.batch)
        state = fit.init_state(model, fit.make_optimiser(config.train), data, key)
        runs[name] = [fit.compile_chunk(model, data, config.train).run, state, data]
        losses[name] = []
    seconds, waits = {name: [] for name in rooms}, {name: [] for name in rooms}
    for _ in range(arguments.repeats + 1):
        for name, (run, state, data) in runs.items():
            reading = IN_TURN if name == "in turn" else loader.READING
            with unittest.mock.patch.object(loader, "READING", reading):
                began = time.perf_counter()
                runs[name][1], metrics = jax.block_until_ready(run(state, data, key))
                seconds[name].append(time.perf_counter() - began)
            waits[name].append(float(metrics.get("input_wait", 0)))
            losses[name].append(float(metrics["loss"]))
    # The first turn of either side warms up.
    medians = {name: float(np.median(values[1:])) for name, values in seconds.items()}
    apart = {}
    for name, values in seconds.items():
        apart[name] = float(np.abs(np.subtract(losses[name], losses["on the device"])).max())
        print(
            f"  {name:13s} {medians[name]:7.3f} s ({min(values[1:]):.3f} to {max(values[1:]):.3f}) "
            f"a chunk of {arguments.steps} steps, {medians[name] / medians['on the device']:.2f} "
            f"times stays on the device; waited {np.median(waits[name][1:]):.1%}; losses within "
            f"{apart[name]:.1e}"
        )
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            about = {"machine": sides.machine(), "versions": sides.versions("jax", "flax", "grain")}
            found = {"seconds": seconds, "waits": waits, "differences": apart, "bytes": size}
            json.dump(about | found, file, indent=2)
    return int(not all(value <= 1e-3 for value in apart.values()))


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stays", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64, help="stays a step")
    parser.add_argument("--steps", type=int, default=20, help="of a chunk")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--out", help="a JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
