"""Commands are killed at random and started again: are their results those of an unbroken run?

    python -m benchmarks.kill_runs --modes=train,realm,benchmark --kills=20

Each mode runs once unbroken on a small generated hospital. Then it is started again and again in
another folder, and ended at a moment drawn within the unbroken run's length, by SIGKILL and SIGTERM
in turn; a start that comes to its end is compared, and the next begins in an empty folder. At last
the command runs to its end. The exit status is 1 where a result differs or an end is not clean.

A start is a fork of this process, which has imported what the modes need: kills meet the command
at work, and not Python reading its modules.
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
TOLD = 75  # exit status after SIGTERM
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
MINGLE = (*VISITS, "--config.train.seeds=(0, 1)")  # trained together
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
    "--config.model.width=8", "--config.train.splits=10", "--config.train.epochs=200",
)  # fmt: skip
# Of each mode its flags, and its results: patterns of files below the run folder.
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
        ("store", "split.parquet"),
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
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    for name in ("train", "benchmark", "sweep", "prepare", "meds", "embed", "nodes"):
        importlib.import_module(f"ehr_jax.modes.{name}")
    print(
        "| mode | SIGKILL | SIGTERM | with work saved | whole runs compared | equal | seconds |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
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
    write_inputs(folder)
    # Compiled programs are kept from start to start, so that a kill meets more than compilation.
    run(name, whole, folder)
    shutil.rmtree(whole)
    begun = time.monotonic()
    run(name, whole, folder)
    length = time.monotonic() - begun
    ended, compared, with_work, faults = dict.fromkeys(SIGNALS, 0), 0, 0, []
    while sum(ended.values()) < kills:
        kind = SIGNALS[sum(ended.values()) % len(SIGNALS)]
        process = start(name, broken, folder)
        process.join(rng.uniform(0, length))
        if process.is_alive():
            os.kill(process.pid, kind)
            process.join()
            if process.exitcode:
                ended[kind] += 1
                with_work += run_folder.has_work(broken) or (broken / "cache").exists()
                # Before the command has begun to listen, SIGTERM ends it as it ends any process.
                if process.exitcode not in (-kind, TOLD):
                    faults.append(last_words(folder))
                continue
        if process.exitcode:
            faults.append(last_words(folder))
            break
        faults += compare(name, whole, broken)
        compared += 1
        shutil.rmtree(broken)
    run(name, broken, folder)
    faults += compare(name, whole, broken)
    told = "yes" if not faults else "NO: " + "; ".join(dict.fromkeys(faults))
    counts = f"{ended[signal.SIGKILL]} | {ended[signal.SIGTERM]} | {with_work} | {compared + 1}"
    print(f"| {name} | {counts} | {told} | {time.monotonic() - began:.0f} |", flush=True)
    return not faults


def write_inputs(folder: pathlib.Path) -> None:
    """Writes the texts and the hypergraph that modes without a hospital read."""
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
    """The command, in a process of its own."""
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    with open(os.devnull, "w") as nowhere, open(folder / "said", "w") as said:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os.dup2(said.fileno(), sys.stderr.fileno())  # what compiled packages say as well
    command.end(command.main(["ehr_jax.main", *flags]))


def run(name: str, workdir: pathlib.Path, folder: pathlib.Path) -> None:
    """Runs the command of a mode to its end."""
    process = start(name, workdir, folder)
    process.join()
    if process.exitcode:
        said = (folder / "said").read_text()[-2000:]
        sys.exit(f"{name}: an unbroken start ended with {process.exitcode}: {said}")


def last_words(folder: pathlib.Path) -> str:
    """What a start said at last."""
    return ((folder / "said").read_text().strip().splitlines() or ["no words"])[-1]


def compare(name: str, one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """`differences` in a process of its own: threads in this one would not survive a fork."""
    with FORKS.Pool(1) as pool:
        return pool.apply(differences, (MODES[name][1], one, other))


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
