"""The report says of knowledge what data.json does: the graph, its terms, every count."""

import html
import re

import pytest

from ehr_jax.reporting import data_page, knowledge_page

GRAPH = {
    "source": "made_up",
    "licence": "Made up: no terms",
    "nodes": 12_345,
    "edges": 67_890,
    "synonyms": 321,
    "by_type": {
        "disease": {"nodes": 400, "with_definition": 300, "with_description": 4},
        "gene": {"nodes": 0, "with_definition": 0, "with_description": 0},
    },
    "by_relation": {"is_a": 50, "resembles": 6},
    "dropped": {"repeated edges": 7},
}
KNOWLEDGE = {
    "graph": GRAPH,
    "extractor": "gazetteer",
    "rendering": "realm",
    "form": "sequence",
    "filter": {"found": 100, "not_in_note": 0, "negated": 30, "family": 3, "kept": 67},
    "notes": {"read": 40, "empty": 2, "unreadable": 0},
    "language_model": None,
    "language_model_links": {"exact": 11, "normalised": 12, "dense": 13, "none": 14},
    "series": {
        "values_beyond": 500,
        "entities": 210,
        "distinct": 5,
        "distinct_linked": 3,
        "links": {"exact": 2, "normalised": 1, "dense": 0, "none": 2},
        "not_linked": ["high height", "low height"],
    },
    "linking": {
        "threshold": 0.87,
        "margin": 0.2,
        "wanted": 0.9,
        "precision": 0.91,
        "recall": 0.07,
        "queries": 843,
    },
    "entities": 150,
    "samples_with_entities": 38,
    "distinct_nodes": 9,
}


def words(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


@pytest.fixture
def data() -> dict:
    return {"features": {"statics": 7, "knowledge": KNOWLEDGE}}


def test_the_graph_its_terms_and_its_coverage_are_told(data):
    told = words(knowledge_page.section(data))
    assert "'made_up': 12,345 nodes, 67,890 edges" in told and "321 synonyms" in told
    assert "Made up: no terms" in told
    assert "disease 400 300 (75 %) 4 (1 %)" in told
    assert "is_a 50 resembles 6" in told
    assert "repeated edges 7" in told


def test_every_count_of_filter_and_linking_is_told_and_few_people_are_not(data):
    told = words(knowledge_page.section(data))
    assert "found 100" in told and "Kept 67" in told
    assert "denied –" in told  # the others would tell the few of the family
    assert "of the family <10" in told and "Notes empty <10" in told
    assert "kinds of entity in series 2 1 0 2" in told
    assert "names given by a language model 11 12 13 14" in told
    assert "high height, low height" in told
    assert "cosine of 0.870 with a lead of 0.20: precision 0.910 and recall 0.070 on 843" in told


def test_a_run_without_knowledge_has_no_such_section_and_one_with_it_has_one(data):
    assert knowledge_page.section({}) == knowledge_page.section({"features": {"statics": 7}}) == ""
    assert "made_up" not in data_page.section(data)
    assert "knowledge" in data["features"]


def test_what_an_older_run_did_not_record_is_left_out(data):
    known = {key: KNOWLEDGE[key] for key in ("graph", "filter", "notes", "entities")}
    told = words(knowledge_page.section({"features": {"knowledge": known}}))
    assert "No series was looked at." in told and "names given by" not in told
    assert "No graph was recorded." in knowledge_page.section({"features": {"knowledge": {"a": 1}}})


def test_a_fixed_threshold_is_told_without_a_precision(data):
    nan = float("nan")
    known = KNOWLEDGE | {
        "linking": {"threshold": 0.6, "margin": 0.0, "wanted": nan, "precision": nan,
                    "recall": nan, "queries": 0},
    }  # fmt: skip
    told = words(knowledge_page.section({"features": {"knowledge": known}}))
    assert "cosine of 0.600 with a lead of 0.00." in told and "nan" not in told
