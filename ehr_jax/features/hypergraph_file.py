"""Node-classification hypergraphs from one npz file of plain arrays.

Arrays of the file, ids and classes counted from 0:
  node, hyperedge [incidence] integers: `node[i]` belongs to `hyperedge[i]`, each pair once.
  labels [node] integers: the class of each node.
  features_indptr [node + 1], features_indices [stored], features_data [stored],
  features_shape [2]: the node features as a CSR matrix.
"""

import dataclasses
import hashlib
import os
import pathlib
import zipfile
import zlib
from typing import Any

import jraph
import numpy as np

from ehr_jax import errors
from ehr_jax.nn import bipartite

ARRAYS = (
    "node",
    "hyperedge",
    "labels",
    "features_indptr",
    "features_indices",
    "features_data",
    "features_shape",
)


# A damaged header shows as whatever its bytes happen to claim: a size, a version, an expression.
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True)
class HypergraphFile:
    """What one file holds.

    Attributes:
      path: where it was read from.
      graph: node-hyperedge incidence (see `nn.bipartite`), as in the file, without self-loops.
      indptr, indices, values: CSR arrays of the node features, [node + 1], [stored], [stored].
      feature_shape: (nodes, columns).
      labels: [node] int32, 0 .. num_classes - 1.
    """

    path: str
    graph: jraph.GraphsTuple
    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    feature_shape: tuple[int, int]
    labels: np.ndarray

    @property
    def num_nodes(self) -> int:
        return self.feature_shape[0]

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1

    def counts(self) -> dict[str, Any]:
        """Counts for data.json and results.json."""
        node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(self.graph)
        sizes = np.bincount(hyperedge, minlength=num_hyperedges)
        degrees = np.bincount(node, minlength=num_nodes)
        return {
            "nodes": num_nodes,
            "hyperedges": num_hyperedges,
            "incidences": int(node.size),
            "isolated_nodes": int((degrees == 0).sum()),
            "largest_hyperedge": int(sizes.max(initial=0)),
            "features": self.feature_shape[1],
            "stored_features": int(self.indices.size),
            "classes": self.num_classes,
            "nodes_of_class": np.bincount(self.labels).tolist(),
        }


def read(path: str | os.PathLike) -> HypergraphFile:
    """Reads and checks a hypergraph file.

    Raises:
      ConfigError: no path is given, or there is no such file.
      RecordsError: the file is not an npz of these arrays, or their contents do not fit together;
        the message names the array, the value found and what was expected.
    """
    if not path:
        raise errors.ConfigError(
            "config.data.path is empty; give the npz file: --config.data.path=FILE.npz"
        )
    if not pathlib.Path(path).is_file():
        raise errors.ConfigError(f"config.data.path is '{path}', and there is no such file")
    arrays = _load(path)
    for name in ("node", "hyperedge", "labels", "features_indptr", "features_indices"):
        _expect(
            path, name, arrays[name].ndim == 1, f"has {arrays[name].ndim} dimensions; expected 1"
        )
        _check_integers(path, name, arrays[name])
    num_nodes, num_columns = _feature_shape(path, arrays)
    _check_labels(path, arrays["labels"], num_nodes)
    _check_features(path, arrays, num_nodes, num_columns)
    return HypergraphFile(
        path=os.fspath(path),
        graph=_graph(path, arrays["node"], arrays["hyperedge"], num_nodes),
        indptr=arrays["features_indptr"].astype(np.int64),
        indices=arrays["features_indices"].astype(np.int32),
        values=arrays["features_data"].astype(np.float32),
        feature_shape=(num_nodes, num_columns),
        labels=arrays["labels"].astype(np.int32),
    )


def fingerprint(path: str | os.PathLike) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path) -> dict[str, np.ndarray]:
    try:
        file = np.load(path, allow_pickle=False) if zipfile.is_zipfile(path) else None
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it is no zip archive, as an npz is")
        with file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise errors.RecordsError(
                    f"{path}: no array {', '.join(repr(name) for name in missing)}; found "
                    f"{', '.join(map(repr, sorted(file.files))) or 'none'}, expected all of "
                    f"{', '.join(map(repr, ARRAYS))}"
                )
            return {name: file[name] for name in ARRAYS}
    except _DAMAGE as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise errors.RecordsError(
            f"{path} cannot be read as an npz of plain arrays ({reason}); write it with "
            "numpy.savez from arrays of numbers"
        ) from error


