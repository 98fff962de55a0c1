"""Mentions to nodes: the same name, the same name otherwise written, or the nearest by meaning.

    linker = linking.open_linker(graph, encoders.load())
    links = linking.link(linker, ["heart attack", "Type II DM"])

What neither stands in the graph nor is near enough stays without a node. How near is near enough is
found for each encoder on synonyms that the graph knows, one at a time taken out of it. Numbers
are no matter of nearness: "type 1" is not "type 2", whatever their vectors say.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.knowledge import calibration as calibrations
from ehr_jax.knowledge import disk, folder, graph, normalise, search
from ehr_jax.text import encode, encoders

KIND, FORMAT = "linking index", 1
LINKS = {
    "node": pl.Int64,
    "how": pl.Enum(["exact", "normalised", "dense", "none"]),
    "score": pl.Float32,
    "margin": pl.Float32,
}


class Dense(NamedTuple):
    """What search by meaning needs: an encoder and the vectors of all terms, of length 1."""

    encoder: encoders.Encoder
    vectors: np.ndarray  # [terms, width] float32
    index: search.Index
    calibration: calibrations.Calibration


@dataclasses.dataclass(frozen=True, eq=False)
class Linker:
    """Terms of a graph and where they lead; `dense` is None where only names are compared.

    terms: node int64, term str, name bool, exact bool, key str (normalised, distinct), numbers str
    (those in the key).
    """

    graph: graph.Graph
    terms: pl.DataFrame
    exact: Mapping[str, int]
    normalised: Mapping[str, int]
    dense: Dense | None
    cache_dir: str | None = None

    def accepting(self, threshold: float, margin: float = 0.0) -> "Linker":
        """Returns the same linker with a fixed least score, as `calibration.PAPER` gives them."""
        if self.dense is None:
            raise errors.KnowledgeError("a linker without an encoder has no threshold to set")
        nan = float("nan")
        fixed = calibrations.Calibration(threshold, margin, nan, nan, nan, 0)
        return dataclasses.replace(self, dense=self.dense._replace(calibration=fixed))


def open_linker(
    found: graph.Graph,
    encoder: encoders.Encoder | None,
    path: str | os.PathLike | None = None,
    wanted: float = calibrations.WANTED,
    cache_dir: str | os.PathLike | None = None,
) -> Linker:
    """Opens the linking index of a graph and an encoder; makes it where it is not there.

    Args:
      encoder: None compares names alone.
      path: the index's folder; None is one of its own in `disk.default_folder()`.
      wanted: precision among what is accepted by meaning, on known synonyms.
      cache_dir: of the vector cache; None is its default.

    Raises KnowledgeError where `path` holds the index of another encoder or graph, or a damaged
    one, and for a `wanted` that is no share.
    """
    if not 0 < wanted <= 1:
        raise errors.KnowledgeError(f"wanted precision is {wanted}, expected above 0, at most 1")
    terms = table(found)
    cache_dir = None if cache_dir is None else os.fspath(cache_dir)
    if encoder is None:
        return _linker(found, terms, None, cache_dir)
    identity = _identity(found, terms, encoder)
    if path is None:
        short = f"{encoder.fingerprint[:12]}-{identity['terms'][:12]}"
        path = disk.default_folder() / "links" / f"{found.source}-{short}"
    if folder.exists(path):
        described, _, arrays, _ = folder.read(path, KIND, FORMAT)
        _check_identity(pathlib.Path(path), described, identity)
        try:
            vectors, calibration = (
                arrays["vectors"],
                calibrations.Calibration(**described["calibration"]),
            )
        except (KeyError, TypeError):
            raise folder.damaged(pathlib.Path(path), "vectors or calibration are missing") from None
        if vectors.shape != (terms.height, encoder.width):
            raise folder.damaged(pathlib.Path(path), "its vectors do not fit the terms")
        index, rule = search.place(vectors), described.get("rule")
    else:
        vectors = _vectors(terms["term"].to_list(), encoder, cache_dir)
        index, calibration, rule = search.place(vectors), None, None
    if calibration is None or (calibration.wanted, rule) != (wanted, calibrations.RULE):
        calibration = calibrations.calibrate(terms, vectors, index, wanted)
        described = {"kind": KIND, "format": FORMAT, **identity}
        described |= {"rule": calibrations.RULE, "calibration": calibration._asdict()}
        folder.write(path, described, {}, {"vectors": vectors})
    if calibration.threshold == calibrations.NONE_ACCEPTED:
        print(
            f"linking: no threshold of encoder '{encoder.name}' has precision {wanted} on "
            f"{calibration.queries} known synonyms of '{found.source}', so mentions link by name "
            "alone; a lower precision, a clinical encoder or a graph with more synonyms changes it",
            flush=True,
        )
    return _linker(found, terms, Dense(encoder, vectors, index, calibration), cache_dir)


def link(linker: Linker, mentions: Sequence[str]) -> pl.DataFrame:
    """Links mentions to nodes of the graph.

    Returns `LINKS`, a row a mention in their order: node (null where none was accepted), how,
    score (cosine, 1 for names, null without one) and margin (to the best other node; null for
    names). No text of a mention is in it.
    """
    keys = [normalise.normalise(mention) for mention in mentions]
    node = np.full(len(mentions), -1, np.int64)
    how = np.full(len(mentions), "none", object)
    score, margin = (np.full(len(mentions), np.nan, np.float32) for _ in range(2))
    open_rows = []
    for row, (mention, key) in enumerate(zip(mentions, keys, strict=True)):
        if (same := linker.exact.get(mention)) is not None:
            node[row], how[row], score[row] = same, "exact", 1
        elif (same := linker.normalised.get(key)) is not None:
            node[row], how[row], score[row] = same, "normalised", 1
        elif key:
            open_rows.append(row)
    if linker.dense is not None and open_rows:
        texts = [mentions[row] for row in open_rows]
        found, score[open_rows], margin[open_rows] = nearest(linker, texts)
        accepted = calibrations.accepts(
            found, score[open_rows], margin[open_rows], linker.dense.calibration
        )
        taken = np.array(open_rows)[accepted]
        node[taken], how[taken] = found[accepted], "dense"
    links = pl.DataFrame({"node": node, "how": how.tolist(), "score": score, "margin": margin})
    return links.with_columns(
        pl.col("node").replace(-1, None), pl.col("score", "margin").fill_nan(None)
    ).cast(LINKS)


def tally(links: pl.DataFrame) -> dict[str, int]:
    """Returns how many mentions of `LINKS` were linked how, "none" being those refused."""
    found = dict(links.group_by("how").len().iter_rows())
    return {how: found.get(how, 0) for how in LINKS["how"].categories}


def nearest(linker: Linker, mentions: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the node nearest to each mention by meaning, among terms of the same numbers.

    Returns (node [m] int64, cosine [m] float32, its lead over the best other node [m] float32);
    node -1 where no near term has the mention's numbers.
    """
    vectors = _vectors(list(mentions), linker.dense.encoder, linker.cache_dir)
    found = search.top_k(linker.dense.index, vectors, calibrations.NEAR)
    return calibrations.best(
        linker.terms, calibrations.numbers(map(normalise.normalise, mentions)), *found
    )


