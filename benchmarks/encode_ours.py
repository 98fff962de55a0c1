"""The JAX side of encode.py: batches and texts through `ehr_jax.text`."""

import functools
import json
import math
import pathlib
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from ehr_jax.text import encode, encoders, layers, weights

# Dense bfloat16 products, TFLOP/s, by the name of the device: the maker's own figures.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121, "V100": 125}


def about(arguments) -> dict:
    """Says what it runs on."""
    return {"device": jax.devices()[0].device_kind, "token_budget": encode.default_budget()}


def prepare(kind: str, arguments, **case) -> tuple[Callable[[], np.ndarray], dict]:
    """Returns a function that gives vectors, and what is known of it beforehand."""
    return {"batch": _batch, "texts": _texts}[kind](arguments, **case)


def _batch(_, folder: str, tokens: str, precision: str):
    """A batch of full rows, in the parts that `encode.encode` would make of it."""
    kind, config, params = _load(folder, precision)
    module = encoders.ARCHITECTURES[kind].module(config, precision)
    tokens = np.load(tokens)
    rows, length = tokens.shape
    part = max(encode.default_budget() // length, 1)

    def run() -> np.ndarray:
        pooled = []
        for start in range(0, rows, part):
            some = tokens[start : start + part]
            lengths = np.full(len(some), length, np.int32)
            pooled.append(encode.embed(params, some, lengths, module, "mean"))
        return np.concatenate([np.asarray(vectors) for vectors in pooled])

    return run, {"teraflop": _teraflop(kind, config, rows, length), "peak": _peak(precision)}


def _texts(arguments, texts: str):
    """Texts to vectors, cut off where sentence-transformers cuts them; nothing is in the cache."""
    encoder = encoders.load(long="truncate")
    texts = json.loads(pathlib.Path(texts).read_text())

    def run() -> np.ndarray:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as fresh:
            return encode.encode(texts, encoder, fresh)

    return run, {}


@functools.lru_cache(maxsize=1)
def _load(folder: str, precision: str) -> tuple:
    root = pathlib.Path(folder)
    content = json.loads((root / "config.json").read_text())
    architecture = encoders.ARCHITECTURES[content["model_type"]]
    config = architecture.read_config(content, root / "config.json")
    params = layers.held(architecture.read_params(weights.find_weights(root), config, precision))
    return content["model_type"], config, params


def _teraflop(kind: str, config, rows: int, length: int) -> float:
    """Of the products in a batch, multiplications and additions, without masked keys."""
    architecture = encoders.ARCHITECTURES[kind]
    sources = architecture.sources(config).values()
    matrices = sum(math.prod(source.full_shape) for source in sources if source.matrix)
    seen = length  # keys of a query
    if architecture is encoders.DECODER:
        seen = length / 2
    elif architecture is encoders.LONG:
        seen = min(length, max(config.windows))
    scores = 2 * seen * config.heads * config.depth * config.layers
    return 2 * rows * length * (matrices + scores) / 1e12


def _peak(precision: str) -> float | None:
    """TFLOP/s of the device, where they are known; those of bfloat16 alone."""
    if precision != "bfloat16":
        return None
    device = jax.devices()[0].device_kind
    return next((peak for name, peak in PEAKS.items() if name in device), None)
