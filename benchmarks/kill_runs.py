"""Commands are killed at random and started again: are their results those of an unbroken run?

    python -m benchmarks.kill_runs --modes=train,realm,benchmark --kills=20

Each mode runs once unbroken on a small generated hospital. Then it is started again and again in
another folder, and ended at a moment drawn within the unbroken run's length, by SIGKILL and SIGTERM
in turn; a start that comes to its end is compared, and the next begins in an empty folder. At last
the command runs to its end. The exit status is 1 where a result differs or an end is not clean.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import polars as pl
import polars.testing

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
ENCODER = REPOSITORY / "tests" / "text" / "golden" / "tiny_mean"
TOLERANCE = 1e-6
TOLD = 75  # exit status after SIGTERM
LEARNING = (
    "--config.synthetic.patients=120", "--config.notes.source=none", "--config.train.steps=40",
    "--config.train.eval_every=2", "--config.train.checkpoint_every=2",
    "--config.train.seeds=(0, 1)", "--config.evaluation.resamples=20",
)  # fmt: skip
MINGLE = (
    "--config=configs/mingle.py:synthetic_readmission", *LEARNING, "--config.model.depth=0",
    "--config.model.width=8", "--config.model.heads=2",
)  # fmt: skip
REALM = (
    "--config=configs/realm.py:synthetic_mortality", *LEARNING, "--config.realm.width=8",
    "--config.realm.heads=2", "--config.realm.feed_forward=8", "--config.realm.use_notes=False",
    "--config.realm.use_knowledge=False", "--config.series.step_hours=4.0",
    "--config.series.length=12",
)  # fmt: skip
SERIES = ("--config.series.variables=mimic17", "--config.series.step_hours=4.0")
# Of each mode its flags, and its results: patterns of files below the run folder.
MODES = {
    "train": (MINGLE, ("results.json", "predictions.parquet")),
    "realm": (REALM, ("results.json", "predictions.parquet")),
    "benchmark": (
        (*MINGLE, "--mode=benchmark", "--config.benchmark.methods=('mlp','mingle')"),
        ("results.json", "methods/*/predictions.parquet"),
    ),
    "sweep": (
        (*MINGLE, "--mode=sweep", "--config.model.name=hypehr"),
        ("results.json", "sweep.json", "best/results.json"),
    ),
    "prepare": (
        (*MINGLE, "--mode=prepare", *SERIES, "--config.series.length=12"),
        ("store", "split.parquet"),
    ),
    "meds": ((*MINGLE, "--mode=meds"), ("meds/**/*.parquet", "meds/**/*.json")),
    "embed": (
        ("--mode=embed", "--config=configs/embed.py", f"--config.text.encoder={ENCODER}",
         "--config.text.input={workdir}/texts.txt", "--config.text.output={workdir}/out.parquet",
         "--config.text.cache={workdir}/cache", "--config.text.token_budget=1024"),
        ("out.parquet",),
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    print(
        "| mode | SIGKILL | SIGTERM | whole runs compared | equal | seconds |\n"
        "|---|---|---|---|---|---|"
    )
    good = True
    for name in arguments.modes.split(","):
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            good &= measure(name, pathlib.Path(folder), arguments.kills, arguments.seed)
    return 0 if good else 1


def measure(name: str, folder: pathlib.Path, kills: int, seed: int) -> bool:
    """Kills one mode `kills` times and prints its row; returns whether all was as it should."""
    rng, began = np.random.default_rng(seed), time.monotonic()
    whole, broken = folder / "whole", folder / "broken"
    # Compiled programs are kept from start to start, so that a kill meets more than compilation.
    run(name, whole, folder)
    shutil.rmtree(whole)
    begun = time.monotonic()
    run(name, whole, folder)
    length = time.monotonic() - begun
    ended, compared, faults = {signal.SIGKILL: 0, signal.SIGTERM: 0}, 0, []
    while sum(ended.values()) < kills:
        kind = (signal.SIGKILL, signal.SIGTERM)[sum(ended.values()) % 2]
        process = start(name, broken, folder)
        try:
            _, said = process.communicate(timeout=rng.uniform(0, length))
        except subprocess.TimeoutExpired:
            process.send_signal(kind)
            _, said = process.communicate()
            if process.returncode:
                ended[kind] += 1
                # Before the command has begun to listen, SIGTERM ends it as it ends any process.
                if process.returncode not in (-kind, TOLD):
                    faults.append(said.strip().splitlines()[-1])
                continue
        if process.returncode:
            faults.append(said.strip().splitlines()[-1])
            break
        faults += differences(MODES[name][1], whole, broken)
        compared += 1
        shutil.rmtree(broken)
    run(name, broken, folder)
    faults += differences(MODES[name][1], whole, broken)
    told = "yes" if not faults else "NO: " + "; ".join(dict.fromkeys(faults))
    counts = f"{ended[signal.SIGKILL]} | {ended[signal.SIGTERM]} | {compared + 1}"
    print(f"| {name} | {counts} | {told} | {time.monotonic() - began:.0f} |", flush=True)
    return not faults


def start(name: str, workdir: pathlib.Path, folder: pathlib.Path) -> subprocess.Popen:
    """Starts the command of a mode in `workdir`."""
    workdir.mkdir(exist_ok=True)
    flags = [flag.replace("{workdir}", str(workdir)) for flag in MODES[name][0]]
    if name == "embed":
        rng = np.random.default_rng(0)
        words = ["chest", "pain", "fever", "cough", "blood", "heart"]
        texts = [" ".join(rng.choice(words, 60)) for _ in range(3000)]
        (workdir / "texts.txt").write_text("\n".join(texts))
    else:
        flags.append(f"--workdir={workdir}")
    places = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    more = {"PYTHONPATH": str(REPOSITORY), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "ehr_jax.main", *flags], cwd=REPOSITORY, text=True,
        env={**os.environ, **places, **more}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(name: str, workdir: pathlib.Path, folder: pathlib.Path) -> None:
    """Runs the command of a mode to its end."""
    process = start(name, workdir, folder)
    _, said = process.communicate()
    if process.returncode:
        sys.exit(f"{name}: an unbroken start ended with {process.returncode}: {said[-2000:]}")


def differences(patterns: tuple[str, ...], one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Results that are not the same in both run folders."""
    found = []
    for pattern in patterns:
        names = [sorted(p.relative_to(at) for p in at.glob(pattern)) for at in (one, other)]
        if names[0] != names[1] or not names[0]:
            found.append(f"{pattern}: {len(names[0])} and {len(names[1])} files")
            continue
        found += [str(name) for name in names[0] if not same(one / name, other / name)]
    return found


