"""A damaged part of the latest checkpoint costs what came after the one before, and is told."""

import shutil

import arrays as make
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saved
import stays as make_stays

from ehr_jax import errors
from ehr_jax.models import registry
from ehr_jax.training import checkpoints, fit, logs, problem, stay_problem
from tests.training import test_stay_problem

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
    elif how == "truncate":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "flip":
        path.write_bytes(bytes(x ^ (i % 50 == 49) for i, x in enumerate(path.read_bytes())))
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


def test_a_changed_bit_is_noticed_wherever_it_changes_a_number(folder):
    largest = max(folder.glob("10/**/d/*"), key=lambda path: path.stat().st_size)
    content, taken = largest.read_bytes(), []
    for place in np.linspace(0, len(content) - 1, 12).astype(int):
        changed = bytearray(content)
        changed[place] ^= 4
        largest.write_bytes(changed)
        manager = checkpoints.open_manager(folder)
        step, state = checkpoints.restore_latest(manager, STATE)
        checkpoints.close(manager)
        np.testing.assert_array_equal(state["weights"], STATE["weights"])
        assert int(state["step"]) == step
        taken.append(step)
        if step == 5:  # put aside
            largest = put_back(folder, largest.name, content)
    assert 5 in taken


def put_back(folder, name, content):
    """Makes the latest checkpoint whole again; returns its file `name`."""
    (folder.parent / f"{folder.name}.damaged_10").rename(folder / "10")
    (path,) = folder.glob(f"10/**/d/{name}")
    path.write_bytes(content)
    return path


def test_a_checkpoint_without_a_digest_is_taken_as_it_is(tmp_path):
    manager = checkpoints.open_manager(tmp_path / "seed_0")
    manager.save(5, args=checkpoints.ocp.args.StandardSave(STATE))
    checkpoints.close(manager)
    assert restored(tmp_path / "seed_0")[0] == 5


@pytest.fixture(scope="module", params=["mingle", "realm"])
def halves(request, tmp_path_factory):
    """A function that fits from a folder on, and the folders of a whole run and of a half."""
    place = tmp_path_factory.mktemp(request.param)
    changes = {"train__checkpoint_every": 1, "train__select": "loss", "model__depth": 0}
    config, slowly = make.make_config(**changes), jax.jit
    if request.param == "mingle":
        config = registry.configure(config, "mingle")
        data, model = problem.build(make.make_arrays(), "1"), registry.build(config, 2)
    else:
        data = stay_problem.build(test_stay_problem.Arrays(), 1.0, batch=8)
        model = test_stay_problem.network()

    def run(folder, steps=20):
        config.train.steps = steps
        seed = folder / "checkpoints" / "seed_0"
        fit.fit(model, data, config.train, 0, seed, "fit", lambda: program)
        return seed

    with pytest.MonkeyPatch.context() as patch:
        quick = {"compiler_options": make_stays.QUICK}
        patch.setattr(jax, "jit", lambda f, **more: slowly(f, **(more | quick)))
        program = fit.compile_chunk(model, data, config.train)
        run(place / "half", 10)
        yield run, run(place / "whole"), place / "half"


@pytest.mark.parametrize("how", ["remove", "truncate", "flip"])
def test_a_fit_whose_latest_checkpoint_is_damaged_ends_as_the_undisturbed_one(
    halves, how, tmp_path, capsys
):
    run, whole, half = halves
    shutil.copytree(half, tmp_path / "run")
    latest = max((tmp_path / "run").glob("**/10/**/d/*"), key=lambda path: path.stat().st_size)
    harm(latest, how)
    saved.assert_same_end(whole, run(tmp_path / "run"))
    assert "checkpoint of step 10" in capsys.readouterr().out


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
