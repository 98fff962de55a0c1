"""Plants small faults in a copy of the package, one at a time, and asks whether the tests notice.

    python tests/mutants/plant.py [--sample=N] [--seed=S] [--room=ROOM] [--jobs=N]

Every file of `faults/` lists the faults of one room. A fault is `file`, the text `find` that stands
there once, the text `put` in its place, and `tests`, the pytest arguments of which at least one test
must fail. A fault that no test can notice has `why` it makes no difference that a user would see; it
counts as a survivor.

The copy is made in a temporary folder, so the working tree is never touched. Each set of tests is
first run on the sound copy: tests that fail there would notice nothing. The status is 1 if tests
fail on the sound copy, if a text is not found once, or if fewer than `--share` percent of the
faults that were planted are noticed.
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
SECONDS = 600  # for the tests of one fault; a fault that never ends is noticed


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


def load(room: str = "") -> list[Fault]:
    """Returns the faults of all rooms, or of one, in the order of their files.

    Raises ValueError for a fault whose text does not stand once in its file, or stands there as it
    is.
    """
    faults = []
    for path in sorted(FAULTS.glob(f"{room or '*'}.toml")):
        for row in tomllib.loads(path.read_text())["fault"]:
            faults.append(Fault(room=path.stem, **{**row, "tests": tuple(row["tests"])}))
    for fault in faults:
        count = (ROOT / fault.file).read_text().count(fault.find)
        if count != 1 or fault.find == fault.put:
            raise ValueError(
                f"{fault.room}.toml: in {fault.file} the text {fault.find!r} stands {count} time(s), "
                "expected once, and the text in its place must differ. Has the code moved on?"
            )
    return faults


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


def notices(copy: pathlib.Path, tests: tuple[str, ...]) -> bool:
    """Runs `tests` in `copy`; returns whether one of them failed, or ran out of time."""
    path = os.pathsep.join(filter(None, (str(copy), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    # A fault must not be hidden by what was compiled of the sound code: bytecode is told apart by
    # the second of a file's change, so none is written.
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, 1):  # 2 to 5: nothing was tested
        tail = done.stdout.decode(errors="replace")[-2000:]
        if done.returncode != 2 or "rror" not in tail:
            raise ValueError(f"pytest ended with status {done.returncode}: {' '.join(tests)}\n{tail}")
    return done.returncode != 0


def plant(copy: pathlib.Path, fault: Fault) -> bool:
    """Plants `fault` in `copy`, asks its tests, and mends the copy; returns whether one noticed."""
    path = copy / fault.file
    sound = path.read_text()
    path.write_text(sound.replace(fault.find, fault.put))
    try:
        return notices(copy, fault.tests)
    finally:
        path.write_text(sound)


def table(noticed: dict[Fault, bool]) -> str:
    """Returns a line a room with its share, and every survivor."""
    rooms = collections.defaultdict(list)
    for fault, was_noticed in noticed.items():
        rooms[fault.room].append(was_noticed)
    lines = [f"{'room':<12} {'faults':>6} {'noticed':>7} {'share':>6}"]
    for room, each in [*sorted(rooms.items()), ("all", list(noticed.values()))]:
        lines.append(f"{room:<12} {len(each):>6} {sum(each):>7} {sum(each) / len(each):>6.0%}")
    survivors = [fault for fault, was_noticed in noticed.items() if not was_noticed]
    lines += [f"survived: {fault.title}" + f" ({fault.why})" * bool(fault.why) for fault in survivors]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, help="plant only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--room", default="", help="plant only the faults of one room")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--share", type=float, default=95.0, help="percent that must be noticed")
    asked = parser.parse_args(arguments)
    faults = load(asked.room)
    if asked.sample:
        # A survivor that is explained stays out of a sample, whose few faults must all be noticed.
        faults = random.Random(asked.seed).sample([fault for fault in faults if not fault.why],
                                                  min(asked.sample, len(faults)))  # fmt: skip
    began, noticed = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="ehr_jax_mutants_") as place:
        copies: queue.Queue[pathlib.Path] = queue.Queue()
        for number in range(asked.jobs):
            copies.put(copy_tree(pathlib.Path(place) / str(number)))

        def with_copy(work, *what):
            copy = copies.get()
            try:
                return work(copy, *what)
            finally:
                copies.put(copy)

        with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
            sets = sorted({fault.tests for fault in faults})
            for tests, failed in zip(
                sets, pool.map(lambda tests: with_copy(notices, tests), sets), strict=True
            ):
                if failed:
                    print(f"these tests fail without any fault: {' '.join(tests)}")
                    return 1
            print(f"{len(sets)} sets of tests pass without a fault", flush=True)
            for fault, was_noticed in zip(
                faults, pool.map(lambda fault: with_copy(plant, fault), faults), strict=True
            ):
                noticed[fault] = was_noticed
                print("noticed " if was_noticed else "SURVIVED", fault.title, flush=True)
    print(table(noticed))
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if 100 * sum(noticed.values()) >= asked.share * len(noticed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
