"""Processes that encode the same texts into one cache are killed at random: is anything lost?

    python -m benchmarks.kills --texts=20000 --processes=2 --kills=10

Each process gets all texts. Whenever the texts encoded so far pass a random number, one of the
processes that are encoding, drawn at random, is killed (SIGKILL) and started again. Then every
vector must be in the cache and equal that of a lone unbroken run to 1e-6, every part readable, and
a further call encode nothing. The exit status is 1 where that is not so.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

TOLERANCE = 1e-6
WORDS = (
    "fever cough dyspnea chest pain edema nausea syncope palpitations wheeze stable improved "
    "worse chronic acute left right lower upper mild severe since admission overnight denies "
    "reports on metformin lisinopril furosemide heparin aspirin insulin oxygen"
).split()


def main() -> int:
    arguments = _arguments()
    if arguments.folder:
        return _work(arguments, arguments.folder)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        return _measure(arguments, pathlib.Path(folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="a name, or a folder")
    parser.add_argument("--token_budget", type=int, default=4096, help="of a batch")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each batch")
    parser.add_argument("--seed", type=int, default=0, help="of texts and kills")
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)  # of a worker
    return parser.parse_args()


def make_texts(n: int, seed: int) -> list[str]:
    """Makes distinct short texts."""
    rng = np.random.default_rng(seed)
    return [f"{' '.join(rng.choice(WORDS, rng.integers(3, 9)))} {i}" for i in range(n)]


def _measure(arguments: argparse.Namespace, folder: pathlib.Path) -> int:
    from ehr_jax.text import cache, compaction, encode, encoders

    texts = make_texts(arguments.texts, arguments.seed)
    encoder = encoders.load(arguments.encoder)
    began = time.perf_counter()
    alone = encode.encode(texts, encoder, folder / "alone", arguments.token_budget)
    alone_seconds = time.perf_counter() - began

    began = time.perf_counter()
    killed, encoded = _run_and_kill(arguments, folder)
    seconds = time.perf_counter() - began

    shared = cache.open_folder(folder / "shared", encoder.fingerprint)
    before = _read_all(shared, encoder)
    counts = []
    found = encode.encode(texts, encoder, folder / "shared", report=counts.append)
    off = float(np.abs(found - alone).max())
    compaction.compact(shared, encoder.fingerprint, encoder.width)
    after = _read_all(shared, encoder)

    n = len(texts)
    checks = {
        f"{arguments.kills} kills while texts were encoded": killed == arguments.kills,
        "every vector is in the cache": counts[0].cached == n and before["distinct"] == n,
        f"vectors equal the unbroken run's to {TOLERANCE:g}": off <= TOLERANCE,
        "a further call encodes nothing": counts[0].tokens == 0,
        "every part can be read": before["damaged"] == after["damaged"] == 0,
        "compacted, each vector is there once": after["distinct"] == after["rows"] == n,
    }
    again = encoded - n
    rows = {
        "texts": f"{n:,}",
        "processes": f"{arguments.processes}",
        "kills": f"{killed}",
        "seconds, one process, no kill": f"{alone_seconds:.1f}",
        "seconds, with kills and restarts": f"{seconds:.1f}",
        "encoded in all": f"{encoded:,}",
        "encoded more than once": f"{again:,} ({again / n:.1%})",
        "of them also saved more than once": f"{before['rows'] - n:,}",
        "parts, then compacted": f"{before['parts']} -> {after['parts']}",
        "largest difference": f"{off:.1e}",
    }
    for name, value in rows.items():
        print(f"{name:36} {value:>16}")
    for name, good in checks.items():
        print(f"{'ok' if good else 'FAILED':8} {name}")
    return 0 if all(checks.values()) else 1


def _run_and_kill(arguments: argparse.Namespace, folder: pathlib.Path) -> tuple[int, int]:
    """Returns how many kills there were, and texts encoded in all, the lost ones too."""
    rng = np.random.default_rng(arguments.seed)
    # The last fifth is left to finish in, since then there may be no process to kill.
    moments = sorted(rng.integers(1, max(int(0.8 * arguments.texts), 2), arguments.kills))
    flags = [*sys.argv[1:], f"--folder={folder}"]
    log = folder / "encoded.log"
    log.touch()

    def start() -> subprocess.Popen:
        module = [sys.executable, "-m", "benchmarks.kills"]
        return subprocess.Popen([*module, *flags], stdout=subprocess.DEVNULL)

    workers, killed = [start() for _ in range(arguments.processes)], 0
    try:
        while any(worker.poll() is None for worker in workers):
            encoded = _encoded(log)
            at_work = [i for i, w in enumerate(workers) if w.poll() is None and w.pid in encoded]
            if killed < len(moments) and at_work and sum(encoded.values()) >= moments[killed]:
                victim = int(rng.choice(at_work))
                workers[victim].send_signal(signal.SIGKILL)
                workers[victim].wait()
                workers[victim] = start()
                killed += 1
            time.sleep(0.01)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if any(worker.returncode for worker in workers):
        sys.exit("a process that was not killed failed")
    return killed, sum(_encoded(log).values())


def _encoded(log: pathlib.Path) -> dict[int, int]:
    """Texts encoded so far, by process."""
    found = collections.Counter()
    for line in log.read_text().splitlines():
        process, texts = line.split()
        found[int(process)] += int(texts)
    return found


def _read_all(folder: pathlib.Path, encoder) -> dict[str, int]:
    """Reads each part of the cache whole, past the cache's own way of looking up."""
    from ehr_jax.text import parts

    found = {"parts": 0, "rows": 0, "damaged": len(list(folder.glob("*.damaged")))}
    keys = [np.empty(0, parts.KEY)]
    for name in parts.sizes(folder):
        with parts.opened(folder / name, encoder.fingerprint, encoder.width) as part:
            rows = np.arange(len(part.keys))
            for _, _, whole in parts.read_rows(part, rows):
                found["damaged"] += int(np.count_nonzero(~whole))
            keys.append(part.keys)
        found["parts"] += 1
        found["rows"] += len(rows)
    return found | {"distinct": len(np.unique(np.concatenate(keys)))}


# One of the processes that are killed.


def _work(arguments: argparse.Namespace, folder: pathlib.Path) -> int:
    from ehr_jax.text import encode, encoders

    log = os.open(folder / "encoded.log", os.O_WRONLY | os.O_APPEND)

    class Progress:
        def advance(self, units: int, note: str = "") -> None:
            if note.endswith("tokens/s"):  # not those that another process encoded
                os.write(log, f"{os.getpid()} {units}\n".encode())
            time.sleep(arguments.pause)

    @contextlib.contextmanager
    def show(label: str, total: int, done: int = 0):
        yield Progress()

    texts = make_texts(arguments.texts, arguments.seed)
    encoder = encoders.load(arguments.encoder)
    encode.encode(texts, encoder, folder / "shared", arguments.token_budget, show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
