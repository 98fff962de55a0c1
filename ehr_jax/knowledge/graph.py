"""A knowledge graph: named and defined nodes, their synonyms, and typed edges between them.

`build` makes one of what a reader found, whatever is wrong with it, and counts what it leaves out.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors

# What a clinical note may say a patient has, as the readers name the types.
DISEASE_TYPES = ("disease", "symptom", "effect/phenotype")

NODES = {
    "id": pl.String,
    "type": pl.String,
    "name": pl.String,
    "definition": pl.String,
    "description": pl.String,
}
SYNONYMS = {"node": pl.Int32, "text": pl.String, "exact": pl.Boolean}
RELATIONS = {"name": pl.String, "display": pl.String, "inverse": pl.Int32}


class Relation(NamedTuple):
    """A kind of edge and how it reads from either end; "" for `backward` where both are alike."""

    name: str
    forward: str
    backward: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Nodes are the rows of `nodes`; every edge is held in both directions.

    Attributes:
      source: what it was read from.
      licence: the terms that bind it.
      nodes: `NODES`; ids are distinct, no name is empty; definition and description may be null.
      synonyms: `SYNONYMS`; exact ones mean the node itself, others something near.
      relations: `RELATIONS`: the source's name, the words shown between head and tail, and the row
        of the relation that leads back.
      offsets: [nodes + 1] int64, where each head's edges begin in `relation` and `tail`.
      relation: [edges] int16, row of `relations`; each head's edges are sorted by it, then by tail.
      tail: [edges] int32, row of `nodes`.
      dropped: what was left out or mended while reading, and how often.
      fingerprint: changes with any of the above; "" for a graph that was not written.
    """

    source: str
    licence: str
    nodes: pl.DataFrame
    synonyms: pl.DataFrame
    relations: pl.DataFrame
    offsets: np.ndarray
    relation: np.ndarray
    tail: np.ndarray
    dropped: Mapping[str, int]
    fingerprint: str = ""

    def neighbours(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (relation [n] int16, tail [n] int32) of the edges that leave a node."""
        edges = slice(self.offsets[node], self.offsets[node + 1])
        return self.relation[edges], self.tail[edges]

    def terms(self, types: Sequence[str] = DISEASE_TYPES) -> pl.DataFrame:
        """Returns the names and synonyms of the nodes of some types, distinct for each node.

        Columns: node int64, term str, exact bool (True for names), by node, its name first.
        """
        nodes = self.nodes.with_row_index("node").filter(pl.col("type").is_in(list(types)))
        names = nodes.select(pl.col("node").cast(pl.Int64), term="name", exact=pl.lit(True))
        synonyms = self.synonyms.select(
            pl.col("node").cast(pl.Int64), pl.col("text").alias("term"), "exact"
        ).join(names.select("node"), on="node", how="semi", maintain_order="left")
        both = pl.concat([names, synonyms]).sort("node", maintain_order=True)
        return both.unique(["node", "term"], keep="first", maintain_order=True)

    def counts(self) -> dict:
        """Returns what the graph holds, for a report: plain numbers by type and relation."""
        by_type = self.nodes.group_by("type").agg(
            nodes=pl.len(),
            with_definition=pl.col("definition").is_not_null().sum(),
            with_description=pl.col("description").is_not_null().sum(),
        )
        named = self.relations["name"].to_list()
        edges = np.bincount(self.relation, minlength=len(named)).tolist()
        by_relation: dict[str, int] = {}
        for name, count in zip(named, edges, strict=True):
            by_relation[name] = by_relation.get(name, 0) + count
        return {
            "source": self.source,
            "licence": self.licence,
            "nodes": self.nodes.height,
            "edges": len(self.tail),
            "synonyms": self.synonyms.height,
            "by_type": {
                row.pop("type"): row
                for row in by_type.sort("nodes", "type", descending=[True, False]).to_dicts()
            },
            "by_relation": dict(sorted(by_relation.items(), key=lambda each: (-each[1], each[0]))),
            "dropped": dict(self.dropped),
        }


class Parts(NamedTuple):
    """What a reader found, by the source's own ids, unchecked.

    nodes: `NODES`. synonyms: id, text, exact. edges: head, relation (index in `relations`), tail.
    """

    source: str
    licence: str
    nodes: pl.DataFrame
    synonyms: pl.DataFrame
    edges: pl.DataFrame
    relations: Sequence[Relation]
    dropped: Mapping[str, int] = {}


def build(parts: Parts) -> Graph:
    """Makes a graph of what a reader found.

    Of repeated ids the first node stays, synonyms and edges that name no node go; each is counted
    in `Graph.dropped`. KnowledgeError where no node is left.
    """
    nodes, dropped = _tidy_nodes(parts.nodes), dict(parts.dropped)
    unique = nodes.unique("id", keep="first", maintain_order=True)
    dropped["nodes of a repeated id"] = nodes.height - unique.height
    keys = unique.select("id", node=pl.int_range(pl.len(), dtype=pl.Int32))
    synonyms = parts.synonyms.join(keys, on="id", how="inner", maintain_order="left")
    dropped["synonyms of no node"] = parts.synonyms.height - synonyms.height
    edges = parts.edges.select(
        "relation",
        head=pl.col("head").replace_strict(keys["id"], keys["node"], default=None),
        tail=pl.col("tail").replace_strict(keys["id"], keys["node"], default=None),
    ).drop_nulls()
    dropped["edges to no node"] = parts.edges.height - edges.height

    rows, first = [], []
    for name, forward, backward in parts.relations:
        here = len(rows)
        first.append(here)
        if backward:
            rows += [(name, forward, here + 1), (name, backward, here)]
        else:
            rows.append((name, forward, here))
    return assemble(
        parts.source,
        parts.licence,
        unique,
        synonyms.select("node", "text", "exact"),
        pl.DataFrame(rows, schema=RELATIONS, orient="row"),
        edges["head"].to_numpy(),
        np.array(first, np.int64)[edges["relation"].to_numpy()],
        edges["tail"].to_numpy(),
        dropped,
    )


def assemble(
    source: str,
    licence: str,
    nodes: pl.DataFrame,
    synonyms: pl.DataFrame,
    relations: pl.DataFrame,
    head: np.ndarray,
    relation: np.ndarray,
    tail: np.ndarray,
    dropped: Mapping[str, int],
    both_ways: bool = False,
) -> Graph:
    """Makes a graph of checked nodes and edges by row; see `Graph` for the tables.

    Edges from a node to itself and repeated ones go, and a missing way back is added; each is
    counted, the last where the source means to tell `both_ways`. Takes 60 bytes an edge while it
    works.
    """
    nodes, dropped = _tidy_nodes(nodes), dict(dropped)
    if not nodes.height:
        raise errors.KnowledgeError(f"{source}: no node was read; is this the right folder?")
    unnamed = nodes["name"].is_null()
    dropped["nodes without a name, called by their id"] = int(unnamed.sum())
    nodes = nodes.with_columns(pl.coalesce("name", "id").alias("name"))

    size, kinds = nodes.height, max(relations.height, 1)
    itself = head == tail
    dropped["edges from a node to itself"] = int(itself.sum())
    if itself.any():
        head, relation, tail = head[~itself], relation[~itself], tail[~itself]
    inverse = relations["inverse"].to_numpy().astype(np.int64)
    there = (head.astype(np.int64) * kinds + relation) * size + tail
    given = len(there)
    there = _distinct(there)
    dropped["repeated edges"] = given - len(there)
    tails, rest = there % size, there // size
    back = (tails * kinds + inverse[rest % kinds]) * size + rest // kinds
    del tails, rest
    edges = _distinct(np.concatenate([there, back]))
    if both_ways:
        alike = inverse == np.arange(kinds)
        told, all_ = (int(alike[keys // size % kinds].sum()) for keys in (there, edges))
        dropped["edges told in one direction, completed"] = all_ - told
    del there, back
    tail, rest = (edges % size).astype(np.int32), edges // size
    del edges
    relation, head = (rest % kinds).astype(np.int16), rest // kinds
    return Graph(
        source,
        licence,
        nodes,
        _tidy_synonyms(synonyms, nodes),
        relations.cast(RELATIONS),
        np.searchsorted(head, np.arange(size + 1)).astype(np.int64),
        relation,
        tail,
        {what: count for what, count in dropped.items() if count},
    )


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Sorts keys in place and returns each once; np.unique, by hashes, takes ten times as long."""
    keys.sort()
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def _tidy_nodes(nodes: pl.DataFrame) -> pl.DataFrame:
    """Keeps the columns of `NODES`; white space is one blank, and what is empty is null."""
    return nodes.select(_tidy(pl.col(name)).alias(name) for name in NODES).cast(NODES)


def _tidy_synonyms(synonyms: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Drops empty synonyms, repeated ones and those that only repeat the name, sorted by node."""
    tidy = synonyms.with_columns(_tidy(pl.col("text"))).drop_nulls().cast(SYNONYMS)
    tidy = tidy.sort("node", pl.col("exact"), descending=[False, True], maintain_order=True)
    tidy = tidy.unique(["node", "text"], keep="first", maintain_order=True)
    names = nodes["name"].gather(tidy["node"])
    return tidy.filter(tidy["text"] != names)


def _tidy(text: pl.Expr) -> pl.Expr:
    text = text.cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(text != "").then(text)
