"""Nodes read as plain English, the same every time for one seed."""

import collections

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ehr_jax import errors
from ehr_jax.knowledge import disk, graph, linking, rendering
from ehr_jax.synthetic import rare as synthetic_rare
from ehr_jax.text import encode, encoders
from tests.knowledge import tiny_graphs


@pytest.fixture(scope="module")
def found() -> graph.Graph:
    return tiny_graphs.made_up()


def test_a_node_is_told_by_name_definition_and_description(found):
    assert rendering.described(found, [0, 1, 2, 0]) == (
        "ague: A chill that has symptom shivering.\ndropsy: Swelling of the legs.\nshivering."
    )


def test_no_node_is_no_text(found):
    assert rendering.described(found, []) == rendering.with_triples(found, [], 0) == ""


def test_triples_stand_behind_their_node(found):
    assert rendering.with_triples(found, [1], 0) == (
        "dropsy: Swelling of the legs. dropsy is treated with theriac. dropsy resembles ague."
    )


def test_at_most_so_many_nodes_and_triples_are_told(found):
    text = rendering.with_triples(found, [0, 1, 2], seed=3, most_nodes=2, most_triples=1)
    lines = text.split("\n")
    assert len(lines) == 2
    assert all(sum(line.count(word) for word in ("treated", "present", "resembles")) == 1
               for line in lines)  # fmt: skip


def test_a_node_reads_the_same_wherever_it_stands(found):
    alone = rendering.with_triples(found, [0], 5, most_triples=1)
    assert rendering.with_triples(found, [1, 0], 5, most_triples=1).split("\n")[1] == alone


def test_every_edge_of_a_node_is_drawn_by_some_seed_as_often(found):
    drawn = collections.Counter(
        each for seed in range(300) for each in rendering.sample(found, 0, seed, 1)
    )
    assert len(drawn) == 3 and min(drawn.values()) > 60
    assert rendering.sample(found, 0, 7, 2) == rendering.sample(found, 0, 7, 2)
    assert len(rendering.sample(found, 0, 7, 99)) == 3


def test_primekgs_words_depend_on_what_stands_first(tmp_path):
    tiny_graphs.write_kg(tmp_path / "primekg")
    found = disk.open_graph("primekg", tmp_path, tmp_path / "cache")
    told = {
        rendering.triple(found, head, int(relation), int(tail))
        for head in range(4)
        for relation, tail in zip(*found.neighbours(head), strict=True)
    }
    assert told == {
        "Theriac is used to treat ague (disease)",
        "ague (disease) is treated with Theriac",
        "Theriac must not be given in humour, excess of",
        "humour, excess of is a reason not to give Theriac",
        "ague (disease) may come with Shivering",
        "Shivering may be a feature of ague (disease)",
    }


def test_names_alone_are_each_told_once(found):
    names = found.nodes["name"]
    assert rendering.named(found, [1, 0, 1]) == f"{names[1]}.\n{names[0]}."
    assert rendering.named(found, []) == ""


def test_definitions_tell_the_families_of_rare_diseases_apart_and_names_do_not(
    default_graph, tmp_path
):
    try:
        encoder = encoders.load()
    except errors.TextError:
        pytest.skip("the default encoder is not installed")
    names = synthetic_rare.GRAVE[::2] + synthetic_rare.MILD[::2]
    grave = np.repeat([1, 0], len(names) // 2)
    nodes = linking.link(linking.open_linker(default_graph, None), names)["node"]
    assert nodes.null_count() == 0
    train = np.arange(len(names)) % 3 > 0

    def apart(told) -> float:
        vectors = encode.encode([told(default_graph, [node]) for node in nodes], encoder, tmp_path)
        vectors = vectors / np.sqrt((vectors**2).mean())
        model = LogisticRegression(C=0.01).fit(vectors[train], grave[train])
        return roc_auc_score(grave[~train], model.decision_function(vectors[~train]))

    assert apart(rendering.described) > 0.85
    assert apart(rendering.named) < 0.7
