"""Texts to token ids, long ones in overlapping chunks that each fit the model."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from ehr_jax.errors import TextError
from ehr_jax.text import weights

OVERLAP = 32  # tokens that two neighbouring chunks share, so that no phrase is cut in both
LONG = ("chunk", "truncate")  # what becomes of a text beyond the maximum
VOCABULARY_FILES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model")
# Checkpoints pad their embedding table up to a multiple of at most this, large ones by this part.
PADDED_VOCABULARY, PADDED_PART = 128, 1 / 256
CASINGS = ("cased", "uncased")


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A tokenizer that cuts texts into chunks of at most `max_length` tokens, specials included."""

    backend: tokenizers.Tokenizer
    max_length: int
    overlap: int | None  # tokens neighbouring chunks share; None: the first chunk alone is kept
    fingerprint: str  # of the whole state: vocabulary, casing, normalisation, special tokens
    prefix: str = ""  # stands before every text, so in its first chunk
    end: int | None = None  # id of the token that closes every chunk
    unknown: int | None = None  # id of the token that stands for what the vocabulary has not


def load(
    folder: Path,
    vocabulary: int,
    positions: int,
    prefix: str = "",
    casing: str | None = None,
    max_length: int | None = None,
    end_token: str | None = None,
    long: str | None = None,
    overlap: int | None = None,
) -> Tokenizer:
    """Loads the tokenizer of a checkpoint folder.

    Args:
        folder: holds tokenizer.json, or the files from which transformers can build a tokenizer.
        vocabulary: rows of the model's token table.
        positions: the most tokens the model can take; sentence_bert_config.json may say fewer.
        prefix: stands before every text.
        casing: "cased" or "uncased", where the folder's files do not say it or say it wrongly.
        max_length: tokens of a chunk; None is what the folder's files say.
        end_token: closes every chunk; one that the tokenizer adds by itself is not doubled.
        long: "chunk" (the default) cuts a text beyond the maximum into chunks that overlap,
            "truncate" keeps its first tokens alone.
        overlap: tokens shared by two neighbouring chunks; None is `OVERLAP`, or half of what a
            short chunk holds.

    Raises:
        TextError: an option that cannot be; no tokenizer, a damaged one, or one that does not
            belong to the weights.
    """
    path = folder / "tokenizer.json"
    backend = _read(path) if path.is_file() else _build(folder)
    if casing is not None:
        backend = _with_casing(backend, casing)
    backend.no_padding()
    backend.no_truncation()
    size = backend.get_vocab_size(with_added_tokens=True)
    if not 0 <= vocabulary - size < max(PADDED_VOCABULARY, vocabulary * PADDED_PART):
        raise TextError(
            f"{folder}: the tokenizer has {size} tokens, the weights have {vocabulary}: "
            "they belong to different models"
        )
    fingerprint = hashlib.sha256(backend.to_str().encode()).hexdigest()
    if max_length is None:
        max_length = _max_length(folder, positions)
    elif not 0 < max_length <= positions:
        raise TextError(
            f"{folder}: config.text.max_length {max_length} is not from 1 to {positions} tokens, "
            "the most this model takes"
        )
    end = None
    if end_token is not None:
        end = backend.token_to_id(end_token)
        if end is None:
            raise TextError(
                f"{folder}: config.text.end_token {end_token!r} is not in the vocabulary"
            )
    within = max_length - (end is not None)
    room = within - len(backend.encode(prefix).ids)
    if room < 1:
        raise TextError(
            f"{folder}: a maximum length of {max_length} tokens leaves no room for text; raise "
            "config.text.max_length or shorten config.text.prefix"
        )
    overlap = _overlap(long or LONG[0], overlap, room // 2)
    backend.enable_truncation(within, stride=overlap or 0)
    unknown = _unknown(backend)
    return Tokenizer(backend, max_length, overlap, fingerprint, prefix, end, unknown)


def chunk(
    texts: Sequence[str], tokenizer: Tokenizer, counts: collections.Counter | None = None
) -> list[list[np.ndarray]]:
    """Cuts each text into chunks of token ids, [tokens] int32.

    A text without a token of its own gets one chunk of length 0, special tokens left out.

    Args:
        texts: the texts.
        tokenizer: from `load`.
        counts: gets the number of "chunks" that hold text, of "long" texts beyond the maximum, and
            of "unknown" texts, which hold unknown tokens alone.
    """
    prefix, end, whole = tokenizer.prefix, tokenizer.end, tokenizer.overlap is not None
    bare = len(tokenizer.backend.encode(prefix).ids)
    encodings = tokenizer.backend.encode_batch_fast([prefix + text for text in texts])

    def close(ids: list[int]) -> list[int]:
        return ids if end is None or ids[-1:] == [end] else [*ids, end]

    chunked = [
        [
            np.asarray(close(part.ids) if len(first) > bare else [], np.int32)
            for part in (first, *(first.overflowing if whole else ()))
        ]
        for first in encodings
    ]
    if counts is not None:
        expected = tokenizer.backend.encode(prefix).ids.count(tokenizer.unknown)
        for first, chunks in zip(encodings, chunked, strict=True):
            own = len(first) - bare
            counts["chunks"] += len(chunks) if own > 0 else 0
            counts["long"] += bool(first.overflowing)
            # Of a long text the first chunk tells.
            found = np.count_nonzero(chunks[0] == tokenizer.unknown)
            counts["unknown"] += own > 0 and found == own + expected
    return chunked


def read_prefix(folder: Path) -> str:
    """Returns the prompt that sentence-transformers puts before every text by default, or ""."""
    path = folder / "config_sentence_transformers.json"
    content = weights.read_json(path, required=False)
    content = content if isinstance(content, dict) else {}
    name, prompts = content.get("default_prompt_name"), content.get("prompts")
    if name is None:
        return ""
    if not isinstance(prompts, dict) or not isinstance(prompts.get(name), str):
        raise TextError(f"{path}: default_prompt_name {name!r} is not among its prompts")
    return prompts[name]


def _overlap(long: str, overlap: int | None, most: int) -> int | None:
    if long not in LONG:
        raise TextError(f"config.text.long '{long}' is not known, expected one of {list(LONG)}")
    if overlap is None:
        return min(OVERLAP, most) if long == "chunk" else None
    if long != "chunk":
        raise TextError("config.text.overlap is of chunks; leave it out, or set long to 'chunk'")
    if not 0 <= overlap <= most:
        raise TextError(
            f"config.text.overlap {overlap} is not from 0 to {most} tokens, half of what a chunk "
            "holds"
        )
    return overlap


def _unknown(backend: tokenizers.Tokenizer) -> int | None:
    """Id of the unknown token; None where the vocabulary has every byte and needs none."""
    model = json.loads(backend.to_str())["model"]
    token = model.get("unk_token")
    return model.get("unk_id") if token is None else backend.token_to_id(token)


def _with_casing(backend: tokenizers.Tokenizer, casing: str) -> tokenizers.Tokenizer:
    """Makes a tokenizer keep capitals, or lower them."""
    if casing not in CASINGS:
        raise TextError(
            f"config.text.casing '{casing}' is not known, expected one of {list(CASINGS)}"
        )
    state = json.loads(backend.to_str())
    steps = state["normalizer"] or {"type": "Sequence", "normalizers": []}
    steps = steps["normalizers"] if steps["type"] == "Sequence" else [steps]
    steps = [step for step in steps if step["type"] != "Lowercase"]
    own = [step for step in steps if step["type"] == "BertNormalizer"]
    for step in own:
        step["lowercase"] = casing == "uncased"
    if casing == "uncased" and not own:
        steps = [{"type": "Lowercase"}, *steps]
    state["normalizer"] = {"type": "Sequence", "normalizers": steps} if steps else None
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def _read(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  (the Rust side raises bare Exception)
        raise TextError(f"{path}: not a readable tokenizer ({error}); fetch it again") from error


def _build(folder: Path) -> tokenizers.Tokenizer:
    """Builds a tokenizer from vocab.txt and the like, as transformers reads the folder."""
    # Asked first, because transformers makes an empty tokenizer where there is no vocabulary.
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise TextError(
            f"{folder}: no tokenizer.json and no vocab.txt; an encoder needs one of them"
        )
    import transformers  # slow to import, and most folders do not need it

    try:
        built = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise TextError(
            f"{folder}: there is no tokenizer.json, and none can be built from the other files "
            f"({reason}); add tokenizer.json"
        ) from error
    if not getattr(built, "is_fast", False):
        raise TextError(
            f"{folder}: its tokenizer exists only in slow form; save a tokenizer.json there"
        )
    return built.backend_tokenizer


def _max_length(folder: Path, positions: int) -> int:
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = (weights.read_json(folder / name, required=False) or {}).get(key)
        if isinstance(value, int | float) and value >= 1:
            return int(min(value, positions))
    return positions
