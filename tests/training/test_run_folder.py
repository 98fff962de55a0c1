"""A run folder is of one config; what is written there can be read anywhere."""

import json

import pytest

from ehr_jax import errors, stored
from ehr_jax.training import run_folder

CONFIG = {"train": {"steps": 10, "seeds": (0, 1), "population": 2}, "data": {"root": "a"}}


def changed(room, **values):
    return CONFIG | {room: CONFIG[room] | values}


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that has trained."""
    folder = run_folder.claim(tmp_path / "run", CONFIG)
    (folder / "checkpoints").mkdir()
    return folder


def test_a_start_of_the_same_config_goes_on(begun):
    run_folder.claim(begun, CONFIG)
    run_folder.claim(begun, changed("train", population=1) | {"data": {"root": "b"}})


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (changed("train", steps=20), "train.steps: 10 there, 20 now"),
        (changed("train", seeds=(0, 2)), "train.seeds"),
        (changed("train", clip=1.0), "train.clip: absent there, 1.0 now"),
        (CONFIG | {"train": {"steps": 10, "seeds": (0, 1)}, "audit": {"stop": True}}, "audit.stop"),
    ],
)
def test_another_config_is_refused_by_the_keys_that_differ(begun, config, key):
    with pytest.raises(errors.RunFolderError, match=key):
        run_folder.claim(begun, config)


def test_a_folder_of_a_mistake_is_taken_over(tmp_path):
    run_folder.claim(tmp_path, CONFIG)
    run_folder.claim(tmp_path, changed("train", steps=20))
    assert stored.read(tmp_path / "config.json")["train"]["steps"] == 20


def test_numbers_that_are_not_finite_are_null_in_json(tmp_path):
    values = {"loss": float("nan"), "nested": [1.5, float("inf"), {"x": -float("inf")}]}
    run_folder.write_json(tmp_path / "x.json", values)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "x.json").read_text()
    assert json.loads(text, parse_constant=refuse) == {
        "loss": None,
        "nested": [1.5, None, {"x": None}],
    }
