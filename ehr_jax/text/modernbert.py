"""ModernBERT (Warner et al. 2024): token ids to last hidden states, for frozen checkpoints.

Pre-norm layers with rotary positions and a gated inner part. Most layers see near tokens only
(block by block, `local_attention`), the others see all. Layer 0 has no norm before its attention.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ehr_jax.text import layers, local_attention, rope, settings, weights

PREFIXES = ("", "model.")
GLOBAL_THETA, LOCAL_THETA = 160_000.0, 10_000.0  # where config.json has none


@dataclasses.dataclass(frozen=True)
class Config:
    """The sizes of a ModernBERT."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    max_length: int
    eps: float
    activation: str
    reach: int  # how far a local layer sees to each side
    local: tuple[bool, ...]  # by layer
    ropes: tuple[rope.Rope, rope.Rope]  # of layers that see all, of local layers
    norm_bias: bool
    attention_bias: bool
    inner_bias: bool

    @property
    def depth(self) -> int:
        """Width of a head."""
        return self.width // self.heads


def read_config(content: Mapping, path: Path) -> Config:
    """Reads a `Config` from the content of config.json; `path` is named in errors.

    Raises:
        TextError: a key is missing or has a value that cannot be.
    """

    def read(key, kind=int, default=None):
        return settings.read(content, key, kind, path, default)

    width, heads, count = (
        read("hidden_size"),
        read("num_attention_heads"),
        read("num_hidden_layers"),
    )
    settings.check_multiple(width, "hidden_size", 2 * heads, "2 * num_attention_heads", path)
    every = read("global_attn_every_n_layers", default=3)
    return Config(
        vocabulary=read("vocab_size"),
        width=width,
        layers=count,
        heads=heads,
        inner=read("intermediate_size"),
        max_length=read("max_position_embeddings", default=8192),
        eps=read("norm_eps", float, 1e-5),
        activation=settings.read_choice(
            content, "hidden_activation", layers.ACTIVATIONS, path, "gelu"
        ),
        reach=read("local_attention", default=128) // 2,
        local=settings.read_layer_types(
            content, count, path, [i % every != 0 for i in range(count)]
        ),
        ropes=(
            rope.read(content, path, GLOBAL_THETA, "full_attention", "global_rope_theta"),
            rope.read(content, path, LOCAL_THETA, "sliding_attention", "local_rope_theta"),
        ),
        norm_bias=read("norm_bias", bool, False),
        attention_bias=read("attention_bias", bool, False),
        inner_bias=read("mlp_bias", bool, False),
    )


def read_params(path: Path, config: Config, precision: str = "float32") -> dict[str, jax.Array]:
    """Reads a checkpoint's weights as the parameters of `hidden_states`.

    All are float32; with "bfloat16" the matrices of the layers are rounded. Heads are ignored.

    Raises:
        TextError: see `weights.read_tensors`.
    """
    outer, inside = _outer_table(config), _layer_table(config)
    # Layer 0 has no norm before its attention, so no parameters of one.
    absent = {"attention_norm_scale", "attention_norm_bias"}
    wanted = dict(outer.values())
    for i in range(config.layers):
        wanted |= {
            f"layers.{i}.{name}": shape
            for key, (name, shape) in inside.items()
            if i or key not in absent
        }
    tensors = weights.read_tensors(path, wanted, PREFIXES, complete="layers.")
    fill = {"attention_norm_scale": np.ones, "attention_norm_bias": np.zeros}

    def one(i: int, key: str) -> np.ndarray:
        name, shape = inside[key]
        if not i and key in absent:
            return fill[key](shape, np.float32)
        return tensors[f"layers.{i}.{name}"].T

    params = {key: tensors[name] for key, (name, _) in outer.items()}
    params |= {key: np.stack([one(i, key) for i in range(config.layers)]) for key in inside}
    return layers.to_device(params, precision)


