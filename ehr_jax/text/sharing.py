"""How processes that encode the same texts into one cache keep out of each other's way.

Nothing here decides what is encoded, only in which order: each process takes what others have
finished, and where they begin at different places little is done twice. So nothing can go wrong
when a process is killed or a host never starts: the others do its texts too.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from ehr_jax.text import parts

SIGN_SECONDS = 600  # a process whose sign is older than this is gone


@contextlib.contextmanager
def presence(folder: Path) -> Iterator[Callable[[], bool]]:
    """Shows other processes that this one is at work in the folder.

    Gives a function that renews the sign and tells whether other processes are there. It decides
    nothing but the order of work: a sign that a killed process left behind does no harm.
    """
    sign = folder / f".{uuid.uuid4().hex}.work"

    def others() -> bool:
        try:
            sign.touch()
            now = sign.stat().st_mtime  # the file system's clock, not this machine's
        except OSError:  # a cache that may only be read
            return False
        signs = (parts.modified(path) for path in folder.glob(".*.work") if path != sign)
        return any(now - at < SIGN_SECONDS for at in signs)

    try:
        yield others
    finally:
        with contextlib.suppress(OSError):
            sign.unlink(missing_ok=True)


def order(rows: np.ndarray, keys: np.ndarray, others: bool) -> tuple[np.ndarray, int]:
    """Puts texts in the order in which this process is to encode them.

    Of several JAX processes each begins with its share, by key modulo their number, and goes on
    with the others' in an order of its own. A process that works alone takes the texts as they
    come, so its batches are the same every time; one that finds others at work shuffles.

    Args:
        rows: [missing] int64, of texts without a vector.
        keys: [texts] S32.
        others: whether other processes are at work in the same folder.

    Returns:
        ([missing] int64, how many of them are this process's share).
    """
    number = keys[rows].view(np.uint8).reshape(-1, parts.KEY.itemsize)[:, -4:].copy().view("<u4")
    mine = number.ravel() % jax.process_count() == jax.process_index()
    shuffle = np.random.default_rng().permutation
    own, rest = rows[mine], rows[~mine]
    return np.concatenate([shuffle(own) if others else own, shuffle(rest)]), len(own)


def warn_unshared(folder: Path) -> None:
    """Prints that this process found nothing of the shares of other JAX processes."""
    print(
        f"vector cache: {folder}: nothing of the other {jax.process_count() - 1} processes has "
        "arrived here, so this one encodes their texts too; to share the work set EHR_JAX_CACHE to "
        "a folder that all hosts see",
        flush=True,
    )
