"""A graph is whole whatever a reader found, and says what was left out."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.knowledge import graph
from tests.knowledge import tiny_graphs

NO_SYNONYMS = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean})


def parts(nodes, edges, relations, synonyms=NO_SYNONYMS) -> graph.Parts:
    return graph.Parts(
        "test",
        "none",
        pl.DataFrame(nodes, schema=graph.NODES, orient="row"),
        synonyms,
        pl.DataFrame(
            edges,
            schema={"head": pl.String, "relation": pl.Int32, "tail": pl.String},
            orient="row",
        ),
        relations,
    )


def triples(found: graph.Graph) -> set[tuple[str, str, str]]:
    ids, shown = found.nodes["id"], found.relations["display"]
    return {
        (ids[head], shown[int(relation)], ids[int(tail)])
        for head in range(found.nodes.height)
        for relation, tail in zip(*found.neighbours(head), strict=True)
    }


def test_every_edge_reads_from_both_ends():
    assert triples(tiny_graphs.made_up()) == {
        ("C:0", "treats", "D:0"),
        ("D:0", "is treated with", "C:0"),
        ("C:0", "treats", "D:1"),
        ("D:1", "is treated with", "C:0"),
        ("D:0", "may present with", "S:0"),
        ("S:0", "may be a sign of", "D:0"),
        ("D:0", "resembles", "D:1"),
        ("D:1", "resembles", "D:0"),
    }


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 7)), max_size=30),
)
def test_neighbours_are_those_of_the_edge_list(size, edges):
    nodes = [(str(i), "disease", f"name {i}", None, None) for i in range(size)]
    relations = [
        graph.Relation("a", "to", "from"),
        graph.Relation("b", "beside"),
        graph.Relation("c", "over", "under"),
    ]
    found = graph.build(parts(nodes, [(str(h), r, str(t)) for h, r, t in edges], relations))
    back = {"to": "from", "beside": "beside", "over": "under"}
    expected = set()
    for head, relation, tail in edges:
        if head < size and tail < size and head != tail:
            word = relations[relation].forward
            expected |= {(str(head), word, str(tail)), (str(tail), back[word], str(head))}
    assert triples(found) == expected
    assert len(found.tail) == len(expected) == found.offsets[-1]
    lost = sum(h >= size or t >= size for h, _, t in edges)
    assert found.dropped.get("edges to no node", 0) == lost


def test_what_is_wrong_is_counted():
    nodes = [
        ("a", "disease", " two \n words ", "", None),
        ("a", "disease", "again", None, None),
        ("b", "disease", "  ", None, None),
    ]
    synonyms = pl.DataFrame(
        [("a", "two words", True), ("a", "couple", True), ("a", "couple", False), ("z", "x", True)],
        schema=NO_SYNONYMS.schema,
        orient="row",
    )
    edges = [("a", 0, "b"), ("a", 0, "b"), ("b", 0, "a"), ("a", 0, "z"), ("b", 0, "b")]
    found = graph.build(parts(nodes, edges, [graph.Relation("r", "beside")], synonyms))
    assert found.nodes["name"].to_list() == ["two words", "b"]
    assert found.nodes["definition"].to_list() == [None, None]
    assert found.synonyms.rows() == [(0, "couple", True)]
    assert found.dropped == {
        "nodes of a repeated id": 1,
        "synonyms of no node": 1,
        "edges to no node": 1,
        "edges from a node to itself": 1,
        "repeated edges": 1,
        "nodes without a name, called by their id": 1,
    }


def test_no_node_at_all_is_an_error():
    with pytest.raises(errors.KnowledgeError, match="no node was read"):
        graph.build(parts([], [], []))


def test_terms_are_names_and_synonyms_of_diseases_alone():
    terms = tiny_graphs.made_up().terms()
    assert terms.rows() == [
        (0, "ague", True),
        (0, "marsh fever", True),
        (0, "the shakes", False),
        (1, "dropsy", True),
        (2, "shivering", True),
    ]
    assert dict(terms.schema) == {"node": pl.Int64, "term": pl.String, "exact": pl.Boolean}


def test_counts_add_up_to_the_graph():
    found = tiny_graphs.made_up()
    counts = found.counts()
    assert sum(each["nodes"] for each in counts["by_type"].values()) == counts["nodes"] == 4
    assert sum(counts["by_relation"].values()) == counts["edges"] == len(found.tail) == 8
    assert counts["by_type"]["disease"] == {
        "nodes": 2,
        "with_definition": 1,
        "with_description": 1,
    }


def test_each_heads_edges_are_sorted():
    found = tiny_graphs.made_up()
    for head in range(found.nodes.height):
        relation, tail = found.neighbours(head)
        keys = list(zip(relation.tolist(), tail.tolist(), strict=True))
        assert keys == sorted(keys)
    assert np.all(np.diff(found.offsets) >= 0)