def param_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter; those of the layers are stacked on the first axis."""
    inside = {key: shape[::-1] for key, (_, shape) in _layer_table(config).items()}
    outer = {key: shape for key, (_, shape) in _outer_table(config).items()}
    return outer | {key: (config.layers, *shape) for key, shape in inside.items()}


def hidden_states(
    params: Mapping,
    tokens: jax.Array,
    lengths: jax.Array,
    config: Config,
    precision: str = "float32",
) -> jax.Array:
    """Computes the last hidden states, [batch, length, width] float32."""
    batch, length = tokens.shape
    kinds = sorted(set(config.local))  # False: sees all; True: local
    turns = [rope.tables(config.ropes[local], length, config.depth) for local in kinds]

    def norm(x, p, name):
        bias = p[f"{name}_bias"] if config.norm_bias else 0.0
        return layers.layer_norm(x, p[f"{name}_scale"], bias, config.eps)

    def product(x, p, name, biased):
        out = layers.product(x, p[f"{name}_kernel"], precision)
        return out + p[f"{name}_bias"] if biased else out

    def attention(local, turn):
        def run(q, k, v):
            q, k, scale = rope.rotate(q, turn), rope.rotate(k, turn), config.depth**-0.5
            if not local:
                return layers.attend(q, k, v, lengths, scale, precision)
            return local_attention.attend(
                q, k, v, lengths, scale, precision, config.reach, config.reach
            )

        return run

    branches = [attention(local, turn) for local, turn in zip(kinds, turns, strict=True)]

    def layer(x, p):
        normed = jnp.where(p["number"] == 0, x, norm(x, p, "attention_norm"))
        qkv = product(normed, p, "qkv", config.attention_bias)
        qkv = qkv.reshape(batch, length, 3, config.heads, config.depth).transpose(2, 0, 3, 1, 4)
        context = layers.join_heads(layers.choose(p["kind"], branches, *qkv))
        x = x + product(context, p, "out", config.attention_bias)
        up, gate = jnp.split(
            product(norm(x, p, "inner_norm"), p, "up", config.inner_bias), 2, axis=-1
        )
        up = layers.ACTIVATIONS[config.activation](up) * gate
        return x + product(up, p, "down", config.inner_bias), None

    outer = _outer_table(config)
    stacked = {key: value for key, value in params.items() if key not in outer} | {
        "number": jnp.arange(config.layers),
        "kind": jnp.asarray([kinds.index(local) for local in config.local]),
    }
    x = norm(params["word"][tokens], params, "embedding").reshape(batch * length, config.width)
    x, _ = lax.scan(layer, x, stacked)
    return norm(x, params, "final").reshape(batch, length, config.width)


def _outer_table(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name to (checkpoint name, shape), outside the layers."""
    table = {
        "word": ("embeddings.tok_embeddings.weight", (config.vocabulary, config.width)),
        "embedding_scale": ("embeddings.norm.weight", (config.width,)),
        "final_scale": ("final_norm.weight", (config.width,)),
    }
    if config.norm_bias:
        table["embedding_bias"] = ("embeddings.norm.bias", (config.width,))
        table["final_bias"] = ("final_norm.bias", (config.width,))
    return table


def _layer_table(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name to (checkpoint name, shape there), inside a layer."""
    width, inner = config.width, config.inner
    table = {
        "attention_norm_scale": ("attn_norm.weight", (width,)),
        "qkv_kernel": ("attn.Wqkv.weight", (3 * width, width)),
        "out_kernel": ("attn.Wo.weight", (width, width)),
        "inner_norm_scale": ("mlp_norm.weight", (width,)),
        "up_kernel": ("mlp.Wi.weight", (2 * inner, width)),
        "down_kernel": ("mlp.Wo.weight", (width, inner)),
    }
    if config.norm_bias:
        table["attention_norm_bias"] = ("attn_norm.bias", (width,))
        table["inner_norm_bias"] = ("mlp_norm.bias", (width,))
    if config.attention_bias:
        table["qkv_bias"] = ("attn.Wqkv.bias", (3 * width,))
        table["out_bias"] = ("attn.Wo.bias", (width,))
    if config.inner_bias:
        table["up_bias"] = ("mlp.Wi.bias", (2 * inner,))
        table["down_bias"] = ("mlp.Wo.bias", (width,))
    return table
