"""The store and its batches: what was prepared comes back, with tfds alone and with Grain."""

import dataclasses
import datetime
import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import loader, series, store, variables
from ehr_jax.nn import bipartite
from ehr_jax.training import checkpoints
from tests import arrays as made
from tests.left_behind import dead_temporary

SAMPLES, NODES, STEPS = 43, 12, 5
FIRST_SUBJECT = 98_765_000
VARIABLES = tuple(variables.VARIABLES[name] for name in ("heart rate", "pH"))
NEVER = np.iinfo(np.int64).min


def cohort_of(arrays) -> cohorts.Cohort:
    """A cohort as `arrays` could have come from; two samples a patient, the first undated."""
    at = datetime.datetime(2100, 1, 1, 6)
    times = [None, *(at + datetime.timedelta(days=k) for k in range(1, SAMPLES))]
    samples = {
        "sample_id": np.arange(SAMPLES),
        "subject_id": FIRST_SUBJECT + np.arange(SAMPLES) // 2,
        "visit_id": 500 + np.arange(SAMPLES),
        "prediction_time": times,
        "split": arrays.split,
        "labelled": ~np.isnan(arrays.labels).all(axis=1),
    }
    return cohorts.Cohort(
        task="mortality",
        protocol="strict",
        description="Does the patient die?",
        labels=arrays.label_names,
        samples=pl.DataFrame(samples, schema=cohorts.SAMPLES),
        at_discharge=False,
        excluded={},
    )


def series_of(rng) -> series.Series:
    shape = (SAMPLES, STEPS, len(VARIABLES))
    return series.Series(
        values=rng.normal(size=shape).astype(np.float32),
        observed=rng.random(shape) < 0.3,
        hours_since=rng.random(shape).astype(np.float32),
        present=rng.random(shape[:2]) < 0.8,
        variables=VARIABLES,
        scale=series.Scale(*np.ones((3, 2), np.float32)),
        step_hours=2.0,
        oddities=pl.DataFrame(),
    )


ARRAYS = made.make_arrays(samples=SAMPLES, nodes=NODES)
COHORT = cohort_of(ARRAYS)
GRID = series_of(np.random.default_rng(1))
SETTINGS = {"data.source": "synthetic", "features.bins": 10}


def write(folder, grid=GRID, arrays=ARRAYS, settings=SETTINGS):
    store.write(folder, COHORT, arrays, grid, settings, "f00d", "terms of use")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("run") / "store")


def members(arrays) -> list[list[int]]:
    """The nodes of each sample, ascending."""
    node, sample, _, _ = bipartite.unpack(arrays.visits)
    return [sorted(node[sample == row].tolist()) for row in range(SAMPLES)]


READ_BY_TFDS_ALONE = """
import json, socket, sys

def refuse(*arguments):
    raise AssertionError("nothing may be fetched")

socket.socket.connect = refuse
import tensorflow_datasets as tfds

builder = tfds.builder_from_directory(sys.argv[1])
sources = builder.as_data_source()
found = {split: list(source) for split, source in sources.items()}
assert builder.info.features["nodes"].doc.desc
for example in found["train"]:
    for name, value in example.items():
        example[name] = value.decode() if isinstance(value, bytes) else getattr(
            value, "tolist", lambda: value)()
imported = [name for name in ("ehr_jax", "tensorflow", "jax") if name in sys.modules]
assert not imported, imported
about = {key: builder.info.metadata[key] for key in ("task", "labels", "nodes", "series")}
print(json.dumps({"train": found["train"], "about": about}))
"""


