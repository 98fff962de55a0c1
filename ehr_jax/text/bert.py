"""BERT, RoBERTa and XLM-R: token ids to last hidden states, for frozen checkpoints.

Post-norm layers, as in Devlin et al. 2019; erf GELU; the layer norm's eps comes from config.json.
RoBERTa and XLM-R count positions from the padding token's id + 1. Layers are stacked and scanned,
so one length compiles once whatever the depth. Pure functions compute.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from ehr_jax.errors import TextError
from ehr_jax.text import checkpoint_config, layers, parameters

PREFIXES, LAYERS, UNUSED = ("", "bert.", "roberta."), "encoder.layer.", ()
OUTSIDE = ("word", "position", "token_type", "embedding_scale", "embedding_bias")  # of the layers


@dataclasses.dataclass(frozen=True)
class Config:
    """The sizes of a BERT; field by field what config.json says."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int  # rows of the table
    token_types: int
    eps: float
    activation: str
    offset: int = 0  # row of the first token's position

    @property
    def max_length(self) -> int:
        """The most tokens it can take."""
        return self.positions - self.offset

    @property
    def depth(self) -> int:
        """Width of a head."""
        return self.width // self.heads


CONFIG_KEYS = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "eps": "layer_norm_eps",
}
CONFIG_DEFAULTS = {"type_vocab_size": 2, "layer_norm_eps": 1e-12}


def read_config(content: Mapping, path: Path) -> Config:
    """Reads a `Config` from the content of config.json; `path` is named in errors.

    Raises:
        TextError: a key is missing or has a value that cannot be.
    """
    return Config(**read_sizes(content, path))


def read_sizes(content: Mapping, path: Path) -> dict:
    """Reads the fields of `Config`, for it and for those that add to it.

    Raises:
        TextError: see `read_config`.
    """
    values = {
        field.name: checkpoint_config.read(
            content, CONFIG_KEYS[field.name], field.type, path,
            CONFIG_DEFAULTS.get(CONFIG_KEYS[field.name]),
        )
        for field in dataclasses.fields(Config)
        if field.name in CONFIG_KEYS
    }  # fmt: skip
    checkpoint_config.check_multiple(
        values["width"], "hidden_size", values["heads"], "num_attention_heads", path
    )
    values["activation"] = checkpoint_config.read_choice(
        content, "hidden_act", layers.ACTIVATIONS, path, "gelu"
    )
    checkpoint_config.refuse(content, "position_embedding_type", ["absolute"], path)
    checkpoint_config.refuse(content, "is_decoder", [False], path)
    if content.get("model_type") not in (None, "bert"):
        pad = checkpoint_config.read(content, "pad_token_id", int, path, 1, zero=True)
        values["offset"] = pad + 1
        if values["offset"] >= values["positions"]:
            raise TextError(
                f"{path}: key 'pad_token_id' is {pad}, which leaves none of the "
                f"{values['positions']} rows of max_position_embeddings for a token"
            )
    return values


def sources(config: Config) -> dict[str, parameters.Source]:
    """Returns what every parameter is made of."""
    width, inner, count = config.width, config.inner, config.layers
    layer = "encoder.layer.{}."
    attention, output = f"{layer}attention.self.", f"{layer}attention.output."
    return {
        "word": parameters.table("embeddings.word_embeddings.weight", config.vocabulary, width),
        "position": parameters.table(
            "embeddings.position_embeddings.weight", config.positions, width
        ),
        "token_type": parameters.table(
            "embeddings.token_type_embeddings.weight", config.token_types, width
        ),
        **parameters.norm("embedding", "embeddings.LayerNorm", width),
        **parameters.linear(
            "qkv",
            width,
            (config.heads, 3 * config.depth),
            tuple(
                parameters.Part(attention + name, config.depth, config.heads)
                for name in ("query", "key", "value")
            ),
            count,
        ),
        **parameters.linear(
            "out", width, (width,), (parameters.Part(f"{output}dense", width),), count
        ),
        **parameters.norm("norm1", f"{output}LayerNorm", width, count),
        **parameters.linear(
            "up", width, (inner,), (parameters.Part(f"{layer}intermediate.dense", inner),), count
        ),
        **parameters.linear(
            "down", inner, (width,), (parameters.Part(f"{layer}output.dense", width),), count
        ),
        **parameters.norm("norm2", f"{layer}output.LayerNorm", width, count),
    }


