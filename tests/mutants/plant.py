"""Plants small faults in a copy of the package, one at a time, and asks whether the tests notice.

    launch/test.sh mutants [--sample=N] [--seed=S] [--room=ROOM] [--jobs=N] [--share=PERCENT]

Every file of `faults/` lists the faults of one room. A fault is `file`, the text `find` that stands
there once, the text `put` in its place, and `tests`, the pytest arguments of which at least one
test must fail. A fault that changes nothing a user would see has `why`; it counts as a survivor.

The copies are made in a temporary folder, so the working tree is never touched. The tests of a room
first run on a sound copy: tests that fail there would notice nothing. The status is 1 if they fail,
or if less than `--share` percent of the planted faults are noticed.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAULTS = pathlib.Path(__file__).parent / "faults"
COPIED = ("ehr_jax", "configs", "benchmarks", "tests", "launch", "docs", "setup.cfg", "README.md")
SECONDS = 300  # for the tests of one fault; a fault whose tests never end is noticed
ROOM_SECONDS = 1800  # for the tests of a room on the sound copy
PASSED, FAILED, INTERRUPTED = 0, 1, 2  # statuses of pytest; a test file that cannot be read is 2


@dataclasses.dataclass(frozen=True)
class Fault:
    """One small fault: `put` in place of `find` in `file`, to be noticed by `tests`."""

    room: str
    file: str
    find: str
    put: str
    tests: tuple[str, ...]
    why: str = ""

    @property
    def title(self) -> str:
        line = " / ".join(part.strip() for part in self.put.strip().splitlines()) or "(nothing)"
        return f"{self.file}: {line[:90]}"


def load(room: str = "*") -> list[Fault]:
    """Returns the faults of all rooms, or of one, in the order of their files."""
    return [
        Fault(room=path.stem, **{**row, "tests": tuple(row["tests"])})
        for path in sorted(FAULTS.glob(f"{room}.toml"))
        for row in tomllib.loads(path.read_text())["fault"]
    ]


def misplaced(fault: Fault) -> str:
    """Returns what is wrong with where `fault` is planted, or an empty string."""
    count = (ROOT / fault.file).read_text().count(fault.find)
    if count != 1:
        return f"{fault.room}.toml: {fault.file} has {fault.find!r} {count} times, not once"
    if fault.find == fault.put:
        return f"{fault.room}.toml: {fault.find!r} of {fault.file} is replaced by itself"
    return ""


def copy_tree(folder: pathlib.Path) -> pathlib.Path:
    """Copies what tests need of the working tree to `folder`, without caches."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".hypothesis", ".pytest_cache")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    return folder


def failure(copy: pathlib.Path, tests: list[str], seconds: int) -> str:
    """Runs `tests` in `copy` until one fails; returns the end of the output, or "" if all pass.

    Raises ValueError if pytest has no such tests, or does not understand its arguments.
    """
    path = os.pathsep.join(filter(None, (str(copy), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {
        "PYTHONPATH": path,
        "HF_HUB_OFFLINE": "1",
        # Bytecode is told apart by the second of a file's change, which may be the sound file's.
        "PYTHONDONTWRITEBYTECODE": "1",
        # What XLA compiled is told apart by the program, so faults may share it.
        "JAX_COMPILATION_CACHE_DIR": str(copy.parent / "compiled"),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-n", "0", *tests]
    try:
        run = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"no end after {seconds} s"
    output = (run.stdout + run.stderr).decode(errors="replace")[-2000:]
    if run.returncode not in (PASSED, FAILED, INTERRUPTED):
        raise ValueError(f"pytest {' '.join(tests)} ended with status {run.returncode}\n{output}")
    return "" if run.returncode == PASSED else output


def is_noticed(copy: pathlib.Path, fault: Fault) -> bool:
    """Plants `fault` in `copy`, runs its tests, and mends the copy; returns whether one failed."""
    path = copy / fault.file
    sound = path.read_text()
    path.write_text(sound.replace(fault.find, fault.put))
    try:
        return bool(failure(copy, list(fault.tests), SECONDS))
    finally:
        path.write_text(sound)


def table(noticed: dict[Fault, bool]) -> str:
    """Returns a line a room with its share, and every survivor."""
    rooms = collections.defaultdict(list)
    for fault, was_noticed in noticed.items():
        rooms[fault.room].append(was_noticed)
    lines = [f"{'room':<12} {'faults':>6} {'noticed':>7} {'share':>6}"]
    for room, each in [*sorted(rooms.items()), ("all", list(noticed.values()))]:
        lines.append(f"{room:<12} {len(each):>6} {sum(each):>7} {sum(each) / len(each):>6.1%}")
    survivors = [fault for fault, was_noticed in noticed.items() if not was_noticed]
    lines += [
        f"survived: {fault.title}" + f" ({fault.why})" * bool(fault.why) for fault in survivors
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, help="plant only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the sample")
    parser.add_argument("--room", default="*", help="plant only the faults of one room")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--share", type=float, default=95.0, help="percent that must be noticed")
    asked = parser.parse_args(arguments)
    faults = load(asked.room)
    for wrong in filter(None, map(misplaced, faults)):
        parser.error(wrong)
    if asked.sample:
        # A survivor that is explained stays out of a sample, whose few faults must all be noticed.
        faults = [fault for fault in faults if not fault.why]
        faults = random.Random(asked.seed).sample(faults, min(asked.sample, len(faults)))
        print(f"{len(faults)} faults drawn with --seed={asked.seed}", flush=True)
    if not faults:
        parser.error(f"no faults are listed for the room {asked.room!r}")
    began, noticed = time.monotonic(), {}
    tests_of = collections.defaultdict(dict)  # the tests of each room, once each, in order
    for fault in faults:
        tests_of[fault.room] |= dict.fromkeys(fault.tests)

    with tempfile.TemporaryDirectory(prefix="ehr_jax_mutants_") as place:
        copies: queue.Queue[pathlib.Path] = queue.Queue()
        for number in range(asked.jobs):
            copies.put(copy_tree(pathlib.Path(place) / str(number)))

        def in_a_copy(work, *values):
            copy = copies.get()
            try:
                return work(copy, *values)
            finally:
                copies.put(copy)

        def fails(room: str) -> str:
            return in_a_copy(failure, list(tests_of[room]), ROOM_SECONDS)

        with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
            for room, output in zip(tests_of, pool.map(fails, tests_of), strict=True):
                if output:
                    print(f"tests of the room {room} fail without any fault:\n{output}")
                    return 1
            print(f"the tests pass without a fault ({time.monotonic() - began:.0f} s)", flush=True)
            planted = pool.map(lambda fault: in_a_copy(is_noticed, fault), faults)
            for fault, was_noticed in zip(faults, planted, strict=True):
                noticed[fault] = was_noticed
                print("noticed " if was_noticed else "SURVIVED", fault.title, flush=True)
    print(table(noticed))
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if 100 * sum(noticed.values()) >= asked.share * len(noticed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
