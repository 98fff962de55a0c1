import json
import signal

import jax
import ml_collections
import numpy as np
import optax
import pytest
import scipy.stats

from ehr_jax import earlier, errors, stopping
from ehr_jax.experiment import node_splits
from ehr_jax.features import hypergraph_file
from ehr_jax.training import fit, logs, node_kind, stepping
from tests.left_behind import dead_temporary


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A hypergraph whose hyperedges and features tell the class of their nodes."""
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    node = np.concatenate(
        [generator.choice(np.flatnonzero(labels == k % 3), 4, replace=False) for k in range(30)]
    )
    hot = generator.random((60, 12)) < 0.1 + 0.4 * (np.arange(12) % 3 == labels[:, None])
    row, column = np.nonzero(hot)
    file = tmp_path_factory.mktemp("data") / "planted.npz"
    np.savez(
        file,
        node=node,
        hyperedge=np.repeat(np.arange(30), 4),
        labels=labels,
        features_indptr=np.searchsorted(row, np.arange(61)),
        features_indices=column,
        features_data=np.ones(column.size),
        features_shape=np.array(hot.shape),
    )
    return file


def config(path, **changes):
    settings = ml_collections.ConfigDict(
        {
            "data": {"source": "hypergraph_file", "path": str(path)},
            "model": {
                "name": "hgnn",
                "depth": 2,
                "width": 8,
                "heads": 2,
                "feed_forward_depth": 2,
                "dropout": 0.5,
                "input_dropout": 0.0,
                "precision": "float32",
            },
            "train": {
                "seed": 0,
                "splits": 3,
                "train_fraction": 0.5,
                "validation_fraction": 0.25,
                "steps": 30,
                "eval_every": 1,
                "patience": 500,
                "checkpoint_every": 100,
                "select": "accuracy",
                "optimiser": "adam_l2",
                "learning_rate": 0.02,
                "weight_decay": 0.0,
                "clip": None,
                "schedule": "constant",
                "warmup_steps": 0,
                "final_share": 0.0,
            },
        }
    )
    settings.update_from_flattened_dict(changes)
    return settings


@pytest.mark.parametrize(
    "name, depth", [("hgnn", 2), ("allset_transformer", 1), ("alldeepsets_nodes", 1)]
)
def test_a_planted_signal_is_learned_and_reported(path, tmp_path, name, depth):
    changes = {"model.name": name, "model.depth": depth, "model.width": 32, "model.dropout": 0.1}
    settings = config(path, **changes | {"train.steps": 40})
    results = node_splits.run(settings, tmp_path / "run")
    assert results["test"]["accuracy"]["value"] > 0.7  # chance is one in three
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written.pop("internal") and written == results
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert (data["nodes"], data["hyperedges"], data["classes"]) == (60, 30, 3)


def test_spread_is_the_sample_deviation_and_the_t_interval_of_the_mean(path, tmp_path):
    results = node_splits.run(config(path), tmp_path / "run")
    found = results["test"]["accuracy"]
    values = [record["test_accuracy"] for record in results["per_split"]]
    assert found["value"] == pytest.approx(np.mean(values))
    assert found["std"] == pytest.approx(np.std(values, ddof=1))
    interval = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert (found["low"], found["high"]) == pytest.approx(interval)


def test_a_run_cut_between_splits_ends_with_the_same_results(path, tmp_path):
    node_splits.run(config(path), tmp_path / "whole")
    node_splits.run(config(path), tmp_path / "cut")
    kept = tmp_path / "cut" / "splits" / "001.json"
    before = kept.stat().st_mtime_ns
    (tmp_path / "cut" / "results.json").unlink()
    (tmp_path / "cut" / "splits" / "000.json").unlink()
    (tmp_path / "cut" / "splits" / "002.json").unlink()
    (tmp_path / "cut" / "splits" / dead_temporary("002.json")).write_text('{"split": 2, "tes')
    node_splits.run(config(path), tmp_path / "cut")
    assert kept.stat().st_mtime_ns == before
    whole = (tmp_path / "whole" / "results.json").read_bytes()
    assert (tmp_path / "cut" / "results.json").read_bytes() == whole


def test_a_run_that_is_told_to_end_goes_on_within_its_split(path, tmp_path, monkeypatch):
    def write_and_tell(log, step, *more, original=logs.Log.write):
        original(log, step, *more)
        if log._seed == 1 and step == 7:
            signal.raise_signal(signal.SIGTERM)

    node_splits.run(config(path), tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(stopping.Stopped), stopping.by_signal():
        patch.setattr(logs.Log, "write", write_and_tell)
        node_splits.run(config(path), tmp_path / "told")
    assert [file.name for file in (tmp_path / "told" / "splits").iterdir()] == ["000.json"]
    assert (tmp_path / "told" / "checkpoints" / "split_1" / "7").exists()
    assert not (tmp_path / "told" / "results.json").exists()
    node_splits.run(config(path), tmp_path / "told")
    whole, told = (tmp_path / name for name in ("whole", "told"))
    assert (told / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    assert (
        steps_of(told) == steps_of(whole) == [(k, step + 1) for k in range(3) for step in range(30)]
    )
    assert not list((told / "checkpoints").iterdir())


def steps_of(folder):
    return [(row["seed"], row["step"]) for row in logs.read(folder / "metrics.jsonl")]


def test_another_config_or_file_in_the_same_folder_is_refused(path, tmp_path):
    folder = tmp_path / "run"
    settings = config(path, **{"train.steps": 2, "train.splits": 1})
    node_splits.run(settings, folder)
    with pytest.raises(errors.RunFolderError, match="model.width: 8 there, 16 now"):
        node_splits.run(config(path, **settings_of(settings) | {"model.width": 16}), folder)
    changed = tmp_path / "changed.npz"
    arrays = dict(np.load(path))
    arrays["labels"] = arrays["labels"][::-1]
    np.savez(changed, **arrays)
    (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace(str(path), str(changed))
    )
    settings.data.path = str(changed)
    with pytest.raises(errors.RunFolderError, match="data.json there differs"):
        node_splits.run(settings, folder)


def settings_of(settings):
    return {"train.steps": settings.train.steps, "train.splits": settings.train.splits}


def test_splits_part_the_nodes_and_depend_on_seed_and_number_alone():
    train = config("")["train"]
    split = node_splits.draw_split(2708, train, 4)
    assert [part.size for part in split] == [1354, 677, 677]
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(2708))
    for part, again in zip(split, node_splits.draw_split(2708, train, 4), strict=True):
        np.testing.assert_array_equal(part, again)
    assert (split.test != node_splits.draw_split(2708, train, 5).test).any()
    train.seed = 1
    assert (split.test != node_splits.draw_split(2708, train, 4).test).any()


def test_the_first_step_of_best_validation_is_chosen(path, tmp_path):
    results = node_splits.run(config(path), tmp_path / "run")
    rows = logs.read(tmp_path / "run" / "metrics.jsonl")
    for record in results["per_split"]:
        scores = [row["validation"]["accuracy"] for row in rows if row["seed"] == record["split"]]
        assert record["validation_accuracy"] == max(scores)
        assert record["best_epoch"] == scores.index(max(scores)) + 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train.splits": 0}, "config.train.splits is 0; expected a whole number from 1"),
        ({"train.steps": -1}, "config.train.steps is -1"),
        (
            {"train.learning_rate": 0.0},
            "learning_rate is 0.0; expected a number above 0",
        ),
        (
            {"train.weight_decay": -0.1},
            "weight_decay is -0.1; expected a number, 0 or more",
        ),
        ({"train.train_fraction": 0.8}, "sum to 1.05; expected below 1"),
        ({"train.validation_fraction": 0.001}, "leave 30 training, 0 validation and 30 test nodes"),
        ({"data.path": ""}, "config.data.path is empty"),
        ({"model.name": "gcn"}, "config.model.name: 'gcn' is none of"),
        ({"train.learning_rate": 1e30, "train.splits": 1}, "at step 1 the scores of 15 validation"),
    ],
)
def test_a_mistake_is_told_before_anything_is_kept(path, tmp_path, changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        node_splits.run(config(path, **changes), tmp_path / "run")
    assert not list(tmp_path.glob("run/splits/*.json"))


@pytest.mark.slow
def test_hgnn_reaches_its_published_accuracy_on_cora(data_root, tmp_path):
    file = data_root / "hypergraph_cora" / "cora_cocitation.npz"
    changes = {"train.splits": 4, "train.steps": 100, "train.learning_rate": 1e-3}
    results = node_splits.run(config(file, **changes | {"model.width": 128}), tmp_path / "run")
    counts = results["data"]
    assert (counts["nodes"], counts["hyperedges"], counts["incidences"]) == (2708, 1579, 4786)
    assert (counts["isolated_nodes"], counts["features"], counts["classes"]) == (1274, 1433, 7)
    deviation = 0.0136 / 4**0.5  # published standard deviation over splits, of a mean of four
    assert abs(results["test"]["accuracy"]["value"] - 0.7939) < 3 * deviation


def test_all_splits_fit_one_compiled_program(path):
    data = hypergraph_file.read(path)
    splits = [node_splits.draw_split(60, config(path).train, index) for index in range(4)]
    problems = node_kind.build(data, splits, 2, 0)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(problem)] for problem in problems]
    assert all(shape == shapes[0] for shape in shapes)
    assert len({jax.tree.structure(problem) for problem in problems}) == 1


def test_a_score_that_is_not_finite_is_counted_and_no_accuracy(path):
    data = hypergraph_file.read(path)
    (only,) = node_kind.build(data, [node_splits.draw_split(60, config(path).train, 0)], 2, 0)
    logits = np.zeros((15, 3), np.float32)
    assert only.metrics(logits)["not_finite"] == 0
    logits[4, 2] = np.inf
    told = only.metrics(logits)
    assert told["not_finite"] == 1 and np.isnan(told["validation_accuracy"])
    assert "1 validation label" in stepping.fault({"loss": 0.0} | told)


def test_the_optimiser_is_adam_with_l2_as_published(path):
    params, gradient = jax.numpy.array([2.0, -3.0]), jax.numpy.array([30.0, 0.5])
    published = optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.02))
    ours = fit.make_optimiser(config(path, **{"train.weight_decay": 0.1}).train)
    updates = [each.update(gradient, each.init(params), params)[0] for each in (published, ours)]
    np.testing.assert_array_equal(*updates)


@pytest.mark.slow
def test_a_run_of_before_goes_on(path, tmp_path):
    folder, settings = tmp_path / "run", config(path, **{"model.name": "alldeepsets_nodes"})
    results = node_splits.run(settings, folder)
    kept = json.loads((folder / "config.json").read_text())
    train = kept["train"]
    kept["model"]["name"] = "alldeepsets"
    kept["train"] = {key: train[key] for key in train if key not in earlier.ADDED_TO_NODES}
    kept["train"]["epochs"] = kept["train"].pop("steps")
    (folder / "config.json").write_text(json.dumps(kept))
    assert node_splits.run(settings, folder) == results