def test_tfds_alone_reads_what_was_prepared(folder):
    command = [sys.executable, "-I", "-c", READ_BY_TFDS_ALONE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = np.flatnonzero(ARRAYS.split == "train")
    assert [example["sample_id"] for example in found["train"]] == rows.tolist()
    for row, example in zip(rows, found["train"], strict=True):
        assert example["nodes"] == members(ARRAYS)[row]
        assert example["has_note"] == ARRAYS.has_note[row]
        np.testing.assert_array_equal(np.float32(example["labels"]), ARRAYS.labels[row])
        np.testing.assert_array_equal(np.float32(example["note"]), ARRAYS.notes[row])
        np.testing.assert_array_equal(np.float32(example["series_values"]), GRID.values[row])
        np.testing.assert_array_equal(example["series_observed"], GRID.observed[row])
        np.testing.assert_array_equal(example["series_present"], GRID.present[row])
        time = COHORT.samples["prediction_time"][int(row)]
        wanted = NEVER if time is None else np.datetime64(time, "us").astype(np.int64)
        assert example["prediction_time"] == wanted
    assert found["about"]["task"] == "mortality"
    assert found["about"]["labels"] == list(ARRAYS.label_names)
    assert found["about"]["nodes"] == list(ARRAYS.vocabulary.names)
    assert found["about"]["series"]["variables"] == ["heart rate", "pH"]


def test_each_split_holds_its_samples_in_the_order_of_the_cohort(folder):
    for split, source in store.open_folder(folder).as_data_source().items():
        wanted = np.flatnonzero(ARRAYS.split == split)
        assert [example["sample_id"] for example in source] == wanted.tolist()


def test_a_patient_has_one_hash_and_no_number(folder):
    hashes = {}
    for source in store.open_folder(folder).as_data_source().values():
        for example in source:
            assert len(example["subject_id"]) == 12
            hashes.setdefault(example["sample_id"] // 2, set()).add(example["subject_id"])
    assert all(len(found) == 1 for found in hashes.values())
    assert len(set.union(*hashes.values())) == len(hashes)
    for path in folder.iterdir():
        assert str(FIRST_SUBJECT)[:5].encode() not in path.read_bytes(), path.name


def test_the_folder_is_private_and_says_its_terms(folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "terms of use" in (folder / "DATA_USE.txt").read_text()


def test_without_notes_and_series_their_features_are_left_out(tmp_path):
    bare = dataclasses.replace(ARRAYS, has_note=np.zeros(SAMPLES, bool))
    builder = store.open_folder(write(tmp_path / "store", grid=None, arrays=bare))
    assert set(builder.info.features) == {
        "sample_id", "subject_id", "prediction_time", "nodes", "labels",
    }  # fmt: skip
    assert builder.info.metadata["series"] is None


def test_an_empty_split_is_left_out(tmp_path):
    split = np.where(ARRAYS.split == "test", "train", ARRAYS.split)
    folder = write(tmp_path / "store", arrays=dataclasses.replace(ARRAYS, split=split))
    assert set(store.open_folder(folder).as_data_source()) == {"train", "validation"}
    with pytest.raises(errors.ConfigError, match="no split 'test'; it has train, validation"):
        loader.batches(folder, "test", 4)


def test_the_fingerprint_is_that_of_the_settings():
    assert store.fingerprint(SETTINGS | {"features.bins": 3}) != store.fingerprint(SETTINGS)
    assert store.fingerprint(dict(reversed(SETTINGS.items()))) == store.fingerprint(SETTINGS)


# Nothing half-written.


@pytest.mark.parametrize(
    ("fault", "seen", "words"),
    [
        (OSError(28, "No space left on device"), errors.RunFolderError, "the disk is full"),
        (RuntimeError("write() failed: File too large; at"), errors.RunFolderError, "too large"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_write_that_fails_leaves_nothing(fault, seen, words, tmp_path, monkeypatch):
    def fail(*arguments):
        raise fault

    monkeypatch.setattr(store.tfds.core.SequentialWriter, "close_splits", fail)
    with pytest.raises(seen, match=words):
        write(tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_start_left_is_replaced(tmp_path):
    left = tmp_path / dead_temporary("store")
    left.mkdir()
    (left / "half").write_text("x")
    folder = write(tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert not (folder / "half").exists()


def test_a_store_is_not_written_over(folder):
    with pytest.raises(errors.RunFolderError, match="already exists"):
        write(folder)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: (f / "dataset_info.json").unlink(), "--mode=prepare"),
        (lambda f: (f / "metadata.json").write_text('{"task": '), "metadata.json is not JSON"),
        (lambda f: (f / "metadata.json").write_text("null"), "metadata.json holds null"),
        (lambda f: (f / "features.json").write_text("[]"), "features.json holds a list"),
        (lambda f: (f / "features.json").write_text('{"type": 3}'), "features.json"),
        (lambda f: (f / "dataset_info.json").write_text("null"), "dataset_info.json holds null"),
        (lambda f: next(f.glob("*train*")).unlink(), "is missing; put it back"),
        (lambda f: rename(f, "cifar10"), "holds the data set 'cifar10'"),
    ],
)
def test_a_damaged_store_is_refused_with_the_way_out(harm, words, tmp_path):
    folder = write(tmp_path / "store", grid=None)
    harm(folder)
    with pytest.raises(errors.RunFolderError, match=words):
        store.open_folder(folder)


def rename(folder, name: str) -> None:
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name}))


# Batches.


def ids(batch) -> list[int]:
    return batch["sample_id"][batch["mask"]].tolist()


@settings(max_examples=12)
@given(
    hosts=st.integers(1, 3),
    size=st.integers(1, 9),
    seed=st.none() | st.integers(0, 2**40),
    drop=st.booleans(),
)
def test_hosts_share_every_batch_and_read_every_sample_once(folder, hosts, size, seed, drop):
    split = np.flatnonzero(ARRAYS.split == "train")
    size = min(size, split.size // hosts)

    def read(size, **host):
        return list(loader.batches(folder, "train", size, seed=seed, drop_last=drop, **host))

    alone = read(size * hosts)
    parts = [read(size, host=host, hosts=hosts) for host in range(hosts)]
    together = [sum((ids(part[k]) for part in parts), []) for k in range(len(alone))]
    assert {len(part) for part in parts} == {len(alone)}
    assert together == [ids(batch) for batch in alone]
    seen = sum(together, [])
    assert len(set(seen)) == len(seen)
    whole = split.size // (size * hosts) * size * hosts
    assert set(seen) <= set(split.tolist()) and len(seen) == (whole if drop else split.size)
    shapes = {tuple((name, a.shape) for name, a in b.items()) for part in parts for b in part}
    assert len(shapes) == 1


def test_a_batch_holds_the_samples_and_their_padding(folder):
    split = np.flatnonzero(ARRAYS.split == "train")
    (batch,) = loader.batches(folder, "train", split.size + 2)
    assert batch["mask"].tolist() == [True] * split.size + [False] * 2
    np.testing.assert_array_equal(batch["labels"][:-2], ARRAYS.labels[split])
    np.testing.assert_array_equal(batch["note"][:-2], ARRAYS.notes[split])
    np.testing.assert_array_equal(batch["series_hours_since"][:-2], GRID.hours_since[split])
    held = [
        row[mask].tolist() for row, mask in zip(batch["nodes"], batch["node_mask"], strict=True)
    ]
    assert held == [members(ARRAYS)[row] for row in split] + [[], []]
    assert batch["nodes"].shape[1] == max(map(len, members(ARRAYS)))
    assert np.isnan(batch["labels"][-2:]).all() and (batch["sample_id"][-2:] == -1).all()
    assert not batch["series_values"][-2:].any() and not batch["note"][-2:].any()


def test_order_depends_on_the_seed_and_the_epoch_alone(folder):
    def read(seed):
        return [ids(batch) for batch in loader.batches(folder, "train", 5, seed=seed, epochs=2)]

    first = read(0)
    epoch = len(first) // 2
    assert first == read(0)
    assert sorted(sum(first[:epoch], [])) == sorted(sum(first[epoch:], []))
    assert first[:epoch] != first[epoch:]
    assert first[epoch:] != read(1)[:epoch]  # neighbouring seeds share no epoch


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_restored_iterator_goes_on_with_the_same_batches(folder, hosts, tmp_path):
    def begin():
        return iter(
            loader.batches(folder, "train", 4, seed=3, epochs=None, host=hosts - 1, hosts=hosts)
        )

    running = begin()
    for _ in range(9):
        next(running)
    state = {"weights": np.arange(3.0, dtype=np.float32)}
    manager = checkpoints.open_manager(tmp_path)
    checkpoints.save(manager, 9, state, running)
    wanted = [next(running) for _ in range(6)]
    checkpoints.close(manager)

    manager, restored = checkpoints.open_manager(tmp_path), begin()
    step, found = checkpoints.restore_latest(
        manager, {"weights": np.zeros(3, np.float32)}, restored
    )
    checkpoints.close(manager)
    assert step == 9
    np.testing.assert_array_equal(found["weights"], state["weights"])
    for batch in wanted:
        again = next(restored)
        assert batch.keys() == again.keys()
        for name, array in batch.items():
            np.testing.assert_array_equal(array, again[name])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"host": 2, "hosts": 2}, "host 2 of 2"),
        ({"epochs": 0}, "epochs 0"),
        ({"batch_size": 100, "drop_last": True}, "fewer than one batch"),
        ({"split": "tests"}, "no split 'tests'"),
    ],
)
def test_impossible_batches_are_refused(folder, changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        loader.batches(folder, **{"split": "train", "batch_size": 4} | changes)


def test_no_store_is_named(tmp_path):
    with pytest.raises(errors.RunFolderError, match="--mode=prepare"):
        loader.batches(os.fspath(tmp_path), "train", 4)
