"""Rotary positions: the variants of RoPE (Su et al. 2021) that frozen checkpoints use.

Read from either spelling of config.json: `rope_theta` and `rope_scaling` (transformers 4), or
`rope_parameters` (transformers 5), there one dict or one for each type of layer.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.errors import TextError
from ehr_jax.text import checkpoint_config

KINDS = ("default", "linear", "llama3")
# The keys that each kind of scaling needs.
NEEDED = {"default": (), "linear": ("factor",), "llama3": (
    "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
)}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Rope:
    """Base frequency and scaling; the last four as Llama 3.1's config.json has them."""

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_max_position_embeddings: float = 1.0


def read(
    content: Mapping,
    path: Path,
    theta: float,
    layer_type: str | None = None,
    theta_key: str = "rope_theta",
    scaled: bool = True,
) -> Rope:
    """Reads the rotary positions of all layers, or of one type of layer.

    Args:
        content: content of config.json.
        path: named in errors.
        theta: base frequency where no key gives it.
        layer_type: "full_attention" or "sliding_attention", where the model has a `Rope` for each.
        theta_key: what the older spelling calls the base frequency.
        scaled: whether `rope_scaling` of the older spelling holds for these layers.

    Raises:
        TextError: a value that cannot be, or a kind of scaling that is not known.
    """
    found = content.get("rope_scaling") if scaled else None
    newer = content.get("rope_parameters")
    for key, value in (("rope_scaling", found), ("rope_parameters", newer)):
        if value is not None and not isinstance(value, Mapping):
            raise TextError(f"{path}: key '{key}' is {value!r}, expected an object")
    if newer and layer_type is not None and ({"full_attention", "sliding_attention"} & set(newer)):
        newer = newer.get(layer_type)
    if found and "type" in found:  # the oldest name of it
        found = {"rope_type": found["type"], **found}
    # An older key, written by hand into a newer file, holds over it, as in transformers.
    values = dict(newer or {}) | dict(found or {})
    checkpoint_config.refuse(content, "partial_rotary_factor", [1, 1.0], path)
    checkpoint_config.refuse(values, "partial_rotary_factor", [1, 1.0], path)
    kind = values.get("rope_type") or "default"
    if kind not in KINDS:
        raise TextError(
            f"{path}: rotary scaling '{kind}' is not known, expected one of {list(KINDS)}"
        )
    base = checkpoint_config.read(content, theta_key, float, path, theta)
    base = checkpoint_config.read(values, "rope_theta", float, path, base)
    if kind == "llama3":
        positions = content.get("max_position_embeddings")
        values.setdefault("original_max_position_embeddings", positions)
    return Rope(
        base,
        kind,
        **{key: checkpoint_config.read(values, key, float, path) for key in NEEDED[kind]},
    )


def frequencies(rope: Rope, depth: int) -> np.ndarray:
    """Angle by which each pair of a head's entries turns from one position to the next.

    Returns:
        [depth / 2] float32, radians.
    """
    plain = 1.0 / rope.theta ** (np.arange(0, depth, 2, dtype=np.float64) / depth)
    if rope.kind == "linear":
        return (plain / rope.factor).astype(np.float32)
    if rope.kind == "default":
        return plain.astype(np.float32)
    # Llama 3.1: long waves are stretched, short ones kept, between them a linear blend.
    turns = rope.original_max_position_embeddings * plain / (2 * math.pi)
    low, high = rope.low_freq_factor, rope.high_freq_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return (kept * plain + (1 - kept) * plain / rope.factor).astype(np.float32)


def tables(rope: Rope, length: int, depth: int) -> jax.Array:
    """Cosine and sine of every position's angles, [2, length, depth / 2] float32."""
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies(rope, depth)
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)])


def rotate(x: jax.Array, table: jax.Array) -> jax.Array:
    """Turns [..., length, depth] by its positions; a pair is (i, i + depth / 2)."""
    cosine, sine = table
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)
