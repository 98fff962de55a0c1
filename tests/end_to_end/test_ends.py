"""How a command ends that cannot go on: one line, an exit status of meaning, no traceback."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import types

import pytest

from ehr_jax import main, storage


def run(monkeypatch, tmp_path, action) -> int:
    """The exit status of --mode=report in an empty run folder, where the mode does `action`."""
    mode = types.SimpleNamespace(run=lambda config, workdir: action())
    monkeypatch.setattr(main.importlib, "import_module", lambda name: mode)
    return main.main(["main", "--mode=report", f"--workdir={tmp_path / 'run'}"])


def fail(error: BaseException):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 75, "told to end"),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 130, "stopped"),
        (fail(OSError(errno.ENOSPC, "x", "F")), 2, "F cannot be written or read: the disk is full"),
        (fail(PermissionError(errno.EACCES, "x", "F")), 2, "Permission denied"),
        (fail(OSError(errno.EROFS, "x", "F")), 2, "Read-only"),
        (fail(IsADirectoryError(errno.EISDIR, "x", "G", None, "F")), 2, "F cannot be written"),
    ],
)
def test_a_run_that_is_ended_says_so_in_one_line(
    monkeypatch, tmp_path, capsys, action, status, words
):
    before = signal.getsignal(signal.SIGTERM)
    assert run(monkeypatch, tmp_path, action) == status
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()  # neither lock nor folder is left of an empty run
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_closed_output_ends_a_run_in_one_line(monkeypatch, tmp_path, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert run(monkeypatch, tmp_path, lambda: print("x" * 100_000)) == 141
        monkeypatch.undo()
    assert capsys.readouterr().err.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError):
        run(monkeypatch, tmp_path, fail(FileNotFoundError(errno.ENOENT, "x")))


def test_a_run_folder_in_use_is_refused_before_the_mode_begins(monkeypatch, tmp_path, capsys):
    with storage.hold(tmp_path / "run"):
        assert run(monkeypatch, tmp_path, fail(AssertionError())) == 2
    assert f"is in use by process {os.getpid()}" in capsys.readouterr().err


MINGLE, REALM = (f"--config=configs/{name}" for name in ("mingle.py", "realm.py"))
STARTS = {
    "mingle": (MINGLE,),
    "realm": (REALM,),
    "nodes": ("--config=configs/hypergraph.py",),
    **{mode: (MINGLE, f"--mode={mode}") for mode in ("benchmark", "prepare", "meds", "audit")},
    "sweep": (
        MINGLE,
        "--mode=sweep",
        "--config.sweep.grid={'train': {'learning_rate': (1e-3, 1e-2)}}",
    ),
    "predict": ("--mode=predict", "--config.run={done}"),
}


@pytest.mark.parametrize("flags", STARTS.values(), ids=STARTS)
def test_of_two_starts_in_one_folder_the_second_is_refused_by_the_first(tmp_path, capsys, flags):
    folder, done = tmp_path / "run", tmp_path / "done"
    done.mkdir()
    (done / "results.json").write_text("{}")
    flags = [flag.replace("{done}", str(done)) for flag in flags]
    with storage.hold(folder):
        holder = json.loads((folder / storage.LOCK).read_text())
        assert main.main(["main", *flags, f"--workdir={folder}"]) == 2
        assert [path.name for path in folder.iterdir()] == [storage.LOCK]
        assert json.loads((folder / storage.LOCK).read_text()) == holder
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for part in (f"process {os.getpid()}", platform.node(), holder["started"]):
        assert part in told


@pytest.mark.parametrize(("status", "printed"), [(0, "said\ncleaned\n"), (75, "said\n")])
def test_a_command_that_was_cut_short_ends_before_python_cleans_up(status, printed):
    program = f"""
import atexit
from ehr_jax import main
atexit.register(print, "cleaned")
print("said")
main.end({status})
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (status, printed)
