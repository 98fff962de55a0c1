"""Two sides of a benchmark as two processes that stay up and take turns.

Each request is a line of JSON and so is its answer: {"do": KIND, ...} -> what the side's module
gives for it. A module offers `about(arguments)`, and `prepare(kind, arguments, **request)`, which
returns a function to be timed, and facts that go into the answer; it is asked once for a request.
An answer to a timed request, a turn of some runs after one that is not timed, has the median
"seconds" and "cpu_seconds" of a run, and the process's resident memory in GB before the turn and
at its peak.
"""

import argparse
import concurrent.futures
import contextlib
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
REST = 0.05  # seconds in which the threads of the side that ran last come to rest
TURN, MOST = 1.0, 10  # seconds, and runs, of a turn


class Side:
    """The process of one side: `python -m benchmarks.MODULE FLAGS`, which calls `serve`."""

    def __init__(self, name: str, module: str, flags: list[str], environment: dict[str, str]):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *flags], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, **request) -> dict:
        """Sends a request and waits for the answer."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of '{self.name}' ended; its errors stand above")
        return json.loads(answer)

    def time(self, keep: str | None = None, **request) -> dict:
        """Runs a request once: "seconds", "cpu_seconds", share of the CPU that "others" took."""
        time.sleep(REST)
        before = _busy()
        done = self.ask(keep=keep, **request)
        done["others"] = None
        if before is not None:
            rest = _busy() - before - done["turn_cpu_seconds"]
            done["others"] = max(rest, 0.0) / (done["turn_seconds"] * os.cpu_count())
        return done


def parse(parser: argparse.ArgumentParser, names: Sequence[str]) -> argparse.Namespace:
    """Parses the flags of a benchmark and those of all: its folder, threads, device, seed, side."""
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for input and results")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side")
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", default="", choices=("", *names), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.absolute()
    return arguments


def start(name: str, module: str, arguments) -> Side:
    """The side of a benchmark with flags --folder, --threads, --device and --side.

    Both sides are given huge pages by the allocator (glibc), which spares either a fifth of a step
    that makes large arrays.
    """
    given = {"folder": arguments.folder, "threads": arguments.threads, "device": arguments.device}
    flags = [f"--{flag}={value}" for flag, value in given.items()] + [f"--side={name}"]
    environment = {"OMP_NUM_THREADS": str(arguments.threads)}
    environment |= {"MKL_NUM_THREADS": str(arguments.threads)}
    environment |= {"JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda"}[arguments.device]}
    environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment |= {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return Side(name, module, flags, environment)


def serve(module: str, arguments) -> int:
    """Answers requests until there are no more; what is printed on the way goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if arguments.threads < os.cpu_count() and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(arguments.threads))  # before a library counts the cores
    side = importlib.import_module(f"benchmarks.{module}")
    ready = {}
    for line in sys.stdin:
        request = json.loads(line)
        kind, keep = request.pop("do"), request.pop("keep", None)
        key = json.dumps([kind, request])
        if kind == "forget":
            ready.clear()
            answer = {}
        elif kind in ("about", "make"):
            answer = getattr(side, kind)(arguments, **request)
        else:
            if key not in ready:
                ready[key] = side.prepare(kind, arguments, **request)
            run, facts = ready[key]
            facts = {**facts, "before_gb": _memory("VmRSS")}
            _forget_peak()
            answer, found = _timed(run)
            answer |= facts
            answer |= {"peak_gb": _memory("VmHWM")}
            if keep:
                np.save(keep, found)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _timed(run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Times a run: the median of as many as take `TURN` together, after one that is not timed.

    In a loop of training a step follows the other. What a process pays after its wait for the other
    side, threads to wake and memory that the system took meanwhile, is no part of it.
    """
    began_turn, cpu_turn = time.perf_counter(), time.process_time()
    found = run()
    untimed, taken, used = time.perf_counter() - began_turn, [], []
    while sum(taken) < TURN and len(taken) < MOST:
        began, cpu = time.perf_counter(), time.process_time()
        found = run()
        taken.append(time.perf_counter() - began)
        used.append(time.process_time() - cpu)
    return {
        "seconds": statistics.median(taken),
        "cpu_seconds": statistics.median(used),
        "first_seconds": untimed,
        "turn_seconds": time.perf_counter() - began_turn,
        "turn_cpu_seconds": time.process_time() - cpu_turn,
    }, found


def take_turns(
    cases: dict[str, tuple[Side, dict]], rounds: int, kept: pathlib.Path | None = None
) -> tuple[dict[str, list[dict]], dict[str, np.ndarray]]:
    """Runs each case once a round, one after another; the round that compiles comes before them.

    Args:
      cases: name -> (its side, its request).
      kept: a file for what each case found in the first round; None keeps nothing.

    Returns:
      Name -> its timed runs, the first call apart under "first_seconds" of each; and name -> what
      it found.
    """
    runs, found = {name: [] for name in cases}, {}
    first = {}
    for turn in range(rounds + 1):
        for name, (side, request) in cases.items():
            done = side.time(keep=str(kept) if kept and turn == 0 else None, **request)
            if turn == 0:
                first[name] = done["first_seconds"]
                if kept:
                    found[name] = np.load(kept)
            else:
                runs[name].append({**done, "first_seconds": first[name]})
    for side in {id(side): side for side, _ in cases.values()}.values():
        side.ask(do="forget")
    return runs, found


def middle(runs: list[dict], what: str = "seconds") -> float:
    """The median over runs."""
    return statistics.median(run[what] for run in runs)


def report(title: str, runs: dict[str, list[dict]], ours: str, aims: dict[str, float]) -> str:
    """Says medians, spreads, memory, and how many times as long each other case takes as `ours`."""
    lines = [title]
    for name, timed in runs.items():
        seconds = [run["seconds"] for run in timed]
        lines.append(
            f"  {name:32} {middle(timed) * 1e3:9.2f} ms ({min(seconds) * 1e3:.2f} to "
            f"{max(seconds) * 1e3:.2f}), CPU {middle(timed, 'cpu_seconds') * 1e3:.1f} ms, peak "
            f"{max(run['peak_gb'] for run in timed):.2f} GB "
            f"({min(run['before_gb'] for run in timed):.2f} before)"
        )
    for name, timed in runs.items():
        if name == ours:
            continue
        pairs = [a["seconds"] / b["seconds"] for a, b in zip(timed, runs[ours], strict=True)]
        fastest = min(run["seconds"] for run in timed) / min(run["seconds"] for run in runs[ours])
        aim = f" (aim {aims[name]:g})" if name in aims else ""
        lines.append(
            f"  ratio {middle(timed) / middle(runs[ours]):.2f}{aim} to '{name}'; by round "
            f"{min(pairs):.2f} to {max(pairs):.2f}; of the fastest runs {fastest:.2f}"
        )
    others = [
        run["others"] for timed in runs.values() for run in timed if run["others"] is not None
    ]
    if others:
        lines.append(f"  other processes had {statistics.median(others):.0%} of the CPU")
    return "\n".join(lines)


def bandwidth(megabytes: float, threads: int, repeats: int = 5) -> float:
    """GB/s that `threads` threads read and write together while each copies an array of its own.

    Args:
      megabytes: of all arrays read; as many are written.
    """
    size = int(megabytes * 1e6 / threads / 8)
    pairs = [(np.ones(size), np.zeros(size)) for _ in range(threads)]
    turns = max(1, int(400 / megabytes))

    def copy(pair):
        for _ in range(turns):
            np.copyto(pair[1], pair[0])

    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(copy, pairs))
            best = min(best, time.perf_counter() - began)
    return 2 * size * 8 * threads * turns / best / 1e9


def machine() -> str:
    """Names the processor, its cores and the system."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as file:
        model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    return (
        f"{model}, {os.cpu_count()} cores, {platform.platform()}, "
        f"Python {platform.python_version()}"
    )


def versions(*packages: str) -> dict[str, str]:
    """Returns the versions of those that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _busy() -> float | None:
    """CPU seconds the whole machine has worked so far, time its host took away included."""
    try:
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
    except OSError:
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _memory(field: str) -> float:
    """GB of this process: VmRSS is what it has, VmHWM the most it had; nan where not told."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith(field))) * 1024 / 1e9
    return float("nan")


def _forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