def table(found: graph.Graph) -> pl.DataFrame:
    """Returns the terms of a graph, one a normalised key: see `Linker`.

    Where nodes share a term, it belongs to the one that is called so, then to one of which it is an
    exact synonym; among these to a disease before a symptom, then to the first.
    """
    order = {kind: rank for rank, kind in enumerate(graph.DISEASE_TYPES)}
    terms = found.terms()
    nodes = found.nodes[terms["node"]]
    terms = terms.with_columns(
        name=terms["term"] == nodes["name"],
        rank=nodes["type"].replace_strict(order, return_dtype=pl.Int32),
        key=pl.Series([normalise.normalise(term) for term in terms["term"]], dtype=pl.String),
    ).filter(pl.col("key") != "")
    terms = terms.sort("name", "exact", "rank", "node", descending=[True, True, False, False],
                       maintain_order=True)  # fmt: skip
    kept = terms.unique("key", keep="first", maintain_order=True).sort("node", maintain_order=True)
    numbers = pl.Series("numbers", calibrations.numbers(kept["key"]), dtype=pl.String)
    return kept.select("node", "term", "name", "exact", "key").with_columns(numbers)


def _linker(found, terms, dense: Dense | None, cache_dir: str | None) -> Linker:
    exact = dict(zip(terms["term"], terms["node"], strict=True))
    keys = dict(zip(terms["key"], terms["node"], strict=True))
    return Linker(found, terms, exact, keys, dense, cache_dir)


def _vectors(texts: list[str], encoder: encoders.Encoder, cache_dir: str | None) -> np.ndarray:
    """Returns vectors of length 1 (a text without a token has the zero vector)."""
    vectors = encode.encode(texts, encoder, cache_dir)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _identity(found: graph.Graph, terms: pl.DataFrame, encoder: encoders.Encoder) -> dict[str, Any]:
    digest = hashlib.sha256()
    for node, term in zip(found.nodes["id"].gather(terms["node"]), terms["term"], strict=True):
        digest.update(f"{node}\t{term}\n".encode())
    return {
        "graph": found.source,
        "terms": digest.hexdigest(),
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
    }


def _check_identity(path: pathlib.Path, described: dict, identity: dict[str, Any]) -> None:
    if described.get("encoder_fingerprint") != identity["encoder_fingerprint"]:
        raise errors.KnowledgeError(
            f"{path} is the linking index of encoder '{described.get('encoder')}' "
            f"({str(described.get('encoder_fingerprint'))[:12]}); '{identity['encoder']}' "
            f"({identity['encoder_fingerprint'][:12]}) is asked for. Its vectors and threshold do "
            "not carry over: name another folder, or that encoder with the same options"
        )
    if described.get("terms") != identity["terms"]:
        raise errors.KnowledgeError(
            f"{path} is the linking index of a graph '{described.get('graph')}' with other terms "
            f"than this '{identity['graph']}'; name another folder, or remove it to make it again"
        )
