"""Checks the vector cache against the encoder: a sample of its vectors is computed again."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ehr_jax.errors import TextError
from ehr_jax.text import cache, encode, encoders

# The largest difference allowed, in units of the largest value (or 1): what other batches, another
# device or another version of XLA change. bfloat16 keeps eight bits of an operand.
TOLERANCES = {"float32": 1e-4, "bfloat16": 3e-2}


def verify(
    texts: Sequence[str],
    encoder: encoders.Encoder,
    cache_dir: Path | str | None = None,
    sample: int = 256,
    tolerance: float | None = None,
    seed: int = 0,
) -> float:
    """Computes the vectors of some cached texts again and prints how far they are off.

    Args:
        texts: texts of which some are cached, in any order.
        encoder: from `encoders.load`.
        cache_dir: the vector cache; None is `cache.default_folder()`.
        sample: how many of the texts are drawn; those that are not cached are counted.
        tolerance: the largest difference allowed; None is that of `TOLERANCES`.
        seed: of the draw.

    Returns:
        The largest absolute difference, divided by the largest absolute value where that is over 1.

    Raises:
        TextError: a vector is off by more than the tolerance, none of the sample is cached, or
            there are no texts.
    """
    if tolerance is None:
        tolerance = TOLERANCES[encoder.precision]
    if not len(texts):
        raise TextError("there are no texts to verify the vector cache with; give some it holds")
    folder = cache.open_folder(cache_dir, encoder.fingerprint)
    drawn = np.random.default_rng(seed).choice(len(texts), min(sample, len(texts)), replace=False)
    some = [texts[i] for i in drawn]
    keys, first = np.unique(
        cache.make_keys(encode.utf8(some), encoder.fingerprint), return_index=True
    )
    stored = np.zeros((len(keys), encoder.width), np.float32)
    cached = np.zeros(len(keys), bool)
    for hits, vectors in cache.read(folder, encoder.fingerprint, keys, encoder.width):
        stored[hits], cached[hits] = vectors, True
    if not cached.any():
        raise TextError(
            f"{folder}: holds none of {len(keys)} texts drawn from those given: nothing to "
            "verify; encode them with this encoder and its options first"
        )
    # The empty cache lies inside the private folder: these too are vectors of patients' notes.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".verify-") as empty:
        fresh = encode.encode([some[i] for i in first[cached]], encoder, empty)
    off = np.abs(fresh - stored[cached]).max(axis=1) / max(1.0, float(np.abs(fresh).max()))
    largest = float(off.max())
    print(
        f"verified {len(off)} of {len(keys)} texts drawn, {len(keys) - len(off)} not cached: "
        f"largest difference {largest:.1e} (at most {tolerance:.1e})",
        flush=True,
    )
    if not largest <= tolerance:
        raise TextError(
            f"{folder}: {int(np.count_nonzero(~(off <= tolerance)))} of {len(off)} cached vectors "
            f"differ from the encoder's by up to {largest:.1e}, more than {tolerance:.1e}; delete "
            "this folder, then the texts are encoded again"
        )
    return largest
