"""Merges the small parts of a vector cache into few large ones, beside readers and writers.

The old parts go when all they held is safely in a new one, so a kill at any moment loses nothing;
what a kill leaves twice the next merge drops. A merged part is named after those it was made of:
two processes that merge the same parts write the same file.
"""

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ehr_jax.errors import TextError
from ehr_jax.text import parts

MANY = 16  # parts of about one size, that is within this factor, are merged
FULL_BYTES = 1 << 28  # no part is made larger; from half of it on a part stays as it is
MERGE_BYTES = 4 * FULL_BYTES  # of parts merged at a time: bounds the keys in memory
MERGE_PARTS = 128  # merged at a time: each is an open file
SIGN = ".merging"  # renewed by who is at it
SIGN_SECONDS = 300  # a merge that gave no sign for so long was killed
ROWS = 8192  # gathered at a time


def compact(folder: Path, fingerprint: str, width: int) -> int:
    """Merges all small parts; each result is sorted and at most `FULL_BYTES`, repeated keys go.

    Args:
        folder: what `cache.open_folder` gave.
        fingerprint: the encoder's; parts of another are left as they are.
        width: length of a vector.

    Returns:
        How many parts were merged.

    Raises:
        TextError: the disk is full, or the folder cannot be read or written.
    """
    return _compact(folder, fingerprint, width, _small)


def compact_if_many(folder: Path, fingerprint: str, width: int) -> int:
    """Merges parts where `MANY` are of about one size; as `compact` in all else.

    So a vector is copied few times however many parts come. Nothing is done where another process
    is at it already; what cannot be written is reported on standard output, since the parts are as
    good unmerged.
    """
    if not _of_one_size(folder) or time.time() - parts.modified(folder / SIGN) < SIGN_SECONDS:
        return 0
    try:
        return _compact(folder, fingerprint, width, _of_one_size)
    except TextError as error:
        print(f"vector cache: its parts stay many and small: {error}", flush=True)
        return 0


def _compact(folder: Path, fingerprint: str, width: int, choose: Callable) -> int:
    merged = 0
    with parts.save_errors(folder):
        try:
            while names := choose(folder):
                taken = _merge(folder, names, fingerprint, width)
                merged += taken
                if not taken:  # another encoder's, or another process was quicker
                    break
        except parts.Damaged as error:
            raise TextError(
                f"{folder}: a part changed while it was merged ({error}); nothing is lost, start "
                "again"
            ) from error
        finally:
            (folder / SIGN).unlink(missing_ok=True)
    return merged


def _small(folder: Path) -> list[str]:
    """The parts to merge next, the smallest first; none, or at least two."""
    found = sorted((n, name) for name, n in parts.sizes(folder).items() if n < FULL_BYTES / 2)
    total = np.cumsum([size for size, _ in found])
    most = min(MERGE_PARTS, int(np.searchsorted(total, MERGE_BYTES, "right")))
    return [name for _, name in found[: max(most, 2)]] if len(found) > 1 else []


def _of_one_size(folder: Path) -> list[str]:
    """The same of parts that are within a factor of `MANY`, where there are so many of them."""
    tiers: dict[int, list[str]] = {}
    for name, size in parts.sizes(folder).items():
        if size < FULL_BYTES / 2:
            tiers.setdefault(int(math.log(max(size, 1), MANY)), []).append(name)
    return next((sorted(tier)[:MANY] for tier in tiers.values() if len(tier) >= MANY), [])


def _merge(folder: Path, names: list[str], fingerprint: str, width: int) -> int:
    """Merges these parts; returns how many there were, 0 where fewer than two could be opened."""
    with contextlib.ExitStack() as stack:
        opened = {}
        for name in names:
            try:
                part = stack.enter_context(parts.opened(folder / name, fingerprint, width))
            except FileNotFoundError:
                continue  # another process merged it
            except parts.Damaged as error:
                parts.put_aside(folder / name, error)
                continue
            if part is not None:
                opened[name] = part
        if len(opened) < 2:
            return 0
        _write_merged(folder, opened, fingerprint, width)
    for name in opened:
        (folder / name).unlink(missing_ok=True)
    return len(opened)


def _write_merged(folder: Path, opened: dict, fingerprint: str, width: int) -> None:
    sources = list(opened.values())
    rows = [_whole_rows(folder / name, part) for name, part in opened.items()]
    keys = np.concatenate([part.keys[r] for part, r in zip(sources, rows, strict=True)])
    sums = np.concatenate([part.checksums[r] for part, r in zip(sources, rows, strict=True)])
    source = np.repeat(np.arange(len(sources)), [len(r) for r in rows])
    rows = np.concatenate(rows)
    keys, first = np.unique(keys, return_index=True)
    sums, source, rows = sums[first], source[first], rows[first]

    newest = max(name[: parts.STAMP] for name in opened)  # merged parts keep their place in time
    digest = hashlib.sha256("\n".join(sorted(opened)).encode()).hexdigest()[:32]
    pieces = math.ceil(len(keys) * parts.row_bytes(width) / FULL_BYTES)
    edges = np.linspace(0, len(keys), pieces + 1).astype(int)
    for i, (begin, end) in enumerate(zip(edges, edges[1:], strict=False)):
        some = slice(begin, end)
        (folder / SIGN).touch()
        parts.write(
            folder / f"{newest}-{digest}-{i:03}{parts.SUFFIX}",
            fingerprint,
            keys[some],
            sums[some],
            _gather(sources, source[some], rows[some], width),
            width,
        )


def _whole_rows(path: Path, part: parts.Part) -> np.ndarray:
    """The rows that match their checksums; the others are reported and go."""
    whole = np.zeros(len(part.keys), bool)
    with contextlib.suppress(parts.Damaged):  # cut off: what comes before is good
        for which, _, good in parts.read_rows(part, np.arange(len(part.keys))):
            whole[which] = good
    if not whole.all():
        lost = int(np.count_nonzero(~whole))
        parts.report(path, f"{lost:,} vectors do not match their checksums, their texts")
    return np.flatnonzero(whole)


def _gather(
    sources: list[parts.Part], source: np.ndarray, rows: np.ndarray, width: int
) -> Iterator[np.ndarray]:
    """Yields the vectors of (source, row) pairs in order, `ROWS` at a time."""
    for begin in range(0, len(rows), ROWS):
        some = slice(begin, begin + ROWS)
        vectors = np.empty((len(rows[some]), width), np.float32)
        for number in np.unique(source[some]):
            mine = np.flatnonzero(source[some] == number)
            for which, found, _ in parts.read_rows(sources[number], rows[some][mine]):
                vectors[mine[which]] = found
        yield vectors
