"""Samples that an earlier start prepared, kept in the user's cache under a key.

The key changes with the files that are read (their names, sizes and times), with the
settings that shape the samples, with the encoder's and the graph's files, and with this program's
own code. What lies under a key is therefore never out of date, and may be removed at any time.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from ehr_jax import errors, storage
from ehr_jax.cohorts import aces, spec
from ehr_jax.cohorts import settings as cohort_settings
from ehr_jax.experiment import prepared
from ehr_jax.features import arrays as features
from ehr_jax.knowledge import disk, files
from ehr_jax.models import registry
from ehr_jax.records import settings as records_settings
from ehr_jax.records import sources
from ehr_jax.records.common import icd9
from ehr_jax.text import encoders
from ehr_jax.text import settings as text_settings
from ehr_jax.training import run_folder

KIND = "prepared"  # of the cache's folders
# The config keys that shape samples: whole sections, then single keys. All others are read in
# training alone, or say where something lies.
SECTIONS = (
    "data",
    "synthetic",
    "cohort",
    "task",
    "features",
    "series",
    "notes",
    "text",
    "knowledge",
)
KEYS = (
    "model.name", "model.use_notes", "model.use_concepts", "realm.use_series", "realm.use_statics",
    "realm.use_notes", "realm.use_knowledge", "realm.use_visit", "realm.survival_days",
    "train.teacher", "train.teacher_share", "train.positive_weight",
)  # fmt: skip
PLACES = (
    "data.root", "data.prepared", "data.keep", "text.cache", "text.download", "text.token_budget",
    "text.model_shards", "knowledge.cache",
)  # fmt: skip
PACKAGES = ("jax", "jaxlib", "numpy", "polars", "scikit-learn", "scipy", "tokenizers")
DAY = 86_400  # seconds


def settings_of(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the keys of a config that shape samples, by full name."""
    everything = run_folder.flat(config.to_dict())
    synthetic = config.data.source == "synthetic"
    return {
        key: value
        for key, value in everything.items()
        if (key in KEYS or key.partition(".")[0] in SECTIONS)
        and key not in PLACES
        and (synthetic or not key.startswith("synthetic."))
    }


def key_of(
    config: ml_collections.ConfigDict, reads: features.Reads, more: Sequence[str] = ()
) -> str | None:
    """Returns the key of the samples of `config`; None where they are not to be kept.

    Those that code of other packages shapes are not, as it may change unseen; nor those that a
    language model took part in, whose server may have failed; nor those whose files are not there,
    which reading them says better.

    Args:
      more: what tells apart samples of the same settings, such as the number of a fold.
    """
    names = (
        (records_settings.NAMES, config.data.source),
        (spec.NAMES, config.cohort.task),
        (registry.NAMES, config.model.name),
        (registry.NAMES, config.train.teacher or config.model.name),
    )
    is_own = all(name in known.own for known, name in names)
    is_own &= all(name in cohort_settings.EXCLUSIONS for name in config.task.exclude or ())
    is_own &= config.text.architecture in (None, *text_settings.ARCHITECTURES)
    if not config.data.keep or not is_own:
        return None
    if reads.knowledge and config.knowledge.extractor == "language_model":
        return None
    try:
        parts = [settings_of(config), reads._asdict(), list(more), _versions(), _code()]
        if config.data.source != "synthetic":
            data = config.data
            folders = sources.folders(data.source, data.root, data.series)
            root = sources.default_root(data.source, data.root)
            parts += [sources.state(*folders), icd9.state(root)]
        if config.cohort.aces:
            parts.append(aces.read(config.cohort.aces).text)
        if reads.encoder:
            parts.append(_stamps(encoders.resolve(config.text.encoder)))
        if reads.knowledge:
            parts.append(_graph(config.knowledge.graph))
    except (errors.UserError, OSError):
        return None
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find(key: str | None, kind: Any) -> prepared.Prepared | None:
    """Returns the samples that are kept under `key`; None if there are none, or if they are
    damaged, which is said.

    Args:
      kind: the `training.kinds.Kind` of their arrays.
    """
    if key is None or not os.path.lexists(folder := _folder(key)):
        return None
    try:
        samples = prepared.read(folder, "it is prepared again").restored(kind)
        with contextlib.suppress(OSError):  # of others, or read-only
            (folder / prepared.ABOUT).touch()  # when it was last of use
    except errors.RunFolderError as error:
        print(error, flush=True)
        _remove(folder)
        return None
    except OSError as error:
        print(f"{folder} cannot be read: {storage.reason(error)}; the samples are prepared again")
        if not folder.is_dir():
            _remove(folder)
        return None
    print(f"samples: as an earlier start prepared them, {folder}", flush=True)
    return samples


def keep(key: str | None, samples: prepared.Prepared, inputs: str) -> None:
    """Keeps samples under `key`; where they cannot be kept the run goes on, which is said."""
    if key is None:
        return
    try:
        folder = storage.make_folder(storage.cache_folder(KIND)) / key
        if not folder.exists():
            prepared.write(folder, samples, inputs)
    except OSError as error:
        if not _folder(key).exists():  # of another process that was as quick
            print(
                f"prepared samples cannot be kept in {storage.cache_folder(KIND)}: "
                f"{storage.reason(error)}; the run goes on, and a later start prepares them again",
                flush=True,
            )


def entries() -> Iterator[tuple[pathlib.Path, int, float]]:
    """Yields each folder that is kept: its path, its bytes, and the days since it was last used."""
    for folder in sorted(storage.cache_folder(KIND).glob("[!.]*")):  # no unfinished one
        if folder.is_symlink() or not folder.is_dir():
            continue
        about = folder / prepared.ABOUT
        with contextlib.suppress(FileNotFoundError):  # another process removed it meanwhile
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            last = about.stat().st_mtime if about.exists() else 0.0
            yield folder, size, (time.time() - last) / DAY


def clean(days: float) -> tuple[int, int]:
    """Removes what was not used for so many days; returns (folders, bytes) removed."""
    old = [(folder, size) for folder, size, unused in entries() if unused >= days]
    for folder, _ in old:
        _remove(folder)
    return len(old), sum(size for _, size in old)


def _folder(key: str) -> pathlib.Path:
    return storage.cache_folder(KIND) / key


def _remove(folder: pathlib.Path) -> None:
    try:
        storage.remove_folder(folder)
    except OSError as error:
        print(f"{folder} cannot be removed: {storage.reason(error)}", flush=True)


def _graph(name: str) -> Any:
    """The files of a knowledge graph: raw ones of a known source, else those of its folder."""
    if name not in disk.SOURCES:
        return _stamps(pathlib.Path(name).expanduser())
    raw, built = disk.places(name)
    if raw is None and built is None:
        raise errors.KnowledgeError(f"knowledge graph '{name}' is not there")
    return files.stamps(disk.SOURCES[name].paths(raw)) if raw else _stamps(built)


def _stamps(folder: pathlib.Path) -> list:
    """Size, time and inode of each file of a folder, and of what its links lead to."""
    stamps = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            about = path.stat()
            name = path.relative_to(folder).as_posix()
            stamps.append([name, about.st_size, about.st_mtime_ns, about.st_ctime_ns])
    return stamps


@functools.cache
def _code() -> str:
    """A digest of this package's files."""
    root = pathlib.Path(storage.__file__).parent
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".csv", ".yaml", ".cc", ".c") and path.is_file():
            whole.update(path.relative_to(root).as_posix().encode() + b"\n" + path.read_bytes())
    return whole.hexdigest()


def _versions() -> Mapping[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}
