"""BERT: token ids to last hidden states, as in Devlin et al. 2019, for frozen checkpoints.

Post-norm layers; erf GELU; the layer norm's eps comes from config.json. Layers are stacked and
scanned, so one length compiles once whatever the depth. Pure functions compute; `BertEncoder`
declares the parameters.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ehr_jax.errors import TextError
from ehr_jax.text import weights

PREFIXES = ("", "bert.")
MAP_FROM_LENGTH = 128  # tokens; from here on attention runs example by example, in cache


@dataclasses.dataclass(frozen=True)
class Config:
    """The sizes of a BERT; field by field what config.json says."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    token_types: int
    eps: float
    activation: str


CONFIG_KEYS = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "eps": "layer_norm_eps",
    "activation": "hidden_act",
}
CONFIG_DEFAULTS = {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
ACTIVATIONS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}


def read_config(settings: Mapping, path: Path) -> Config:
    """Reads a `Config` from the content of config.json; `path` is named in errors.

    Raises:
        TextError: a key is missing or has a value that cannot be.
    """
    values = {}
    for field in dataclasses.fields(Config):
        key = CONFIG_KEYS[field.name]
        value = settings.get(key, CONFIG_DEFAULTS.get(key))
        if value is None:
            raise TextError(f"{path}: key '{key}' is missing")
        numeric = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if field.type in (int, float) and not numeric or field.type is int and value != int(value):
            raise TextError(
                f"{path}: key '{key}' is {value!r}, expected a positive {field.type.__name__}"
            )
        values[field.name] = field.type(value)
    config = Config(**values)
    if config.width % config.heads:
        raise TextError(
            f"{path}: hidden_size {config.width} is not a multiple of "
            f"num_attention_heads {config.heads}"
        )
    if config.activation not in ACTIVATIONS:
        raise TextError(
            f"{path}: hidden_act '{config.activation}' is not one of {sorted(ACTIVATIONS)}"
        )
    kind = settings.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise TextError(f"{path}: position_embedding_type '{kind}' is not known, only 'absolute'")
    return config


