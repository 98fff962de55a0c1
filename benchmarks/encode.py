"""Text encoders on one machine: ours against PyTorch, same weights, same tokens, one run.

    python -m benchmarks.encode --folder=FOLDER

Two processes stay up, one with JAX and one with PyTorch, and take turns: in a round each case has
its turn, after a call that is not timed, while the other side waits. Medians over the rounds are
compared; the first call, which compiles, is apart. First batches of one length, pooled to vectors;
then sections of MTS-Dialog, texts to vectors, against sentence-transformers. Both sides' vectors
must be equal.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run by path as by name
from benchmarks import sides  # noqa: E402

PRECISIONS = ("float32", "bfloat16")
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-3}  # cosine distance to PyTorch's float32
AIMS = {"float32": 1.1, "bfloat16": 1.0, "texts": 1.5}
TOKENS = {"cpu": 4096, "gpu": 65_536}  # of a batch; half of it for BERT-base on a CPU
PART = 1024  # tokens PyTorch also gets at a time, which a CPU's caches hold
SIDES = ("ours", "torch")
PACKAGES = ("jax", "jaxlib", "torch", "transformers", "sentence-transformers", "tokenizers")


def main() -> int:
    arguments = _arguments()
    if arguments.side:
        return sides.serve(f"encode_{arguments.side}", arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        ours, peer = (stack.enter_context(_side(side, arguments)) for side in SIDES)
        about = {"machine": sides.machine(), "versions": sides.versions(*PACKAGES)}
        about |= {"ours": ours.ask(do="about"), "torch": peer.ask(do="about")}
        _say(json.dumps(about))
        groups = [] if arguments.only == "texts" else list(_batches(arguments, peer))
        if arguments.only != "batches" and arguments.device == "cpu":
            groups += _texts(arguments)
        found = [_measure(group, ours, peer, arguments) for group in groups]
    _say("")
    good = all([_judge(group) for group in found])
    path = arguments.folder / "encode.json"
    path.write_text(json.dumps({**about, "groups": found}, indent=1))
    _say(f"\nevery run: {path}")
    return 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--encoders", default="", help="some of minilm,base,longformer,decoder")
    parser.add_argument("--lengths", default="128,256", help="tokens of a row: minilm and base")
    parser.add_argument("--texts", type=int, default=500, help="of MTS-Dialog, drawn at random")
    parser.add_argument("--only", default="", choices=("", "batches", "texts"))
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--peak", type=float, help="TFLOP/s of a device not known here")
    return sides.parse(parser, SIDES)


def _side(side: str, arguments: argparse.Namespace) -> sides.Side:
    given = {"folder": arguments.folder, "threads": arguments.threads, "device": arguments.device}
    flags = [f"--{name}={value}" for name, value in given.items()] + [f"--side={side}"]
    threads = str(arguments.threads)
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    environment |= {"JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda"}[arguments.device]}
    environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return sides.Side(side, "encode", flags, environment)


def _batches(arguments: argparse.Namespace, peer: sides.Side):
    """Yields groups of cases that do the same: one encoder, one shape, one precision."""
    names = (
        arguments.encoders
        or {"cpu": "minilm,base", "gpu": "base,longformer,decoder"}[arguments.device]
    )
    for name in names.split(","):
        folder = _checkpoint(name, arguments, peer)
        vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
        lengths = {"longformer": "4096", "decoder": "512"}.get(name, arguments.lengths)
        for length in map(int, lengths.split(",")):
            tokens = TOKENS[arguments.device]
            tokens //= 2 if name == "base" and arguments.device == "cpu" else 1
            rows = max(tokens // length, 1)
            path = arguments.folder / f"tokens_{name}_{length}.npy"
            rng = np.random.default_rng(arguments.seed)
            np.save(path, rng.integers(5, vocabulary, (rows, length), np.int32))
            for precision in PRECISIONS:
                batch = {"do": "batch", "folder": str(folder), "tokens": str(path)}
                batch |= {"precision": precision}
                peers = {"torch sdpa": batch}
                if arguments.device == "cpu" and PART < rows * length:
                    peers[f"torch sdpa, {PART} tokens a call"] = {**batch, "part": PART}
                if arguments.compile:
                    peers["torch sdpa, compiled"] = {**batch, "compiled": True}
                yield {
                    "name": f"{name}, {rows} x {length} tokens, {precision}",
                    "tokens": rows * length,
                    "cases": {"ours": batch} | peers,
                    "reference": {**batch, "precision": "float32"},
                    "aim": AIMS[precision] if arguments.device == "cpu" else None,
                    "tolerance": TOLERANCE[precision],
                }


def _checkpoint(name: str, arguments: argparse.Namespace, peer: sides.Side) -> pathlib.Path:
    """Folder of a checkpoint; all but MiniLM are made at random, once, by transformers."""
    if name == "minilm":
        from ehr_jax.text import encoders

        return encoders.resolve()
    folder = arguments.folder / f"random_{name}"
    if not (folder / "config.json").exists():
        peer.ask(do="make", name=name, target=str(folder), seed=arguments.seed)
    return folder


def _texts(arguments: argparse.Namespace) -> list[dict]:
    """Notes and dialogues of MTS-Dialog, end to end in float32."""
    root = os.environ.get("EHR_JAX_DATA")
    if not root:
        _say("EHR_JAX_DATA is not set: the sections of MTS-Dialog are left out")
        return []
    import polars as pl

    from ehr_jax.text import encoders, tokenize

    files = sorted(pathlib.Path(root, "mts_dialog").glob("*.csv.gz"))
    table = pl.concat([pl.read_csv(file, columns=["section_text", "dialogue"]) for file in files])
    texts = pl.concat([table["section_text"], table["dialogue"]]).drop_nulls().unique().sort()
    texts = texts.sample(min(arguments.texts, len(texts)), seed=arguments.seed).to_list()
    path = arguments.folder / "texts.json"
    path.write_text(json.dumps(texts))
    tokenizer = encoders.load(long="truncate").tokenizer  # as sentence-transformers does
    lengths = [len(chunks[0]) for chunks in tokenize.chunk(texts, tokenizer)]
    spread = np.percentile(lengths, [5, 25, 50, 75, 95]).astype(int).tolist()
    case = {"do": "texts", "texts": str(path)}
    return [
        {
            "name": f"{len(texts)} sections of MTS-Dialog of {sum(lengths):,} tokens (5, 25, 50, "
            f"75, 95 %: {spread}), texts to vectors, float32",
            "tokens": sum(lengths),
            "cases": {"ours": case}
            | {f"sentence-transformers, {n} a batch": {**case, "batch_size": n} for n in (32, 64)},
            "reference": {**case, "batch_size": 32},
            "aim": AIMS["texts"],
            "tolerance": TOLERANCE["float32"],
        }
    ]


def _measure(group: dict, ours: sides.Side, peer: sides.Side, arguments) -> dict:
    """Runs the cases of a group in turn; round 0 compiles and keeps the vectors."""
    _say(f"\n{group['name']}")
    runs = {what: [] for what in group["cases"]}
    vectors = {}
    path = str(arguments.folder / "vectors.npy")
    for turn in range(arguments.rounds + 1):
        for what, case in group["cases"].items():
            side = ours if what == "ours" else peer
            done = side.time(keep=path if turn == 0 else None, **case)
            if turn == 0:
                vectors[what] = np.load(path)
            runs[what].append(done)
            _say(f"  {what:34} {done['seconds'] * 1e3:9.1f} ms{' at first' * (turn == 0)}")
    peer.time(keep=path, **group["reference"])
    reference = np.load(path)
    ours.ask(do="forget")
    peer.ask(do="forget")
    distances = {what: _distance(found, reference) for what, found in vectors.items()}
    device = {"peak": arguments.peak} if arguments.peak else {}
    kept = {key: group[key] for key in ("name", "tokens", "aim", "tolerance")}
    return {**kept, **device, "distances": distances, "runs": runs}


def _judge(group: dict) -> bool:
    """Prints a group's figures and its ratio; returns whether the vectors are equal."""
    _say(group["name"])
    runs = {what: timed for what, (_, *timed) in group["runs"].items()}
    middle = {what: _median(timed, "seconds") for what, timed in runs.items()}
    for what, timed in runs.items():
        seconds = [run["seconds"] for run in timed]
        line = (
            f"  {what:34} {middle[what] * 1e3:8.1f} ms ({min(seconds) * 1e3:.1f} to "
            f"{max(seconds) * 1e3:.1f}) {group['tokens'] / middle[what]:8,.0f} tokens/s, "
            f"CPU {_median(timed, 'cpu_seconds') * 1e3:.1f} ms, first call "
            f"{group['runs'][what][0]['first_seconds'] - middle[what]:+.1f} s"
        )
        first = group["runs"]["ours"][0]
        if "teraflop" in first:
            rate = first["teraflop"] / middle[what]
            peak = group.get("peak", first["peak"])
            line += f", {rate:.3g} TFLOP/s" + (f" ({rate / peak:.0%} of peak)" if peak else "")
        _say(line)
    best = min((what for what in middle if what != "ours"), key=middle.get)
    pairs = [
        theirs["seconds"] / own["seconds"]
        for theirs, own in zip(runs[best], runs["ours"], strict=True)
    ]
    aim = f" (aim {group['aim']:g})" if group["aim"] else ""
    _say(
        f"  ratio {middle[best] / middle['ours']:.2f}{aim} to '{best}'; by round "
        f"{min(pairs):.2f} to {max(pairs):.2f}"
    )
    others = [run["others"] for timed in runs.values() for run in timed]
    if None not in others:
        _say(f"  other work took {statistics.median(others):.0%} of the CPU in the median")
    distances = ", ".join(f"{what} {far:.0e}" for what, far in group["distances"].items())
    same = group["distances"]["ours"] < group["tolerance"]
    _say(f"  cosine distance to PyTorch's float32: {distances}{'' if same else '  TOO FAR'}")
    return same


def _median(runs: list[dict], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest cosine distance of two sets of vectors."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.max(1 - np.sum(found * expected, axis=1) / norms))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
