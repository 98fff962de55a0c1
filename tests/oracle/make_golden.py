"""Makes tests/text/golden: tiny checkpoints and the vectors PyTorch computes from them.

Two BERTs with tokenizer and pooling, and one checkpoint of each other architecture, bare: weights
that bfloat16 holds exactly, a batch of tokens and its hidden states. Needs the `oracle` extra and
the all-MiniLM-L6-v2 package. Run from anywhere:

    python tests/oracle/make_golden.py [names of random_models.GOLDEN; without any, all]

Seeds: 1 for `tiny_mean`, 2 for `tiny_cls`, 7 for the others. Last made with torch
2.13.0, transformers 5.23.0, sentence-transformers 6.2.0.
"""

import json
import sys
from pathlib import Path

import numpy as np
import random_models
import safetensors.numpy
import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer import modules

from ehr_jax.text import encoders

GOLDEN = Path(__file__).parent.parent / "text" / "golden"
SENTENCES = [  # invented
    "Chest pain for two days, no fever.",
    "History of type 2 diabetes and heart failure.",
    "fever",
    "The patient denies cough; blood pressure 140/90, heart rate 88, no fever, no chest pain.",
    "Started metformin 500 mg twice a day.",
    "Pneumonia was ruled out by chest x-ray, naïve café ünknown ☃.",
]
WORDS = """chest pain for two days no fever history of type diabetes and heart failure the patient
denies cough blood pressure rate started metformin mg twice a day was ruled out by x ray ##s ##ed
##e ##n ##i ##t ##o p u 1 2 4 5 8 9 ##0 ##4 ##8 ##9 . , ; / -""".split()


def make_tiny_mean(folder: Path) -> dict[str, np.ndarray]:
    """Mean pooling, normalised, tokenizer.json, today's tensor names."""
    config = tiny_config(hidden_size=24, num_hidden_layers=2, num_attention_heads=4)
    model, tokenizer = tiny_model(config, seed=1), tiny_tokenizer(folder, max_length=40)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").unlink()
    pipeline = sentence_transformers.SentenceTransformer(
        modules=[
            modules.Transformer(str(folder), max_seq_length=40),
            modules.Pooling(24, pooling_mode="mean"),
            modules.Normalize(),
        ],
        device="cpu",
    )
    vectors = pipeline.encode(SENTENCES)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    save(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    save(folder / "modules.json", [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ])  # fmt: skip
    save(folder / "sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    return {"vectors": vectors} | hidden(model, tokenizer)


def make_tiny_cls(folder: Path) -> dict[str, np.ndarray]:
    """First token, not normalised; vocab.txt alone; old tensor names, prefix and extra tensors."""
    config = tiny_config(
        hidden_size=20, num_hidden_layers=3, num_attention_heads=2, layer_norm_eps=1e-5,
        type_vocab_size=1, hidden_act="gelu_new",
    )  # fmt: skip
    model, tokenizer = tiny_model(config, seed=2), tiny_tokenizer(folder, max_length=48)
    tensors = {}
    for name, value in model.state_dict().items():
        if "LayerNorm" in name:
            name = name.replace("weight", "gamma").replace("bias", "beta")
        tensors["bert." + name] = value.numpy()
    tensors["bert.embeddings.position_ids"] = np.arange(48)[None]
    tensors["cls.predictions.bias"] = np.zeros(config.vocab_size, np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    save(folder / "config.json", config.to_dict())
    settings = {"do_lower_case": True, "model_max_length": 48, "tokenizer_class": "BertTokenizer"}
    save(folder / "tokenizer_config.json", settings)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    save(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    save(folder / "modules.json", [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ])  # fmt: skip
    out = hidden(model, tokenizer)
    return {"vectors": out["hidden"][:, 0]} | out


def tiny_config(**sizes) -> transformers.BertConfig:
    # Weights far wider than usual, so that attention is far from uniform and a fault shows.
    return transformers.BertConfig(
        vocab_size=len(WORDS) + 5, intermediate_size=40, max_position_embeddings=48,
        initializer_range=0.3, **sizes,
    )  # fmt: skip


def tiny_model(config: transformers.BertConfig, seed: int) -> transformers.BertModel:
    torch.manual_seed(seed)
    model = transformers.BertModel(config, add_pooling_layer=True).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                value.add_(torch.randn(value.shape) * 0.2)
    return model


def tiny_tokenizer(folder: Path, max_length: int) -> transformers.BertTokenizerFast:
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=max_length)


def hidden(model: transformers.BertModel, tokenizer) -> dict[str, np.ndarray]:
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state.numpy()
    lengths = batch["attention_mask"].sum(1).numpy().astype(np.int32)
    return {
        "tokens": batch["input_ids"].numpy().astype(np.int32),
        "lengths": lengths,
        "hidden": states,
    }


def make_architecture(name: str) -> dict[str, np.ndarray]:
    """One checkpoint of random_models, with the hidden states of its real tokens, [tokens, width].

    Weights are rounded and computed with as float32, and stored as bfloat16, half as large.
    """
    model = random_models.make(name, seed=7, bfloat16=True)
    tokens, lengths = random_models.batch(model, 3, 23, seed=7)
    states = random_models.run(model, tokens, lengths)
    random_models.save(model.bfloat16(), GOLDEN / name)
    (GOLDEN / name / "generation_config.json").unlink(missing_ok=True)
    real = np.arange(tokens.shape[1]) < lengths[:, None]
    return {"tokens": tokens, "lengths": lengths, "hidden": states[real]}


def save(path: Path, content: dict | list) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in sys.argv[1:] or random_models.GOLDEN:
        np.savez_compressed(GOLDEN / f"{name}.npz", **make_architecture(name))
    if len(sys.argv) == 1:
        save(GOLDEN / "sentences.json", SENTENCES)
        for name, make in (("tiny_mean", make_tiny_mean), ("tiny_cls", make_tiny_cls)):
            np.savez_compressed(GOLDEN / f"{name}.npz", **make(GOLDEN / name))
        minilm = sentence_transformers.SentenceTransformer(str(encoders.resolve()), device="cpu")
        np.savez_compressed(GOLDEN / "minilm.npz", vectors=minilm.encode(SENTENCES))
