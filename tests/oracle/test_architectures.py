"""Every architecture against PyTorch: random tiny models, saved by transformers and read by us."""

import dataclasses
import json

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle import random_models  # noqa: E402

from ehr_jax.text import encoders, layers, local_attention, weights  # noqa: E402


def ours(folder, tokens, lengths, changes) -> np.ndarray:
    content = json.loads((folder / "config.json").read_text())
    architecture = encoders.ARCHITECTURES[content["model_type"]]
    config = architecture.read_config(content, folder / "config.json")
    config = dataclasses.replace(config, **changes)
    params = architecture.read_params(weights.find_weights(folder), config)
    module = architecture.module(config)
    apply = jax.jit(lambda *inputs: module.apply(*inputs))  # a new one: nothing traced is reused
    return np.asarray(apply({"params": params}, tokens, lengths))


def difference(model, folder, length: int, changes=(), **inputs) -> float:
    tokens, lengths = random_models.batch(model, 4, length, seed=length)
    expected = random_models.run(model, tokens, lengths, **inputs)
    real = np.arange(length) < lengths[:, None]
    return np.abs(ours(folder, tokens, lengths, dict(changes)) - expected)[real].max()


@pytest.mark.parametrize("name", random_models.CASES)
def test_random_models_equal_pytorch(name, tmp_path):
    model = random_models.make(name)
    random_models.save(model, tmp_path)
    assert difference(model, tmp_path, 1) < 1e-5
    assert difference(model, tmp_path, 41) < 1e-5


@pytest.mark.parametrize(
    "name", ["modernbert", "mistral", "qwen2_window", "gemma3", "longformer_windows"]
)
def test_attention_block_by_block_equals_pytorch(name, tmp_path, monkeypatch):
    monkeypatch.setattr(local_attention, "BLOCK", 3)
    monkeypatch.setattr(layers, "WHOLE_UP_TO", 5)
    monkeypatch.setattr(layers, "QUERY_BLOCK", 7)
    model = random_models.make(name, seed=1)
    random_models.save(model, tmp_path)
    assert difference(model, tmp_path, 41) < 1e-5
    monkeypatch.setattr(layers, "MAP_FROM_LENGTH", 1)
    assert difference(model, tmp_path, 41) < 1e-5


def test_longformer_without_global_tokens_equals_pytorch(tmp_path, monkeypatch):
    model = random_models.make("longformer_windows", seed=3)
    random_models.save(model, tmp_path)
    none = torch.zeros((4, 41), dtype=torch.long)
    changes = {"global_tokens": "none"}
    assert difference(model, tmp_path, 41, changes, global_attention_mask=none) < 1e-5
    monkeypatch.setattr(local_attention, "BLOCK", 3)
    assert difference(model, tmp_path, 41, changes, global_attention_mask=none) < 1e-5
    assert difference(model, tmp_path, 41, global_attention_mask=none) > 0.01


@pytest.mark.parametrize("name", ["xlm_roberta", "llama_plain"])
def test_shards_equal_pytorch(name, tmp_path):
    model = random_models.make(name, seed=2)
    random_models.save(model, tmp_path, max_shard_size="8KB")
    assert weights.find_weights(tmp_path).name == weights.INDEX
    assert difference(model, tmp_path, 9) < 1e-5
