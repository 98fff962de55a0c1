"""Trains a node classifier over random splits of one hypergraph: `run(config, workdir)`.

Protocol of the AllSet paper: random node splits, full-batch epochs, test accuracy at the epoch of
best validation accuracy; mean and sample standard deviation over splits.

A finished split lies in RUN/splits/NNN.json, and a second start goes on after it. Each split has
random keys of its own, so the result does not depend on where a run was cut.
"""

import functools
import os
import pathlib
import sys
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich.console
import rich.table
import scipy.stats

from ehr_jax import errors, progress, settings, stopping, stored, terminal
from ehr_jax.features import hypergraph_file
from ehr_jax.models import node_classifiers
from ehr_jax.nn import bipartite, hops, sparse_rows
from ehr_jax.training import run_folder
from ehr_jax.training import settings as train_settings

# What is read of RUN/splits/NNN.json.
RECORD = {"nodes": dict, "validation_accuracy": stored.NUMBER, "test_accuracy": stored.NUMBER}


class Problem(flax.struct.PyTreeNode):
    """One split on the device: what its training rows and its other rows depend on.

    Attributes:
      features: [node, column], sparse.
      train_hops, held_out_hops: layers of the hypergraph with a singleton hyperedge per node, that
        reach the training nodes and [validation nodes ; test nodes].
      train_labels: [train] int32.
      held_out_labels: [validation + test] int32.
      num_validation: static.
    """

    features: sparse_rows.SparseRows
    train_hops: tuple[hops.Hop, ...]
    held_out_hops: tuple[hops.Hop, ...]
    train_labels: jax.Array
    held_out_labels: jax.Array
    num_validation: int = flax.struct.field(pytree_node=False)


