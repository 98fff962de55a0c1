"""Kills commands at random and starts them again; compares results with an uninterrupted run.

    python -m benchmarks.kill_runs --modes=train,realm,benchmark --kills=20

Each mode runs once uninterrupted on a small generated hospital. Then it is started repeatedly in
another folder and ended after a random time, at most that of the uninterrupted run, by SIGKILL and
SIGTERM in turn. A start that finishes first is compared, and the next begins in an empty folder.
Finally the command runs to its end. The exit status of this program is 1 if a result differs, or a
command ends with a status that the signal does not explain.

Each start is a fork of this process, which has imported the modes: signals meet the command at work
and not while it imports modules.
"""

import argparse
import importlib
import json
import math
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import jax
import numpy as np
import polars as pl
import polars.testing

from ehr_jax import main as command
from ehr_jax.training import run_folder

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
ENCODER = REPOSITORY / "tests" / "text" / "golden" / "tiny_mean"
TOLERANCE = 1e-6
TERMINATED = 75  # the command's exit status after SIGTERM
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
FORKS = multiprocessing.get_context("fork")
LEARNING = (
    "--config.synthetic.patients=120", "--config.notes.source=none", "--config.train.steps=30",
    "--config.train.eval_every=2", "--config.train.checkpoint_every=1",
    "--config.evaluation.resamples=10", "--config.features.structure_width=8",
)  # fmt: skip
VISITS = (
    "--config=configs/mingle.py:synthetic_readmission", *LEARNING, "--config.model.depth=0",
    "--config.model.width=8", "--config.model.heads=2",
)  # fmt: skip
MINGLE = (*VISITS, "--config.train.seeds=(0, 1)")  # both seeds train as one program
STAYS = (
    "--config=configs/realm.py:synthetic_mortality", *LEARNING, "--config.realm.width=8",
    "--config.realm.heads=2", "--config.realm.feed_forward=8", "--config.realm.use_notes=False",
    "--config.realm.use_knowledge=False", "--config.series.step_hours=4.0",
    "--config.series.length=12",
)  # fmt: skip
REALM = (*STAYS, "--config.train.seeds=(0,)")
SWEEP = (*VISITS, "--mode=sweep", "--config.model.name=hypehr", "--config.train.seeds=(0,)")
RATES = "--config.sweep.grid={'train': {'learning_rate': (1e-4, 1e-3, 3e-3, 1e-2)}}"
NODES = (
    "--config=configs/hypergraph.py", "--config.data.path={inputs}/graph.npz",
    "--config.model.width=8", "--config.train.splits=10", "--config.train.steps=200",
)  # fmt: skip
# By name: (flags, glob patterns of the result files in the run folder).
MODES = {
    "train": (MINGLE, ("results.json", "predictions.parquet")),
    "realm": (REALM, ("results.json", "predictions.parquet")),
    "benchmark": (
        (*VISITS, "--config.train.seeds=(0,)", "--mode=benchmark",
         "--config.benchmark.methods=('mlp','mingle')"),
        ("results.json", "methods/*/results.json", "methods/*/predictions.parquet"),
    ),
    "sweep": (
        (*SWEEP, RATES, "--config.sweep.halving=(10,)"),
        ("sweep.json", "trials.parquet", "best.py", "best/results.json",
         "best/predictions.parquet"),
    ),
    "pbt": (
        (*SWEEP, RATES, "--config.sweep.pbt_every=6"),
        ("pbt.parquet", "trials.parquet", "best.py", "best/results.json",
         "best/predictions.parquet"),
    ),
    "prepare": (
        (*MINGLE, "--mode=prepare", "--config.series.variables=mimic17",
         "--config.series.step_hours=4.0", "--config.series.length=12"),
        ("store", "prepared/**/*.npy", "split.parquet"),
    ),
    "meds": (
        (*MINGLE, "--mode=meds", "--config.synthetic.patients=300"),
        ("meds/**/*.parquet", "meds/**/*.json"),
    ),
    "embed": (
        ("--mode=embed", "--config=configs/embed.py", f"--config.text.encoder={ENCODER}",
         "--config.text.input={inputs}/texts.txt", "--config.text.output={workdir}/out.parquet",
         "--config.text.cache={workdir}/cache", "--config.text.token_budget=1024"),
        ("out.parquet",),
    ),
    "nodes": (NODES, ("results.json", "splits/*.json")),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of the times of signals")
    arguments = parser.parse_args()
    for name in ("train", "benchmark", "sweep", "prepare", "meds", "embed"):
        importlib.import_module(f"ehr_jax.modes.{name}")
    importlib.import_module("ehr_jax.audit.audit")
    importlib.import_module("ehr_jax.reporting.report")
    print(
        "| mode | SIGKILL | SIGTERM | with work saved | whole runs compared | equal | seconds |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    passed = True
    for name in arguments.modes.split(","):
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            passed &= measure(name, pathlib.Path(folder), arguments.kills, arguments.seed)
    return 0 if passed else 1


def measure(name: str, folder: pathlib.Path, kills: int, seed: int) -> bool:
    """Kills one mode `kills` times and prints its row; returns True if there was no fault."""
    rng, measure_start = np.random.default_rng(seed), time.monotonic()
    reference, interrupted = folder / "reference", folder / "interrupted"
    write_inputs(folder)
    # The first run fills the compilation cache, so that signals meet more than compilation.
    run(name, reference, folder)
    shutil.rmtree(reference)
    forget(folder)
    run_start = time.monotonic()
    run(name, reference, folder)
    duration = time.monotonic() - run_start
    forget(folder)
    counts, compared, with_work, faults = dict.fromkeys(SIGNALS, 0), 0, 0, []
    while sum(counts.values()) < kills:
        signum = SIGNALS[sum(counts.values()) % len(SIGNALS)]
        process = start(name, interrupted, folder)
        process.join(rng.uniform(0, duration))
        if process.is_alive():
            os.kill(process.pid, signum)
            process.join()
            if process.exitcode:
                counts[signum] += 1
                with_work += run_folder.has_work(interrupted) or (interrupted / "cache").exists()
                # SIGTERM before the command has installed its handler ends it as any process.
                if process.exitcode not in (-signum, TERMINATED):
                    faults.append(last_line(folder))
                continue
        if process.exitcode:
            faults.append(last_line(folder))
            break
        faults += compare(name, reference, interrupted)
        compared += 1
        shutil.rmtree(interrupted)
        forget(folder)
    run(name, interrupted, folder)
    faults += compare(name, reference, interrupted)
    cells = [
        name, counts[signal.SIGKILL], counts[signal.SIGTERM], with_work, compared + 1,
        "NO: " + "; ".join(dict.fromkeys(faults)) if faults else "yes",
        f"{time.monotonic() - measure_start:.0f}",
    ]  # fmt: skip
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return not faults


def forget(folder: pathlib.Path) -> None:
    """Removes the samples that a whole run kept, so that the next one prepares its own."""
    shutil.rmtree(folder / "caches" / "prepared", ignore_errors=True)


def write_inputs(folder: pathlib.Path) -> None:
    """Writes the input files of the modes embed and nodes: texts and a hypergraph."""
    rng = np.random.default_rng(0)
    words = ["chest", "pain", "fever", "cough", "blood", "heart"]
    texts = [" ".join(rng.choice(words, 60)) for _ in range(3000)]
    (folder / "texts.txt").write_text("\n".join(texts))
    np.savez(
        folder / "graph.npz",
        node=np.concatenate([rng.choice(200, 5, replace=False) for _ in range(100)]),
        hyperedge=np.repeat(np.arange(100), 5),
        labels=np.arange(200) % 3,
        features_indptr=np.arange(201),
        features_indices=rng.integers(0, 20, 200),
        features_data=np.ones(200),
        features_shape=np.array([200, 20]),
    )


def start(name: str, workdir: pathlib.Path, folder: pathlib.Path) -> multiprocessing.Process:
    """Starts the command of a mode in `workdir`."""
    workdir.mkdir(exist_ok=True)
    places = {"workdir": workdir, "inputs": folder}
    flags = list(MODES[name][0])
    for key, place in places.items():
        flags = [flag.replace(f"{{{key}}}", str(place)) for flag in flags]
    if name != "embed":
        flags.append(f"--workdir={workdir}")
    process = FORKS.Process(target=work, args=(flags, folder))
    process.start()
    return process


def work(flags: list[str], folder: pathlib.Path) -> None:
    """Runs the command in this process, a fork; its messages go to the file stderr of `folder`."""
    os.environ["EHR_JAX_CACHE"] = str(folder / "caches")
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    with open(os.devnull, "w") as null, open(folder / "stderr", "w") as stderr:
        os.dup2(null.fileno(), sys.stdout.fileno())
        os.dup2(stderr.fileno(), sys.stderr.fileno())  # of compiled packages too
    command.end(command.main(["ehr_jax.main", *flags]))


def run(name: str, workdir: pathlib.Path, folder: pathlib.Path) -> None:
    """Runs the command of a mode to its end."""
    process = start(name, workdir, folder)
    process.join()
    if process.exitcode:
        stderr = (folder / "stderr").read_text()[-2000:]
        sys.exit(f"{name}: an uninterrupted start ended with {process.exitcode}: {stderr}")


def last_line(folder: pathlib.Path) -> str:
    """Returns the last line of the messages of a start."""
    return ((folder / "stderr").read_text().strip().splitlines() or ["no message"])[-1]


def compare(name: str, one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Returns `differences`, computed in another process, whose threads no later fork inherits."""
    with FORKS.Pool(1) as pool:
        return pool.apply(differences, (MODES[name][1], one, other))


def differences(patterns: tuple[str, ...], one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Returns the result files that differ between two run folders."""
    differing = []
    for pattern in patterns:
        names = [sorted(p.relative_to(at) for p in at.glob(pattern)) for at in (one, other)]
        if names[0] != names[1] or not names[0]:
            differing.append(f"{pattern}: {len(names[0])} and {len(names[1])} files")
            continue
        differing += [str(name) for name in names[0] if not same(one / name, other / name)]
    return differing


def same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Returns True if two files or stores agree, but for times and rounding."""
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
    """Returns True if two stores hold the same samples.

    Their bytes may differ, as the fields of a sample are written in no fixed order.
    """
    import tensorflow_datasets as tfds

    first, second = (tfds.builder_from_directory(x).as_data_source() for x in (one, other))
    if {split: len(first[split]) for split in first} != {
        split: len(second[split]) for split in second
    }:
        return False
    pairs = [pair for split in first for pair in zip(first[split], second[split], strict=True)]
    return all(
        a.keys() == b.keys() and all(np.array_equal(*values(a[k], b[k])) for k in a)
        for a, b in pairs
    )


def values(one, other) -> tuple[np.ndarray, np.ndarray]:
    """Returns two fields with nan replaced by a number, so that nan equals nan."""
    arrays = map(np.asarray, (one, other))
    return tuple(np.nan_to_num(x, nan=-1e30) if x.dtype.kind == "f" else x for x in arrays)


def agree(one, other) -> bool:
    """Returns True if two JSON values agree, but for times and rounding."""
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
    """Returns True for keys whose values depend on time or on the run folder's path."""
    return any(word in key for word in ("second", "time", "started", "created", "workdir"))


if __name__ == "__main__":
    sys.exit(main())
