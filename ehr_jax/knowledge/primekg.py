"""PrimeKG (Chandak et al. 2023): `kg.csv` and the features of diseases and drugs.

`kg.csv` has 8 million rows, each edge in both directions; it is read in batches, of which only row
numbers are kept. Feature files may be csv, tab-separated (as Dataverse gives them) or parquet.
"""

import pathlib

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.knowledge import aliases, files, graph

SOURCE = "primekg"
LICENCE = (
    "PrimeKG: its data follow their sources' terms (DrugBank, UMLS, DisGeNET, Mayo Clinic and "
    "others restrict use and redistribution)"
)
LARGEST_INDEX = 50_000_000

_NODE = {"index": pl.Int64, "id": pl.String, "type": pl.String, "name": pl.String}
_NODE |= {"source": pl.String}
_KG = {"relation": pl.String, "display_relation": pl.String} | {
    f"{end}_{column}": dtype for end in "xy" for column, dtype in _NODE.items()
}
_DISEASE = ("mondo_name", "mondo_definition", "orphanet_definition", "umls_description")
_DISEASE += ("orphanet_clinical_description",)
_DRUG = ("description", "indication", "mechanism_of_action")
_IS_A = (("is_a", "is a kind of", 1), ("is_a", "has the kind", 0))


def read(folder: str | pathlib.Path) -> graph.Graph:
    """Reads a folder with `kg` and, where they are, `disease_features` and `drug_features`.

    A disease's definition is MONDO's and Orphanet's, its description UMLS's and Orphanet's clinical
    one; names of the terms grouped in it are synonyms, not exact ones. A drug's definition is its
    description, its description what it is for and how it works.

    Rows with an empty index, id or type, and rows that mean another node by an index than a row
    before, are dropped and counted. KnowledgeError or RecordsError for a missing or damaged file.
    """
    kg, disease, drug = (
        files.find(folder, name) for name in ("kg", "disease_features", "drug_features")
    )
    kg = kg or files.required(folder, "kg", "PrimeKG's kg.csv")
    nodes, relations, edges, dropped = _read_edges(kg)
    texts, synonyms, strangers = _features(nodes, disease, drug)
    nodes = nodes.join(texts, on="id", how="left", maintain_order="left")
    added = aliases.add(nodes, synonyms)

    rows = added.nodes.select("id", node=pl.int_range(pl.len(), dtype=pl.Int32))
    synonyms = added.synonyms.join(rows, on="id", how="inner", maintain_order="left")
    ours = [column.replace_strict(rows["id"], rows["node"]) for column in added.broader]
    ours.insert(1, np.full(added.broader.height, relations.height))
    is_a = [(name, words, relations.height + row) for name, words, row in _IS_A]
    return graph.assemble(
        SOURCE,
        f"{LICENCE}. {aliases.LICENCE}",
        added.nodes,
        synonyms.select("node", "text", "exact"),
        pl.concat([relations, pl.DataFrame(is_a, schema=graph.RELATIONS, orient="row")]),
        *(np.concatenate([theirs, our]) for theirs, our in zip(edges, ours, strict=True)),
        {**dropped, "features of no node": strangers, **added.dropped},
        both_ways=True,
    )


