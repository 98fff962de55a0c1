"""Text encoders on one machine: ours against PyTorch, same weights, same tokens, one run.

    python benchmarks/encode.py --folder=FOLDER

Two processes stay up, one with JAX and one with PyTorch, and take turns: within a round each case
runs once on each side, while the other waits. What is compared are medians over the rounds. First
batches of one length, as hidden states pooled to a vector; then the sections of MTS-Dialog, texts
to vectors, against sentence-transformers. The vectors of both sides must be equal.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

PRECISIONS = ("float32", "bfloat16")
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-3}  # cosine distance to PyTorch's float32
AIMS = {"float32": 1.1, "bfloat16": 1.0, "texts": 1.5}
TOKENS = 4096  # of a batch, on a CPU
SIDES = ("ours", "torch")
PACKAGES = ("jax", "jaxlib", "torch", "transformers", "sentence-transformers", "tokenizers")
# Dense bfloat16 products, TFLOP/s, by the name of the device: the makers' own figures.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121, "V100": 125}


def main() -> int:
    arguments = _arguments()
    if arguments.side:
        return _serve(arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        sides = {side: stack.enter_context(_Side(side, arguments)) for side in SIDES}
        about = {side: sides[side].ask({"do": "about"}) for side in SIDES}
        machine = {"machine": _machine(), "threads": arguments.threads, **about}
        _say(json.dumps(machine))
        groups = _batches(arguments, sides["torch"]) if arguments.only != "texts" else []
        if arguments.only in ("", "texts") and arguments.device == "cpu":
            groups += _texts(arguments)
        found = [_run(group, sides, arguments) for group in groups]
    _say("")
    good = all([_print(group) for group in found])
    path = arguments.folder / "encode.json"
    path.write_text(json.dumps({**machine, "groups": found}, indent=1))
    _say(f"\nall figures: {path}")
    return 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for models and results")
    parser.add_argument("--rounds", type=int, default=7, help="repeats of every case, 5 or more")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side")
    parser.add_argument("--encoders", default="", help="some of minilm,base,longformer,decoder")
    parser.add_argument("--lengths", default="128,256", help="tokens of a row, of minilm and base")
    parser.add_argument("--texts", type=int, default=800, help="of MTS-Dialog, drawn at random")
    parser.add_argument("--only", default="", choices=("", "batches", "texts"))
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--peak", type=float, help="TFLOP/s of a device not known here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", default="", choices=("", *SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.absolute()
    return arguments


def _batches(arguments, peer) -> list[dict]:
    """Groups of cases that do the same: one encoder, precision and shape."""
    gpu = arguments.device == "gpu"
    names = arguments.encoders or ("base,longformer,decoder" if gpu else "minilm,base")
    groups = []
    for name in names.split(","):
        folder = _checkpoint(name, arguments, peer)
        lengths = [int(n) for n in arguments.lengths.split(",")]
        lengths = lengths if name in ("minilm", "base") else [4096 if name == "longformer" else 512]
        tokens = TOKENS * (16 if gpu else 1)
        for length in lengths:
            for precision in PRECISIONS:
                batch = {
                    "do": "batch", "folder": str(folder), "precision": precision, "part": tokens,
                    "length": length, "rows": max(tokens // length, 1), "seed": arguments.seed,
                }  # fmt: skip
                # PyTorch gets the batch as a whole and in parts that fit a cache; the best counts.
                peers = {"sdpa": batch}
                if not gpu:
                    peers["sdpa, 1,024 tokens at a time"] = {**batch, "part": 1024}
                if arguments.compile:
                    peers["sdpa, compiled"] = {**batch, "compile": True}
                groups.append(
                    {
                        "name": f"{name}, {batch['rows']} x {length} tokens, {precision}",
                        "cases": [("ours", "ours", batch)]
                        + [("torch", what, case) for what, case in peers.items()],
                        "tokens": batch["rows"] * length,
                        "aim": None if gpu else AIMS[precision],
                        "tolerance": TOLERANCE[precision],
                    }
                )
    return groups


def _checkpoint(name: str, arguments, peer) -> pathlib.Path:
    """Folder of a checkpoint; all but MiniLM are made at random, once, by transformers."""
    if name == "minilm":
        from ehr_jax.text import encoders

        return encoders.resolve()
    folder = arguments.folder / f"random_{name}"
    if not (folder / "config.json").exists():
        peer.ask({"do": "make", "name": name, "folder": str(folder), "seed": arguments.seed})
    return folder


def _texts(arguments) -> list[dict]:
    """Sections of MTS-Dialog, notes and dialogues, end to end in float32."""
    root = os.environ.get("EHR_JAX_DATA")
    if not root:
        _say("EHR_JAX_DATA is not set: the sections of MTS-Dialog are left out")
        return []
    import polars as pl

    from ehr_jax.text import encoders, tokenize

    files = sorted(pathlib.Path(root, "mts_dialog").glob("*.csv.gz"))
    table = pl.concat([pl.read_csv(f, columns=["section_text", "dialogue"]) for f in files])
    texts = pl.concat([table["section_text"], table["dialogue"]]).drop_nulls().unique().sort()
    texts = texts.sample(min(arguments.texts, len(texts)), seed=arguments.seed).to_list()
    path = arguments.folder / "texts.json"
    path.write_text(json.dumps(texts))
    tokenizer = encoders.load(long="truncate").tokenizer
    lengths = [len(chunks[0]) for chunks in tokenize.chunk(texts, tokenizer)]
    case = {"do": "texts", "texts": str(path), "precision": "float32"}
    quartiles = np.percentile(lengths, [5, 25, 50, 75, 95]).astype(int).tolist()
    return [
        {
            "name": f"{len(texts)} sections of MTS-Dialog, texts to vectors, float32; tokens of a "
            f"text at 5, 25, 50, 75, 95 %: {quartiles}",
            "cases": [("ours", "ours", case)]
            + [
                ("torch", f"sentence-transformers, batches of {n}", {**case, "batch_size": n})
                for n in (32, 64)
            ],
            "tokens": int(sum(lengths)),
            "aim": AIMS["texts"],
            "tolerance": TOLERANCE["float32"],
        }
    ]


def _run(group: dict, sides: dict, arguments) -> dict:
    """Runs every case of a group once a round; the first round, with compilation, is apart."""
    _say(f"\n{group['name']}")
    runs = {what: [] for _, what, _ in group["cases"]}
    kept = {}
    for turn in range(arguments.rounds + 1):
        for side, what, case in group["cases"]:
            keep = str(arguments.folder / f"{side}.npy") if turn == 0 else None
            time.sleep(0.05)  # the other side's threads come to rest
            before = _busy()
            done = sides[side].ask({**case, "keep": keep})
            done["others"] = _others(before, done)
            if keep:
                kept.setdefault(side, []).append(np.load(keep))
            runs[what].append(done)
            _say(f"  {what:34} {done['seconds'] * 1e3:9.1f} ms{' at first' * (turn == 0)}")
    expected = kept["torch"][0]
    reference = expected
    if group["cases"][0][2]["precision"] != "float32":
        case = {**group["cases"][1][2], "precision": "float32", "compile": False}
        path = str(arguments.folder / "torch.npy")
        sides["torch"].ask({**case, "keep": path})
        reference = np.load(path)
    sides["torch"].ask({"do": "forget"})
    sides["ours"].ask({"do": "forget"})
    return {
        "name": group["name"],
        "tokens": group["tokens"],
        "aim": group["aim"],
        "tolerance": group["tolerance"],
        "distance": _distance(kept["ours"][0], reference),
        "distance of torch": _distance(expected, reference),
        "teraflop": runs["ours"][0].get("teraflop"),
        "peak": arguments.peak or runs["ours"][0].get("peak"),
        "runs": runs,
    }


def _print(group: dict) -> bool:
    """Prints a group's figures and its ratio; returns whether the vectors are equal."""
    _say(group["name"])
    middle = {what: _median(runs[1:], "seconds") for what, runs in group["runs"].items()}
    for what, runs in group["runs"].items():
        seconds = [run["seconds"] for run in runs[1:]]
        line = (
            f"  {what:34} {middle[what] * 1e3:9.1f} ms ({min(seconds) * 1e3:.1f} to "
            f"{max(seconds) * 1e3:.1f})  {group['tokens'] / middle[what]:9,.0f} tokens/s  "
            f"CPU {_median(runs[1:], 'cpu_seconds') * 1e3:9.1f} ms  "
            f"first call {runs[0]['seconds'] - middle[what]:+.1f} s"
        )
        if group["teraflop"]:
            rate = group["teraflop"] / middle[what]
            line += f"  {rate:.3g} TFLOP/s"
            line += f" = {rate / group['peak']:.0%} of peak" if group["peak"] else ""
        _say(line)
    best = min((what for what in middle if what != "ours"), key=middle.get)
    pairs = [
        peer["seconds"] / ours["seconds"]
        for peer, ours in zip(group["runs"][best][1:], group["runs"]["ours"][1:], strict=True)
    ]
    others = [run["others"] for runs in group["runs"].values() for run in runs[1:]]
    same = group["distance"] < group["tolerance"]
    aim = f" (aim {group['aim']:g})" if group["aim"] else ""
    load = "" if None in others else f"; other work took {statistics.median(others):.0%} of the CPU"
    _say(
        f"  ratio {middle[best] / middle['ours']:.2f}{aim} to '{best}', by round {min(pairs):.2f} "
        f"to {max(pairs):.2f}{load}\n  cosine distance to PyTorch's float32: ours "
        f"{group['distance']:.1e}, torch {group['distance of torch']:.1e}"
        f"{'' if same else '  TOO FAR'}"
    )
    return same


