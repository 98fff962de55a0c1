"""A damaged part of the latest checkpoint costs what came after the one before, and is told."""

import jax.numpy as jnp
import numpy as np
import pytest

from ehr_jax import errors
from ehr_jax.training import checkpoints, logs

STATE = {"weights": jnp.arange(2000.0), "step": jnp.zeros((), jnp.int32)}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "checkpoints" / "seed_0"
    manager = checkpoints.open_manager(folder)
    for step in (5, 10):
        checkpoints.save(manager, step, {**STATE, "step": jnp.int32(step)})
    checkpoints.close(manager)
    return folder


def restored(folder):
    manager = checkpoints.open_manager(folder)
    found = checkpoints.restore_latest(manager, STATE)
    if found is not None and found[0] < 10:
        checkpoints.save(manager, 10, {**STATE, "step": jnp.int32(10)})
    checkpoints.close(manager)
    return found


def harm(path, how):
    if how == "remove":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["remove", "empty", "garble"])
def test_every_damaged_file_of_the_latest_leaves_the_one_before(folder, how, capsys):
    def files():
        return [path for path in sorted(folder.glob("10/**/*")) if path.is_file()]

    taken = []
    for number in range(len(files())):  # data files have another name each time
        paths = files()
        if number >= len(paths):  # a file was removed that nobody missed
            break
        harm(paths[number], how)
        step, state = restored(folder)
        np.testing.assert_array_equal(state["weights"], STATE["weights"])
        assert int(state["step"]) == step
        if step == 5:
            assert f"step 10 in {folder} is damaged" in capsys.readouterr().out
        taken.append(step)
        assert restored(folder)[0] == 10  # saved again
    assert 5 in taken


def test_where_no_checkpoint_can_be_read_nothing_is_moved_and_it_is_told(folder):
    for path in list(folder.glob("*/**/*")):
        if path.is_file() and path.parent.name != "metrics":
            path.write_bytes(b"")
    with pytest.raises(errors.RunFolderError, match="no checkpoint in"):
        restored(folder)
    assert {"5", "10"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    "line", [b"", b"nul", b"{}", b"[1]", b"null", b'{"seed": "x", "step": 1}', b"\xff\xfe}", b"1}"]
)
def test_a_damaged_line_of_the_log_stops_nothing(tmp_path, line):
    whole = b'{"seed": 0, "step": 5, "validation": {"auroc": 0.5}}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole + line + b"\n" + whole + line)
    log = logs.open_log(tmp_path, 0, 5)
    log.write(10, {"loss": 1.0, "validation_auroc": 0.5}, 1.0)
    log.close()
    assert [row["step"] for row in logs.read(tmp_path / "metrics.jsonl")] == [5, 5, 10]
