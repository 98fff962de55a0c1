"""The reader of what --mode=embed encodes, by the name under which programs import it."""

from ehr_jax.embedding.reader import examine, windows

__all__ = ["examine", "windows"]
