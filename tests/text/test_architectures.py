"""What holds for every architecture, on tiny checkpoints that PyTorch ran (tests/text/golden)."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from ehr_jax.errors import TextError
from ehr_jax.text import encoders, layers, local_attention, weights

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(
    folder.name for folder in GOLDEN.iterdir() if folder.is_dir() and "tiny" not in folder.name
)


def read_config(folder: Path, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    return encoders.ARCHITECTURES[content["model_type"]].read_config(content, path)


def read(folder: Path, precision: str = "float32"):
    """Returns (module, its parameters)."""
    config = read_config(folder)
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    architecture = encoders.ARCHITECTURES[kind]
    params = architecture.read_params(weights.find_weights(folder), config, precision)
    return architecture.module(config, precision), params


def run(loaded, tokens, lengths) -> np.ndarray:
    module, params = loaded
    apply = jax.jit(lambda *inputs: module.apply(*inputs))  # a new one: nothing traced is reused
    return np.asarray(apply({"params": params}, tokens, lengths))


def real(states, lengths) -> np.ndarray:
    return states[np.arange(states.shape[1]) < lengths[:, None]]


@pytest.fixture(params=NAMES, scope="module")
def each(request, golden):
    return read(GOLDEN / request.param), golden(request.param)


def test_hidden_states_equal_pytorch_whatever_padding_and_batch_order(each):
    loaded, expected = each
    tokens, lengths = expected["tokens"], expected["lengths"]
    order = np.array([2, 0, 1])
    junk = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, 9)[order]
    padded = np.pad(junk, ((0, 2), (0, 6)), constant_values=9)
    found = run(loaded, padded, np.pad(lengths[order], (0, 2)))
    assert np.isfinite(found).all()
    back = real(found[:-2][np.argsort(order)], lengths)
    np.testing.assert_allclose(back, expected["hidden"], atol=1e-5)


@pytest.mark.parametrize("name", ["modernbert", "gemma3", "longformer"])
def test_attention_block_by_block_equals_pytorch(name, golden, monkeypatch):
    monkeypatch.setattr(local_attention, "BLOCK", 3)
    monkeypatch.setattr(layers, "WHOLE_UP_TO", 5)
    monkeypatch.setattr(layers, "QUERY_BLOCK", 7)
    monkeypatch.setattr(layers, "MAP_FROM_LENGTH", 1)
    expected = golden(name)
    found = run(read(GOLDEN / name), expected["tokens"], expected["lengths"])
    np.testing.assert_allclose(real(found, expected["lengths"]), expected["hidden"], atol=1e-5)


def test_module_declares_the_parameters_a_checkpoint_gives(each):
    module, params = each[0]
    tokens, lengths = np.zeros((1, 4), np.int32), np.full(1, 4, np.int32)
    declared = jax.eval_shape(module.init, jax.random.key(0), tokens, lengths)["params"]
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, declared)


@pytest.mark.parametrize("name", ["roberta", "modernbert", "gemma3", "longformer"])
def test_bfloat16_stays_close_to_float32(name, golden):
    expected = golden(name)
    found = run(read(GOLDEN / name, "bfloat16"), expected["tokens"], expected["lengths"])
    found, exact = real(found, expected["lengths"]), expected["hidden"]
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(exact, axis=-1)
    cosine = np.sum(found * exact, -1) / norms
    assert found.dtype == np.float32
    assert 1e-7 < 1 - cosine.min() < 0.05  # rounded indeed, but little


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_too_many_is_an_error_that_names_it(name, tmp_path):
    content = json.loads((GOLDEN / name / "config.json").read_text())
    architecture = encoders.ARCHITECTURES[content["model_type"]]
    content["num_hidden_layers"] -= 1
    for key in ("layer_types", "attention_window"):
        if key in content:
            content[key] = content[key][:-1]
    config = architecture.read_config(content, tmp_path)
    last = rf"layers?\.{content['num_hidden_layers']}\."
    with pytest.raises(TextError, match=rf"{last}.* not expected by config.json"):
        architecture.read_params(weights.find_weights(GOLDEN / name), config)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_too_few_is_an_error_that_names_it(name, tmp_path):
    content = json.loads((GOLDEN / name / "config.json").read_text())
    architecture = encoders.ARCHITECTURES[content["model_type"]]
    content["num_hidden_layers"] += 1
    for key in ("layer_types", "attention_window"):
        if key in content:
            content[key] = [*content[key], content[key][0]]
    config = architecture.read_config(content, tmp_path)
    last = rf"layers?\.{content['num_hidden_layers'] - 1}\."
    with pytest.raises(TextError, match=rf"{last}.* missing; the file holds"):
        architecture.read_params(weights.find_weights(GOLDEN / name), config)


OLDER = {  # the keys that replace layer_types and rope_parameters in files of transformers 4
    "modernbert": {"global_attn_every_n_layers": 3, "global_rope_theta": 160_000.0,
                   "local_rope_theta": 10_000.0},
    "llama": {"rope_theta": 100.0, "rope_scaling": {
        "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }},
    "mistral": {"rope_theta": 10_000.0},
    "qwen2": {"rope_theta": 1e6, "rope_scaling": None, "use_sliding_window": False},
    "qwen3": {"rope_theta": 10_000.0},
    "gemma3": {"rope_theta": 1e6, "rope_local_base_freq": 10_000.0, "sliding_window_pattern": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", OLDER)
def test_older_spelling_of_a_config_means_the_same(name):
    content = json.loads((GOLDEN / name / "config.json").read_text())
    for key in ("layer_types", "rope_parameters"):
        content.pop(key, None)
    kind = content["model_type"]
    config = encoders.ARCHITECTURES[kind].read_config(content | OLDER[name], Path("config.json"))
    assert config == read_config(GOLDEN / name)


def test_a_gemma_with_images_is_read_by_its_text_config(tmp_path, golden):
    content = json.loads((GOLDEN / "gemma3" / "config.json").read_text())
    content.pop("model_type")
    whole = {"model_type": "gemma3", "text_config": content, "vision_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    tensors = safetensors.numpy.load_file(GOLDEN / "gemma3" / "model.safetensors")
    tensors = {f"language_model.model.{name}": value for name, value in tensors.items()}
    tensors["vision_tower.layers.0.weight"] = np.zeros(3, np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    expected = golden("gemma3")
    found = run(read(tmp_path), expected["tokens"], expected["lengths"])
    np.testing.assert_allclose(real(found, expected["lengths"]), expected["hidden"], atol=1e-5)


def test_a_text_config_that_leaves_out_its_sizes_gets_those_of_transformers():
    content = {"model_type": "gemma3", "text_config": {"hidden_size": 2560, "rope_scaling": {
        "rope_type": "linear", "factor": 8.0,
    }}}  # fmt: skip
    config = encoders.ARCHITECTURES["gemma3"].read_config(content, Path("config.json"))
    assert (config.heads, config.key_heads, config.depth) == (8, 4, 256)
    assert (config.vocabulary, config.layers, sum(config.local)) == (262_208, 26, 22)
    assert [(r.theta, r.kind, r.factor) for r in config.ropes] == [
        (1e6, "linear", 8.0), (1e4, "default", 1.0),
    ]  # fmt: skip


def test_global_tokens_of_a_longformer_change_its_states(golden):
    module, params = read(GOLDEN / "longformer")
    expected = golden("longformer")
    none = module.copy(config=dataclasses.replace(module.config, global_tokens="none"))
    found = run((none, params), expected["tokens"], expected["lengths"])
    assert np.abs(real(found, expected["lengths"]) - expected["hidden"]).max() > 0.01


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("roberta", {"pad_token_id": -1}, "key 'pad_token_id' is -1, expected a positive int or 0"),
        ("roberta", {"pad_token_id": 200}, "key 'pad_token_id' is 200, which leaves none"),
        ("roberta", {"is_decoder": True}, "is_decoder True is not known, only False"),
        ("modernbert", {"num_attention_heads": 5}, "not a multiple of 2 . num_attention_heads 10"),
        ("modernbert", {"layer_types": ["full_attention"]}, "one type for each of 4 layers"),
        ("modernbert", {"layer_types": ["chunked"] * 4}, r"layer_types \['chunked'\] are not"),
        ("modernbert", {"norm_bias": 1}, "key 'norm_bias' is 1, expected bool"),
        ("modernbert", {"rope_scaling": 2}, "key 'rope_scaling' is 2, expected an object"),
        ("modernbert", {"rope_scaling": {"type": "yarn"}}, "rotary scaling 'yarn' is not known"),
        ("longformer", {"attention_window": [4, 4]}, "lists 2 windows, expected one for each of 3"),
        ("longformer", {"attention_window": 5}, "attention_window 5 is not a multiple of 2"),
        ("longformer", {"attention_window": "512"}, "key 'attention_window' is '512'"),
        ("llama", {"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of num_key"),
        ("llama", {"head_dim": 5}, "head_dim 5 is not a multiple of 2"),
        ("llama", {"head_dim": None, "hidden_size": 13}, "hidden_size 13 is not a multiple of"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "key 'factor' is missing"),
        ("llama", {"hidden_act": "tanh"}, "hidden_act 'tanh' is not one of"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 is not known"),
        ("mistral", {"sliding_window": 0}, "key 'sliding_window' is 0, expected a positive int"),
        ("qwen2", {"use_sliding_window": 1, "sliding_window": 4}, "'use_sliding_window' is 1"),
        ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0 is not known"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention True is"),
        ("gemma3", {"model_type": "gemma3"}, "key 'text_config' is None, expected an object"),
        ("modernbert", {"hidden_size": 1e30}, "key 'hidden_size' is 1e.30, expected a positive"),
    ],
)
def test_impossible_config_is_a_clear_error(name, changes, message):
    with pytest.raises(TextError, match=f"config.json: .*{message}"):
        read_config(GOLDEN / name, **changes)