def paths(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that `read` reads."""
    kg = files.required(folder, "kg", "PrimeKG's kg.csv")
    others = (files.find(folder, name) for name in ("disease_features", "drug_features"))
    return [kg, *(path for path in others if path)]


def _read_edges(path: pathlib.Path):
    """Returns nodes, relations, (head, relation, tail) by row of the nodes, and what was dropped.

    Nodes are by ascending index, which they keep as `index`.
    """
    known = _Nodes(path)
    kinds: dict[tuple[str, str], int] = {}
    heads, codes, tails = [], [], []
    dropped = {"rows with an empty field": 0, "rows whose index is another node's": 0}
    for batch in files.scan(path, _KG).collect_batches(maintain_order=True):
        # The last columns too: a row that was cut short ends in empty fields.
        whole = batch.drop_nulls([name for name in _KG if not name.endswith("_name")])
        dropped["rows with an empty field"] += batch.height - whole.height
        fits = known.add(whole)
        dropped["rows whose index is another node's"] += int((~fits).sum())
        whole = whole.filter(fits)
        pairs = whole.select("relation", "display_relation")
        for pair in pairs.unique(maintain_order=True).iter_rows():
            kinds.setdefault(pair, len(kinds))
        rows = pl.DataFrame([(*pair, code) for pair, code in kinds.items()],
                            schema=[*pairs.columns, "code"], orient="row")  # fmt: skip
        code = pairs.join(rows, on=pairs.columns, how="left", maintain_order="left")["code"]
        heads.append(whole["x_index"].to_numpy().astype(np.int32))
        codes.append(code.to_numpy().astype(np.int16))
        tails.append(whole["y_index"].to_numpy().astype(np.int32))
    if not kinds:
        raise errors.KnowledgeError(f"{path.name}: no edge was read; is the file complete?")
    nodes, row = known.table(dropped)
    edges = (row[np.concatenate(heads)], np.concatenate(codes), row[np.concatenate(tails)])
    relations = [(name, shown, code) for (name, shown), code in kinds.items()]
    return nodes, pl.DataFrame(relations, schema=graph.RELATIONS, orient="row"), edges, dropped


class _Nodes:
    """The nodes of the rows so far, by index; 9 bytes an index beside what is new in a batch."""

    def __init__(self, path: pathlib.Path):
        self.path, self.found = path, []
        self.seen, self.identity = np.zeros(0, bool), np.zeros(0, np.uint64)

    def add(self, rows: pl.DataFrame) -> np.ndarray:
        """Takes in both ends of rows; returns [rows] bool: both are what their index meant."""
        ends = pl.concat(
            rows.select(pl.col(f"{end}_{name}").alias(name) for name in _NODE) for end in "xy"
        )
        if not ends.height:
            return np.zeros(0, bool)
        index = ends["index"].to_numpy()
        if index.min() < 0 or index.max() > LARGEST_INDEX:
            raise errors.KnowledgeError(
                f"{self.path.name}: an index is {index.min() if index.min() < 0 else index.max()}; "
                f"expected row numbers of nodes, 0 to at most {LARGEST_INDEX}"
            )
        more = max(0, int(index.max()) + 1 - len(self.seen))
        self.seen = np.append(self.seen, np.zeros(more, bool))
        self.identity = np.append(self.identity, np.zeros(more, np.uint64))
        identity = ends.select("source", "type", "id").hash_rows(seed=0).to_numpy()
        new = np.flatnonzero(~self.seen[index])
        where, first = np.unique(index[new], return_index=True)
        self.seen[where], self.identity[where] = True, identity[new[first]]
        self.found.append(ends[new[first]])
        return (self.identity[index] == identity).reshape(2, -1).all(0)

    def table(self, dropped: dict[str, int]) -> tuple[pl.DataFrame, np.ndarray]:
        """Returns the nodes, of a repeated id only the first, and each index's row [indices]."""
        nodes = pl.concat(self.found).sort("index")
        nodes = nodes.with_columns(id=pl.concat_str("source", pl.lit(":"), "id")).drop("source")
        kept = nodes.unique("id", keep="first", maintain_order=True)
        dropped["nodes of a repeated id"] = nodes.height - kept.height
        rows = kept.select("id", row=pl.int_range(pl.len(), dtype=pl.Int32))
        row = np.full(len(self.seen), -1, np.int32)
        found = nodes.join(rows, on="id", how="left", maintain_order="left")["row"]
        row[nodes["index"].to_numpy()] = found.to_numpy()
        return kept, row


def _features(nodes: pl.DataFrame, disease: pathlib.Path | None, drug: pathlib.Path | None):
    """Returns texts (id, definition, description), synonyms, and how many rows name no node."""
    ids = nodes.select("id", node_index="index")
    texts = [pl.DataFrame(schema=dict.fromkeys(("id", "definition", "description"), pl.String))]
    synonyms = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean})
    strangers = 0
    if disease:
        rows, lost = _of_nodes(disease, _DISEASE, ids)
        strangers += lost
        definition, description = _joined(*_DISEASE[1:3]), _joined(*_DISEASE[3:])
        texts.append(_by_node(rows, definition, description))
        synonyms = rows.select("id", text="mondo_name", exact=pl.lit(False)).drop_nulls()
    if drug:
        rows, lost = _of_nodes(drug, _DRUG, ids)
        strangers += lost
        texts.append(_by_node(rows, _joined(_DRUG[0]), _joined(*_DRUG[1:])))
    both = pl.concat(texts).unique("id", keep="first", maintain_order=True)
    return both, synonyms.unique(maintain_order=True), strangers


def _of_nodes(path: pathlib.Path, names: tuple[str, ...], ids: pl.DataFrame):
    """Returns a feature file's rows with their nodes' ids, and how many rows have none."""
    columns = {"node_index": pl.Int64} | dict.fromkeys(names, pl.String)
    rows = files.read(path, columns, optional=names)
    known = rows.join(ids, on="node_index", how="inner", maintain_order="left")
    return known, rows.height - known.height


def _by_node(rows: pl.DataFrame, definition: pl.Expr, description: pl.Expr) -> pl.DataFrame:
    return rows.group_by("id", maintain_order=True).agg(
        definition=definition, description=description
    )


def _joined(*names: str) -> pl.Expr:
    """Joins a node's different texts of some columns, in the file's order; null without any."""
    each = [
        pl.col(name).drop_nulls().str.strip_chars().unique(maintain_order=True) for name in names
    ]
    text = pl.concat_list(part.implode() for part in each).list.unique(maintain_order=True)
    text = text.list.join(" ").first()
    return pl.when(text != "").then(text)
