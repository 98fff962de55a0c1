"""Graphs on disk: a known source by name, or a folder that opens at once.

`open_graph` builds a graph of a source's raw files where it was not built before or the files
changed since, and keeps it in a compact form.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ehr_jax import errors, storage
from ehr_jax.knowledge import files, folder, graph, hetionet_do, primekg

KIND, FORMAT = "knowledge graph", 1  # of the folder
READER = 2  # raise it when a reader gives another graph of the same files
DEFAULT = hetionet_do.SOURCE

_TABLES, _ARRAYS = ("nodes", "synonyms", "relations"), ("offsets", "relation", "tail")


class Source(NamedTuple):
    """How a known graph is read: of folders in the data root, the first that is there."""

    folders: tuple[str, ...]
    read: Callable[[pathlib.Path], graph.Graph]
    paths: Callable[[pathlib.Path], list[pathlib.Path]]
    how: str


SOURCES = {
    hetionet_do.SOURCE: Source(
        (".",),
        lambda root: graph.build(hetionet_do.read(root)),
        hetionet_do.paths,
        "the folders disease_ontology (doid.obo, or the tables HumanDO and facets) and hetionet "
        "(nodes and edges of Hetionet v1.0)",
    ),
    primekg.SOURCE: Source(
        ("primekg", "primekg_slice"),
        primekg.read,
        primekg.paths,
        "the folder primekg with kg.csv, and disease_features and drug_features where you have "
        "them (Harvard Dataverse, doi 10.7910/DVN/IXA7BM)",
    ),
}


def default_folder() -> pathlib.Path:
    """Returns the folder of the user's built graphs."""
    return storage.cache_folder("graphs")


def open_graph(
    name_or_folder: str | os.PathLike = DEFAULT,
    root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
) -> graph.Graph:
    """Opens a graph.

    Args:
      name_or_folder: a folder that `write` wrote, or a name in `SOURCES`.
      root: where the raw files of a known source are; None is `$EHR_JAX_DATA`.
      cache: where built graphs are kept; None is `default_folder()`.

    Raises KnowledgeError where there is neither a built graph nor raw files, and what the readers
    raise. A built graph that is damaged or of an older version is built again where the raw files
    are there.
    """
    if str(name_or_folder) not in SOURCES:
        if folder.exists(name_or_folder):
            return read(name_or_folder)
        near = errors.did_you_mean(str(name_or_folder), SOURCES)
        raise errors.KnowledgeError(
            f"knowledge graph '{name_or_folder}' is neither the folder of one nor a known name "
            f"({', '.join(SOURCES)}).{near}"
        )
    name, source = str(name_or_folder), SOURCES[str(name_or_folder)]
    built = _built(name, cache)
    raw = _raw_folder(source, root)
    if raw is None:
        if folder.exists(built):
            return read(built)
        place = root or os.environ.get("EHR_JAX_DATA") or "a folder that EHR_JAX_DATA names"
        raise errors.KnowledgeError(
            f"knowledge graph '{name}': its files are not there. Put {source.how} into {place}"
        )
    made_from = {"reader": READER, "files": files.stamps(source.paths(raw))}
    if folder.exists(built):
        try:
            if folder.describe(built, KIND, FORMAT).get("made_from") == made_from:
                return read(built)
        except errors.KnowledgeError as error:
            print(f"{error}: the graph is built again", flush=True)
    write(source.read(raw), built, made_from)
    return read(built)


def places(
    name: str, root: str | os.PathLike | None = None, cache: str | os.PathLike | None = None
) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    """Returns where a source of `SOURCES` has its raw files, and where it is built already.

    None where it is not; `root` and `cache` as in `open_graph`. Nothing is read.
    """
    built = _built(name, cache)
    return _raw_folder(SOURCES[name], root), built if folder.exists(built) else None


def write(
    found: graph.Graph, path: str | os.PathLike, made_from: Mapping[str, Any] | None = None
) -> None:
    """Writes a graph to the folder `path`, in place of one that is there.

    `made_from` is kept beside it as it is. KnowledgeError where the folder cannot be written.
    """
    described = {
        "kind": KIND,
        "format": FORMAT,
        "source": found.source,
        "licence": found.licence,
        "dropped": dict(found.dropped),
        "made_from": made_from,
    }
    tables = {name: getattr(found, name) for name in _TABLES}
    folder.write(path, described, tables, {name: getattr(found, name) for name in _ARRAYS})


def read(path: str | os.PathLike) -> graph.Graph:
    """Opens a folder that `write` wrote; KnowledgeError for another one or a damaged one."""
    described, tables, arrays, fingerprint = folder.read(path, KIND, FORMAT)
    try:
        return graph.Graph(
            **{key: described[key] for key in ("source", "licence", "dropped")},
            **{name: tables[name] for name in _TABLES},
            **{name: arrays[name] for name in _ARRAYS},
            fingerprint=fingerprint,
        )
    except KeyError as error:
        raise folder.damaged(pathlib.Path(path), f"{error} is missing") from None


def _built(name: str, cache: str | os.PathLike | None) -> pathlib.Path:
    return (pathlib.Path(cache).expanduser() if cache else default_folder()) / name


def _raw_folder(source: Source, root: str | os.PathLike | None) -> pathlib.Path | None:
    """Returns the folder of a source's raw files; None where no file of them is there."""
    root = root or os.environ.get("EHR_JAX_DATA")
    if root is None:
        return None
    root = pathlib.Path(root).expanduser()
    candidates = [root / name for name in source.folders] + [root]
    for candidate in candidates:
        try:
            if candidate.is_dir() and source.paths(candidate):
                return candidate
        except errors.KnowledgeError:
            continue
    return None
