"""Turns texts into vectors, in their order, by any encoder.

Command: python -m ehr_jax.main --mode=embed --config=configs/embed.py \\
             --config.text.encoder=NAME_OR_FOLDER --config.text.input=FILE --config.text.output=FILE
Expect:  OUTPUT.parquet with columns `row` and `vector`, or OUTPUT.safetensors with `vectors`
         [texts, width] float32; counts of texts, tokens a second. A killed call goes on where it
         was: what is encoded is kept in the vector cache.
"""

from ehr_jax import config as base


def get_config():
    """Every key of `text` is told by --list=keys."""
    return base.embed()
