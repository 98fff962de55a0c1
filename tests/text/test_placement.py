"""How encoders are laid over devices: which parameter is divided how, and over how many."""

import types
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ehr_jax.errors import TextError
from ehr_jax.text import encoders, parameters, placement

# config.json of Mistral 7B, as its authors publish it.
MISTRAL = {
    "model_type": "mistral", "vocab_size": 32_000, "hidden_size": 4096, "num_hidden_layers": 32,
    "intermediate_size": 14_336, "num_attention_heads": 32, "num_key_value_heads": 8,
    "max_position_embeddings": 32_768, "sliding_window": 4096, "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
}  # fmt: skip
GB = 10**9


def test_a_seven_billion_decoder_takes_as_few_devices_as_hold_it():
    config = encoders.DECODER.read_config(MISTRAL, Path("config.json"))
    sources = encoders.DECODER.sources(config)
    shapes = parameters.shapes(sources)
    # 7,241,732,096 are published, with an output head of 32,000 x 4,096.
    assert sum(map(int, map(np.prod, shapes.values()))) == 7_241_732_096 - 32_000 * 4096
    half = placement.device_bytes(sources, "bfloat16", 1)
    assert half == pytest.approx(2 * 7_110_660_096, rel=1e-4)  # norms are float32
    assert placement.device_bytes(sources, "bfloat16", 8) == pytest.approx(half / 8, rel=1e-3)

    def fewest(precision, count, memory):
        return placement.fewest_shards(sources, precision, count, memory)

    assert fewest("bfloat16", 8, 80 * GB) == 1
    assert fewest("bfloat16", 8, 16 * GB) == 2
    assert fewest("float32", 8, 16 * GB) == 4
    assert fewest("bfloat16", 1, 16 * GB) == 1  # without room to spare, but it fits
    assert fewest("bfloat16", 8, 2.5 * GB) == 8
    assert fewest("float32", 4, None) == 1
    with pytest.raises(TextError, match=r"28.4 GB on each of 1 local devices of 16.0 GB; try con"):
        fewest("float32", 1, 16 * GB)


@pytest.mark.parametrize(
    ("name", "shape", "shards", "expected"),
    [
        ("qkv_kernel", (2, 12, 4, 9), 4, (None, None, "model")),
        ("qkv_kernel", (2, 12, 2, 9), 4, (None, "model")),
        ("qkv_kernel", (2, 13, 2, 12), 4, ()),  # the parts of a head are never divided
        ("up_kernel", (2, 12, 2, 8), 4, (None, None, None, "model")),
        ("up_kernel", (2, 12, 8), 4, (None, None, "model")),
        ("up_kernel", (2, 12, 9), 4, (None, "model")),
        ("down_kernel", (2, 8, 12), 4, (None, "model")),
        ("word", (41, 12), 4, (None, "model")),
        ("word", (41, 13), 4, ()),
        ("word", (40, 12), 1, ()),
        ("position", (40, 12), 4, ()),
        ("norm1_scale", (2, 12), 4, ()),
    ],
)
def test_a_parameter_is_divided_along_the_best_axis_that_can_be(name, shape, shards, expected):
    assert placement.spec(name, shape, shards) == PartitionSpec(*expected)


def test_one_device_has_no_mesh_and_is_given_the_batch_as_it_is(tiny):
    if jax.local_device_count() == 1:
        assert tiny.mesh is None
    tokens, lengths = np.zeros((3, 16), np.int32), np.zeros(3, np.int32)
    found = placement.put_batch(tokens, lengths, None)
    assert found[0] is tokens and found[1] is lengths
    assert placement.over_rows(len, None) is len
    assert placement.describe(None) == "1 device"


@pytest.mark.parametrize("shards", [0, -1, 3, 9])
def test_shards_that_do_not_divide_the_devices_are_an_error_that_names_the_key(shards):
    devices = [types.SimpleNamespace(platform="gpu")] * 8
    with pytest.raises(TextError, match=f"config.text.model_shards is {shards}; .* 8 local gpu"):
        placement.choose_mesh({}, "float32", shards, devices)


def test_a_device_too_small_is_said_before_anything_is_read(checkpoint, monkeypatch):
    small = types.SimpleNamespace(memory_stats=lambda: {"bytes_limit": 1000}, platform="gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [small])
    with pytest.raises(TextError, match="on each of 1 local devices .*a smaller encoder"):
        encoders.load(checkpoint)


def test_matrices_are_read_in_bfloat16_where_that_is_the_precision(checkpoint):
    config = encoders.load(checkpoint).config
    params = encoders.BERT.read_params(checkpoint / "model.safetensors", config, "bfloat16")
    half = {name for name, value in params.items() if value.dtype == "bfloat16"}
    assert half == {"qkv_kernel", "out_kernel", "up_kernel", "down_kernel"}


def test_on_a_cpu_matrices_are_held_in_float32_with_the_same_values(checkpoint):
    half = encoders.load(checkpoint, "bfloat16")
    params = encoders.BERT.read_params(checkpoint / "model.safetensors", half.config, "bfloat16")
    for name, value in half.params.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, params[name].astype(np.float32))
