"""A node classifier over random splits of one hypergraph: `run(config, workdir)`.

Protocol of the AllSet paper: random node splits, full-batch steps, test accuracy at the step of
best validation accuracy; mean and sample standard deviation over splits.

A finished split lies in RUN/splits/NNN.json, and a second start goes on with the next from its last
checkpoint. Each split has random keys of its own, so the result does not depend on where a run was
cut.
"""

import functools
import os
import pathlib
import sys
from typing import Any

import jax
import numpy as np
import rich.console
import rich.table
import scipy.special

from ehr_jax import errors, settings, storage, stored, terminal
from ehr_jax.features import hypergraph_file
from ehr_jax.models import registry
from ehr_jax.training import fit, node_kind, run_folder
from ehr_jax.training import settings as train_settings

# What is read of RUN/splits/NNN.json.
RECORD = {"nodes": dict, "validation_accuracy": stored.NUMBER, "test_accuracy": stored.NUMBER}


def run(config, workdir: str | os.PathLike) -> dict[str, Any]:
    """Trains `config.model` on every split, or on those still missing, and returns results.json.

    Raises:
      ConfigError, RecordsError: the config or the hypergraph file is not usable.
      RunFolderError: `workdir` belongs to another config or another file.
      Stopped: the process was told to end, and the split that ran goes on from what is saved.
    """
    settings.read(train_settings.NodeTraining, config.train, "config.train")
    data = hypergraph_file.read(config.data.path)
    model = registry.build(config, data.num_classes)
    splits = [draw_split(data.num_nodes, config.train, k) for k in range(config.train.splits)]
    folder = run_folder.claim(workdir, config.to_dict())
    _claim_data(folder, data)
    tasks = node_kind.build(data, splits, config.model.depth, config.train.seed)
    compiled = functools.cache(lambda: fit.compile_chunk(model, tasks[0], config.train))
    accuracies = jax.jit(lambda split_task, params: split_task.accuracies(params, model))
    (folder / "splits").mkdir(exist_ok=True)
    paths = [folder / "splits" / f"{index:03d}.json" for index in range(len(splits))]
    for index, path in enumerate(paths):
        checkpoints = folder / "checkpoints" / f"split_{index}"
        if stored.whole_object(path, RECORD) is None:
            show = f"{registry.find(config.model.name).label}, split {index + 1} of {len(splits)}"
            fitted = fit.fit(model, tasks[index], config.train, index, checkpoints, show, compiled)
            validation, test = accuracies(tasks[index], fitted.params)
            record = {
                "split": index,
                "best_epoch": fitted.best_step,
                "validation_accuracy": float(validation),
                "test_accuracy": float(test),
                "nodes": {name: part.tolist() for name, part in splits[index]._asdict().items()},
            }
            run_folder.write_json(path, record)
        if checkpoints.exists():
            storage.remove_folder(checkpoints)
    results = collect(config, data, [stored.read_object(path, RECORD) for path in paths])
    run_folder.write_json(folder / "results.json", results)
    print_table(results)
    return results


def draw_split(num_nodes: int, config, index: int) -> node_kind.Split:
    """Returns random split `index`, drawn by a generator of its own from `config.seed`.

    Raises:
      ConfigError: a part would be empty.
    """
    order = np.random.default_rng([config.seed, index]).permutation(num_nodes).astype(np.int32)
    first = int(num_nodes * config.train_fraction)
    second = first + int(num_nodes * config.validation_fraction)
    split = node_kind.Split(*(np.sort(part) for part in np.split(order, [first, second])))
    if not all(part.size for part in split):
        raise errors.ConfigError(
            f"config.train.train_fraction {config.train_fraction:g} and validation_fraction "
            f"{config.validation_fraction:g} leave {split.train.size} training, "
            f"{split.validation.size} validation and {split.test.size} test nodes; all three parts "
            "need some"
        )
    return split


def collect(config, data: hypergraph_file.HypergraphFile, records: list[dict]) -> dict[str, Any]:
    """Returns results.json: mean, sample standard deviation and 95 % t-interval of the mean."""
    first = records[0]["nodes"]
    return {
        "task": "node_classification",
        "model": config.model.name,
        "protocol": "random node splits; test accuracy at the best validation epoch",
        "data": data.counts() | {f"{name}_nodes": len(part) for name, part in first.items()},
        "splits": len(records),
        "validation": {"accuracy": _spread([record["validation_accuracy"] for record in records])},
        "test": {"accuracy": _spread([record["test_accuracy"] for record in records])},
        "per_split": [
            {key: value for key, value in record.items() if key != "nodes"} for record in records
        ],
    }


def print_table(results: dict[str, Any]) -> None:
    """Prints the accuracies of results.json in percent."""
    table = rich.table.Table(title=f"{results['model']}, {results['splits']} splits")
    for title in ("nodes", "accuracy %", "standard deviation", "95 % interval of the mean"):
        table.add_column(title, justify="right")
    for name in ("validation", "test"):
        value, std, low, high = (
            "-" if figure is None else f"{100 * figure:.2f}"
            for figure in results[name]["accuracy"].values()
        )
        table.add_row(name, value, std, f"{low} to {high}")
    rich.console.Console(file=terminal.raw(sys.stdout)).print(table)


def _spread(values: list[float]) -> dict[str, float | None]:
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"value": mean, "std": None, "low": None, "high": None}
    std = float(np.std(values, ddof=1))
    half = float(scipy.special.stdtrit(len(values) - 1, 0.975)) * std / len(values) ** 0.5
    return {"value": mean, "std": std, "low": mean - half, "high": mean + half}


def _claim_data(folder: pathlib.Path, data: hypergraph_file.HypergraphFile) -> None:
    """Writes data.json, or refuses a file that is not the one this run began with."""
    path, wanted = folder / "data.json", data.counts()
    wanted["sha256"] = hypergraph_file.fingerprint(data.path)
    found = stored.whole_object(path, instead="it is written anew") or wanted
    if any(found.get(key) != value for key, value in wanted.items()):
        raise errors.RunFolderError(
            f"{folder} was begun with other contents of {data.path} (data.json there differs). "
            "Choose another --workdir, or give the earlier file"
        )
    run_folder.write_data_use(folder, f"the terms of {pathlib.Path(data.path).name}")
    run_folder.write_json(path, wanted)
