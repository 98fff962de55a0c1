"""A folder of runs is its owner's alone; a folder of others is left as it is."""

import json
import os
import pathlib
import stat

import polars as pl
import pytest

from ehr_jax import data_use, main, storage
from ehr_jax.training import run_folder


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def wide(path: pathlib.Path, *names: str) -> pathlib.Path:
    """A folder with files that everybody may read."""
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).parent.chmod(0o755)
        (path / name).write_text("{}")
        (path / name).chmod(0o644)
    path.chmod(0o755)
    return path


def test_a_run_folder_that_others_could_read_is_closed_with_all_it_holds(tmp_path):
    run = wide(tmp_path / "run", "config.json", "checkpoints/state", "fold_0/data.json")
    (run / "plots").symlink_to(wide(tmp_path / "elsewhere", "x"))
    run_folder.claim(run, {})
    assert {mode(path) for path in run.rglob("*") if path.is_file()} == {0o600}
    assert {mode(path) for path in (run, run / "checkpoints", run / "fold_0")} == {0o700}
    assert mode(tmp_path / "elsewhere" / "x") == 0o644


@pytest.mark.parametrize("name", ["thesis.tex", ".bashrc"])
def test_a_folder_of_others_keeps_its_rights_and_a_runs_files_there_are_private(
    tmp_path, capsys, name
):
    folder = wide(tmp_path / "shared", name)
    for _ in range(2):
        with storage.hold(folder):
            run_folder.claim(folder, {})
        assert (mode(folder), mode(folder / name)) == (0o755, 0o644)
        assert mode(folder / "config.json") == 0o600
        assert str(folder) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [("predictions.parquet", "scores, labels and identifiers"), ("trials.parquet", "not to be")],
)
def test_a_parquet_file_of_a_run_says_that_it_is_internal(tmp_path, name, said):
    run_folder.write_parquet(tmp_path / name, pl.DataFrame({"seed": [0]}))
    assert said in pl.read_parquet_metadata(tmp_path / name)["internal"]
    assert pl.read_parquet(tmp_path / name).columns == ["seed"]


def test_a_home_folder_keeps_its_rights(tmp_path, monkeypatch):
    home = wide(tmp_path / "home", "config.json")
    tmp_path.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    run_folder.claim(home, {})
    data_use.make_private(tmp_path)
    assert (mode(home), mode(tmp_path)) == (0o755, 0o755)


def test_a_mode_writes_all_it_writes_for_its_owner_alone(tmp_path, monkeypatch):
    def run(config, workdir):
        (workdir / "results.json").write_text("{}")
        (workdir / "store").mkdir()
        return 0

    before = os.umask(0o022)
    try:
        monkeypatch.setattr("ehr_jax.modes.report.run", run)
        assert main.main(["main", "--mode=report", f"--workdir={tmp_path / 'run'}"]) == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert mode(tmp_path / "run" / "results.json") == 0o600
    assert mode(tmp_path / "run") == mode(tmp_path / "run" / "store") == 0o700


def test_what_holds_exact_figures_says_so_and_so_does_data_use(tmp_path):
    run_folder.write_data_use(tmp_path, "terms of a hospital")
    text = (tmp_path / data_use.FILE).read_text()
    assert "terms of a hospital" in text
    for name in (*data_use.PATIENTS, *data_use.EXACT, *data_use.SETTINGS, *data_use.SHOWN):
        assert name in text
    for name in run_folder.INTERNAL:
        run_folder.write_json(tmp_path / name, {"task": "mortality"})
        assert list(json.loads((tmp_path / name).read_text())) == ["internal", "task"]
        assert name in {*data_use.PATIENTS, *data_use.EXACT}


def test_every_file_of_vectors_is_named_beside_it_unless_the_text_is_of_the_user(tmp_path):
    for name in ("a.parquet", "b.safetensors", "a.parquet"):
        data_use.note_vectors(tmp_path / name)
    text = (tmp_path / data_use.FILE).read_text()
    assert text.count("a.parquet") == text.count("b.safetensors") == 1
    (tmp_path / data_use.FILE).write_text("ours")
    data_use.note_vectors(tmp_path / "c.parquet")
    assert (tmp_path / data_use.FILE).read_text() == "ours"
