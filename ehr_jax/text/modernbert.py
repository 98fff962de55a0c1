"""ModernBERT (Warner et al. 2024): token ids to last hidden states, for frozen checkpoints.

Pre-norm layers with rotary positions and a gated inner part. Most layers see near tokens only
(block by block, `local_attention`), the others see all. Layer 0 has no norm before its attention.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from ehr_jax.text import checkpoint_config, layers, local_attention, parameters, rope

PREFIXES, LAYERS, UNUSED = ("", "model."), "layers.", ()
OUTSIDE = ("word", "embedding_scale", "embedding_bias", "final_scale", "final_bias")
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
        return checkpoint_config.read(content, key, kind, path, default)

    width, heads, count = (
        read("hidden_size"),
        read("num_attention_heads"),
        read("num_hidden_layers"),
    )
    checkpoint_config.check_multiple(
        width, "hidden_size", 2 * heads, "2 * num_attention_heads", path
    )
    every = read("global_attn_every_n_layers", default=3)
    return Config(
        vocabulary=read("vocab_size"),
        width=width,
        layers=count,
        heads=heads,
        inner=read("intermediate_size"),
        max_length=read("max_position_embeddings", default=8192),
        eps=read("norm_eps", float, 1e-5),
        activation=checkpoint_config.read_choice(
            content, "hidden_activation", layers.ACTIVATIONS, path, "gelu"
        ),
        reach=read("local_attention", default=128) // 2,
        local=checkpoint_config.read_layer_types(
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


def sources(config: Config) -> dict[str, parameters.Source]:
    """Returns what every parameter is made of."""
    width, inner, count, heads = config.width, config.inner, config.layers, config.heads
    biased, layer = config.norm_bias, "layers.{}."

    def linear(name, tensor, inputs, outputs, parts, biased):
        parts = tuple(parameters.Part(f"{layer}{tensor}", *part) for part in parts)
        return parameters.linear(name, inputs, outputs, parts, count, biased)

    qkv = [(config.depth, heads, i * width) for i in range(3)]
    halves = [(inner, 1, i * inner) for i in range(2)]
    return {
        "word": parameters.table("embeddings.tok_embeddings.weight", config.vocabulary, width),
        **parameters.norm("embedding", "embeddings.norm", width, biased=biased),
        **parameters.norm(
            "attention_norm", f"{layer}attn_norm", width, count, biased, lacks_first=True
        ),
        **linear("qkv", "attn.Wqkv", width, (heads, 3 * config.depth), qkv, config.attention_bias),
        **linear("out", "attn.Wo", width, (width,), [(width,)], config.attention_bias),
        **parameters.norm("inner_norm", f"{layer}mlp_norm", width, count, biased),
        **linear("up", "mlp.Wi", width, (2, inner), halves, config.inner_bias),
        **linear("down", "mlp.Wo", inner, (width,), [(width,)], config.inner_bias),
        **parameters.norm("final", "final_norm", width, biased=biased),
    }


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
        qkv = qkv.reshape(batch, length, config.heads, 3, config.depth).transpose(3, 0, 2, 1, 4)
        context = layers.join_heads(layers.choose(p["kind"], branches, *qkv))
        x = x + product(context, p, "out", config.attention_bias)
        up = product(norm(x, p, "inner_norm"), p, "up", config.inner_bias)
        up = layers.ACTIVATIONS[config.activation](up[:, 0]) * up[:, 1]  # the second is the gate
        return x + product(up, p, "down", config.inner_bias), None

    stacked = {key: value for key, value in params.items() if key not in OUTSIDE} | {
        "number": jnp.arange(config.layers),
        "kind": jnp.asarray([kinds.index(local) for local in config.local]),
    }
    x = norm(params["word"][tokens], params, "embedding").reshape(batch * length, config.width)
    x, _ = lax.scan(layer, layers.whole(x), stacked)
    return norm(x, params, "final").reshape(batch, length, config.width)
