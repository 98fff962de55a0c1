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


def open_log(folder: pathlib.Path, seed: int, step: int) -> Log:
    """Opens the log of `seed` at `step`, forgetting rows that a killed start wrote after it."""
    path = folder / "metrics.jsonl"
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
        rows = [json.loads(line) for line in lines]
        kept = [row for row in rows if row["seed"] != seed or row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        run_folder.write_whole(path, lambda temporary: pathlib.Path(temporary).write_text(text))
    return Log(folder, seed, step)
