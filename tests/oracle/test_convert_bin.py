"""The converter of pickled weights against PyTorch's own files."""

import json
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
from oracle import random_models  # noqa: E402

from ehr_jax.errors import TextError  # noqa: E402
from ehr_jax.text import convert_bin, encoders, weights  # noqa: E402


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def read(folder):
    content = json.loads((folder / "config.json").read_text())
    architecture = encoders.ARCHITECTURES[content["model_type"]]
    config = architecture.read_config(content, folder / "config.json")
    return architecture.read_params(weights.find_weights(folder), config)


@pytest.fixture
def pair(tmp_path):
    """One model saved as safetensors, and its config beside nothing."""
    model = random_models.make("xlm_roberta")
    random_models.save(model, tmp_path / "expected")
    (tmp_path / "pickled").mkdir()
    config = (tmp_path / "expected" / "config.json").read_text()
    (tmp_path / "pickled" / "config.json").write_text(config)
    return model, tmp_path / "expected", tmp_path / "pickled"


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("zipped", [True, False])
def test_converted_weights_are_those_of_the_pickle(pair, zipped):
    model, expected, pickled = pair
    torch.save(
        model.state_dict(), pickled / "pytorch_model.bin", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(TextError, match="python -m ehr_jax.text.convert_bin"):
        read(pickled)
    assert convert_bin.main(["convert_bin", str(pickled)]) == 0
    assert same(read(pickled), read(expected))
    assert not list(pickled.glob("*.partial"))


def test_shards_become_shards(pair):
    model, expected, pickled = pair
    state = model.state_dict()
    names = sorted(state)
    parts = {"a.bin": names[::2], "b.bin": names[1::2]}
    for name, held in parts.items():
        torch.save({key: state[key] for key in held}, pickled / name)
    where = {key: name for name, held in parts.items() for key in held}
    (pickled / convert_bin.INDEX).write_text(json.dumps({"weight_map": where}))
    index, *shards = convert_bin.convert(pickled)
    assert len(shards) == 2 and weights.find_weights(pickled) == index
    assert same(read(pickled), read(expected))


def test_shared_and_turned_tensors_and_bfloat16_keep_their_numbers(tmp_path):
    tensor = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    state = {"word": tensor, "head": tensor, "turned": tensor.T, "row": tensor[1]}
    torch.save(state, tmp_path / "pytorch_model.bin")
    (path,) = convert_bin.convert(tmp_path)
    found = safetensors.torch.load_file(path)
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert found[name].dtype == torch.bfloat16 and torch.equal(found[name], value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), "damaged, or holds more than tensors"),
        ({"word": Evil()}, "damaged, or holds more than tensors"),
        ({"state_dict": {"word": torch.zeros(2)}}, "expected names and tensors alone"),
        ([torch.zeros(2)], "expected names and tensors alone"),
        ({}, "expected names and tensors alone, found nothing"),
    ],
)
def test_what_is_no_table_of_tensors_is_refused_and_not_run(
    tmp_path, content, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(TextError, match=message):
        convert_bin.convert(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pytorch_model.bin"]


@pytest.mark.parametrize("keep", [0, 10, 400, -1])
def test_a_cut_file_is_refused(pair, keep):
    model, _, pickled = pair
    path = pickled / "pytorch_model.bin"
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TextError, match="pytorch_model.bin: not read; it is damaged"):
        convert_bin.convert(pickled)
