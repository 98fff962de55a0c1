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
import numpy as np
from jax import lax

from ehr_jax.errors import TextError
from ehr_jax.text import layers, local_attention, rope, settings, weights

PREFIXES = ("", "model.", "language_model.model.", "model.language_model.")
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
    family = settings.read_choice(content, "model_type", FAMILIES, path, "")
    content = DEFAULTS[family] | dict(content)

    def read(key, kind=int, default=None):
        return settings.read(content, key, kind, path, default)

    width, heads, count = (
        read("hidden_size"),
        read("num_attention_heads"),
        read("num_hidden_layers"),
    )
    gemma = family == "gemma3_text"
    if content.get("head_dim") is None:
        settings.check_multiple(width, "hidden_size", heads, "num_attention_heads", path)
    depth = read("head_dim", default=width // heads)
    settings.check_multiple(depth, "head_dim", 2, "2, a pair of rotary positions:", path)
    key_heads = read("num_key_value_heads", default=heads)
    settings.check_multiple(heads, "num_attention_heads", key_heads, "num_key_value_heads", path)
    for key in ("attn_logit_softcapping", "use_bidirectional_attention"):
        settings.refuse(content, key, [False], path)
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
        activation=settings.read_choice(
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
    every = settings.read(content, "sliding_window_pattern", int, path, 6)
    if family == "gemma3_text":
        default = [(i + 1) % every != 0 for i in range(count)]
    elif family == "llama" or content.get("sliding_window") is None:
        return (False,) * count
    elif family == "mistral":
        return (True,) * count
    elif settings.read(content, "use_sliding_window", bool, path, False):
        full = settings.read(content, "max_window_layers", int, path, 28, zero=True)
        default = [i >= full for i in range(count)]
    else:
        return (False,) * count
    return settings.read_layer_types(content, count, path, default)


def read_params(path: Path, config: Config, precision: str = "float32") -> dict[str, jax.Array]:
    """Reads a checkpoint's weights as the parameters of `hidden_states`.

    All are float32; with "bfloat16" the matrices of the layers and the token table are rounded (as
    most such checkpoints are stored). Output heads and images' weights are ignored.

    Raises:
        TextError: see `weights.read_tensors`.
    """
    half, parts = layers.kernel_dtype(precision), _layer_table(config)
    wanted = {
        "embed_tokens.weight": (config.vocabulary, config.width), "norm.weight": (config.width,),
    }  # fmt: skip
    for i in range(config.layers):
        for names in parts.values():
            wanted |= {f"layers.{i}.{name}": shape for name, shape in names}
    tensors = weights.read_tensors(
        path, wanted, PREFIXES, complete="layers.",
        dtype=lambda name: half if len(wanted[name]) == 2 else np.float32,
    )  # fmt: skip

    def take(name: str) -> np.ndarray:  # out of `tensors`, so that memory never holds two models
        value = tensors.pop(name)
        return value + 1 if config.gemma and name.endswith("norm.weight") else value.T

    params = {
        "word": jnp.asarray(tensors.pop("embed_tokens.weight")),
        "final_scale": jnp.asarray(take("norm.weight")),
    }
    for key, names in parts.items():
        params[key] = jnp.asarray(
            np.stack([
                np.concatenate([take(f"layers.{i}.{name}") for name, _ in names], axis=-1)
                for i in range(config.layers)
            ])
        )  # fmt: skip
    return params


def param_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter; those of the layers are stacked on the first axis."""
    shapes = {"word": (config.vocabulary, config.width), "final_scale": (config.width,)}
    for key, names in _layer_table(config).items():
        outputs = sum(shape[0] for _, shape in names)
        shapes[key] = (config.layers, *names[0][1][1:], outputs)
    return shapes


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
    cuts = np.cumsum([config.heads, config.key_heads]) * config.depth

    def norm(x, p, name):
        return layers.rms_norm(x, p[f"{name}_scale"], config.eps)

    def product(x, p, name, biased):
        out = layers.product(x, p[f"{name}_kernel"], precision)
        return out + p[f"{name}_bias"] if biased else out

    def attention(local):
        turn = rope.tables(config.ropes[local], length, config.depth)

        def run(q, k, v):
            q, k = rope.rotate(q, turn), rope.rotate(k, turn)
            k, v = (jnp.repeat(x, config.heads // config.key_heads, axis=1) for x in (k, v))
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
        q, k, v = (
            layers.split_heads(part, batch, heads)
            for part, heads in zip(
                jnp.split(qkv, cuts, axis=-1),
                (config.heads, config.key_heads, config.key_heads),
                strict=True,
            )
        )
        if config.head_norms:
            q, k = norm(q, p, "query_norm"), norm(k, p, "key_norm")
        context = layers.join_heads(layers.choose(p["kind"], branches, q, k, v))
        out = product(context, p, "out", config.out_bias)
        x = x + (norm(out, p, "after_attention") if config.gemma else out)
        gate, up = jnp.split(
            product(norm(x, p, "inner_norm"), p, "up", config.inner_bias), 2, axis=-1
        )
        up = layers.ACTIVATIONS[config.activation](gate) * up
        down = product(up, p, "down", config.inner_bias)
        return x + (norm(down, p, "after_inner") if config.gemma else down), None

    x = params["word"][tokens].astype(jnp.float32)
    if config.gemma:  # the factor is rounded to the dtype of the table, as it was in training
        x = x * jnp.asarray(config.width**0.5, params["word"].dtype).astype(jnp.float32)
    stacked = {key: params[key] for key in _layer_table(config)} | {
        "kind": jnp.asarray([kinds.index(local) for local in config.local])
    }
    x, _ = lax.scan(layer, x.reshape(batch * length, config.width), stacked)
    return norm(x, params, "final").reshape(batch, length, config.width)


def _layer_table(config: Config) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Our name to the tensors it joins, each (checkpoint name, shape there), inside a layer."""
    width, inner, depth = config.width, config.inner, config.depth
    query, key = config.heads * depth, config.key_heads * depth
    products = {
        "qkv": ([("q_proj", query, width), ("k_proj", key, width), ("v_proj", key, width)],
                "self_attn", config.qkv_bias),
        "out": ([("o_proj", width, query)], "self_attn", config.out_bias),
        "up": ([("gate_proj", inner, width), ("up_proj", inner, width)],
               "mlp", config.inner_bias),
        "down": ([("down_proj", width, inner)], "mlp", config.inner_bias),
    }  # fmt: skip
    table = {}
    for part, (names, where, biased) in products.items():
        table[f"{part}_kernel"] = [(f"{where}.{n}.weight", (out, into)) for n, out, into in names]
        if biased:
            table[f"{part}_bias"] = [(f"{where}.{n}.bias", (out,)) for n, out, _ in names]
    norms = {
        "attention_norm": ("input_layernorm", width),
        "inner_norm": ("post_attention_layernorm", width),
    }
    if config.gemma:
        norms["after_attention"] = ("post_attention_layernorm", width)
        norms["inner_norm"] = ("pre_feedforward_layernorm", width)
        norms["after_inner"] = ("post_feedforward_layernorm", width)
    if config.head_norms:
        norms["query_norm"] = ("self_attn.q_norm", depth)
        norms["key_norm"] = ("self_attn.k_norm", depth)
    return table | {f"{k}_scale": [(f"{name}.weight", (n,))] for k, (name, n) in norms.items()}
