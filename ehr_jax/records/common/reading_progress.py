"""How far a large table is read: a bar a table, by rows read and the size of the first ones."""

import contextlib
import pathlib
import zlib
from collections.abc import Callable, Iterator

import polars as pl

from ehr_jax import progress
from ehr_jax.records.common import damage

LARGE = 1 << 26  # bytes of a file; a smaller one is read before anybody looks
_SAMPLE = 1 << 22  # bytes at the start of a file that tell how long a row is
_MEGABYTE = 1_000_000


@contextlib.contextmanager
def watch(path: pathlib.Path) -> Iterator[Callable[[int], None]]:
    """Opens a bar over the file's megabytes; call what it gives with how many rows are read.

    How many rows a CSV holds is not known before its end, so that the bar goes by the length of its
    first rows; it is full when the file is read.
    """
    size = path.stat().st_size
    if size < LARGE:
        yield lambda row: None
        return
    total, a_row, read = size // _MEGABYTE, _bytes_a_row(path, size), 0
    with progress.progress(path.name, total) as bar:

        def reached(row: int) -> None:
            nonlocal read
            read = row
            done = min(total - 1, int(read * a_row / _MEGABYTE))
            bar.advance(max(0, done - bar.done), f"MB, {read:,} rows")

        yield reached
        bar.advance(total - bar.done, f"MB, {read:,} rows")


def _bytes_a_row(path: pathlib.Path, size: int) -> float:
    if damage.is_parquet(path):
        rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        return size / max(1, rows)
    with open(path, "rb") as file:
        sample = file.read(_SAMPLE)
    text = sample
    if sample[:2] == b"\x1f\x8b":
        with contextlib.suppress(zlib.error):
            text = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(sample)
    return len(sample) / max(1, text.count(b"\n"))
