"""Texts to vectors, as the builders of arrays ask for them: by an encoder, or by a digest.

The digest stands for an encoder where only equality of texts matters, as in the audit: two texts
have the same vector if they are the same text, and no weights are needed.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ehr_jax.text import encode, encoders, options

DIGEST_WIDTH = 4


class Vectors(NamedTuple):
    """How texts become vectors.

    Attributes:
      of: texts -> [text, width] float32.
      width: of a vector.
      described: what data.json says of the encoder.
      encoder: by which entities are linked by meaning; None links them by name alone.
    """

    of: Callable[[Sequence[str]], np.ndarray]
    width: int
    described: dict[str, Any]
    encoder: encoders.Encoder | None


def by_encoder(text, cache: str | None) -> Vectors:
    """Vectors by the encoder of config.text, through the cache; `cache` None takes the user's.

    Raises TextError where the encoder cannot be loaded.
    """
    encoder = options.load(text)

    def of(texts: Sequence[str]) -> np.ndarray:
        return encode.encode(list(texts), encoder, cache, text.token_budget)

    return Vectors(of, encoder.width, options.record(encoder), encoder)


def none() -> Vectors:
    """Vectors of width 0, where no text is read."""
    return Vectors(lambda texts: np.zeros((len(texts), 0), np.float32), 0, {"name": "none"}, None)


def by_digest() -> Vectors:
    """Vectors of `DIGEST_WIDTH` numbers from -1 to 1 that are the text's digest."""
    return Vectors(_digests, DIGEST_WIDTH, {"name": "digest"}, None)


def _digests(texts: Sequence[str]) -> np.ndarray:
    size = 2 * DIGEST_WIDTH
    digests = [hashlib.blake2b(text.encode(), digest_size=size).digest() for text in texts]
    whole = np.frombuffer(b"".join(digests), "<u2").reshape(len(digests), DIGEST_WIDTH)
    return (whole / 32767.5 - 1).astype(np.float32)
