"""Set attention, forward and backward: ours against PyTorch Geometric and PyTorch, in one run.

    python -m benchmarks.set_attention --folder=FOLDER

A half-layer's pooling from nodes to hyperedges: scores and values by linear maps of the nodes'
vectors, softmax of the scores over each hyperedge, weighted mean; the gradient goes to the vectors
and the maps. Two processes, one with JAX and one with PyTorch, take turns. All must find the same
gradients. Exit status 1 where they do not.
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
PACKAGES = ("jax", "jaxlib", "torch", "torch-geometric", "numpy")
WIDTH, HEADS = 64, 4
# Name -> (hyperedges, nodes, mean size, cases).
INDEX = ("torch index_add", "PyG softmax + scatter")
CASES = ("ours", "ours: bcsr", "ours: segment", "torch dual CSR", *INDEX)
SIZES = {
    "reference": (40_000, 8_000, 20.6, CASES),
    "mimic3": (36_875, 7_423, 20.8, CASES),
    # Index operations would hold a vector an incidence, several times 5 GB.
    "million": (1_000_000, 12_725, 20.8, ("ours", "ours: bcsr", "torch dual CSR")),
}
AIMS = {"PyG softmax + scatter": 15.0, "torch dual CSR": 1.0}
TOLERANCE = 1e-3  # of a gradient, relative to the largest of its array


def main() -> int:
    arguments = _arguments()
    if arguments.side:
        return sides.serve(f"set_attention_{arguments.side}", arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept = {"machine": sides.machine(), "versions": sides.versions(*PACKAGES), "sizes": {}}
    kept["bandwidth"] = {f"{mb} MB": sides.bandwidth(mb, arguments.threads) for mb in (1, 16, 256)}
    good = True
    with contextlib.ExitStack() as stack:
        ours, peer = (
            stack.enter_context(sides.start(side, "set_attention", arguments)) for side in SIDES
        )
        kept |= {"ours": ours.ask(do="about"), "torch": peer.ask(do="about")}
        print(json.dumps(kept), flush=True)
        for size in arguments.sizes.split(","):
            measured = _measure(size, ours, peer, arguments)
            kept["sizes"][size] = measured
            good &= measured["difference"] < TOLERANCE
    path = arguments.folder / "set_attention.json"
    path.write_text(json.dumps(kept, indent=1))
    print(f"\nevery run: {path}")
    return 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="reference,mimic3", help=f"some of {','.join(SIZES)}")
    parser.add_argument("--cases", default="", help="some of the cases; ours is always there")
    parser.add_argument("--rounds", type=int, default=7)
    return sides.parse(parser, SIDES)


def _measure(size: str, ours: sides.Side, peer: sides.Side, arguments) -> dict:
    hyperedges, nodes, mean, names = SIZES[size]
    path = arguments.folder / f"set_attention_{size}.npz"
    node, hyperedge = hypergraph(hyperedges, nodes, mean, arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    np.savez(
        path, node=node, hyperedge=hyperedge, nodes=nodes, hyperedges=hyperedges,
        x=rng.normal(size=(nodes, WIDTH)).astype(np.float32),
        value=rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5,
        query=rng.normal(size=(WIDTH, HEADS)).astype(np.float32) / WIDTH**0.5,
        onto=rng.normal(size=(hyperedges, WIDTH)).astype(np.float32),
    )  # fmt: skip
    wanted = [name for name in names if not arguments.cases or name in arguments.cases.split(",")]
    if arguments.device == "gpu":
        wanted = [name for name in wanted if name != "ours: bcsr"]
    cases = {
        name: (ours if name.startswith("ours") else peer, {"do": name, "path": str(path)})
        for name in dict.fromkeys(["ours", *wanted])
    }
    runs, found = sides.take_turns(cases, arguments.rounds, arguments.folder / "found.npy")
    # What must be gathered, both ways: a row of values and weights an incidence, and its number.
    gigabytes = 2 * len(node) * 4 * (WIDTH + HEADS + 1) / 1e9
    title = (
        f"\n{size}: {hyperedges:,} hyperedges, {nodes:,} nodes, {len(node):,} incidences, width "
        f"{WIDTH}, {HEADS} heads"
    )
    print(sides.report(title, runs, "ours", AIMS))
    rate = gigabytes / sides.middle(runs["ours"])
    print(f"  ours gathers {gigabytes:.3f} GB in a step: {rate:.1f} GB/s")
    reference = found["ours"]
    parts = np.split(np.arange(reference.size), np.cumsum([nodes * WIDTH, WIDTH * WIDTH]))
    difference = max(
        float(np.abs(other[part] - reference[part]).max() / np.abs(reference[part]).max())
        for other in found.values()
        for part in parts
    )
    print(f"  gradients differ by {difference:.1e} of the largest", flush=True)
    return {
        "incidences": len(node),
        "gigabytes": gigabytes,
        "gigabytes_per_second": rate,
        "difference": difference,
        "runs": runs,
    }


def hypergraph(
    hyperedges: int, nodes: int, mean: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of node and hyperedge, [incidence] int64 both, without repeats, sorted by hyperedge.

    Sizes are geometric, 64 at most; nodes are drawn as codes are used, the k-th most common one in
    proportion to k^-0.8.
    """
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.geometric(1 / mean, hyperedges), 1, 64)
    hyperedge = np.repeat(np.arange(hyperedges), sizes)
    share = np.cumsum(np.arange(1, nodes + 1) ** -0.8)
    rank = np.searchsorted(share / share[-1], rng.random(hyperedge.size)).clip(0, nodes - 1)
    pairs = np.unique(hyperedge * nodes + rng.permutation(nodes)[rank])
    return pairs % nodes, pairs // nodes


if __name__ == "__main__":
    sys.exit(main())
