"""Encodes many texts: each distinct text once, in batches of few fixed shapes, through the cache.

Chunks of token ids wait in queues by length bucket; a full queue is one batch. So no sorting of the
whole input is needed, memory stays bounded, and there are at most as many compilations as buckets.
"""

import bisect
import collections
import concurrent.futures
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from ehr_jax.errors import TextError
from ehr_jax.nn import compiling
from ehr_jax.progress import progress
from ehr_jax.text import (
    cache,
    compaction,
    encoders,
    placement,
    pooling,
    sharing,
    tokenize,
)

# Padded tokens of a batch: what a CPU's caches hold, and what keeps an accelerator busy.
CPU_TOKENS, ACCELERATOR_TOKENS = 1024, 16_384
WINDOW, WINDOW_CHARACTERS = 2048, 4_000_000  # tokenised ahead at a time, at most: bounds memory
FINE_FROM = 20_000  # texts
PART_SECONDS, PART_ROWS = 30.0, 50_000  # a part is written after either: what a kill can lose
FIRST_SECONDS = 1.0  # sooner at first, so that processes see each other's work in short calls too


class Batch(NamedTuple):
    """Chunks padded to one of the fixed shapes."""

    texts: np.ndarray  # [rows] int64, whose chunk each row is
    tokens: np.ndarray  # [batch, length] int32, batch >= rows
    lengths: np.ndarray  # [batch] int32, 0 for rows that only fill up


class Counts(NamedTuple):
    """What one call of `encode` was given and did."""

    texts: int
    distinct: int
    cached: int  # of the distinct ones, found in the cache
    empty: int  # texts without any token
    unknown: int  # of the distinct ones encoded now: those of unknown tokens alone
    long: int  # and those beyond the model's maximum
    chunks: int  # encoded now
    tokens: int  # encoded now
    seconds: float
    shapes: frozenset  # of batches: one compilation each

    def __str__(self) -> str:
        return (
            f"encoded {self.texts:,} texts ({self.distinct:,} distinct, {self.cached:,} from the "
            f"cache, {self.empty:,} empty): {self.tokens:,} tokens in {self.seconds:.1f} s, "
            f"{len(self.shapes)} batch shapes"
        )


