"""The PyTorch side of encode.py: transformers with sdpa, and sentence-transformers' `encode`."""

import functools
import json
import pathlib
from collections.abc import Callable

import numpy as np
import sentence_transformers
import torch
import transformers

from ehr_jax.text import encoders

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Random checkpoints: BERT-base, Longformer-base, and a Llama of the 1B class (1.24 billion).
CONFIGS = {
    "base": lambda: transformers.BertConfig(),
    "longformer": lambda: transformers.LongformerConfig(
        vocab_size=50_265, max_position_embeddings=4098, type_vocab_size=1, attention_window=512,
        pad_token_id=1, layer_norm_eps=1e-5,
    ),
    "decoder": lambda: transformers.LlamaConfig(
        vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, head_dim=64, rms_norm_eps=1e-5,
        max_position_embeddings=8192,
    ),
}  # fmt: skip


def about(arguments) -> dict:
    """Sets the threads, and says what it runs on."""
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    name = "cpu" if arguments.device == "cpu" else torch.cuda.get_device_name()
    return {"device": name, "threads": torch.get_num_threads()}


def make(_, name: str, target: str, seed: int) -> dict:
    """Saves a checkpoint of random weights."""
    torch.manual_seed(seed)
    # A decoder is published in bfloat16, and so half as large.
    dtype = torch.bfloat16 if name == "decoder" else torch.float32
    model = transformers.AutoModel.from_config(CONFIGS[name](), dtype=dtype)
    model.save_pretrained(target)
    return {}


def prepare(kind: str, arguments, **case) -> tuple[Callable[[], np.ndarray], dict]:
    """Returns a function that gives vectors, and what is known of it beforehand."""
    return {"batch": _batch, "texts": _texts}[kind](arguments, **case), {}


def _batch(
    arguments, folder: str, tokens: str, precision: str, part: int = 0, compiled: bool = False
) -> Callable[[], np.ndarray]:
    """A batch of full rows, as a whole or `part` tokens at a time."""
    place = {"cpu": "cpu", "gpu": "cuda"}[arguments.device]
    model = _load(folder, precision, place)
    tokens = torch.from_numpy(np.load(tokens).astype(np.int64)).to(place)
    rows, length = tokens.shape
    inputs = {"attention_mask": torch.ones_like(tokens)}
    if model.config.model_type == "longformer":
        inputs["global_attention_mask"] = torch.zeros_like(tokens)
        inputs["global_attention_mask"][:, 0] = 1
    step = max(part // length, 1) if part else rows
    apply = torch.compile(model) if compiled else model

    def run() -> np.ndarray:
        pooled = []
        with torch.inference_mode():
            for start in range(0, rows, step):
                rest = {name: mask[start : start + step] for name, mask in inputs.items()}
                hidden = apply(tokens[start : start + step], **rest).last_hidden_state
                pooled.append(hidden.float().mean(1))
            return torch.cat(pooled).cpu().numpy()

    return run


def _texts(_, texts: str, batch_size: int) -> Callable[[], np.ndarray]:
    model = _sentence_transformer()
    texts = json.loads(pathlib.Path(texts).read_text())
    return lambda: model.encode(texts, batch_size=batch_size, show_progress_bar=False)


@functools.lru_cache(maxsize=1)
def _load(folder: str, precision: str, place: str) -> torch.nn.Module:
    def load(attention: str):
        return transformers.AutoModel.from_pretrained(
            folder, dtype=DTYPES[precision], attn_implementation=attention
        )

    try:
        model = load("sdpa")
    except ValueError:  # Longformer has attention of its own
        model = load("eager")
    return model.eval().to(place)


@functools.lru_cache(maxsize=1)
def _sentence_transformer() -> sentence_transformers.SentenceTransformer:
    return sentence_transformers.SentenceTransformer(
        str(encoders.resolve()),
        device="cpu",
        model_kwargs={"attn_implementation": "sdpa", "dtype": torch.float32},
    )