def read_params(path: Path, config: Config, precision: str = "float32") -> dict[str, jax.Array]:
    """Reads a checkpoint's weights as the parameters of `BertEncoder`.

    All are float32; with "bfloat16" the matrices of the layers are rounded. Pooler, task heads and
    the `position_ids` buffer are ignored.

    Raises:
        TextError: see `weights.read_tensors`.
    """
    wanted = dict(_embedding_table(config).values())
    for i in range(config.layers):
        for name, shape in _layer_table(config).values():
            wanted[f"encoder.layer.{i}.{name}.weight"] = shape
            wanted[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
    tensors = weights.read_tensors(path, wanted, PREFIXES)

    def stack(part: str, leaf: str) -> np.ndarray:
        # Checkpoints keep a matrix as [outputs, inputs]; a product x @ w wants [inputs, outputs].
        name = f"{_layer_table(config)[part][0]}.{leaf}"
        return np.stack([tensors[f"encoder.layer.{i}.{name}"].T for i in range(config.layers)])

    def join(leaf: str) -> np.ndarray:
        return np.concatenate([stack(part, leaf) for part in ("query", "key", "value")], axis=-1)

    layers = {"qkv_kernel": join("weight"), "qkv_bias": join("bias")}
    for part in ("out", "up", "down"):
        layers |= {f"{part}_kernel": stack(part, "weight"), f"{part}_bias": stack(part, "bias")}
    for part in ("norm1", "norm2"):
        layers |= {f"{part}_scale": stack(part, "weight"), f"{part}_bias": stack(part, "bias")}
    params = {key: tensors[name] for key, (name, _) in _embedding_table(config).items()} | layers
    half = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    return {k: jnp.asarray(v, half if k.endswith("_kernel") else None) for k, v in params.items()}


class BertEncoder(nn.Module):
    """Token ids to last hidden states; all computation is in `hidden_states`."""

    config: Config
    precision: str = "float32"

    @nn.compact
    def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        """Encodes a padded batch.

        Args:
            tokens: [batch, length] int32, real tokens first.
            lengths: [batch] int32, number of real tokens of each row.

        Returns:
            [batch, length, width] float32; rows beyond `lengths` hold no meaning.
        """
        params = {
            name: self.param(name, _initial(name), shape)
            for name, shape in param_shapes(self.config).items()
        }
        return hidden_states(params, tokens, lengths, self.config, self.precision)


def param_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter; those of the layers are stacked on the first axis."""
    width, inner, layers = config.width, config.inner, config.layers
    per_layer = {
        "qkv_kernel": (width, 3 * width), "qkv_bias": (3 * width,),
        "out_kernel": (width, width), "out_bias": (width,),
        "norm1_scale": (width,), "norm1_bias": (width,),
        "up_kernel": (width, inner), "up_bias": (inner,),
        "down_kernel": (inner, width), "down_bias": (width,),
        "norm2_scale": (width,), "norm2_bias": (width,),
    }  # fmt: skip
    embeddings = {key: shape for key, (_, shape) in _embedding_table(config).items()}
    return embeddings | {name: (layers, *shape) for name, shape in per_layer.items()}


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
    valid = jnp.arange(length) < lengths[:, None]  # [batch, length]
    bias = jnp.where(valid, 0.0, jnp.finfo(jnp.float32).min)[:, None, None, :]
    x = params["word"][tokens] + params["position"][:length] + params["token_type"][0]
    x = _layer_norm(x, params["embedding_scale"], params["embedding_bias"], config.eps)
    x = x.reshape(batch * length, config.width)
    stacked = {k: v for k, v in params.items() if k not in _embedding_table(config)}

    def layer(x, p):
        qkv = _product(x, p["qkv_kernel"], precision) + p["qkv_bias"]
        qkv = qkv.reshape(batch, length, 3, config.heads, -1).transpose(2, 0, 3, 1, 4)
        context = _attention(*qkv, bias, precision)  # [batch, head, length, depth]
        context = context.transpose(0, 2, 1, 3).reshape(x.shape)
        out = _product(context, p["out_kernel"], precision) + p["out_bias"]
        x = _layer_norm(x + out, p["norm1_scale"], p["norm1_bias"], config.eps)
        up = ACTIVATIONS[config.activation](_product(x, p["up_kernel"], precision) + p["up_bias"])
        down = _product(up, p["down_kernel"], precision) + p["down_bias"]
        return _layer_norm(x + down, p["norm2_scale"], p["norm2_bias"], config.eps), None

    x, _ = lax.scan(layer, x, stacked)
    return x.reshape(batch, length, config.width)


def _attention(q, k, v, bias, precision):
    """Softmax attention on [batch, head, length, depth]; bias: [batch, 1, 1, length]."""
    if q.shape[2] < MAP_FROM_LENGTH or jax.default_backend() != "cpu":
        return _attend(q, k, v, bias, precision)
    # On a CPU the scores of one example stay in cache, those of a whole batch do not.
    return lax.map(lambda example: _attend(*example, precision), (q, k, v, bias))


def _attend(q, k, v, bias, precision):
    scores = _batched_product(q, jnp.swapaxes(k, -1, -2), precision) * q.shape[-1] ** -0.5
    return _batched_product(jax.nn.softmax(scores + bias, axis=-1), v, precision)


def _product(x: jax.Array, kernel: jax.Array, precision: str) -> jax.Array:
    """x @ kernel for x: [rows, inputs]; operands as `precision` says, float32 result."""
    return lax.dot_general(
        _operand(x, precision), kernel, (((1,), (0,)), ((), ())), **_accumulate(precision)
    )


def _batched_product(a: jax.Array, b: jax.Array, precision: str) -> jax.Array:
    return jnp.matmul(_operand(a, precision), _operand(b, precision), **_accumulate(precision))


def _operand(x: jax.Array, precision: str) -> jax.Array:
    return x.astype(jnp.bfloat16) if precision == "bfloat16" else x


def _accumulate(precision: str) -> dict:
    # HIGHEST keeps float32 exact where an accelerator would round operands by default.
    exact = lax.Precision.HIGHEST if precision == "float32" else None
    return {"preferred_element_type": jnp.float32, "precision": exact}


def _layer_norm(x, scale, bias, eps):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * lax.rsqrt(variance + eps) * scale + bias


def _initial(name: str):
    if name.endswith("_scale"):
        return nn.initializers.ones
    return nn.initializers.zeros if name.endswith("_bias") else nn.initializers.normal(0.02)


def _embedding_table(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name to (checkpoint name, shape)."""
    width = config.width
    return {
        "word": ("embeddings.word_embeddings.weight", (config.vocabulary, width)),
        "position": ("embeddings.position_embeddings.weight", (config.positions, width)),
        "token_type": ("embeddings.token_type_embeddings.weight", (config.token_types, width)),
        "embedding_scale": ("embeddings.LayerNorm.weight", (width,)),
        "embedding_bias": ("embeddings.LayerNorm.bias", (width,)),
    }


def _layer_table(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Part of a layer to (checkpoint name, shape of its weight); a bias has the first size."""
    width, inner = config.width, config.inner
    return {
        "query": ("attention.self.query", (width, width)),
        "key": ("attention.self.key", (width, width)),
        "value": ("attention.self.value", (width, width)),
        "out": ("attention.output.dense", (width, width)),
        "norm1": ("attention.output.LayerNorm", (width,)),
        "up": ("intermediate.dense", (inner, width)),
        "down": ("output.dense", (width, inner)),
        "norm2": ("output.LayerNorm", (width,)),
    }