def encode(
    texts: Sequence[str],
    encoder: encoders.Encoder,
    cache_dir: Path | str | None = None,
    token_budget: int | None = None,
    show: Callable = progress,
    report: Callable[[Counts], None] = print,
) -> np.ndarray:
    """Turns texts into vectors.

    A text longer than the model's maximum is encoded in overlapping chunks, joined by their mean
    weighted by tokens, or cut off there, as the encoder was loaded. A text without any token gets
    the zero vector; such texts are counted in the closing line. Finished vectors reach the cache
    every 30 s, so a killed call goes on from there.

    Args:
        texts: the texts, in any order; repeated ones cost nothing.
        encoder: from `encoders.load`.
        cache_dir: the vector cache; None is `cache.default_folder()`.
        token_budget: padded tokens of a batch, on each device that has rows of its own; None is
            `default_budget()`.
        show: opens a progress display, as `ehr_jax.progress.progress`.
        report: gets what was done when it is done; by default it is printed.

    Returns:
        [texts, width] float32, in the order of `texts`.

    Raises:
        TextError: a text is not a string, or the cache cannot be written.
    """
    token_budget = default_budget() if token_budget is None else token_budget
    keys = cache.make_keys(utf8(texts), encoder.fingerprint)
    vectors = np.zeros((len(texts), encoder.width), np.float32)
    if not len(texts):
        return vectors
    distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    folder = cache.open_folder(cache_dir, encoder.fingerprint)
    begun = np.zeros(len(texts), bool)  # has its vector, or is on its way; of repeated texts one
    looked: set[str] = set()  # names of parts

    def look() -> int:
        """Takes what parts not yet looked at hold of texts not begun; returns how many."""
        waiting, taken = np.flatnonzero(~begun[first]), 0
        for hits, found in cache.read(
            folder, encoder.fingerprint, distinct[waiting], encoder.width, looked
        ):
            rows = first[waiting[hits]]
            vectors[rows], begun[rows] = found, True
            taken += len(rows)
        return taken

    cached = before = look()
    missing = np.sort(first[~begun[first]])
    began, tokens, shapes, unsaved, saved_at = time.monotonic(), 0, set(), [], time.monotonic()
    seen, encoded = collections.Counter(), 0

    def save():
        rows = np.concatenate([*unsaved, np.empty(0, np.int64)])
        if len(rows):
            looked.add(cache.write(folder, encoder.fingerprint, keys[rows], vectors[rows]))
            unsaved.clear()

    with sharing.presence(folder) as others, show("encode texts", len(distinct), cached) as bar:
        missing, share = sharing.order(missing, keys, len(missing) > 0 and others())
        try:
            for batch, done in _encode_missing(
                texts, missing, encoder, token_budget, vectors, seen, begun
            ):
                tokens += int(batch.lengths.sum())
                shapes.add(batch.tokens.shape)
                now = time.monotonic()
                unsaved.append(done)
                encoded += len(done)
                bar.advance(len(done), f"{tokens / (now - began):,.0f} tokens/s")
                waiting = sum(map(len, unsaved))
                seconds = min(PART_SECONDS, max(FIRST_SECONDS, (now - began) / 8))
                if now - saved_at > seconds or waiting >= PART_ROWS:
                    save()
                    compaction.compact_if_many(folder, encoder.fingerprint, encoder.width)
                    others()
                    if taken := look():
                        cached += taken
                        bar.advance(taken, "by other processes")
                    elif encoded > share and cached == before:
                        sharing.warn_unshared(folder)
                        share = len(distinct)  # once is enough
                    saved_at = time.monotonic()
        finally:
            save()
    if len(missing):
        compaction.compact_if_many(folder, encoder.fingerprint, encoder.width)
    repeated = np.flatnonzero(first[inverse] != np.arange(len(texts)))
    for some in np.array_split(repeated, len(repeated) // 65_536 + 1):  # no second array as large
        vectors[some] = vectors[first[inverse[some]]]
    empty = int(np.count_nonzero(~vectors.any(axis=1)))
    report(
        Counts(
            texts=len(texts),
            distinct=len(distinct),
            cached=cached,
            empty=empty,
            unknown=seen["unknown"],
            long=seen["long"],
            chunks=seen["chunks"],
            tokens=tokens,
            seconds=time.monotonic() - began,
            shapes=frozenset(shapes),
        )
    )
    return vectors


def default_budget() -> int:
    """Returns the padded tokens of a batch that are fastest on the device."""
    return CPU_TOKENS if jax.default_backend() == "cpu" else ACCELERATOR_TOKENS


def bucket_lengths(max_length: int, texts: int = 0) -> list[int]:
    """Returns the lengths batches are padded to: steps of 16 tokens up to 128, then of 32.

    From 512 on a step is an eighth of the last power of two, so that a window of 131,072 tokens
    compiles some 80 programs and not 4,000. From `FINE_FROM` texts on the short steps are 8: 6 %
    less padding pays for the compilations.
    """
    step = 8 if texts >= FINE_FROM else 16
    lengths = [*range(16, 128, step), *range(128, 512, 32)]
    start = 512
    while start < max_length:
        lengths += range(start, 2 * start, start // 8)
        start *= 2
    return [n for n in lengths if n < max_length] + [max_length]


def embed(
    params: dict, tokens: jax.Array, lengths: jax.Array, module, mode: str, mesh=None
) -> jax.Array:
    """Encodes and pools a batch: [batch, length], [batch] int32 -> [batch, width] float32."""
    return compiled()(params, tokens, lengths, module, mode, mesh)


@functools.cache
def compiled() -> Callable:
    """Returns `embed` under jit, with the compiler's options that are fastest on the device."""
    return compiling.jit(_embed, static_argnames=("module", "mode", "mesh"))


def _embed(params, tokens, lengths, module, mode, mesh):
    def run(params, tokens, lengths):
        hidden = module.apply({"params": params}, tokens, lengths)
        return pooling.pool(hidden, lengths, mode)

    return placement.over_rows(run, mesh)(params, tokens, lengths)


def utf8(texts: Sequence[str]) -> Iterator[bytes]:
    """Yields the bytes that keys are made of; a lone surrogate becomes "?".

    Raises:
        TextError: a text is not a string.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(f"text {row} is {type(text).__name__}, expected str")
        yield text.encode("utf-8", "replace")


def _encode_missing(
    texts: Sequence[str],
    rows: np.ndarray,
    encoder: encoders.Encoder,
    budget: int,
    vectors: np.ndarray,
    seen: collections.Counter,
    begun: np.ndarray,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Fills `vectors` at `rows` not `begun`; yields each batch with the rows it finished."""
    architecture = encoders.find_architecture(encoder.architecture)
    module = architecture.module(encoder.config, encoder.precision)
    left = np.zeros(len(texts), np.int32)  # chunks still to come, by text
    weight = np.zeros(len(texts), np.int64)  # tokens so far, by text

    def finish(batch: Batch, pooled: jax.Array) -> tuple[Batch, np.ndarray]:
        count = batch.lengths[: len(batch.texts)]
        np.add.at(
            vectors,
            batch.texts,
            np.asarray(pooled)[: len(count)] * count[:, None].astype(np.float32),
        )
        np.add.at(weight, batch.texts, count)
        np.subtract.at(left, batch.texts, 1)
        touched = np.unique(batch.texts)
        done = touched[left[touched] == 0]
        vectors[done] = pooling.join(vectors[done], weight[done], encoder.pooling.normalise)
        return batch, done

    running = collections.deque()  # one batch computes while the next is prepared
    chunks = _tokenise_ahead(texts, rows, encoder.tokenizer, left, seen, begun)
    buckets = bucket_lengths(encoder.tokenizer.max_length, len(rows))
    mesh, mode = encoder.mesh, encoder.pooling.mode
    for batch in _batches(chunks, buckets, budget * placement.data_shards(mesh)):
        put = placement.put_batch(batch.tokens, batch.lengths, mesh)
        pooled = embed(encoder.params, *put, module, mode, mesh)
        running.append((batch, pooled))
        if len(running) > 1:
            yield finish(*running.popleft())
    while running:
        yield finish(*running.popleft())


def _tokenise_ahead(
    texts: Sequence[str],
    rows: np.ndarray,
    tokenizer: tokenize.Tokenizer,
    left: np.ndarray,
    seen: collections.Counter,
    begun: np.ndarray,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (row, token ids) by chunk, one window ahead of the encoder; counts into `left`.

    A text that is `begun` when its turn comes, because another process did it, is passed over.
    """

    def tokenised(some: np.ndarray | None):
        if some is None:
            return None
        wanted = some[~begun[some]]
        # Lone surrogates, which no tokenizer takes, become "?", as in the key.
        return wanted, tokenize.chunk(
            [texts[i].encode("utf-8", "replace").decode() for i in wanted], tokenizer, seen
        )

    windows = _windows(texts, rows)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(tokenised, next(windows, None))
        while (ready := ahead.result()) is not None:
            ahead = pool.submit(tokenised, next(windows, None))
            for row, chunks in zip(*ready, strict=True):
                if not begun[row]:
                    begun[row], left[row] = True, len(chunks)
                    yield from ((row, chunk) for chunk in chunks)


def _windows(texts: Sequence[str], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts rows where either bound of a window is reached; a longer text stands alone."""
    start = 0
    while start < len(rows):
        some = rows[start : start + WINDOW]
        ends = np.cumsum([len(texts[i]) for i in some])
        count = max(int(np.searchsorted(ends, WINDOW_CHARACTERS, "right")), 1)
        yield some[:count]
        start += count


def _batches(
    chunks: Iterator[tuple[int, np.ndarray]], buckets: list[int], budget: int
) -> Iterator[Batch]:
    """Groups chunks by bucket; a full bucket is a batch, what is left at the end shares batches."""
    queues = {length: [] for length in buckets}
    size = {length: max(budget // length, 1) for length in buckets}
    for row, ids in chunks:
        length = _bucket(len(ids), buckets)
        queues[length].append((row, ids))
        if len(queues[length]) == size[length]:
            yield _pad(queues[length], length, size[length])
            queues[length] = []
    # Longest first: a shorter chunk in a free row of a longer batch costs nothing.
    rest = [chunk for length in reversed(buckets) for chunk in queues[length]]
    while rest:
        length = _bucket(len(rest[0][1]), buckets)
        yield _pad(rest[: size[length]], length, size[length])
        rest = rest[size[length] :]


def _bucket(tokens: int, buckets: list[int]) -> int:
    return buckets[bisect.bisect_left(buckets, tokens)]


def _pad(chunks: list[tuple[int, np.ndarray]], length: int, batch: int) -> Batch:
    tokens = np.zeros((batch, length), np.int32)
    lengths = np.zeros(batch, np.int32)
    for i, (_, ids) in enumerate(chunks):
        tokens[i, : len(ids)] = ids
        lengths[i] = len(ids)
    return Batch(np.array([row for row, _ in chunks]), tokens, lengths)
