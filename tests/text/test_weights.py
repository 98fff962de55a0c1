import json

import numpy as np
import pytest
import safetensors.numpy

from ehr_jax.errors import TextError
from ehr_jax.text import encoders


def rewrite(checkpoint, change) -> None:
    path = checkpoint / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


def edit(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors"], ids=["no config", "no weights"]
)
def test_missing_file_is_named(checkpoint, file):
    (checkpoint / file).unlink()
    with pytest.raises(TextError, match=f"{file}: file is missing"):
        encoders.load(checkpoint)


def test_pickled_weights_are_refused_by_name(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(TextError, match="found pytorch_model.bin, which is not read"):
        encoders.load(checkpoint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:200],
        lambda data: data[:-100],
        lambda data: data + b"more",
        lambda data: (2**60).to_bytes(8, "little") + data[8:],
        lambda data: (20).to_bytes(8, "little") + data[8:],
        lambda data: data[:8] + b"[]" + b" " * (int.from_bytes(data[:8], "little") - 2),
    ],
    ids=["empty", "cut length", "cut header", "cut data", "long", "huge", "short", "list"],
)
def test_damaged_safetensors_is_a_clear_error(checkpoint, damage):
    path = checkpoint / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TextError, match="model.safetensors: .*fetch it again"):
        encoders.load(checkpoint)


def test_missing_tensors_are_named(checkpoint):
    rewrite(checkpoint, lambda t: t.pop("encoder.layer.1.output.dense.bias"))
    with pytest.raises(TextError, match="encoder.layer.1.output.dense.bias missing"):
        encoders.load(checkpoint)


def test_wrong_shapes_are_named_with_both_shapes(checkpoint):
    edit(checkpoint / "config.json", intermediate_size=41)
    with pytest.raises(
        TextError, match=r"intermediate.dense.weight has shape \(40, 24\), expected \(41, 24\)"
    ):
        encoders.load(checkpoint)


def test_other_tensors_are_ignored(checkpoint):
    before = encoders.load(checkpoint).params
    rewrite(checkpoint, lambda t: t.update({"cls.seq_relationship.bias": np.zeros(2, np.float32)}))
    after = encoders.load(checkpoint).params
    assert all(np.array_equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read_as_float32(checkpoint, dtype):
    import ml_dtypes

    half = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    before = encoders.load(checkpoint).params["word"]
    rewrite(checkpoint, lambda t: t.update({k: v.astype(half) for k, v in t.items()}))
    after = encoders.load(checkpoint).params["word"]
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before, rtol=2**-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "t5"}, "model_type 't5' is not known, expected one of .*bert"),
        ({"hidden_size": None}, "key 'hidden_size' is missing"),
        ({"hidden_size": "24"}, "key 'hidden_size' is '24', expected a positive int"),
        ({"num_attention_heads": 5}, "not a multiple of num_attention_heads 5"),
        ({"hidden_act": "swish"}, "hidden_act 'swish' is not one of"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"vocab_size": 300}, "the tokenizer has 62 tokens, the weights have 300"),
        ({"vocab_size": 60}, "the tokenizer has 62 tokens, the weights have 60"),
    ],
)
def test_impossible_config_is_a_clear_error(checkpoint, changes, message):
    edit(checkpoint / "config.json", **changes)
    with pytest.raises(TextError, match=message):
        encoders.load(checkpoint)


def test_broken_json_is_named(checkpoint):
    (checkpoint / "config.json").write_text('{"model_type": ')
    with pytest.raises(TextError, match="config.json: cannot be read as JSON"):
        encoders.load(checkpoint)


@pytest.fixture
def sharded(checkpoint):
    """The checkpoint in two files and an index, as transformers writes large ones."""
    tensors = safetensors.numpy.load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    names, where = sorted(tensors), {}
    for number, part in enumerate((names[:9], names[9:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        safetensors.numpy.save_file({name: tensors[name] for name in part}, checkpoint / file)
        where |= dict.fromkeys(part, file)
    index = checkpoint / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return checkpoint


def test_shards_are_read_as_one_file(sharded, tiny):
    params = encoders.load(sharded).params
    assert all(np.array_equal(params[k], tiny.params[k]) for k in tiny.params)


def test_fingerprint_changes_with_a_bit_of_a_shard(sharded):
    before = encoders.load(sharded).fingerprint
    path = sharded / "model-00002-of-00002.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert encoders.load(sharded).fingerprint != before


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../model.safetensors", "lies outside its folder"),
        ("/etc/model.safetensors", "lies outside its folder"),
        ("a/../../model.safetensors", "lies outside its folder"),
        ("..\\model.safetensors", "lies outside its folder"),
        ("C:model.safetensors", "lies outside its folder"),
        ("model.bin", "expected .*safetensors"),
        ("other.safetensors", "other.safetensors: file is missing"),
        (None, "expected .*safetensors"),
    ],
)
def test_index_that_names_a_wrong_file_is_refused(sharded, file, message):
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["embeddings.LayerNorm.bias"] = file
    path.write_text(json.dumps(index))
    with pytest.raises(TextError, match=message):
        encoders.load(sharded)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": {}}', '{"weight_map": [1]}'])
def test_index_without_a_map_is_refused(sharded, content):
    (sharded / "model.safetensors.index.json").write_text(content)
    with pytest.raises(TextError, match="index.json: no weight_map"):
        encoders.load(sharded)


def test_damaged_shard_is_named(sharded):
    path = sharded / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TextError, match="model-00002-of-00002.safetensors: .*fetch it again"):
        encoders.load(sharded)


def test_extra_tensors_of_a_layer_are_named(checkpoint):
    extra = {"encoder.layer.1.attention.adapter.weight": np.zeros(2, np.float32)}
    rewrite(checkpoint, lambda t: t.update(extra))
    with pytest.raises(TextError, match="layer.1.attention.adapter.weight not expected by config"):
        encoders.load(checkpoint)
