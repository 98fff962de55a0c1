"""Hetionet v1.0: its nodes, its edge file (`source metaedge target`), and single edge tables.

Rephetio's own files: `nodes.tsv`, `*.sif`, and `DaG-association.tsv` where the edge file is a part
of the whole. Node ids are "<kind>::<id>"; diseases are terms of the Disease Ontology.
"""

import pathlib

import polars as pl

from ehr_jax.knowledge import files, graph

LICENCE = (
    "Hetionet v1.0: CC0 1.0 for its own content; its sources' terms bind what came from them "
    "(listed in its LICENSES.md)"
)

# Abbreviation of the edge type to what it says, from either end.
RELATIONS = {
    "AdG": ("downregulates", "is downregulated in"),
    "AeG": ("expresses", "is expressed in"),
    "AuG": ("upregulates", "is upregulated in"),
    "CbG": ("binds", "is bound by"),
    "CcSE": ("can cause the side effect", "is a side effect of"),
    "CdG": ("downregulates", "is downregulated by"),
    "CpD": ("relieves symptoms of", "has its symptoms relieved by"),
    "CrC": ("resembles", ""),
    "CtD": ("treats", "is treated with"),
    "CuG": ("upregulates", "is upregulated by"),
    "DaG": ("is associated with", ""),
    "DdG": ("downregulates", "is downregulated in"),
    "DlA": ("affects", "is affected by"),
    "DpS": ("may present with", "may be a sign of"),
    "DrD": ("resembles", ""),
    "DuG": ("upregulates", "is upregulated in"),
    "GcG": ("evolves together with", ""),
    "GiG": ("interacts with", ""),
    "GpBP": ("takes part in", "involves"),
    "GpCC": ("is found in", "contains"),
    "GpMF": ("has the function", "is a function of"),
    "GpPW": ("takes part in", "involves"),
    "Gr>G": ("regulates", "is regulated by"),
    "PCiC": ("includes", "belongs to the class"),
}


def read(folder: str | pathlib.Path) -> graph.Parts:
    """Reads Hetionet's files; `graph.build` makes a graph of them.

    KnowledgeError or RecordsError for a missing or damaged file; edges of an unknown type are
    dropped and counted.
    """
    nodes_path, *edge_paths = paths(folder)
    nodes = files.read(nodes_path, dict.fromkeys(("id", "name", "kind"), pl.String))
    none = pl.lit(None, pl.String)
    edges = pl.concat([_edges(path) for path in edge_paths])
    order = {name: row for row, name in enumerate(RELATIONS)}
    relation = pl.col("metaedge").replace_strict(order, default=None, return_dtype=pl.Int32)
    known = edges.select("head", "tail", relation=relation).drop_nulls()
    return graph.Parts(
        "hetionet",
        LICENCE,
        nodes.select(
            "id",
            "name",
            type=pl.col("kind").str.to_lowercase(),
            definition=none,
            description=none,
        ),
        pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean}),
        known,
        [graph.Relation(name, *words) for name, words in RELATIONS.items()],
        {"edges of an unknown type": edges.height - known.height},
    )


def paths(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that `read` reads, that of the nodes first."""
    what = "Hetionet's table of nodes"
    nodes = files.required(folder, r"(.*-)?nodes", what, (".tsv", ".tsv.gz"))
    sif = (".sif", ".sif.gz")
    edges = files.required(folder, r"(.*-)?edges(-.*)?", "Hetionet's file of edges", sif)
    genes = files.find(folder, "DaG-association", (".tsv", ".tsv.gz"))
    return [path for path in (nodes, edges, genes) if path]


def _edges(path: pathlib.Path) -> pl.DataFrame:
    """Returns head, metaedge, tail."""
    if "association" not in path.name:
        found = files.read(path, dict.fromkeys(("source", "metaedge", "target"), pl.String))
        return found.select("metaedge", head="source", tail="target")
    found = files.read(path, dict.fromkeys(("doid_id", "entrez_gene_id"), pl.String))
    return found.select(
        metaedge=pl.lit("DaG"), head="Disease::" + pl.col("doid_id"),
        tail="Gene::" + pl.col("entrez_gene_id"),
    )  # fmt: skip