def same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two files, or folders of samples, say the same but for clocks and last digits."""
    if one.is_dir():
        return same_samples(one, other)
    if one.suffix == ".json":
        return agree(*(json.loads(path.read_text()) for path in (one, other)))
    if one.suffix == ".parquet":
        try:
            polars.testing.assert_frame_equal(
                *map(pl.read_parquet, (one, other)), abs_tol=TOLERANCE
            )
        except AssertionError:
            return False
        return True
    return one.read_bytes() == other.read_bytes()


def same_samples(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two stores hold the same samples; their bytes differ from run to run, as a sample's
    fields are written in no fixed order."""
    import tensorflow_datasets as tfds

    found = [tfds.builder_from_directory(store).as_data_source() for store in (one, other)]
    if {split: len(found[0][split]) for split in found[0]} != {
        split: len(found[1][split]) for split in found[1]
    }:
        return False
    pairs = [pair for split in found[0] for pair in zip(*(x[split] for x in found), strict=True)]
    return all(
        a.keys() == b.keys() and all(np.array_equal(*values(a[k], b[k])) for k in a)
        for a, b in pairs
    )


def values(one, other) -> tuple[np.ndarray, np.ndarray]:
    """Two fields in which what is unknown equals itself."""
    arrays = map(np.asarray, (one, other))
    return tuple(np.nan_to_num(x, nan=-1e30) if x.dtype.kind == "f" else x for x in arrays)


def agree(one, other) -> bool:
    """Whether two values of JSON agree, but for keys of clocks and the last digits."""
    match one, other:
        case dict(), dict():
            keys = {key for key in one.keys() | other.keys() if not is_clock(key)}
            return all(key in one and key in other and agree(one[key], other[key]) for key in keys)
        case list(), list():
            return len(one) == len(other) and all(map(agree, one, other))
        case float(), float():
            return math.isclose(one, other, abs_tol=TOLERANCE) or one != one and other != other
    return one == other


def is_clock(key: str) -> bool:
    """Whether a key of a result holds what a clock or the folder's place says."""
    return any(word in key for word in ("second", "time", "started", "created", "workdir"))


if __name__ == "__main__":
    sys.exit(main())
