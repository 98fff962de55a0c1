"""--mode=embed: the texts of a file become vectors, in order, by any encoder."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
import numpy as np

from ehr_jax import progress
from ehr_jax.embedding import reader as embed_input
from ehr_jax.embedding import writer as embed_output
from ehr_jax.text import cache, encode, encoders, options, verify


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Writes config.text.output; needs no run folder.

    An output that is there already is kept where the same texts and encoder made it, and refused
    otherwise. Texts are held some 50,000 at a time; what a killed call has encoded is in the cache.
    """
    text = config.text
    output = embed_output.check(text.output)
    source = embed_input.examine(text.input, text.column, text.id)
    column = f", column '{source.column}'" if source.column else ""
    print(f"{source.path}: {source.texts:,} texts{column}", flush=True)
    encoder = options.load(text)
    identity = {
        "fingerprint": encoder.fingerprint,
        "input": source.digest,
        "column": source.column or "",
        "id": source.id or "",
    }
    if embed_output.is_written(output, identity):
        print(f"nothing to do: {output} was written by an earlier start from the same texts")
        _verify(source, encoder, text)
        return 0
    made = {key: _plain(value) for key, value in options.record(encoder).items()} | identity
    with embed_output.writing(output, source.texts, encoder.width, made) as add:
        counts = _encode(source, encoder, text, add)
    print(_summary(counts, encoder))
    print(f"vectors: {output}, {source.texts:,} x {encoder.width} float32")
    _verify(source, encoder, text)
    return 0


def _verify(source: embed_input.Input, encoder: encoders.Encoder, text) -> None:
    """Encodes some of the first texts again, where config.text.verify asks for it."""
    if text.verify:
        first = next(embed_input.windows(source)).texts
        verify.verify(first, encoder, text.cache or None, text.verify)


def _encode(
    source: embed_input.Input,
    encoder: encoders.Encoder,
    text: ml_collections.ConfigDict,
    add: embed_output.Add,
) -> encode.Counts:
    """Encodes a file window by window; returns the counts of all."""
    parts, seen = [], []
    with progress.progress("embed", source.texts) as bar:
        for window in embed_input.windows(source):
            seen.append(_distinct(window.texts, encoder))
            vectors = encode.encode(
                window.texts,
                encoder,
                text.cache or None,
                text.token_budget,
                show=_within(bar, bar.done + len(window.texts)),
                report=parts.append,
            )
            ids = None if window.ids is None else window.ids.alias(text.id)
            add(vectors, ids)
    return _together(parts, len(np.unique(np.concatenate(seen))))


def _within(bar: progress.Progress, end: int) -> Callable:
    """Shows the progress of one window's distinct texts on the bar of all texts.

    What is repeated or in the cache is done at once and tells nothing of the pace.
    """

    @contextlib.contextmanager
    def show(label: str, total: int, done: int = 0) -> Iterator[progress.Progress]:
        bar.skip(end - bar.done - (total - done))
        yield bar
        bar.skip(end - bar.done)

    return show


def _distinct(texts: list[str], encoder: encoders.Encoder) -> np.ndarray:
    """Eight bytes for each distinct text: those of a whole file are counted in little memory."""
    keys = cache.make_keys((text.encode("utf-8", "replace") for text in texts), encoder.fingerprint)
    return np.unique(keys.view(np.uint8).reshape(-1, cache.KEY.itemsize)[:, :8].view("<u8"))


def _together(parts: list[encode.Counts], distinct: int) -> encode.Counts:
    """The counts of all windows. One finds in the cache what another of this start has encoded."""
    names = ("texts", "empty", "unknown", "long", "chunks", "tokens", "seconds")
    sums = {name: sum(getattr(part, name) for part in parts) for name in names}
    encoded = sum(part.distinct - part.cached for part in parts)
    shapes = frozenset().union(*(part.shapes for part in parts))
    return encode.Counts(distinct=distinct, cached=distinct - encoded, shapes=shapes, **sums)


def _summary(counts: encode.Counts, encoder: encoders.Encoder) -> str:
    lines = [
        f"{counts.texts:,} texts: {counts.distinct:,} distinct, {counts.cached:,} from the cache, "
        f"{counts.empty:,} empty (their vector is zero)"
    ]
    if encoded := counts.distinct - counts.cached:
        how = "cut off" if encoder.tokenizer.overlap is None else "chunks joined by their mean"
        rate = counts.tokens / max(counts.seconds, 1e-9)
        lines += [
            f"encoded now: {encoded:,} texts in {counts.chunks:,} chunks; {counts.long:,} beyond "
            f"{encoder.tokenizer.max_length:,} tokens ({how}), {counts.unknown:,} of unknown "
            "tokens alone",
            f"{counts.tokens:,} tokens in {counts.seconds:.1f} s, {rate:,.0f} tokens/s; "
            f"{len(counts.shapes)} batch shape(s), each compiled once",
        ]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    """Metadata of a file are strings."""
    return value if isinstance(value, str) else json.dumps(value)
