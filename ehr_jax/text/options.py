"""From the section `text` of a config to a ready encoder, and what is recorded of it."""

from typing import Any

from ehr_jax import settings
from ehr_jax.text import catalogue, encoders, placement
from ehr_jax.text import settings as text_settings


def load(text) -> encoders.Encoder:
    """Loads the encoder that a config's section `text` asks for, every option of it passed on.

    Args:
        text: has encoder, precision, download, token_budget, model_shards and the fields of
            `catalogue.Entry`.

    Raises:
        TextError: an encoder that is not there, or an option that cannot be; the key is named.
    """
    settings.read(text_settings.Text, text, "config.text")
    chosen = {name: text[name] for name in catalogue.OPTIONS}
    return encoders.load(text.encoder, text.precision, text.download, text.model_shards, **chosen)


def record(encoder: encoders.Encoder) -> dict[str, Any]:
    """Returns what a run says of its encoder: each option as it came out, and the fingerprint."""
    tokenizer = encoder.tokenizer
    normalizer = tokenizer.backend.normalizer
    return {
        "name": encoder.name,
        "architecture": encoder.architecture,
        "width": encoder.width,
        "pooling": encoder.pooling.mode,
        "normalise": encoder.pooling.normalise,
        "prefix": tokenizer.prefix,
        "casing": "uncased" if normalizer and "a" in normalizer.normalize_str("A") else "cased",
        "max_length": tokenizer.max_length,
        "long": "truncate" if tokenizer.overlap is None else "chunk",
        "overlap": tokenizer.overlap,
        "end_token": None
        if tokenizer.end is None
        else tokenizer.backend.id_to_token(tokenizer.end),
        "global_tokens": getattr(encoder.config, "global_tokens", None),
        "precision": encoder.precision,
        "devices": placement.describe(encoder.mesh),
        "fingerprint": encoder.fingerprint,
    }
