"""Two sides of a benchmark as two processes that stay up and take turns.

Each request is a line of JSON and so is its answer: {"do": KIND, ...} -> what the side's module
gives for it. A module offers `about(arguments)`, and `prepare(kind, arguments, **request)`, which
returns a function to be timed, and facts that go into the answer; it is asked once for a request.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np

REST = 0.05  # seconds in which the threads of the side that ran last come to rest


class Side:
    """The process of one side: `command` with what `serve` reads on its standard input."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | environment,
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
            rest = _busy() - before - done["cpu_seconds"]
            done["others"] = max(rest, 0.0) / (done["seconds"] * os.cpu_count())
        return done


def serve(module: str, arguments) -> int:
    """Answers requests until there are no more; what is printed on the way goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if arguments.threads < os.cpu_count() and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(arguments.threads))  # before a library counts the cores
    side = importlib.import_module(module)
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
            began, cpu = time.perf_counter(), time.process_time()
            found = run()
            answer = {"seconds": time.perf_counter() - began}
            answer |= {"cpu_seconds": time.process_time() - cpu, **facts}
            if keep:
                np.save(keep, found)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


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
