"""What this installation has, what it lacks and what is broken, each with the way to mend it."""

import importlib.metadata
import os
import pathlib
import platform
import shutil

import ml_collections

from ehr_jax import errors, storage

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "grain", "jraph",
    "transformers", "huggingface_hub", "tokenizers", "safetensors", "absl-py", "ml_collections",
    "ml_dtypes", "polars", "numpy", "scipy", "scikit-learn", "matplotlib", "rich", "tensorboardX",
)  # fmt: skip
OPTIONAL = {
    "lightgbm": "the method 'lightgbm' needs it: pip install 'lightgbm>=4.5'",
    "optuna": "config.sweep.optuna needs it: pip install 'optuna>=4'",
    "es-aces": "config.cohort.aces needs it: pip install 'ehr_jax[aces]' && "
    "pip install --no-deps es-aces==0.7.3",
}
GIB = 2**30
Findings = tuple[list[str], list[str]]  # what there is, and what is broken


def run(config: ml_collections.ConfigDict | None = None) -> int:
    """Prints the report; returns the exit status, 1 where something is broken."""
    text, broken = _examine(config)
    print(text)
    return 1 if broken else 0


def report(config: ml_collections.ConfigDict | None = None) -> str:
    """Returns the report; with a config, also whether its data, encoder and graph are there."""
    return _examine(config)[0]


def _examine(config) -> tuple[str, int]:
    root = config.data.get("root") if config and "data" in config else None
    encoder = config.text.encoder if config and "text" in config else None
    sections = {
        "machine": _machine,
        "packages": _packages,
        "jax": _jax,
        "data": lambda: _data(root),
        "text encoder": lambda: _encoder(encoder),
        "knowledge graph": lambda: _graph(config),
        "caches": _caches,
    }
    lines, broken = [], 0
    for title, section in sections.items():
        try:
            there, faults = section()
        except Exception as error:  # whatever is wrong, the sections after it are still wanted
            there, faults = [], [f"cannot be examined: {type(error).__name__}: {error}"]
        lines += [
            title,
            *(f"  {line}" for line in there),
            *(f"  BROKEN: {line}" for line in faults),
        ]
        broken += len(faults)
    lines.append(f"{broken} thing(s) broken" if broken else "nothing broken")
    return "\n".join(lines), broken


def _machine() -> Findings:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return [
        f"python {platform.python_version()} on {platform.platform(terse=True)}",
        f"{usable} of {os.cpu_count()} cores usable, {memory:.1f} GiB of memory",
    ], []


def _packages() -> Findings:
    there, faults = [], []
    for name in ("ehr_jax", *PACKAGES, *OPTIONAL):
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if name in PACKAGES:
                faults.append(f"{name} is missing: pip install {name}")
            else:
                there.append(f"{name} is not installed; {OPTIONAL.get(name, 'it runs from here')}")
    return there, faults


def _jax() -> Findings:
    import flax.linen  # noqa: F401  (an old flax beside a new jax fails here)
    import jax

    from ehr_jax import jax_check

    devices = jax.devices()
    there = [f"{len(devices)} device(s): {', '.join(sorted({d.device_kind for d in devices}))}"]
    if devices[0].platform == "cpu" and shutil.which("nvidia-smi"):
        there.append("an NVIDIA driver is here, unused: EHR_JAX_EXTRA=cuda12 launch/local.sh")
    faults = jax_check.problems()
    if not faults:
        there.append("the check of vmapped products finds every row right")
    return there, faults


def _data(chosen: str | None) -> Findings:
    from ehr_jax.records import sources

    there, faults = [], []
    places = [sources.cache_folder()]
    root = os.environ.get("EHR_JAX_DATA")
    if root:
        there.append(f"EHR_JAX_DATA is {root}")
        places.insert(0, pathlib.Path(root).expanduser())
    else:
        there.append("EHR_JAX_DATA is not set; it names the folder that holds the data folders")
    for key, folder in (("EHR_JAX_DATA", root), ("config.data.root", chosen)):
        if folder and not pathlib.Path(folder).expanduser().is_dir():
            faults.append(f"{key}: there is no folder {folder}; correct it or leave it out")
    for name, source in sources.SOURCES.items():
        tried = [place / folder for place in places for folder in source.folders]
        found = [str(folder) for folder in tried if folder.is_dir()]
        there.append(f"{name}: {', '.join(found) or 'not found; from ' + source.origin}")
    there.append("synthetic: always there")
    return there, faults


def _encoder(chosen: str | None) -> Findings:
    from ehr_jax.text import encoders, weights

    offline = os.environ.get("HF_HUB_OFFLINE")
    asked = "a run asks the model hub only where config.text.download is true"
    there = [f"HF_HUB_OFFLINE is {offline or f'not set; {asked}'}"]
    name = chosen or encoders.DEFAULT
    try:
        folder = encoders.resolve(name)
        there.append(f"{name}: {weights.find_weights(folder).parent}")
    except errors.TextError as error:
        if chosen:
            return there, [str(error)]
        return [*there, *str(error).splitlines()], []  # runs without notes need none
    try:
        pinned = encoders.check_pinned(name, folder)
    except errors.TextError as error:
        return there, [str(error)]
    if pinned:
        there.append(f"{name}: its {len(pinned)} files are the pinned ones by their sha256")
    return there, []


def _graph(config) -> Findings:
    from ehr_jax.knowledge import disk, folder
    from ehr_jax.models import registry

    there, missing = [], {}
    for name, source in disk.SOURCES.items():
        raw, built = disk.places(name)
        found = [f"files in {raw}"] if raw else []
        found += [f"built in {built}"] if built else []
        if not found:
            missing[name] = f"not found; put {source.how} into the folder of EHR_JAX_DATA"
        there.append(f"{name}: {', '.join(found) or missing[name]}")
    if config is None or not {"knowledge", "model", "realm"} <= set(config):
        return there, []
    asked = config.knowledge.graph
    if not registry.resolve(config.model.name).kind.reads(config).knowledge:
        return there, []
    if asked in missing:
        return there, [f"config.knowledge.graph: {asked}: {missing[asked]}"]
    if asked not in disk.SOURCES and not folder.exists(asked):
        known = ", ".join(disk.SOURCES)
        return there, [f"config.knowledge.graph: {asked} is no built graph, nor one of {known}"]
    return [*there, f"config.knowledge.graph: {asked}"], []


def _caches() -> Findings:
    from ehr_jax.records import sources

    there, faults = [], []
    kinds = ("vectors", "prepared", "graphs", "native", "answers")
    folders = {"data": sources.cache_folder()} | {
        kind: storage.cache_folder(kind) for kind in kinds
    }
    for kind, folder in folders.items():
        files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
        size = sum(file.stat().st_size for file in files) / 2**20
        base = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(base).free / GIB
        there.append(f"{kind}: {folder}, {len(files)} file(s), {size:.1f} MiB; {free:.1f} GiB free")
        if not base.is_dir() or not os.access(base, os.W_OK):
            faults.append(f"{base} is no folder that can be written; set EHR_JAX_CACHE to one")
    there.append("prepared samples that were not used for 30 days: --mode=doctor --clean=30")
    return there, faults
