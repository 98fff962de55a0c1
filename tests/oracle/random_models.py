"""Tiny models of every architecture with random weights, as transformers makes and runs them."""

from pathlib import Path

import numpy as np
import torch
import transformers

SMALL = {"vocab_size": 40, "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2,
         "num_attention_heads": 2}  # fmt: skip
ROBERTA = SMALL | {"max_position_embeddings": 64, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
                   "pad_token_id": 1}  # fmt: skip
MODERN = SMALL | {"num_hidden_layers": 4, "max_position_embeddings": 64, "local_attention": 8,
                  "pad_token_id": 3, "initializer_cutoff_factor": 3.0}  # fmt: skip
LONG = ROBERTA | {"attention_window": 6, "num_hidden_layers": 3}
DECODER = SMALL | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
                   "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
LLAMA31 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
           "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip
# Its norms after each part make narrower ones so ill-conditioned that PyTorch's own float32 is more
# than 1e-5 from its float64.
GEMMA = DECODER | {"num_hidden_layers": 4, "sliding_window": 5, "query_pre_attn_scalar": 16,
                   "hidden_size": 20, "intermediate_size": 20,
                   "layer_types": ["sliding_attention"] * 2 + ["full_attention"]
                   + ["sliding_attention"]}  # fmt: skip
# name -> (model class, config); the first of each architecture is also made a golden checkpoint
CASES = {
    "roberta": ("RobertaModel", ROBERTA),
    "roberta_other_pad": ("RobertaModel", ROBERTA | {
        "pad_token_id": 4, "type_vocab_size": 2, "num_attention_heads": 1, "hidden_act": "relu",
    }),
    "roberta_with_head": ("RobertaForMaskedLM", ROBERTA | {"layer_norm_eps": 1e-12}),
    "xlm_roberta": ("XLMRobertaModel", ROBERTA | {"num_hidden_layers": 3}),
    "modernbert": ("ModernBertModel", MODERN),
    "modernbert_all_local": ("ModernBertModel", MODERN | {
        "layer_types": ["sliding_attention"] * 4, "local_attention": 5,
    }),
    "modernbert_all_global": ("ModernBertModel", MODERN | {
        "layer_types": ["full_attention"] * 4, "num_attention_heads": 1,
    }),
    "modernbert_biased": ("ModernBertForMaskedLM", MODERN | {
        "norm_bias": True, "attention_bias": True, "mlp_bias": True, "num_hidden_layers": 5,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0},
        },
    }),
    "llama": ("LlamaModel", DECODER | {"rope_parameters": LLAMA31}),
    "llama_plain": ("LlamaForCausalLM", SMALL | {"max_position_embeddings": 64}),
    "llama_tied_biased": ("LlamaForCausalLM", DECODER | {
        "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
        "num_key_value_heads": 1, "rope_parameters": {
            "rope_type": "linear", "factor": 3.0, "rope_theta": 200.0,
        },
    }),
    "mistral": ("MistralModel", DECODER | {"sliding_window": 7}),
    "mistral_no_window": ("MistralForCausalLM", DECODER | {
        "sliding_window": None, "head_dim": 6, "num_key_value_heads": 4,
    }),
    "qwen2": ("Qwen2Model", DECODER | {"rope_parameters": {
        "rope_type": "default", "rope_theta": 1e6,
    }}),
    "qwen2_window": ("Qwen2ForCausalLM", DECODER | {
        "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1,
        "tie_word_embeddings": True, "num_hidden_layers": 3, "initializer_range": 0.2,
    }),
    "qwen3": ("Qwen3Model", DECODER | {"head_dim": 6}),
    "qwen3_biased": ("Qwen3ForCausalLM", DECODER | {
        "attention_bias": True, "num_key_value_heads": 4, "tie_word_embeddings": True,
    }),
    "gemma3": ("Gemma3TextModel", GEMMA),
    "gemma3_scaled": ("Gemma3ForCausalLM", GEMMA | {
        "num_key_value_heads": 1, "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    }),
    "longformer": ("LongformerModel", LONG),
    "longformer_windows": ("LongformerModel", LONG | {"attention_window": [4, 8, 4]}),
    "longformer_with_head": ("LongformerForMaskedLM", LONG | {
        "attention_window": [10] * 3, "num_attention_heads": 3,
    }),
}  # fmt: skip
GOLDEN = (
    "roberta", "xlm_roberta", "modernbert",
    "llama", "mistral", "qwen2", "qwen3", "gemma3",
    "longformer",
)  # fmt: skip


def make(name: str, seed: int = 0, bfloat16: bool = False) -> transformers.PreTrainedModel:
    """Makes one model; with `bfloat16` its weights are such that bfloat16 holds them exactly."""
    kind, config = CASES[name]
    cls = getattr(transformers, kind)
    torch.manual_seed(seed)
    # Weights far wider than usual, so that attention is far from uniform and a fault shows.
    model = cls(cls.config_class(**({"initializer_range": 0.3} | config))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.2)
            if bfloat16:
                parameter.copy_(parameter.bfloat16())
    return model


def batch(model, rows: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random tokens [rows, length], padded, and the number of real ones [rows]."""
    rng = np.random.default_rng(seed)
    pad = model.config.pad_token_id or 0
    tokens = rng.integers(5, model.config.vocab_size, (rows, length)).astype(np.int32)
    lengths = rng.integers(1, length + 1, rows).astype(np.int32)
    lengths[0] = length
    tokens[np.arange(length) >= lengths[:, None]] = pad
    return tokens, lengths


def run(model, tokens: np.ndarray, lengths: np.ndarray, **inputs) -> np.ndarray:
    """Last hidden states of the model below any head, [rows, length, width]."""
    valid = torch.tensor(np.arange(tokens.shape[1]) < lengths[:, None])
    base = getattr(model, model.base_model_prefix, model)
    base = getattr(base, "language_model", base)
    if model.config.model_type == "longformer":  # by itself it makes no token global
        first = torch.zeros(valid.shape, dtype=torch.long)
        first[:, 0] = 1
        inputs.setdefault("global_attention_mask", first)
    with torch.inference_mode():
        out = base(input_ids=torch.tensor(tokens), attention_mask=valid.long(), **inputs)
    return out.last_hidden_state.float().numpy()


def save(model, folder: Path, **options) -> None:
    """Writes config.json and the weights."""
    model.save_pretrained(folder, **options)
