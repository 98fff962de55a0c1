"""Training, sweeps, benchmarks and predictions from prepared samples, with the raw files away."""

import json
import pathlib
import shutil

import polars as pl
import pytest

from ehr_jax import main
from ehr_jax.experiment import stages
from tests import saved_samples
from tests.audit import scenes

FAST = (
    "--config.train.steps=6", "--config.train.eval_every=3", "--config.train.seeds=(0,)",
    "--config.evaluation.resamples=20", "--config.features.structure_width=4",
    f"--config.text.encoder={saved_samples.ENCODER}",
)  # fmt: skip
VISITS = (
    "--config=configs/mingle.py:synthetic_mortality", "--config.synthetic.patients=100",
    "--config.model.width=8", "--config.model.heads=2", "--config.model.depth=0", *FAST,
)  # fmt: skip
STAYS = (
    "--config=configs/realm.py:synthetic_mortality", "--config.synthetic.patients=100",
    "--config.series.length=6", "--config.series.step_hours=8.0", "--config.realm.width=8",
    "--config.realm.heads=2", "--config.realm.feed_forward=8", *FAST,
)  # fmt: skip
GRID = "--config.sweep.grid={'train': {'learning_rate': (1e-4, 1e-2)}}"
MODES = {
    "benchmark": ("--mode=benchmark", "--config.benchmark.methods=('mlp', 'hypehr')"),
    "train": (),
    "sweep": ("--mode=sweep", GRID),
}


def run(*flags: str) -> int:
    return main.main(["ehr_jax.main", *flags])


def results(folder: pathlib.Path) -> dict:
    """All result files of a run, without the seconds that it took."""
    found = {}
    for path in sorted(folder.rglob("results.json")):
        content = json.loads(path.read_text())
        for method in [content, *content.get("methods", ())]:
            method.pop("seconds", None)
        found[path.relative_to(folder).as_posix()] = content
    for path in sorted(folder.rglob("predictions.parquet")):
        found[path.relative_to(folder).as_posix()] = pl.read_parquet(path).to_dicts()
    return found


def unread(*_):
    raise AssertionError("the records are read")


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visits")
    assert run("--mode=prepare", *VISITS, f"--workdir={folder}") == 0
    return folder


@pytest.fixture(scope="module")
def stay_flags():
    return (*STAYS, f"--config.knowledge.graph={scenes.graph_folder()}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_visits_give_the_results_of_raw_records(mode, visits, tmp_path, monkeypatch):
    flags = (*VISITS, *MODES[mode], "--config.data.keep=False")
    assert run(*flags, f"--workdir={tmp_path / 'raw'}") == 0
    monkeypatch.setattr(stages, "read", unread)
    prepared = f"--config.data.prepared={visits}"
    assert run(*flags, prepared, f"--workdir={tmp_path / 'prepared'}") == 0
    assert results(tmp_path / "prepared") == results(tmp_path / "raw") != {}


@pytest.mark.slow
def test_stays_and_predictions_from_them(stay_flags, tmp_path, monkeypatch):
    store, raw, trained = (tmp_path / name for name in ("store", "raw", "trained"))
    flags = (*stay_flags, "--config.data.keep=False")
    assert run("--mode=prepare", *flags, f"--workdir={store}") == 0
    assert run(*flags, f"--workdir={raw}") == 0
    with monkeypatch.context() as patch:
        patch.setattr(stages, "read", unread)
        assert run(*flags, f"--config.data.prepared={store}", f"--workdir={trained}") == 0
    assert results(trained) == results(raw)
    assert (trained / "evidence.jsonl").read_text() == (raw / "evidence.jsonl").read_text()

    # New patients: prepared for the run, then scored without their records.
    predict = ("--config=configs/predict.py", f"--config.run={trained}", "--config.data.keep=False")
    scored, others, from_store = (tmp_path / name for name in ("scored", "others", "from_store"))
    assert run("--mode=predict", *predict, f"--workdir={scored}") == 0
    assert run("--mode=prepare", *predict, f"--workdir={others}") == 0
    with monkeypatch.context() as patch:
        patch.setattr(stages, "read", unread)
        for place, workdir in ((others, from_store), (store, tmp_path / "own")):
            prepared = f"--config.data.prepared={place}"
            assert run("--mode=predict", *predict, prepared, f"--workdir={workdir}") == 0
            assert results(workdir) == results(scored)


@pytest.mark.slow
def test_folds_are_prepared_each(stay_flags, tmp_path, monkeypatch):
    flags = (*stay_flags, "--config.model.name=realm_series", "--config.cohort.folds=2")
    assert run("--mode=prepare", *flags, f"--workdir={tmp_path / 'store'}") == 0
    methods = "--config.benchmark.methods=('realm_series', 'lightgbm_windows')"
    flags += ("--mode=benchmark", methods, "--config.benchmark.reference=realm_series")
    assert run(*flags, "--config.data.keep=False", f"--workdir={tmp_path / 'raw'}") == 0
    monkeypatch.setattr(stages, "read", unread)
    prepared = f"--config.data.prepared={tmp_path / 'store'}"
    assert run(*flags, prepared, f"--workdir={tmp_path / 'prepared'}") == 0
    assert results(tmp_path / "prepared") == results(tmp_path / "raw") != {}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--config.features.min_visits=2",), "config.features.min_visits is 2, and was 1 there"),
        (("--config.cohort.split_seed=4",), "config.cohort.split_seed"),
        (("--config.train.teacher=lightgbm",), "config.train.teacher"),
        (("--config.model.name=realm_notes",), "holds visits"),
    ],
)
def test_samples_of_other_settings_are_refused(flags, words, visits, tmp_path, capsys):
    prepared = f"--config.data.prepared={visits}"
    assert run(*VISITS, *flags, prepared, f"--workdir={tmp_path / 'run'}") == 2
    assert words in capsys.readouterr().err


def test_what_a_store_lacks_is_named(tmp_path, capsys):
    flags = (*VISITS, "--config.model.name=hypehr", "--config.notes.source=none")
    store = tmp_path / "store"
    assert run("--mode=prepare", *flags, f"--workdir={store}") == 0
    wider = (*VISITS, "--config.notes.source=none", f"--config.data.prepared={store}")
    assert run(*wider, f"--workdir={tmp_path / 'run'}") == 2
    assert "without names" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["missing", "cut", "changed", "format", "none"])
def test_a_damaged_store_is_refused_by_the_part_at_fault(harm, visits, tmp_path, capsys):
    store = tmp_path / "store"
    shutil.copytree(visits, store)
    path = store / "prepared" / "part-00000" / "nodes.npy"
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif harm == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    elif harm == "format":
        about = store / "prepared" / "about.json"
        about.write_text(json.dumps(json.loads(about.read_text()) | {"format": 99}))
    else:
        shutil.rmtree(store / "prepared")
    flags = (*VISITS, f"--config.data.prepared={store}")
    assert run(*flags, f"--workdir={tmp_path / 'run'}") == 2
    error = capsys.readouterr().err
    expected = {"format": "format 99", "none": "there is no folder prepared"}
    assert expected.get(harm, "nodes.npy (of part-00000)") in error
