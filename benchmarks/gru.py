"""GRU over a batch of stays: ours against torch.nn.GRU, same weights, in one run.

    python -m benchmarks.gru --folder=FOLDER

Batch 256, 48 steps of 76 inputs, width 128 by default; forward alone as at inference, and forward
and backward to inputs and weights. Two processes take turns. Exit status 1 where states or
gradients differ.
"""

import argparse
import contextlib
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run by path as by name
from benchmarks import sides  # noqa: E402

SIDES = ("ours", "torch")
PACKAGES = ("jax", "jaxlib", "torch", "numpy")
PASSES = {"forward": 0.9, "forward and backward": 1.0}  # and the ratio aimed at
TOLERANCE = 1e-4  # relative to the largest of an array


def main() -> int:
    arguments = _arguments()
    if arguments.side:
        return sides.serve(f"gru_{arguments.side}", arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    batch, time, inputs, width = (int(size) for size in arguments.shape.split(","))
    path = str(arguments.folder / "gru.npz")
    rng = np.random.default_rng(arguments.seed)
    shapes = {
        "x": (batch, time, inputs), "onto": (batch, time, width), "inputs": (inputs, 3 * width),
        "inputs_bias": (3 * width,), "state": (width, 3 * width), "state_bias": (3 * width,),
    }  # fmt: skip
    drawn = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    for name in ("inputs", "inputs_bias", "state", "state_bias"):
        drawn[name] /= width**0.5
    np.savez(path, **drawn)
    kept = {"machine": sides.machine(), "versions": sides.versions(*PACKAGES), "passes": {}}
    kept["shape"] = arguments.shape
    # Products of a step: 3 gates of inputs and of state; twice as much backward.
    gigaflop = 2 * batch * time * 3 * width * (inputs + width) / 1e9
    good = True
    with contextlib.ExitStack() as stack:
        ours, peer = (stack.enter_context(sides.start(side, "gru", arguments)) for side in SIDES)
        kept |= {"ours": ours.ask(do="about"), "torch": peer.ask(do="about")}
        print(json.dumps(kept), flush=True)
        for what, aim in PASSES.items():
            cases = {
                name: (side, {"do": what, "path": path})
                for name, side in (("ours", ours), ("torch.nn.GRU", peer))
            }
            runs, found = sides.take_turns(cases, arguments.rounds, arguments.folder / "found.npy")
            print(sides.report(f"\n{what}", runs, "ours", {"torch.nn.GRU": aim}))
            work = gigaflop * (3 if "backward" in what else 1)
            print(f"  ours: {work / sides.middle(runs['ours']):.1f} GFLOP/s in products")
            difference = _difference(*found.values())
            print(f"  results differ by {difference:.1e} of the largest", flush=True)
            good &= difference < TOLERANCE
            kept["passes"][what] = {"difference": difference, "gigaflop": work, "runs": runs}
    result = arguments.folder / "gru.json"
    result.write_text(json.dumps(kept, indent=1))
    print(f"\nevery run: {result}")
    return 0 if good else 1


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", default="256,48,76,128", help="batch,time,inputs,width")
    parser.add_argument("--rounds", type=int, default=15)
    return sides.parse(parser, SIDES)


if __name__ == "__main__":
    sys.exit(main())
