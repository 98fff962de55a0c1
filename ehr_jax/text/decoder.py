"""Decoders as encoders: Llama 2/3/3.1, Mistral, Qwen2/2.5, Qwen3 and Gemma 3 (text), frozen.

One pre-norm causal transformer with rotary positions, grouped heads and a gated inner part; what
sets the families apart is in `Config`. The states it gives are those after the final norm. Layers
with a sliding window are computed block by block (`local_attention`).
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from ehr_jax.errors import TextError
from ehr_jax.text import checkpoint_config, layers, local_attention, parameters, rope

PREFIXES = ("", "model.", "language_model.model.", "model.language_model.")
LAYERS, UNUSED = "layers.", ()
OUTSIDE = ("word", "final_scale")  # of the layers
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text")
THETA, GEMMA_THETA = 10_000.0, 1_000_000.0  # where config.json has none
# What a file may leave out, because transformers fills it in.
DEFAULTS = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {
        "max_position_embeddings": 131_072, "num_key_value_heads": 8, "sliding_window": 4096,
    },
    "qwen2": {"max_position_embeddings": 32_768},
    "qwen3": {"max_position_embeddings": 32_768, "head_dim": 128},
    # Files of Gemma 3 with images, such as MedGemma, hold only what differs from these.
    "gemma3_text": {
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "max_position_embeddings": 131_072, "sliding_window": 4096,
        "query_pre_attn_scalar": 256, "sliding_window_pattern": 6,
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """The sizes of a decoder, and what sets its family apart."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_heads: int
    depth: int
    inner: int
    max_length: int
    eps: float
    activation: str
    local: tuple[bool, ...]  # by layer: whether it has the window
    window: int  # how many tokens a local layer sees, the own one included; 0 without any
    ropes: tuple[rope.Rope, rope.Rope]  # of layers that see all, of local layers
    qkv_bias: bool = False
    out_bias: bool = False
    inner_bias: bool = False
    head_norms: bool = False  # queries and keys are normed (Qwen3, Gemma 3)
    gemma: bool = False  # norms multiply by 1 + w and also follow each part; embeddings are scaled
    query_scale: float | None = None  # scores are divided by its root; None: by that of the depth


