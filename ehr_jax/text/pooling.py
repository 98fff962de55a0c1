"""From hidden states to one vector per text: pooled, joined over chunks, normalised."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.errors import TextError
from ehr_jax.text import weights

MODES = ("mean", "cls", "last")


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How a model makes one vector: `mode` over the tokens, then unit length if `normalise`."""

    mode: str = "mean"
    normalise: bool = False


def read_pooling(folder: Path, otherwise: Pooling = Pooling()) -> Pooling:  # noqa: B008
    """Reads sentence-transformers' modules.json and the pooling config it points to.

    A plain checkpoint has neither; it gets `otherwise`: by default the mean over tokens, not
    normalised (our choice, since such models state no rule).

    Raises:
        TextError: a module or a pooling mode that is not known, or a broken file.
    """
    modules = weights.read_json(folder / "modules.json", required=False)
    if modules is None:
        return otherwise
    mode, normalise = None, False
    try:
        steps = [(str(module["type"]).rsplit(".", 1)[-1], module["path"]) for module in modules]
    except (TypeError, KeyError) as error:
        raise TextError(
            f"{folder / 'modules.json'}: expected a list of objects with type and path"
        ) from error
    for kind, path in steps:
        if kind == "Pooling":
            mode = _read_mode(folder / path / "config.json")
        elif kind == "Normalize":
            normalise = True
        elif kind != "Transformer":
            raise TextError(
                f"{folder / 'modules.json'}: module '{kind}' is not known; "
                "expected Transformer, Pooling and Normalize"
            )
    return Pooling(mode or "mean", normalise)


def _read_mode(path: Path) -> str:
    settings = weights.read_json(path)
    if not isinstance(settings, dict):
        raise TextError(f"{path}: expected an object with pooling modes")
    names = {
        "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "last", "lasttoken": "last",
    }  # fmt: skip
    chosen = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    if "pooling_mode" in settings:  # the newer spelling: one key, one word or a list of words
        value = settings["pooling_mode"]
        chosen = [value] if isinstance(value, str) else list(value)
    modes = [names.get(key, key) for key in chosen]
    if len(modes) != 1 or modes[0] not in MODES:
        raise TextError(f"{path}: pooling {modes} is not known, expected one of {list(MODES)}")
    return modes[0]


def pool(hidden: jax.Array, lengths: jax.Array, mode: str) -> jax.Array:
    """Pools each row over its real tokens.

    Args:
        hidden: [batch, length, width] float32.
        lengths: [batch] int32, number of real tokens; a row of none gives zeros (mean).
        mode: "mean", "cls" (the first token) or "last" (the last real one).

    Returns:
        [batch, width] float32, not normalised.
    """
    if mode == "cls":
        return hidden[:, 0]
    if mode == "last":
        return hidden[jnp.arange(len(hidden)), jnp.maximum(lengths, 1) - 1]
    valid = jnp.arange(hidden.shape[1]) < lengths[:, None]  # [batch, length]
    total = jnp.sum(jnp.where(valid[..., None], hidden, 0.0), axis=1)
    return total / jnp.maximum(lengths, 1)[:, None]


def join(weighted: np.ndarray, tokens: np.ndarray, normalise: bool) -> np.ndarray:
    """Joins the chunks of texts: the mean weighted by tokens, then unit length if `normalise`.

    A text of one chunk gets that chunk's vector, so short texts equal sentence-transformers.

    Args:
        weighted: [texts, width] float32, sum over the chunks of tokens times pooled vector.
        tokens: [texts] int, sum of the chunks' tokens; 0 (an empty text) gives the zero vector.
        normalise: divide by the Euclidean norm.
    """
    vectors = weighted / np.maximum(tokens, 1)[:, None].astype(np.float32)
    if normalise:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
