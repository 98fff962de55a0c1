"""Files and folders appear whole or not at all, privately, and a folder is held by one process."""

import errno
import json
import os
import pathlib
import platform
import stat
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from ehr_jax import errors, storage
from tests.left_behind import dead_temporary

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def in_another_process(code: str, *arguments: object) -> subprocess.Popen:
    """Starts `code` with the package at hand; what it prints can be read."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
    )  # fmt: skip


HOLD = """
import sys
from ehr_jax import errors, storage
try:
    with storage.hold(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
except errors.RunFolderError as error:
    print(error, flush=True)
"""


def test_a_file_is_private_from_its_first_byte_and_after(tmp_path):
    modes = []

    def write(temporary: str) -> None:
        modes.append(mode(pathlib.Path(temporary)))
        pl.DataFrame({"a": [1]}).write_parquet(temporary)
        modes.append(mode(pathlib.Path(temporary)))

    storage.write_file(tmp_path / "t.parquet", write)
    assert modes == [0o600, 0o600]
    assert mode(tmp_path / "t.parquet") == 0o600
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_a_public_file_has_the_mode_of_the_users_mask(tmp_path):
    before = os.umask(0o027)
    try:
        storage.write_text(tmp_path / "t", "x", private=False)
        with storage.new_folder(tmp_path / "f", private=False) as folder:
            (folder / "x").touch()
    finally:
        os.umask(before)
    assert (mode(tmp_path / "t"), mode(tmp_path / "f")) == (0o640, 0o750)


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError()]
)
def test_a_failed_write_keeps_what_was_there_and_leaves_nothing_else(tmp_path, fault):
    storage.write_text(tmp_path / "t", "old")

    def write(temporary: str) -> None:
        pathlib.Path(temporary).write_text("ne")
        raise fault

    with pytest.raises(type(fault)):
        storage.write_file(tmp_path / "t", write)
    with pytest.raises(type(fault)), storage.new_folder(tmp_path / "f") as folder:
        write(folder / "x")
    assert os.listdir(tmp_path) == ["t"]
    assert (tmp_path / "t").read_text() == "old"


def test_two_writers_of_one_file_have_two_temporaries(tmp_path):
    seen = []

    def write(temporary: str) -> None:
        seen.append(temporary)
        if len(seen) == 1:
            storage.write_file(tmp_path / "t", write)
        pathlib.Path(temporary).write_text(temporary)

    storage.write_file(tmp_path / "t", write)
    assert len(set(seen)) == 2
    assert (tmp_path / "t").read_text() == seen[0]


def test_a_name_of_the_longest_length_can_be_written(tmp_path):
    name = "n" * 255
    storage.write_text(tmp_path / name, "x")
    assert os.listdir(tmp_path) == [name]


def test_a_full_disk_told_by_a_compiled_package_is_an_error_of_the_disk(tmp_path):
    def write(temporary: str) -> None:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    with pytest.raises(OSError) as caught:
        storage.write_file(tmp_path / "t", write)
    assert caught.value.errno == errno.ENOSPC
    assert storage.reason(caught.value) == "the disk is full"
    assert caught.value.filename == str(tmp_path / "t")
    by_tensorstore = ValueError("OUT_OF_RANGE: Failed to write 9 bytes [os_error_code='28']")
    assert storage.reason(by_tensorstore) == "the disk is full"


@pytest.mark.parametrize(
    "error",
    [
        lambda at: OSError(errno.EROFS, "x"),
        lambda at: OSError(errno.EROFS, "x", at),
        lambda at: OSError(errno.EROFS, "x", f"{at}/inner/file"),
        lambda at: OSError(f"Read-only file system (os error 30): ...{at[-20:]}"),  # of polars
    ],
)
def test_a_disk_that_takes_nothing_is_told_by_the_file_that_was_to_be(tmp_path, error):
    def write(temporary: str) -> None:
        raise error(temporary)

    with pytest.raises(OSError) as caught:
        storage.write_file(tmp_path / "a-b.t", write)
    assert caught.value.errno == errno.EROFS
    assert storage.place(caught.value) == str(tmp_path / "a-b.t")


def test_a_folder_whose_lock_cannot_be_written_is_left_as_it_was(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(storage.os, "pwrite", full)
    with (
        pytest.raises(errors.RunFolderError, match="cannot be written: the disk is full"),
        storage.hold(tmp_path),
    ):
        pass
    assert not os.listdir(tmp_path)


def test_temporaries_of_dead_writers_go_and_all_else_stays(tmp_path):
    host, own = platform.node(), storage._start(os.getpid())
    kept = [
        f".t.{host}-{os.getpid()}-{own}-a.partial",  # of this process, which lives
        ".t.elsewhere-7-7-a.partial",  # of a machine that cannot be asked
        ".mine.partial",
        "t.parquet.partial",
    ]
    for name in [dead_temporary("t"), *kept]:
        (tmp_path / name).touch()
    (tmp_path / dead_temporary("folder")).mkdir()
    (tmp_path / dead_temporary("folder") / "x").touch()
    old = tmp_path / ".u.elsewhere-7-7-a.partial"
    old.touch()
    os.utime(old, (0, 0))
    storage.remove_partials(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_folder_held_by_another_process_is_refused_with_its_host_process_and_start(tmp_path):
    first = in_another_process(HOLD, tmp_path / "run")
    assert first.stdout.readline() == "held\n"
    holder = json.loads((tmp_path / "run" / storage.LOCK).read_text())
    with pytest.raises(errors.RunFolderError) as caught, storage.hold(tmp_path / "run"):
        pass
    for part in (str(first.pid), platform.node(), holder["started"], "--workdir"):
        assert part in str(caught.value)
    first.communicate("")
    with storage.hold(tmp_path / "run"):
        assert mode(tmp_path / "run") == 0o700
        assert mode(tmp_path / "run" / storage.LOCK) == 0o600
        with pytest.raises(errors.RunFolderError), storage.hold(tmp_path / "run"):
            pass
    assert not (tmp_path / "run").exists()  # as nothing was written


def test_a_folder_whose_holder_was_killed_is_taken_over(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").touch()
    first = in_another_process(HOLD, tmp_path / "run")
    assert first.stdout.readline() == "held\n"
    first.kill()
    first.wait()
    with storage.hold(tmp_path / "run"):
        held = json.loads((tmp_path / "run" / storage.LOCK).read_text())
        assert held["process"] == os.getpid()
    assert os.listdir(tmp_path / "run") == ["results.json"]


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_lock_is_stale_where_its_process_number_has_another_start(
    tmp_path, monkeypatch, has_locks
):
    def none(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    if not has_locks:
        monkeypatch.setattr(storage.fcntl, "flock", none)
    parent = os.getppid()
    holder = {"host": platform.node(), "process": parent, "started": "then"}
    for start, is_stale in ((storage._start(parent), False), (-1, True)):
        (tmp_path / storage.LOCK).write_text(json.dumps(holder | {"start": start}))
        if is_stale:
            with storage.hold(tmp_path):
                pass
        else:
            with pytest.raises(errors.RunFolderError, match="is in use"), storage.hold(tmp_path):
                pass


def test_the_lock_of_another_machine_is_refused_with_the_file_to_remove(tmp_path):
    lock = tmp_path / storage.LOCK
    lock.write_text(
        json.dumps({"host": "node-7", "process": 1, "start": 2, "started": "2026-01-01"})
    )
    with pytest.raises(errors.RunFolderError) as caught, storage.hold(tmp_path):
        pass
    assert "node-7" in str(caught.value) and str(lock) in str(caught.value)
    lock.unlink()
    with storage.hold(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', "\0" * 20])
def test_a_damaged_lock_bars_nobody(tmp_path, content):
    (tmp_path / storage.LOCK).write_text(content)
    with storage.hold(tmp_path):
        assert json.loads((tmp_path / storage.LOCK).read_text())["process"] == os.getpid()


def test_of_many_at_once_one_holds_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    starts = [in_another_process(HOLD, tmp_path / "run") for _ in range(4)]
    answers = [start.stdout.readline() for start in starts]
    for start in starts:
        start.communicate("")
    assert sum(answer == "held\n" for answer in answers) == 1
    assert sum("is in use" in answer for answer in answers) == 3


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.RunFolderError, match="choose another --workdir"):
        with storage.hold(tmp_path / "file" / "run"):
            pass


def test_numpy_writes_into_the_private_file(tmp_path):
    def write(temporary: str) -> None:
        with open(temporary, "wb") as file:
            np.save(file, np.arange(3))

    storage.write_file(tmp_path / "a.npy", write)
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