def read_config(content: Mapping, path: Path) -> Config:
    """Reads a `Config` from the content of config.json; `path` is named in errors.

    Raises:
        TextError: a key is missing or has a value that cannot be.
    """
    if content.get("model_type") == "gemma3":
        content = content.get("text_config")
        if not isinstance(content, Mapping):
            raise TextError(f"{path}: key 'text_config' is {content!r}, expected an object")
        content = {"model_type": "gemma3_text"} | dict(content)
    family = checkpoint_config.read_choice(content, "model_type", FAMILIES, path, "")
    content = DEFAULTS[family] | dict(content)

    def read(key, kind=int, default=None):
        return checkpoint_config.read(content, key, kind, path, default)

    width, heads, count = (
        read("hidden_size"),
        read("num_attention_heads"),
        read("num_hidden_layers"),
    )
    gemma = family == "gemma3_text"
    if content.get("head_dim") is None:
        checkpoint_config.check_multiple(width, "hidden_size", heads, "num_attention_heads", path)
    depth = read("head_dim", default=width // heads)
    checkpoint_config.check_multiple(depth, "head_dim", 2, "2, a pair of rotary positions:", path)
    key_heads = read("num_key_value_heads", default=heads)
    checkpoint_config.check_multiple(
        heads, "num_attention_heads", key_heads, "num_key_value_heads", path
    )
    for key in ("attn_logit_softcapping", "use_bidirectional_attention"):
        checkpoint_config.refuse(content, key, [False], path)
    local = _local_layers(content, family, count, path)
    biased = read("attention_bias", bool, False) and family != "mistral"
    whole = rope.read(content, path, GEMMA_THETA if gemma else THETA, "full_attention")
    near = whole
    if gemma:
        near = rope.read(
            content, path, THETA, "sliding_attention", "rope_local_base_freq", scaled=False
        )
    return Config(
        vocabulary=read("vocab_size"),
        width=width,
        layers=count,
        heads=heads,
        key_heads=key_heads,
        depth=depth,
        inner=read("intermediate_size"),
        max_length=read("max_position_embeddings"),
        eps=read("rms_norm_eps", float, 1e-6),
        activation=checkpoint_config.read_choice(
            content,
            "hidden_activation" if gemma else "hidden_act",
            layers.ACTIVATIONS,
            path,
            "gelu_pytorch_tanh" if gemma else "silu",
        ),
        local=local,
        window=read("sliding_window") if any(local) else 0,
        ropes=(whole, near),
        qkv_bias=biased or family == "qwen2",
        out_bias=biased and family != "qwen2",
        inner_bias=family == "llama" and read("mlp_bias", bool, False),
        head_norms=gemma or family == "qwen3",
        gemma=gemma,
        query_scale=read("query_pre_attn_scalar", float) if gemma else None,
    )


def _local_layers(content: Mapping, family: str, count: int, path: Path) -> tuple[bool, ...]:
    """Which layers have the sliding window, by each family's own keys."""
    every = checkpoint_config.read(content, "sliding_window_pattern", int, path, 6)
    if family == "gemma3_text":
        default = [(i + 1) % every != 0 for i in range(count)]
    elif family == "llama" or content.get("sliding_window") is None:
        return (False,) * count
    elif family == "mistral":
        return (True,) * count
    elif checkpoint_config.read(content, "use_sliding_window", bool, path, False):
        full = checkpoint_config.read(content, "max_window_layers", int, path, 28, zero=True)
        default = [i >= full for i in range(count)]
    else:
        return (False,) * count
    return checkpoint_config.read_layer_types(content, count, path, default)


def sources(config: Config) -> dict[str, parameters.Source]:
    """Returns what every parameter is made of.

    With precision "bfloat16" the token table is held in it too, as most such checkpoints are.
    """
    width, inner, count, depth = config.width, config.inner, config.layers, config.depth
    group = config.heads // config.key_heads  # queries that share a key

    def linear(name, inputs, outputs, parts, biased):
        parts = tuple(parameters.Part("layers.{}." + tensor, *rows) for tensor, *rows in parts)
        return parameters.linear(name, inputs, outputs, parts, count, biased)

    def norm(name, tensor, size=width):
        # Gemma's norms multiply by 1 + w.
        return parameters.norm(
            name, f"layers.{{}}.{tensor}", size, count, False, float(config.gemma)
        )

    found = {
        "word": parameters.table("embed_tokens.weight", config.vocabulary, width, half=True),
        **parameters.norm("final", "norm", width, biased=False, added=float(config.gemma)),
        **norm("attention_norm", "input_layernorm"),
        **linear(
            "qkv",
            width,
            (config.key_heads, (group + 2) * depth),
            [
                ("self_attn.q_proj", group * depth, config.key_heads),
                ("self_attn.k_proj", depth, config.key_heads),
                ("self_attn.v_proj", depth, config.key_heads),
            ],
            config.qkv_bias,
        ),
        **linear(
            "out",
            config.heads * depth,
            (width,),
            [("self_attn.o_proj", width)],
            config.out_bias,
        ),
        **norm(
            "inner_norm",
            "pre_feedforward_layernorm" if config.gemma else "post_attention_layernorm",
        ),
        **linear(
            "up",
            width,
            (2, inner),
            [("mlp.gate_proj", inner), ("mlp.up_proj", inner)],
            config.inner_bias,
        ),
        **linear("down", inner, (width,), [("mlp.down_proj", width)], config.inner_bias),
    }
    if config.gemma:
        found |= norm("after_attention", "post_attention_layernorm")
        found |= norm("after_inner", "post_feedforward_layernorm")
    if config.head_norms:
        found |= norm("query_norm", "self_attn.q_norm", depth)
        found |= norm("key_norm", "self_attn.k_norm", depth)
    return found


def hidden_states(
    params: Mapping,
    tokens: jax.Array,
    lengths: jax.Array,
    config: Config,
    precision: str = "float32",
) -> jax.Array:
    """Computes the states after the final norm, [batch, length, width] float32."""
    batch, length = tokens.shape
    kinds = sorted(set(config.local))  # False: sees all before it; True: only its window
    scale = (config.query_scale or config.depth) ** -0.5
    group = config.heads // config.key_heads

    def norm(x, p, name):
        return layers.rms_norm(x, p[f"{name}_scale"], config.eps)

    def product(x, p, name, biased):
        out = layers.product(x, p[f"{name}_kernel"], precision)
        return out + p[f"{name}_bias"] if biased else out

    def attention(local):
        turn = rope.tables(config.ropes[local], length, config.depth)

        def run(q, k, v):
            q, k = rope.rotate(q, turn), rope.rotate(k, turn)
            k, v = (jnp.repeat(x, group, axis=1) for x in (k, v))
            # With real tokens first, no real one sees a padded one after it.
            if local and config.window < length:
                return local_attention.attend(
                    q, k, v, lengths, scale, precision, config.window - 1, 0
                )
            return layers.attend(q, k, v, lengths, scale, precision, after=0)

        return run

    branches = [attention(local) for local in kinds]

    def layer(x, p):
        qkv = product(norm(x, p, "attention_norm"), p, "qkv", config.qkv_bias)
        qkv = qkv.reshape(batch, length, config.key_heads, group + 2, config.depth)
        qkv = qkv.transpose(0, 2, 3, 1, 4)  # [batch, key head, part, length, depth]
        q = qkv[:, :, :group].reshape(batch, config.heads, length, config.depth)
        k, v = qkv[:, :, group], qkv[:, :, group + 1]
        if config.head_norms:
            q, k = norm(q, p, "query_norm"), norm(k, p, "key_norm")
        context = layers.join_heads(layers.choose(p["kind"], branches, q, k, v))
        out = product(context, p, "out", config.out_bias)
        x = x + (norm(out, p, "after_attention") if config.gemma else out)
        up = product(norm(x, p, "inner_norm"), p, "up", config.inner_bias)
        up = layers.ACTIVATIONS[config.activation](up[:, 0]) * up[:, 1]  # the first is the gate
        down = product(up, p, "down", config.inner_bias)
        return x + (norm(down, p, "after_inner") if config.gemma else down), None

    x = params["word"][tokens].astype(jnp.float32)
    if config.gemma:  # the factor is rounded to the dtype of the table, as it was in training
        x = x * jnp.asarray(config.width**0.5, params["word"].dtype).astype(jnp.float32)
    stacked = {key: value for key, value in params.items() if key not in OUTSIDE} | {
        "kind": jnp.asarray([kinds.index(local) for local in config.local])
    }
    x = layers.whole(x.reshape(batch * length, config.width))
    x, _ = lax.scan(layer, x, stacked)
    return norm(x, params, "final").reshape(batch, length, config.width)
