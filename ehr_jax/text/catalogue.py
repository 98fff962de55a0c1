"""Named encoders: what each is, where it comes from, and how one vector is made with it.

An entry says what the checkpoint's own files leave open or get wrong. A pooling that they state
(sentence-transformers' modules.json) holds over the entry's; an option of the user over both.
"""

import dataclasses
from pathlib import Path

from ehr_jax import errors
from ehr_jax.errors import TextError


@dataclasses.dataclass(frozen=True)
class Entry:
    """How to use one checkpoint; None where its own files, or our defaults, decide."""

    checkpoint: str  # on the Hugging Face hub
    pooling: str | None = None  # mean, cls or last
    normalise: bool | None = None  # to unit length
    prefix: str | None = None  # before every text
    casing: str | None = None  # cased or uncased: how its tokenizer must treat capitals
    max_length: int | None = None  # tokens of a chunk
    global_tokens: str | None = None  # of a Longformer: cls or none
    end_token: str | None = None  # closes every chunk, where the tokenizer adds none by itself
    long: str | None = None  # chunk or truncate: what becomes of a text beyond max_length
    overlap: int | None = None  # tokens that two neighbouring chunks of it share


OPTIONS = tuple(field.name for field in dataclasses.fields(Entry) if field.name != "checkpoint")
BGE = {"pooling": "cls", "normalise": True}
E5 = {"pooling": "mean", "normalise": True, "prefix": "query: ", "max_length": 512}
# A decoder takes 131,072 tokens, at a cost that grows with their square.
LONG = {"max_length": 4096}
ENTRIES = {
    "all-MiniLM-L6-v2": Entry(
        "sentence-transformers/all-MiniLM-L6-v2", "mean", True, max_length=256
    ),
    # Its tokenizer lower-cases where its files say nothing, though the vocabulary is cased.
    "Bio_ClinicalBERT": Entry("emilyalsentzer/Bio_ClinicalBERT", casing="cased", max_length=512),
    "PubMedBERT": Entry(
        "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        casing="uncased",
        max_length=512,
    ),
    # The first token of a frozen Longformer is what EMERGE takes.
    "Clinical-Longformer": Entry(
        "yikuan8/Clinical-Longformer", "cls", max_length=4096, global_tokens="cls"
    ),
    "BioClinical-ModernBERT-base": Entry("thomas-sounack/BioClinical-ModernBERT-base"),
    "BioClinical-ModernBERT-large": Entry("thomas-sounack/BioClinical-ModernBERT-large"),
    "bge-small-en-v1.5": Entry("BAAI/bge-small-en-v1.5", **BGE),
    "bge-base-en-v1.5": Entry("BAAI/bge-base-en-v1.5", **BGE),
    "bge-large-en-v1.5": Entry("BAAI/bge-large-en-v1.5", **BGE),
    "bge-m3": Entry("BAAI/bge-m3", **BGE, max_length=8192),
    # "query: " is for features; for search, documents want prefix "passage: ".
    "e5-small-v2": Entry("intfloat/e5-small-v2", **E5),
    "e5-base-v2": Entry("intfloat/e5-base-v2", **E5),
    "e5-large-v2": Entry("intfloat/e5-large-v2", **E5),
    # For search, queries want prefix "Instruct: {task}\nQuery: ", with the space.
    "e5-mistral-7b-instruct": Entry(
        "intfloat/e5-mistral-7b-instruct", "last", True, max_length=4096, end_token="</s>"
    ),
    # For search, queries want prefix "Instruct: {task}\nQuery:", without a space.
    **{
        f"Qwen3-Embedding-{size}": Entry(
            f"Qwen/Qwen3-Embedding-{size}", "last", True, max_length=8192,
            end_token="<|endoftext|>",
        )
        for size in ("0.6B", "4B", "8B")
    },
    "medgemma-4b-it": Entry("google/medgemma-4b-it", **LONG),
    "gemma-3-1b-pt": Entry("google/gemma-3-1b-pt", **LONG),
    "gemma-3-4b-pt": Entry("google/gemma-3-4b-pt", **LONG),
    "Llama-2-7b": Entry("meta-llama/Llama-2-7b-hf", **LONG),
    "Llama-3-8B": Entry("meta-llama/Meta-Llama-3-8B", **LONG),
    "Llama-3.1-8B": Entry("meta-llama/Llama-3.1-8B", **LONG),
    "Mistral-7B-v0.1": Entry("mistralai/Mistral-7B-v0.1", **LONG),
    "Qwen2.5-0.5B": Entry("Qwen/Qwen2.5-0.5B", **LONG),
    "Qwen2.5-7B": Entry("Qwen/Qwen2.5-7B", **LONG),
}  # fmt: skip


def find(name: str | Path) -> Entry | None:
    """Returns the entry of a name, of a checkpoint on the hub, or of a folder called like either.

    So a copy made by hand, `/models/Bio_ClinicalBERT`, is used as the named one is.
    """
    last = Path(str(name)).name
    for known, entry in ENTRIES.items():
        if last in (known, entry.checkpoint.rsplit("/", 1)[1]):
            return entry
    return None


def with_options(name: str | Path, options: dict) -> Entry:
    """Returns the entry of a name or folder with the user's options in place of its own.

    Raises:
        TextError: an option that is not known.
    """
    for key in options:
        if key not in OPTIONS:
            raise TextError(
                f"encoder option '{key}' is not known, expected one of {list(OPTIONS)}."
                f"{errors.did_you_mean(key, OPTIONS)}"
            )
    return dataclasses.replace(find(name) or Entry(str(name)), **options)
