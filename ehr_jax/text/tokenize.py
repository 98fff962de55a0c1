"""Texts to token ids, long ones in overlapping chunks that each fit the model."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from ehr_jax.errors import TextError
from ehr_jax.text import weights

OVERLAP = 32  # tokens that two neighbouring chunks share, so that no phrase is cut in both
VOCABULARY_FILES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model")
PADDED_VOCABULARY = 128  # checkpoints pad their embedding table up to a multiple of at most this


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A tokenizer that cuts texts into chunks of at most `max_length` tokens, specials included."""

    backend: tokenizers.Tokenizer
    max_length: int
    overlap: int
    fingerprint: str  # of the whole state: vocabulary, casing, normalisation, special tokens


def load(folder: Path, vocabulary: int, positions: int, overlap: int = OVERLAP) -> Tokenizer:
    """Loads the tokenizer of a checkpoint folder.

    Args:
        folder: holds tokenizer.json, or the files from which transformers can build a tokenizer.
        vocabulary: rows of the model's token table.
        positions: the most tokens the model can take; sentence_bert_config.json may say fewer.
        overlap: tokens shared by two neighbouring chunks of a long text.

    Raises:
        TextError: no tokenizer, a damaged one, or one that does not belong to the weights.
    """
    path = folder / "tokenizer.json"
    backend = _read(path) if path.is_file() else _build(folder)
    backend.no_padding()
    backend.no_truncation()
    size = backend.get_vocab_size(with_added_tokens=True)
    if not 0 <= vocabulary - size < PADDED_VOCABULARY:
        raise TextError(
            f"{folder}: the tokenizer has {size} tokens, the weights have {vocabulary}: "
            "they belong to different models"
        )
    fingerprint = hashlib.sha256(backend.to_str().encode()).hexdigest()
    max_length = _max_length(folder, positions)
    room = max_length - backend.num_special_tokens_to_add(False)
    if room < 1:
        raise TextError(
            f"{folder}: a maximum length of {max_length} tokens leaves no room for text"
        )
    overlap = min(overlap, room // 2)
    backend.enable_truncation(max_length, stride=overlap)
    return Tokenizer(backend, max_length, overlap, fingerprint)


def chunk(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[np.ndarray]]:
    """Cuts each text into chunks of token ids, [tokens] int32.

    A text without a token of its own gets one chunk of length 0, special tokens left out.
    """
    bare = tokenizer.backend.num_special_tokens_to_add(False)
    encodings = tokenizer.backend.encode_batch_fast(list(texts))
    return [
        [
            np.asarray(part.ids if len(first) > bare else [], np.int32)
            for part in (first, *first.overflowing)
        ]
        for first in encodings
    ]


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
