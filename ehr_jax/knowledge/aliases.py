"""Our own additions to a graph: what intensive care calls things, in words and abbreviations.

Disease ontologies name causes; an ICU names states (sepsis, hypotension, acidosis), which they
leave out. In `data/`, conditions.csv has such states with a one-sentence definition each,
broader.csv says what they are kinds of (both must be in the graph, or the pair is left out), and
aliases.csv has other names of nodes; those marked `short` a gazetteer takes in spite of their
length. All of it was written for this project and is no medical advice; nodes made of it have ids
"ehr_jax:<name>".
"""

from typing import NamedTuple

import polars as pl

from ehr_jax import packaged
from ehr_jax.knowledge import graph, normalise

LICENCE = "ICU conditions and aliases: ehr_jax, Apache-2.0"
PREFIX = "ehr_jax:"

_PACKAGE = "ehr_jax.knowledge"

# Name to definition. A graph that has a disease or symptom of the name keeps its own node, and
# takes our definition only where it has none.
CONDITIONS = {
    row["name"]: row["definition"] for row in packaged.rows(_PACKAGE, "data/conditions.csv")
}
_ALIASES = packaged.rows(_PACKAGE, "data/aliases.csv")
SHORT = frozenset(row["alias"] for row in _ALIASES if row["short"] == "yes")


class Added(NamedTuple):
    """Tables of a graph with ours behind them; `broader` holds id, parent."""

    nodes: pl.DataFrame
    synonyms: pl.DataFrame
    broader: pl.DataFrame
    dropped: dict[str, int]


def add(nodes: pl.DataFrame, synonyms: pl.DataFrame) -> Added:
    """Adds our conditions, aliases and abbreviations to the tables of a graph (`graph.Parts`).

    A condition that the graph names already (as a disease, a symptom or a synonym of one) is no new
    node. Names that lead to no node are left out and counted.
    """
    known, named = _known(nodes, synonyms), normalise.normalise
    new = [name for name in CONDITIONS if named(name) not in known]
    known |= {named(name): PREFIX + name for name in new}
    made = [(PREFIX + name, "disease", name, CONDITIONS[name], None) for name in new]
    ours = {known[named(name)]: text for name, text in CONDITIONS.items()}
    ours = pl.col("id").replace_strict(ours, default=None, return_dtype=pl.String)
    nodes = nodes.select(*graph.NODES).with_columns(pl.coalesce("definition", ours))

    rows, lost = [], set()
    for row in _ALIASES:
        node, alias = known.get(named(row["name"])), row["alias"]
        if node is None:
            lost.add((row["name"], row["short"]))
        # What the graph itself calls otherwise is not renamed.
        if node and known.get(named(alias), node) == node:
            rows.append((node, alias, True))
    pairs = [
        (known.get(named(row["name"])), known.get(named(row["broader"])))
        for row in packaged.rows(_PACKAGE, "data/broader.csv")
    ]
    return Added(
        pl.concat([nodes, pl.DataFrame(made, schema=graph.NODES, orient="row")]),
        pl.concat([synonyms, pl.DataFrame(rows, schema=synonyms.schema, orient="row")]),
        pl.DataFrame(pairs, schema=["id", "parent"], orient="row").drop_nulls(),
        {"our aliases of no node": len(lost)},
    )


def _known(nodes: pl.DataFrame, synonyms: pl.DataFrame) -> dict[str, str]:
    """Returns normalised name to id, of nodes that a note may say a patient has; names first."""
    nodes = nodes.filter(pl.col("type").is_in(list(graph.DISEASE_TYPES)))
    exact = synonyms.filter(pl.col("exact")).join(nodes.select("id"), on="id", how="semi")
    known: dict[str, str] = {}
    for table, column in ((nodes, "name"), (exact, "text")):
        for node, name in table.select("id", column).drop_nulls().iter_rows():
            known.setdefault(normalise.normalise(name), node)
    return known
