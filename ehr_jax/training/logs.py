"""Training metrics: a JSON line a validation in metrics.jsonl, TensorBoard events beside it."""

import json
import pathlib
from collections.abc import Mapping

import tensorboardX

from ehr_jax.training import run_folder


class Log:
    """Appends the metrics of one seed."""

    def __init__(self, folder: pathlib.Path, seed: int, step: int):
        self._path = folder / "metrics.jsonl"
        self._seed = seed
        events = folder / "tensorboard" / f"seed_{seed}"
        self._events = tensorboardX.SummaryWriter(str(events), purge_step=step + 1)

    def write(self, step: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Logs `metrics` at `step`; names starting with "validation_" are grouped."""
        row = {"seed": self._seed, "step": step, "seconds": round(seconds, 3), "validation": {}}
        for name, value in metrics.items():
            group, _, rest = name.partition("_")
            if group == "validation":
                row["validation"][rest] = value
            else:
                row[name] = value
            self._events.add_scalar(name, value, step)
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise run_folder.disk_error(self._path, error) from error

    def close(self) -> None:
        """Flushes the events."""
        self._events.close()


def read(path: pathlib.Path) -> list[dict]:
    """Returns the rows of metrics.jsonl; lines that a kill or a damaged disk left are no rows."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            whole = {"seed": int(row["seed"]), "step": int(row["step"])}
            dict(row["validation"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
        rows.append(row | whole)
    return rows


def open_log(folder: pathlib.Path, seed: int, step: int) -> Log:
    """Opens the log of `seed` at `step`, forgetting rows that a killed start wrote after it."""
    path = folder / "metrics.jsonl"
    if path.exists():
        kept = [row for row in read(path) if row["seed"] != seed or row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        run_folder.write_whole(path, lambda temporary: pathlib.Path(temporary).write_text(text))
    return Log(folder, seed, step)
