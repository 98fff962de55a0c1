"""The JAX side of encode.py: batches and texts through `ehr_jax.text`."""

import functools
import json
import math
import pathlib
import tempfile
from collections.abc import Callable

import encode as benchmark
import jax
import numpy as np

from ehr_jax import progress
from ehr_jax.text import encode, encoders, weights


def about(arguments) -> dict:
    """Says what it runs on."""
    return {"device": jax.devices()[0].device_kind, "token_budget": _budget()}


def prepare(kind: str, arguments, **case) -> tuple[Callable[[], np.ndarray], dict]:
    """Returns what is timed, a function that gives vectors, and what is known of it beforehand."""
    return {"batch": _batch, "texts": _texts}[kind](arguments, **case)


def _batch(arguments, folder, precision, length, rows, seed, **_):
    """A batch of full rows, in the parts `encode.encode` makes of it."""
    kind, config, params = _load(folder, precision)
    module = encoders.ARCHITECTURES[kind].module(config, precision)
    tokens = benchmark.tokens(config.vocabulary, rows, length, seed)
    part = max(_budget() // length, 1)
    lengths = np.full(part, length, np.int32)

    def run() -> np.ndarray:
        pooled = []
        for start in range(0, rows, part):
            some = tokens[start : start + part]
            pooled.append(encode.embed(params, some, lengths[: len(some)], module, "mean"))
        return np.concatenate([np.asarray(vectors) for vectors in pooled])

    return run, {"teraflop": _teraflop(kind, config, rows, length), "peak": _peak(precision)}


def _teraflop(kind: str, config, rows: int, length: int) -> float:
    """Of the products in a batch, multiplications and additions, without padding or masked keys."""
    sources = encoders.ARCHITECTURES[kind].sources(config).values()
    weights_each = sum(math.prod(source.full_shape) for source in sources if source.matrix)
    seen = length  # keys of a query
    if encoders.ARCHITECTURES[kind] is encoders.DECODER:
        seen = length / 2
    elif kind == "longformer":
        seen = min(length, max(config.windows))
    scores_each = 2 * seen * config.heads * config.depth * config.layers
    return 2 * rows * length * (weights_each + scores_each) / 1e12


def _peak(precision: str) -> float | None:
    """TFLOP/s of the device, where they are known; those of bfloat16 alone."""
    if precision != "bfloat16":
        return None
    kind = jax.devices()[0].device_kind
    return next((peak for name, peak in benchmark.PEAKS.items() if name in kind), None)


def _texts(arguments, texts, precision, **_):
    """Texts to vectors, cut off where sentence-transformers cuts them; nothing is in the cache."""
    encoder = encoders.load(precision=precision, long="truncate")
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
    params = architecture.read_params(weights.find_weights(root), config, precision)
    return content["model_type"], config, params
