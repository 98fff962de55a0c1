"""Longformer (Beltagy et al. 2020): token ids to last hidden states, for frozen checkpoints.

BERT's layers with attention to a window of near tokens, block by block (`local_attention`), and a
global token: every token sees it, and it sees every token, through projections of its own. The
published model makes no token global by itself; for one vector a text its authors make the first
one global, which is the default here.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from ehr_jax.errors import TextError
from ehr_jax.text import bert, checkpoint_config, layers, local_attention, parameters

PREFIXES, LAYERS = ("", "longformer."), bert.LAYERS
# It adds one number to all scores of a query, which softmax takes away.
UNUSED = ("attention.self.key_global.bias",)
GLOBAL_TOKENS = ("cls", "none")


@dataclasses.dataclass(frozen=True)
class Config(bert.Config):
    """The sizes of a Longformer; what `bert.Config` has, and windows."""

    windows: tuple[int, ...] = ()  # by layer, tokens to both sides together
    global_tokens: str = "cls"  # the first token, or "none"


def read_config(content: Mapping, path: Path) -> Config:
    """Reads a `Config` from the content of config.json; `path` is named in errors.

    Raises:
        TextError: a key is missing or has a value that cannot be.
    """
    sizes = bert.read_sizes(content, path)
    windows = content.get("attention_window", 512)
    if not isinstance(windows, list):
        windows = [windows] * sizes["layers"]
    if len(windows) != sizes["layers"]:
        raise TextError(
            f"{path}: attention_window lists {len(windows)} windows, expected one for each of "
            f"{sizes['layers']} layers"
        )
    for window in windows:
        checkpoint_config.read({"attention_window": window}, "attention_window", int, path)
        checkpoint_config.check_multiple(window, "attention_window", 2, "2, its sides:", path)
    return Config(**sizes, windows=tuple(windows))


def sources(config: Config) -> dict[str, parameters.Source]:
    """Returns what every parameter is made of."""
    own = {}
    for part in ("query", "key", "value"):
        tensor = f"encoder.layer.{{}}.attention.self.{part}_global"
        own |= parameters.linear(
            f"global_{part}",
            config.width,
            (config.heads, config.depth),
            (parameters.Part(tensor, config.depth, config.heads),),
            config.layers,
            biased=part != "key",
        )
    return bert.sources(config) | own


def hidden_states(
    params: Mapping,
    tokens: jax.Array,
    lengths: jax.Array,
    config: Config,
    precision: str = "float32",
) -> jax.Array:
    """Computes the last hidden states, [batch, length, width] float32."""
    batch, length = tokens.shape
    first = {"cls": 1, "none": 0}[config.global_tokens]
    kinds = sorted(set(config.windows))
    scale = config.depth**-0.5

    def attention(window):
        side = window // 2
        return lambda q, k, v: local_attention.attend(
            q, k, v, lengths, scale, precision, side, side, first
        )

    branches = [attention(window) for window in kinds]

    def layer(x, p):
        qkv = bert.project(x, p, config, batch, precision)
        context = layers.join_heads(layers.choose(p["kind"], branches, *qkv))
        if first:
            seen = _see_all(x.reshape(batch, length, -1), lengths, p, config, precision)
            context = context.reshape(batch, length, -1).at[:, 0].set(seen).reshape(x.shape)
        return bert.finish_layer(x, context, p, config, precision)

    kind = jnp.asarray([kinds.index(window) for window in config.windows])
    return bert.scan_layers(layer, params, tokens, config, kind=kind)


def _see_all(x, lengths, p, config: Config, precision: str) -> jax.Array:
    """What the first token takes from all tokens, [batch, width].

    For a single query the key and value products of every token can be left out: its query is
    carried through the key matrix to the states, and the mean of the states through the value
    matrix. That is the same sum in another order.
    """
    batch, length, width = x.shape
    depth = config.depth
    query = layers.product(x[:, 0], p["global_query_kernel"], precision) + p["global_query_bias"]
    query = query.swapaxes(0, 1)  # [head, batch, depth]
    keys = p["global_key_kernel"].transpose(1, 2, 0)
    carried = layers.batched_product(query, keys, precision).swapaxes(0, 1)  # [batch, head, width]
    bias = layers.score_bias(jnp.arange(length) < lengths[:, None])[:, None, :]
    scores = layers.batched_product(carried, x.swapaxes(1, 2), precision) * depth**-0.5
    mean = layers.batched_product(jax.nn.softmax(scores + bias, axis=-1), x, precision)
    values = p["global_value_kernel"].swapaxes(0, 1)
    taken = layers.batched_product(mean.swapaxes(0, 1), values, precision)  # [head, batch, depth]
    return (taken.swapaxes(0, 1) + p["global_value_bias"]).reshape(batch, width)
