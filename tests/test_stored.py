"""Files that come back damaged: refused by name, or made again, and never another exception."""

import json
import pathlib
import shutil

import fabricate
import hypothesis
import numpy as np
import polars as pl
import pytest
from hypothesis import strategies

from ehr_jax import errors, stored
from ehr_jax.experiment import finished, node_splits, stages
from ehr_jax.modes import report
from ehr_jax.reporting import predictions
from ehr_jax.sweeps import parts as sweep_parts
from ehr_jax.training import evolution, run_folder, teacher

DAMAGES = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "number": b"7",
    "text": b'"text"',
    "not utf-8": b'{"a": "\xff\xfe"}',
    "deep": b"[" * 100_000,
    "random": np.random.default_rng(5).bytes(300),
}
JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=5),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(["parts", "members", "group", "step", "sources", "values"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FUZZ = hypothesis.settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run folder, small."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fabricate.write(folder, labels=("sepsis",), samples=40)
    return folder


def hurt(path, how):
    if how in ("gone", "folder"):
        path.unlink()
        if how == "folder":
            path.mkdir()
    elif how == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "inner":
        content = json.loads(path.read_bytes())
        path.write_text(json.dumps(dict.fromkeys(content, 3)))
    else:
        path.write_bytes(DAMAGES[how])


@hypothesis.given(content=JSON)
@FUZZ
def test_any_json_is_an_object_with_the_keys_or_refused(tmp_path, content):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(content))
    is_one = isinstance(content, dict) and isinstance(content.get("parts"), list)
    found = stored.whole_object(path, {"parts": list})
    assert (found is not None) == is_one
    if not is_one:
        with pytest.raises(errors.RunFolderError, match=r"any\.json"):
            stored.read_object(path, {"parts": list})


@hypothesis.given(content=JSON | strategies.builds(lambda parts: {"parts": parts}, JSON))
@FUZZ
def test_parts_and_turns_of_any_json_are_read_made_again_or_refused(tmp_path, content):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(content))
    for part in sweep_parts._kept(path):
        assert all(len(pair) == 2 for pair in part["members"])
    try:
        assert all(len(turn.sources) == len(turn.values) for turn in evolution.read(path))
    except errors.RunFolderError as error:
        assert "any.json" in str(error)


@pytest.mark.parametrize("how", [*DAMAGES, "half", "folder"])
def test_a_damaged_file_is_named_with_a_way_out(tmp_path, how):
    path = tmp_path / "data.json"
    path.write_text('{"fingerprint": "f"}')
    hurt(path, how)
    with pytest.raises(errors.RunFolderError, match=r"data\.json.*keep them"):
        stored.read_object(path, {"fingerprint": str}, "keep them")


REPORTED = ("results.json", "data.json", "config.json", "environment.json", "metrics.jsonl",
            "predictions.parquet")  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_a_report_of_a_damaged_folder_is_written_or_refused_in_a_line(
    tmp_path, whole, name, monkeypatch
):
    monkeypatch.setattr("ehr_jax.reporting.plots.save", lambda figure, path: "")  # takes long
    kinds = [*DAMAGES, "gone", "half", "folder"] + ["inner"] * name.endswith(".json")
    ended = {}
    for how in kinds:
        folder = tmp_path / how
        shutil.copytree(whole, folder)
        hurt(folder / name, how)
        try:
            ended[how] = report.run(None, folder)
        except (errors.RunFolderError, IsADirectoryError) as error:  # both are told in a line
            assert "\n" not in str(error) and str(folder) in str(error)
            ended[how] = 2
    assert ended.pop("folder") == 2
    if name == "metrics.jsonl":
        assert set(ended.values()) == {0}
    elif name == "results.json":
        assert ended.pop("object") == 0 and set(ended.values()) == {2}
    else:
        assert ended["gone"] == 0 and ended["random"] == ended["null"] == 2


