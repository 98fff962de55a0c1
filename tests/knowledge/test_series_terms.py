"""Entities of series link to what medicine calls them, opposite directions never to one node."""

import pathlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.features import variables
from ehr_jax.knowledge import graph, linking, series_terms
from ehr_jax.text import encoders

GOLDEN = pathlib.Path(__file__).parent.parent / "text" / "golden"
NUMBERS = sorted(
    {one.name for name in variables.SETS for one in variables.named(name) if not one.category}
)
ENTITIES = [f"{direction} {name}" for name in NUMBERS for direction in ("low", "high")]


def of_names(*names: str) -> linking.Linker:
    nodes = [(f"X:{at}", "symptom", name, None, None) for at, name in enumerate(names)]
    none = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean})
    edges = pl.DataFrame(schema={"head": pl.String, "relation": pl.Int32, "tail": pl.String})
    table = pl.DataFrame(nodes, schema=graph.NODES, orient="row")
    return linking.open_linker(graph.build(graph.Parts("x", "none", table, none, edges, [])), None)


def test_an_entity_links_by_the_first_name_that_the_graph_has():
    linker = of_names("uremia", "Hypotension", "Fevers")
    links = series_terms.link(
        linker, ["high blood urea nitrogen", "low mean blood pressure", "high temperature"]
    )
    assert links["node"].to_list() == [0, 1, 2]
    assert links["how"].to_list() == ["exact", "normalised", "normalised"]
    both = of_names("uremia", "azotemia")
    assert series_terms.link(both, ["high blood urea nitrogen"])["node"].to_list() == [1]


def test_what_the_graph_lacks_stays_without_a_node_and_is_counted():
    links = series_terms.link(of_names("fever"), ["high sodium", "low creatinine", "high mood"])
    assert links["node"].to_list() == [None] * 3
    assert linking.tally(links) == {"exact": 0, "normalised": 0, "dense": 0, "none": 3}
    assert series_terms.link(of_names("fever"), []).schema == links.schema


def test_a_name_of_the_graph_counts_before_nearness(tmp_path):
    linker = linking.open_linker(
        of_names("tachycardia", "high heart rat").graph,
        encoders.load(GOLDEN / "tiny_mean"),
        tmp_path / "index",
        cache_dir=tmp_path / "vectors",
    ).accepting(-1.0)
    links = series_terms.link(linker, ["high heart rate", "low heart rate"])
    assert links["how"].to_list() == ["exact", "dense"]
    assert links["node"][0] == 0


@given(st.text())
def test_any_text_is_called_something_or_nothing(text):
    assert isinstance(series_terms.called(text), tuple)


def test_every_variable_named_here_is_one_of_a_set():
    assert set(series_terms.TERMS) <= set(NUMBERS)


@pytest.mark.parametrize("name", sorted(series_terms.TERMS))
def test_no_term_is_both_low_and_high(name):
    low, high = series_terms.TERMS[name]
    assert low or high
    assert not set(low) & set(high)


def test_entities_of_intensive_care_link_in_the_default_graph(default_graph):
    found = default_graph
    linker = linking.open_linker(found, None)
    links = series_terms.link(linker, ENTITIES)
    names = found.nodes["name"]
    linked = {
        entity: names[node].lower()
        for entity, node in zip(ENTITIES, links["node"], strict=True)
        if node is not None
    }
    expected = {
        "high heart rate": "tachycardia",
        "low heart rate": "bradycardia",
        "high glucose": "hyperglycemia",
        "low systolic blood pressure": "hypotension",
        "high temperature": "fever",
        "high respiratory rate": "tachypnea",
        "low oxygen saturation": "hypoxemia",
        "low pH": "acidosis",
        "high creatinine": "kidney failure",
        "low platelets": "thrombocytopenia",
        "low hematocrit": "anemia",
        "high white blood cells": "leukocytosis",
        "high lactate": "hyperlactatemia",
        "high bilirubin": "jaundice",
        "low sodium": "hyponatremia",
    }
    assert {entity: linked.get(entity) for entity in expected} == expected
    assert len(linked) >= 70
    for name in NUMBERS:
        assert linked.get(f"low {name}", "low") != linked.get(f"high {name}", "high")
    # Findings that an intensive care unit sees every day are told in a sentence.
    told = found.nodes["definition"].gather(links["node"].drop_nulls())
    assert told.null_count() <= 0.1 * len(told)