def hidden_states(
    params: Mapping,
    tokens: jax.Array,
    lengths: jax.Array,
    config: Config,
    precision: str = "float32",
) -> jax.Array:
    """Computes the last hidden states, [batch, length, width] float32.

    With precision "bfloat16" the operands of every matrix product are bfloat16, sums and all that
    lies between are float32.
    """

    batch, length = tokens.shape
    scale = config.depth**-0.5

    def layer(x, p):
        q, k, v = project(x, p, config, batch, precision)
        context = layers.attend(q, k, v, lengths, scale, precision)
        return finish_layer(x, layers.join_heads(context), p, config, precision)

    def layer_one_by_one(x, p):
        # An example's heads are cut out and joined while it is in cache.
        def attend(part):
            rows, bias = part
            q, k, v = split_heads(rows + p["qkv_bias"])
            return layers.weigh(q, k, v, bias, scale, precision).swapaxes(0, 1)

        qkv = layers.product(x, p["qkv_kernel"], precision)
        qkv = qkv.reshape(batch, length, config.heads, 3 * config.depth)
        context = lax.map(attend, (qkv, layers.padding_bias(lengths, length)))
        return finish_layer(x, context.reshape(x.shape), p, config, precision)

    small = layers.one_by_one(length) and length <= layers.WHOLE_UP_TO
    return scan_layers(layer_one_by_one if small else layer, params, tokens, config)


def scan_layers(layer: Callable, params: Mapping, tokens: jax.Array, config: Config, **more):
    """Embeds tokens and runs `layer(x, parameters)` on [batch * length, width] for each layer.

    `more` are arrays with one entry for each layer, given to it beside its parameters.
    """
    batch, length = tokens.shape
    rows = slice(config.offset, config.offset + length)
    x = params["word"][tokens] + params["position"][rows] + params["token_type"][0]
    x = layers.layer_norm(x, params["embedding_scale"], params["embedding_bias"], config.eps)
    stacked = {k: v for k, v in params.items() if k not in OUTSIDE} | more
    x = layers.whole(x.reshape(batch * length, config.width))
    x, _ = lax.scan(lambda x, p: (layer(x, p), None), x, stacked)
    return x.reshape(batch, length, config.width)


def project(x, p, config: Config, batch: int, precision: str) -> jax.Array:
    """Query, key and value, [3, batch, head, length, depth]."""
    qkv = layers.product(x, p["qkv_kernel"], precision) + p["qkv_bias"]
    return qkv.reshape(batch, -1, config.heads, 3, config.depth).transpose(3, 0, 2, 1, 4)


def split_heads(qkv: jax.Array) -> list[jax.Array]:
    """[length, head, 3 * depth] -> query, key and value, [head, length, depth]."""
    return jnp.split(qkv.swapaxes(0, 1), 3, axis=-1)


def finish_layer(x, context, p, config: Config, precision: str) -> jax.Array:
    """What follows attention: output product, norm, the two products of the inner part, norm."""
    out = layers.product(context, p["out_kernel"], precision) + p["out_bias"]
    x = layers.layer_norm(x + out, p["norm1_scale"], p["norm1_bias"], config.eps)
    activation = layers.ACTIVATIONS[config.activation]
    up = activation(layers.product(x, p["up_kernel"], precision) + p["up_bias"])
    down = layers.product(up, p["down_kernel"], precision) + p["down_bias"]
    return layers.layer_norm(x + down, p["norm2_scale"], p["norm2_bias"], config.eps)