def _median(runs: list[dict], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest cosine distance of two sets of vectors."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.max(1 - np.sum(found * expected, axis=1) / norms))


def _busy() -> float | None:
    """CPU seconds the whole machine has worked so far, time taken by its host included."""
    try:
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
    except OSError:
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _others(before: float | None, done: dict) -> float | None:
    """Share of the CPU that was not ours to use while a case ran."""
    if before is None:
        return None
    rest = _busy() - before - done["cpu_seconds"]
    return max(rest, 0.0) / (done["seconds"] * os.cpu_count())


def _machine() -> str:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    return f"{model}, {os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"


def _say(text: str) -> None:
    print(text, flush=True)


# A side is a process that answers requests, a line of JSON each.


class _Side:
    """The process of one side."""

    def __init__(self, side: str, arguments: argparse.Namespace):
        flags = [f"--{k}={v}" for k, v in vars(arguments).items() if k in ("folder", "threads")]
        flags += [f"--side={side}", f"--device={arguments.device}"]
        flags += [f"--peak={arguments.peak}"] if arguments.peak else []
        threads = str(arguments.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        environment |= {"JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda"}[arguments.device]}
        environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "HF_HUB_OFFLINE": "1"}
        self.name, self.process = side, subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, request: dict) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of '{self.name}' ended; its errors stand above")
        return json.loads(answer)


def _serve(arguments: argparse.Namespace) -> int:
    """Answers requests until there are no more; what is printed on the way goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity") and arguments.threads < os.cpu_count():
        os.sched_setaffinity(0, range(arguments.threads))  # before the libraries count the cores
    if arguments.side == "torch":
        import encode_torch as side
    else:
        import encode_ours as side
    ready = {}
    for line in sys.stdin:
        request = json.loads(line)
        kind, keep = request.pop("do"), request.pop("keep", None)
        key = json.dumps([kind, request])
        if kind == "about":
            answer = side.about(arguments) | {"versions": _versions()}
        elif kind == "forget":
            ready.clear()
            answer = {}
        elif kind == "make":
            answer = side.make(**request) or {}
        else:
            if key not in ready:
                ready[key] = side.prepare(kind, arguments=arguments, **request)
            run, facts = ready[key]
            began, cpu = time.perf_counter(), time.process_time()
            vectors = run()
            answer = {"seconds": time.perf_counter() - began}
            answer |= {"cpu_seconds": time.process_time() - cpu, **facts}
            if keep:
                np.save(keep, vectors)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


if __name__ == "__main__":
    sys.exit(main())
