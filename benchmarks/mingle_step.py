"""A training step of MINGLE at MIMIC-III's size: ours against PyTorch, in one run.

    python -m benchmarks.mingle_step --folder=FOLDER

36,875 visits over 7,423 codes, of which 12,353 have labels; L = 3, width 48, 4 heads, trained
node vectors of 64 + 384, notes of 384. The same equations are written out in PyTorch
(`mingle_step_torch.py`), once with PyTorch Geometric's softmax and scatter, once with our
algebra in CSR products. Two processes take turns; both start from the same weights, and without
dropout the losses of the first steps must be equal. Exit status 1 where they are not.
"""

import argparse
import contextlib
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run by path as by name
from benchmarks import set_attention, sides  # noqa: E402

SIDES = ("ours", "torch")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "torch-geometric", "numpy")
CASES = ("ours", "torch dual CSR", "PyG softmax + scatter")
AIMS = {"PyG softmax + scatter": 8.0}
SIZE = {"visits": 36_875, "labelled": 12_353, "codes": 7_423, "mean": 20.8, "labels": 25}
WIDTHS = {"structure": 64, "text": 384}
TOLERANCE = 1e-4  # of a loss
CHECKED = 4  # first steps whose losses are compared
EPOCHS = 500


def main() -> int:
    arguments = _arguments()
    if arguments.side:
        return sides.serve(f"mingle_step_{arguments.side}", arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = str(arguments.folder / "mingle_step.npz")
    np.savez(path, **data(arguments.seed, arguments.scale))
    kept = {"machine": sides.machine(), "versions": sides.versions(*PACKAGES), "size": SIZE}
    with contextlib.ExitStack() as stack:
        ours, peer = (
            stack.enter_context(sides.start(side, "mingle_step", arguments)) for side in SIDES
        )
        kept |= {"ours": ours.ask(do="about"), "torch": peer.ask(do="about")}
        print(json.dumps(kept), flush=True)
        weights = str(arguments.folder / "mingle_step_weights.npz")
        ours.ask(do="make", path=path, weights=weights)
        names = [name for name in CASES if name in (arguments.cases or ",".join(CASES)).split(",")]
        given = {"path": path, "weights": weights}
        cases = {
            name: (ours if name == "ours" else peer, {"do": name, **given})
            for name in dict.fromkeys(["ours", *names])
        }
        losses = _losses(cases, arguments)
        runs, _ = sides.take_turns(cases, arguments.rounds)
        print(sides.report(f"\na step, {arguments.scale:g} of the size", runs, "ours", AIMS))
        if arguments.whole:
            done = ours.time(do="ours", **given, steps=EPOCHS)
            kept["whole"] = done
            print(f"  {EPOCHS} epochs of ours, run: {done['seconds']:.1f} s, compiling included")
        for name, timed in runs.items():
            print(f"  {EPOCHS} epochs, extrapolated: {EPOCHS * sides.middle(timed):7.1f} s  {name}")
    kept |= {"losses": losses, "runs": runs}
    difference = max(np.ptp(step) for step in zip(*losses.values(), strict=True))
    print(f"  losses of {CHECKED} steps without dropout: {losses['ours']}, apart {difference:.1e}")
    result = arguments.folder / "mingle_step.json"
    result.write_text(json.dumps(kept, indent=1))
    print(f"\nevery run: {result}")
    return 0 if difference < TOLERANCE else 1


def data(seed: int, scale: float) -> dict[str, np.ndarray]:
    """Visits over codes, vectors of either, labels; everything drawn at random."""
    rng = np.random.default_rng(seed)
    visits, labelled, codes = (
        max(int(SIZE[name] * scale), 64) for name in ("visits", "labelled", "codes")
    )
    code, visit = set_attention.hypergraph(visits, codes, SIZE["mean"], seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return {
        "code": code,
        "visit": visit,
        "structure": normal(codes, WIDTHS["structure"]),
        "concept": normal(codes, WIDTHS["text"]) / WIDTHS["text"] ** 0.5,
        "notes": normal(visits, WIDTHS["text"]) / WIDTHS["text"] ** 0.5,
        "has_note": (rng.random(visits) < 0.8).astype(np.float32),
        "labels": (rng.random((labelled, SIZE["labels"])) < 0.2).astype(np.float32),
    }


def _losses(cases: dict, arguments: argparse.Namespace) -> dict[str, list[float]]:
    path, found = arguments.folder / "losses.npy", {}
    for name, (side, request) in cases.items():
        side.time(keep=str(path), **request, dropout=0.0, steps=CHECKED)
        found[name] = np.load(path).tolist()
        side.ask(do="forget")
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of visits and codes")
    parser.add_argument("--cases", default="", help="some of the cases; ours is always there")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help=f"run {EPOCHS} epochs of ours too")
    return sides.parse(parser, SIDES)


if __name__ == "__main__":
    sys.exit(main())