def _expect(path, name: str, holds: bool, found: str) -> None:
    if not holds:
        raise errors.RecordsError(f"{path}: array '{name}' {found}")


def _check_integers(path, name, values) -> None:
    _expect(
        path, name, values.dtype.kind in "iu", f"holds {values.dtype} values; expected integers"
    )


def _check_range(path, name, values, count: int, of: str) -> None:
    if values.size and (values.min() < 0 or values.max() >= count):
        row = int(np.flatnonzero((values < 0) | (values >= count))[0])
        _expect(
            path,
            name,
            False,
            f"holds {values[row]} at position {row}; expected 0..{count - 1}, there are {count} "
            f"{of} and ids count from 0",
        )


def _feature_shape(path, arrays) -> tuple[int, int]:
    shape = arrays["features_shape"]
    _check_integers(path, "features_shape", shape)
    _expect(
        path,
        "features_shape",
        shape.shape == (2,) and shape.min() > 0,
        f"is {shape.tolist()}; expected two positive numbers, nodes and feature columns",
    )
    largest = np.iinfo(np.int32).max
    _expect(
        path,
        "features_shape",
        shape.max() <= largest,
        f"is {shape.tolist()}; expected at most {largest} of either",
    )
    return int(shape[0]), int(shape[1])


def _check_labels(path, labels, num_nodes: int) -> None:
    _expect(
        path,
        "labels",
        labels.size == num_nodes,
        f"has {labels.size} entries; features_shape says {num_nodes} nodes, and every node needs "
        "its class",
    )
    _expect(
        path,
        "labels",
        labels.min() == 0,
        f"starts at {labels.min()}; classes count from 0 and every node needs one",
    )
    _expect(
        path,
        "labels",
        labels.max() > 0,
        "holds the class 0 alone; two classes at least are needed",
    )
    _check_range(path, "labels", labels, num_nodes, "nodes, so at most classes")


def _check_features(path, arrays, num_nodes: int, num_columns: int) -> None:
    indptr, indices = arrays["features_indptr"], arrays["features_indices"]
    values = arrays["features_data"]
    _expect(
        path,
        "features_indptr",
        indptr.size == num_nodes + 1
        and indptr[0] == 0
        and indptr[-1] == indices.size
        and (np.diff(indptr.astype(np.int64)) >= 0).all(),
        f"does not describe rows: expected {num_nodes + 1} ascending offsets from 0 to "
        f"{indices.size} (the length of features_indices), found {indptr.size} from "
        f"{indptr[:1].tolist()} to {indptr[-1:].tolist()}",
    )
    _check_range(path, "features_indices", indices, num_columns, "feature columns")
    row = np.repeat(np.arange(num_nodes), np.diff(indptr.astype(np.int64)))
    _expect(
        path,
        "features_indices",
        np.unique(row * num_columns + indices).size == indices.size,
        "names a column twice in one row; sum such entries before saving",
    )
    _expect(
        path,
        "features_data",
        values.shape == indices.shape and values.dtype.kind in "iufb",
        f"has shape {values.shape} and type {values.dtype}; expected numbers of shape "
        f"{indices.shape}, one for each of features_indices",
    )
    _expect(
        path,
        "features_data",
        bool(np.isfinite(values).all()),
        "holds values that are not finite; replace them before saving",
    )


def _graph(path, node, hyperedge, num_nodes: int) -> jraph.GraphsTuple:
    _expect(
        path,
        "hyperedge",
        hyperedge.size == node.size,
        f"has {hyperedge.size} entries and 'node' has {node.size}; expected one pair a row",
    )
    _expect(path, "hyperedge", hyperedge.size > 0, "is empty; a hypergraph needs an incidence")
    _check_range(path, "node", node, num_nodes, "nodes")
    # No file has more hyperedges than incidences, but for a few empty ones in between.
    _check_range(path, "hyperedge", hyperedge, hyperedge.size, "incidences, so at most hyperedges")
    num_hyperedges = int(hyperedge.max()) + 1
    pair = hyperedge.astype(np.int64) * num_nodes + node
    _, first = np.unique(pair, return_index=True)
    if first.size < pair.size:
        repeated = np.ones(pair.size, bool)
        repeated[first] = False
        row = int(np.flatnonzero(repeated)[0])
        _expect(
            path,
            "node",
            False,
            f"repeats an incidence at position {row} (node {node[row]} in hyperedge "
            f"{hyperedge[row]}); a node belongs to a hyperedge once",
        )
    return bipartite.pack(node, hyperedge, num_nodes, num_hyperedges)