class Split(NamedTuple):
    """Node ids of one random split, int32, each ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Curve(NamedTuple):
    """Per epoch [epoch] float32: training loss before the step, accuracies after it, nan where a
    score is."""

    loss: jax.Array
    validation: jax.Array
    test: jax.Array


def run(config, workdir: str | os.PathLike) -> dict[str, Any]:
    """Trains `config.model` on every split, or on those still missing, and returns results.json.

    Raises:
      ConfigError, RecordsError: the config or the hypergraph file is not usable.
      RunFolderError: `workdir` belongs to another config or another file.
      Stopped: the process was told to end, and the split that ran is saved.
    """
    settings.read(train_settings.NodeTraining, config.train, "config.train")
    data = hypergraph_file.read(config.data.path)
    network = node_classifiers.build(config.model, data.num_classes)
    splits = [draw_split(data.num_nodes, config.train, k) for k in range(config.train.splits)]
    folder = run_folder.claim(workdir, config.to_dict())
    _claim_data(folder, data)
    problems = build(data, splits, config.model.depth)
    fit = jax.jit(
        functools.partial(train, network, _optimizer(config.train)), static_argnames="epochs"
    )
    (folder / "splits").mkdir(exist_ok=True)
    paths = [folder / "splits" / f"{index:03d}.json" for index in range(config.train.splits)]
    missing = [
        index for index, path in enumerate(paths) if stored.whole_object(path, RECORD) is None
    ]
    done = len(paths) - len(missing)
    with stopping.deferred() as is_told, progress.progress("splits", len(paths), done) as bar:
        for index in missing:
            if is_told():
                break
            key = jax.random.fold_in(jax.random.key(config.train.seed), index)
            curve = fit(problems[index], key, epochs=config.train.epochs)
            record = summarise(index, splits[index], jax.device_get(curve))
            run_folder.write_json(paths[index], record)
            bar.advance(1, f"test accuracy {record['test_accuracy']:.4f}")
    results = collect(config, data, [stored.read_object(path, RECORD) for path in paths])
    run_folder.write_json(folder / "results.json", results)
    print_table(results)
    return results


def build(data: hypergraph_file.HypergraphFile, splits: list[Split], depth: int) -> list[Problem]:
    """Places each split on the device; all have the same shapes, so one program fits them."""
    graph, _ = bipartite.with_self_loops(data.graph)
    features = sparse_rows.from_csr(data.indptr, data.indices, data.values, data.feature_shape)
    held_out = [np.concatenate([split.validation, split.test]) for split in splits]
    train_hops = hops.reaching(graph, depth, [split.train for split in splits])
    held_out_hops = hops.reaching(graph, depth, held_out)
    return [
        Problem(
            features=features,
            train_hops=train_hops[k],
            held_out_hops=held_out_hops[k],
            train_labels=jnp.asarray(data.labels[split.train]),
            held_out_labels=jnp.asarray(data.labels[held_out[k]]),
            num_validation=split.validation.size,
        )
        for k, split in enumerate(splits)
    ]


def draw_split(num_nodes: int, config, index: int) -> Split:
    """Returns random split `index`, drawn by a generator of its own from `config.seed`.

    Raises:
      ConfigError: a part would be empty.
    """
    order = np.random.default_rng([config.seed, index]).permutation(num_nodes).astype(np.int32)
    first = int(num_nodes * config.train_fraction)
    second = first + int(num_nodes * config.validation_fraction)
    split = Split(*(np.sort(part) for part in np.split(order, [first, second])))
    if not all(part.size for part in split):
        raise errors.ConfigError(
            f"config.train.train_fraction {config.train_fraction:g} and validation_fraction "
            f"{config.validation_fraction:g} leave {split.train.size} training, "
            f"{split.validation.size} validation and {split.test.size} test nodes; all three parts "
            "need some"
        )
    return split


def train(network, optimizer, problem: Problem, key: jax.Array, epochs: int) -> Curve:
    """Trains from new parameters for `epochs` full-batch steps, as one scan."""
    start, steps = jax.random.split(key)
    parameters = network.init(start, problem.features, problem.held_out_hops, train=False)

    def loss_of(parameters, key):
        logits = network.apply(
            parameters, problem.features, problem.train_hops, train=True, rngs={"dropout": key}
        )[: problem.train_labels.size]  # [train, class]
        return optax.softmax_cross_entropy_with_integer_labels(logits, problem.train_labels).mean()

    def epoch(carry, index):
        parameters, state = carry
        key = jax.random.fold_in(steps, index)
        loss, gradients = jax.value_and_grad(loss_of)(parameters, key)
        updates, state = optimizer.update(gradients, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        logits = network.apply(parameters, problem.features, problem.held_out_hops, train=False)
        logits = logits[: problem.held_out_labels.size]
        right = (logits.argmax(-1) == problem.held_out_labels).astype(jnp.float32)
        # [validation + test]; the highest of scores that are not finite says nothing.
        right = jnp.where(jnp.isfinite(logits).all(-1), right, jnp.nan)
        validation, test = jnp.split(right, [problem.num_validation])
        return (parameters, state), Curve(loss, validation.mean(), test.mean())

    carry = parameters, optimizer.init(parameters)
    return jax.lax.scan(epoch, carry, jnp.arange(epochs))[1]


def summarise(index: int, split: Split, curve: Curve) -> dict[str, Any]:
    """Returns what RUN/splits/NNN.json holds: the split, the chosen epoch and its accuracies."""
    for name, values in (("the loss", curve.loss), ("a validation score", curve.validation)):
        if not np.isfinite(values).all():
            epoch = int(np.flatnonzero(~np.isfinite(values))[0])
            raise errors.ConfigError(
                f"{name} of split {index} is not finite at epoch {epoch + 1}; lower "
                "config.train.learning_rate"
            )
    best = int(np.argmax(curve.validation))  # the first, where several are equal
    return {
        "split": index,
        "best_epoch": best + 1,
        "validation_accuracy": float(curve.validation[best]),
        "test_accuracy": float(curve.test[best]),
        "nodes": {name: part.tolist() for name, part in split._asdict().items()},
    }


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
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * std / len(values) ** 0.5
    return {"value": mean, "std": std, "low": mean - half, "high": mean + half}


def _optimizer(config) -> optax.GradientTransformation:
    # Weight decay is L2 inside Adam, as in the published runs, not AdamW.
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate)
    )


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
