"""Seconds and memory before the first training step: a first start beside later ones.

    python -m benchmarks.stages --rows=330000000 --folder=FOLDER

Trains REALM (series, attributes, texts of the record) on a simulated MIMIC-III, written by
`benchmarks/records.py --only=write` (made here if FOLDER has none). A first start reads the raw
files and encodes texts; then come a second start, one with another seed, a benchmark of two methods
of the same inputs, whose second method is looked at too, and one from --mode=prepare with the raw
files away. The texts' encoder is a BERT of one layer with random weights: what its vectors say is
of no matter here, and their number and width are those of the default encoder.

Each start is a process of its own. Reported are the seconds until arrays are to lie on the device,
before a step is compiled, of which the import of packages is part, and its greatest resident memory
until it ends.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
AIM_SECONDS, AIM_GB = 10.0, 4.0  # of later starts
WIDTH, LENGTH = 384, 64
FLAGS = (
    "--config=configs/realm.py:mimic3_mortality", "--config.model.name=realm_no_knowledge",
    "--config.notes.source=record", "--config.train.steps=1", "--config.train.eval_every=1",
    "--config.evaluation.resamples=1", "--config.train.seeds=(0,)", "--config.realm.width=16",
    "--config.realm.heads=2", "--config.realm.feed_forward=16",
)  # fmt: skip
BENCHMARK = (
    "--mode=benchmark", "--config.benchmark.methods=('realm_no_knowledge','mag')",
    "--config.benchmark.reference=mag", "--config.realm.use_knowledge=False",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=3_000_000, help="of CHARTEVENTS")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="of the files")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    raw = folder / f"mimic_{arguments.rows}_seed0.csv.gz"
    if not raw.exists():
        write = (f"--rows={arguments.rows}", f"--folder={folder}", "--only=write")
        command = [sys.executable, "-m", "benchmarks.records", *write]
        subprocess.run(command, check=True, cwd=REPOSITORY)
    with tempfile.TemporaryDirectory(prefix="stages-", dir=folder) as scratch:
        measure(raw, pathlib.Path(scratch))
    return 0


def measure(raw: pathlib.Path, scratch: pathlib.Path) -> None:
    """Runs every start and prints its row."""
    encoder = scratch / "encoder"
    write_encoder(encoder)
    at = (f"--config.data.root={raw}", f"--config.text.encoder={encoder}")
    print("| start | seconds to the first step | GB | seconds in all |\n|---|---|---|---|")
    start("first, from raw files", scratch, *FLAGS, *at)
    start("second", scratch, *FLAGS, *at)
    start("another seed", scratch, *FLAGS, *at, "--config.train.seeds=(7,)")
    start("benchmark of two methods", scratch, *FLAGS, *at, *BENCHMARK)
    start("--mode=prepare", scratch, *FLAGS, *at, "--mode=prepare", keep="samples")
    away = raw.with_name(f".{raw.name}")
    raw.rename(away)
    try:
        prepared = f"--config.data.prepared={scratch / 'samples'}"
        start("from prepared samples, raw files away", scratch, *FLAGS, at[1], prepared)
    finally:
        away.rename(raw)
    cache_bytes = sum(
        path.stat().st_size for path in (scratch / "cache").rglob("*") if path.is_file()
    )
    print(
        f"kept: {cache_bytes / 1e9:.2f} GB; aims of later starts: {AIM_SECONDS:g} s, {AIM_GB:g} GB"
    )


def start(name: str, scratch: pathlib.Path, *flags: str, keep: str = "") -> None:
    """Runs one command and prints its row."""
    workdir = scratch / (keep or "run")
    environment = os.environ | {"EHR_JAX_CACHE": str(scratch / "cache"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "ehr_jax.main", *flags, f"--workdir={workdir}"]
    began, steps = time.monotonic(), []
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("input: "):  # the line before a network is compiled
                steps.append(time.monotonic() - began)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name}: exit status {process.returncode}")
    seconds = ", ".join(f"{step:.1f}" for step in steps) or "-"
    whole = time.monotonic() - began
    print(f"| {name} | {seconds} | {used.ru_maxrss / 1e6:.2f} | {whole:.1f} |", flush=True)
    if not keep:
        shutil.rmtree(workdir)


def write_encoder(folder: pathlib.Path) -> None:
    """Writes a BERT of one layer with random weights and the words of the tests' smallest."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    source = REPOSITORY / "tests" / "text" / "golden" / "tiny_mean"
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    sizes = {config["hidden_size"]: WIDTH, config["intermediate_size"]: 4 * WIDTH}
    sizes[config["max_position_embeddings"]] = LENGTH
    config |= {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 1,
        "max_position_embeddings": LENGTH, "num_attention_heads": 12,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.1, [sizes.get(size, size) for size in array.shape]).astype("float32")
        for name, array in load_file(folder / "model.safetensors").items()
        if "layer.1." not in name
    }
    save_file(weights, folder / "model.safetensors")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