@pytest.mark.parametrize("how", [*DAMAGES, "gone", "half", "folder"])
@pytest.mark.parametrize("name", ["results.json", "predictions.parquet"])
def test_an_ended_fit_of_which_a_file_is_damaged_is_to_be_done_again(tmp_path, whole, name, how):
    folder = shutil.copytree(whole, tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results |= {"label": "a method", "fits": []}
    (folder / "results.json").write_text(json.dumps(results))
    assert finished.results(folder) == results
    hurt(folder / name, how)
    assert finished.results(folder) is None


@pytest.mark.parametrize("how", [*DAMAGES, "gone", "half"])
def test_thresholds_for_meds_come_from_whole_results(tmp_path, whole, how):
    folder = shutil.copytree(whole, tmp_path / "run")
    hurt(folder / "results.json", how)
    try:
        found = predictions._thresholds(folder, "test")
        assert how in ("gone", "object") and found == {}
    except errors.RunFolderError as error:
        assert "results.json" in str(error)


@pytest.mark.parametrize("how", [*DAMAGES, "gone", "half"])
def test_damaged_data_or_a_damaged_config_is_refused_where_there_is_work(tmp_path, how, capsys):
    config = {"train": {"steps": 3}}
    folder = run_folder.claim(tmp_path, config)
    (folder / "checkpoints").mkdir()
    data = folder / "data.json"
    data.write_text('{"fingerprint": "f"}')
    hurt(data, how)
    if how == "gone":
        stages._check_same(data, "f")
    else:
        with pytest.raises(errors.RunFolderError, match=r"data\.json .*checkpoints are kept"):
            stages._check_same(data, "f")
    hurt(folder / "config.json", how)
    damaged = (folder / "config.json").read_bytes() if how != "gone" else b""
    if how != "gone":
        words = "another config" if how == "object" else r"config\.json .*checkpoints are kept"
        with pytest.raises(errors.RunFolderError, match=words):
            run_folder.claim(folder, config)
        assert (folder / "config.json").read_bytes() == damaged
        (folder / "config.json").unlink()  # as the message says
    run_folder.claim(folder, config)
    assert json.loads((folder / "config.json").read_text()) == config
    assert how != "gone" or "data.json is missing" in capsys.readouterr().out


@pytest.mark.parametrize("how", [*DAMAGES, "half"])
def test_damaged_data_of_a_folder_without_work_is_written_anew(tmp_path, how, capsys):
    data = tmp_path / "data.json"
    data.write_text('{"fingerprint": "f"}')
    hurt(data, how)
    stages._check_same(data, "g")
    assert "data.json" in capsys.readouterr().out


def test_other_records_are_refused_still(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "data.json").write_text('{"fingerprint": "f"}')
    with pytest.raises(errors.RunFolderError, match="other records"):
        stages._check_same(tmp_path / "data.json", "g")


def test_no_message_asks_to_remove_a_folder_of_whole_checkpoints(tmp_path):
    folder = run_folder.claim(tmp_path, {"train": {"steps": 3}})
    (folder / "checkpoints").mkdir()
    with pytest.raises(errors.RunFolderError) as refused:
        run_folder.claim(folder, {"train": {"steps": 4}})
    assert "remove" not in str(refused.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("how", [*DAMAGES, "words", "zip"])
def test_scores_of_a_teacher_that_are_damaged_are_refused(tmp_path, how):
    path = tmp_path / "teacher.npy"
    if how == "words":
        np.save(path, np.full((2, 1), "a"))
    elif how == "zip":
        with open(path, "wb") as file:
            np.savez(file, np.zeros((2, 1)))
    else:
        path.write_bytes(DAMAGES[how])
    with pytest.raises(errors.RunFolderError, match=r"teacher\.npy"):
        teacher._read(path, (2, 1))


@pytest.mark.parametrize("how", [*DAMAGES, "half", "gone"])
def test_a_damaged_split_of_nodes_is_trained_again(tmp_path, how):
    path = pathlib.Path(tmp_path / "000.json")
    record = {"split": 0, "nodes": {}, "validation_accuracy": 0.5, "test_accuracy": 1}
    path.write_text(json.dumps(record))
    assert stored.whole_object(path, node_splits.RECORD) == record
    hurt(path, how)
    assert stored.whole_object(path, node_splits.RECORD) is None


def test_predictions_of_other_types_are_refused(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "run")
    path = folder / "predictions.parquet"
    frame = pl.read_parquet(path)
    for column in ("probability.sepsis", "label.sepsis", "seed", "split", "sample_id"):
        frame.with_columns(pl.lit("x").alias(column)).write_parquet(path)
        if column == "split":
            frame.with_columns(pl.lit([1]).alias(column)).write_parquet(path)
        with pytest.raises(errors.RunFolderError, match=r"predictions\.parquet"):
            predictions.read(path, "test")
