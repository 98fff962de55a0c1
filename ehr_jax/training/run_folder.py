"""The run folder: whose it is, what lies where, and writing that is whole or not there.

Layout: config.json, environment.json, data.json, metrics.jsonl, tensorboard/, checkpoints/,
teacher.npy, split.parquet, predictions.parquet, results.json, report.html, plots/, store/,
profile/, DATA_USE.txt.
"""

import importlib.metadata
import json
import math
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax

from ehr_jax import data_use, earlier, errors, storage, stored

REPORTED_PACKAGES = (
    "ehr_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "jraph", "numpy", "scipy",
    "polars", "scikit-learn", "transformers", "tokenizers", "safetensors", "lightgbm",
)  # fmt: skip

# What only a run that got past its preparations leaves.
WORK = (
    "checkpoints",
    "methods",
    "splits",
    "store",
    "prepared",
    "meds",
    "predictions.parquet",
    "results.json",
)

# These say of themselves that they are internal.
INTERNAL = ("data.json", "results.json", "audit.json", "evidence.json")

# Scores of the teacher (`training.teacher`): long to make, and of one config and records alone.
TEACHER = "teacher.npy"

# Keys that do not change what is computed, so a second start may change them; a benchmark may grow.
FREE_KEYS = (
    "profile",
    "data.root",
    "data.keep",
    "data.prepared",
    "data.path",
    "text.cache",
    "text.download",
    "text.token_budget",
    "text.model_shards",
    "train.checkpoint_every",
    "train.population",
    "benchmark.methods",
    "benchmark.reference",
)

UNCHECKED = (
    "it says which config this run is of. Put it back from a copy; or, where you are sure that "
    "this config is the same, remove this file alone and start again: checkpoints are kept"
)


def claim(folder: str | os.PathLike, config: Mapping[str, Any]) -> pathlib.Path:
    """Makes `folder` the run of `config`, or finds that it is already.

    A folder whose run ended on a mistake, before anything was trained, is taken over.

    Raises:
      RunFolderError: the folder holds a run of another config (the keys that differ are named) or
        of one that cannot be read, or cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        storage.make_folder(folder)
        storage.remove_partials(folder)
    except OSError as error:
        raise errors.RunFolderError(
            f"run folder {folder} cannot be made: {storage.reason(error)}; choose another --workdir"
        ) from error
    data_use.make_private(folder)
    path = folder / "config.json"
    wanted = flat(config)
    if path.exists() and (has_work(folder) or (folder / TEACHER).exists()):
        found = flat(earlier.current(stored.read_object(path, way_out=UNCHECKED)))
        differing = sorted(
            key
            for key in wanted.keys() | found.keys()
            if wanted.get(key) != found.get(key) and key not in FREE_KEYS
        )
        if differing and not has_work(folder):
            (folder / TEACHER).unlink(missing_ok=True)
        elif differing:
            shown = "; ".join(
                f"{key}: {found.get(key, 'absent')} there, {wanted.get(key, 'absent')} now"
                for key in differing[:8]
            )
            raise errors.RunFolderError(
                f"{folder} holds a run of another config ({len(differing)} key(s) differ: {shown})"
                ". Choose another --workdir"
            )
    write_json(path, json.loads(json.dumps(config)))
    write_json(folder / "environment.json", environment())
    return folder


def has_work(folder: pathlib.Path) -> bool:
    """Whether a run has computed something in `folder` that another config would spoil."""
    return any((folder / name).exists() for name in WORK)


def environment() -> dict[str, Any]:
    """Machine and versions: what a figure depends on beside config and data."""
    versions = {}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "packages": versions,
    }


def write_whole(path: str | os.PathLike, write: Callable[[str], Any]) -> None:
    """Writes a private file as `storage.write_file` does; RunFolderError where it cannot."""
    try:
        storage.write_file(path, write)
    except OSError as error:
        raise disk_error(path, error) from error


def disk_error(path: str | os.PathLike, error: OSError) -> errors.RunFolderError:
    """The user's view of an OSError while writing `path`."""
    return errors.RunFolderError(
        f"{path} could not be written: {storage.reason(error)}. What was saved before "
        "is whole; mend this and start the same command again to go on from there"
    )


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all; numbers that are not finite as null.

    Files of exact figures say first that they are internal.
    """
    if pathlib.Path(path).name in INTERNAL:
        value = {"internal": data_use.INTERNAL} | value

    def write(temporary: str) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(_finite(value), file, indent=2, sort_keys=False)
            file.write("\n")

    write_whole(path, write)


def write_parquet(path: pathlib.Path, frame) -> None:
    """Writes a frame as `write_whole` does; the file says of itself that it is internal."""
    write_whole(path, data_use.parquet_writer(frame, path.name))


def write_data_use(folder: pathlib.Path, terms: str) -> None:
    """Writes DATA_USE.txt: what terms bind this folder, and which files hold patients' data."""
    try:
        data_use.write(folder, terms)
    except OSError as error:
        raise disk_error(folder / data_use.FILE, error) from error


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns every value of a nested config by its full key, tuples as the lists of JSON."""
    found = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
