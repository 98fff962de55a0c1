"""Mentions find their node by name, by spelling or by meaning, and none where none is near."""

import json
import pathlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.knowledge import calibration, folder, graph, linking, search
from ehr_jax.text import encoders
from tests.knowledge import tiny_graphs

GOLDEN = pathlib.Path(__file__).parent.parent / "text" / "golden"


@pytest.fixture(scope="module")
def tiny() -> encoders.Encoder:
    return encoders.load(GOLDEN / "tiny_mean")


@pytest.fixture(scope="module")
def found() -> graph.Graph:
    return tiny_graphs.made_up()


@pytest.fixture
def linker(found, tiny, tmp_path) -> linking.Linker:
    return linking.open_linker(found, tiny, tmp_path / "index", cache_dir=tmp_path / "vectors")


def many_terms(synonyms: int = 200) -> graph.Graph:
    """A graph with enough synonyms to calibrate on: each names its node's number."""
    nodes = [(f"D:{i}", "disease", f"disease number {i}", None, None) for i in range(synonyms)]
    return graph.build(
        graph.Parts(
            "many",
            "none",
            pl.DataFrame(nodes, schema=graph.NODES, orient="row"),
            pl.DataFrame(
                [(f"D:{i}", f"illness numbered {i}", True) for i in range(synonyms)],
                schema=["id", "text", "exact"],
                orient="row",
            ),
            pl.DataFrame(schema={"head": pl.String, "relation": pl.Int32, "tail": pl.String}),
            [],
        )
    )


def test_names_and_spellings_link_without_an_encoder(found):
    linker = linking.open_linker(found, None)
    links = linking.link(linker, ["ague", "Fever, marsh", "THE SHAKE", "plague", "", "theriac"])
    assert links["node"].to_list() == [0, 0, 0, None, None, None]
    assert links["how"].to_list() == ["exact", "normalised", "normalised", "none", "none", "none"]
    assert dict(links.schema) == linking.LINKS


def test_no_mention_is_no_link(linker):
    assert linking.link(linker, []).height == 0


def test_a_shared_term_belongs_to_the_node_that_is_called_so():
    nodes = [("S", "symptom", "Fever", None, None), ("D", "disease", "fever", None, None),
             ("A", "disease", "ague", None, None)]  # fmt: skip
    synonyms = [("A", "fevers", True), ("A", "chill", False), ("D", "chill", True)]
    edges = pl.DataFrame(schema={"head": pl.String, "relation": pl.Int32, "tail": pl.String})
    found = graph.build(
        graph.Parts("x", "", pl.DataFrame(nodes, schema=graph.NODES, orient="row"),
                    pl.DataFrame(synonyms, schema=["id", "text", "exact"], orient="row"), edges, [])
    )  # fmt: skip
    linker = linking.open_linker(found, None)
    assert linking.link(linker, ["FEVER", "chill", "ague"])["node"].to_list() == [1, 1, 2]
    assert linker.terms["key"].is_unique().all()


def test_a_mention_links_by_meaning_when_it_is_near_enough(linker):
    (node, score, margin), mention = nearest(linker, "agues of old"), "agues of old"
    near = linker.accepting(score - 0.001)
    far = linker.accepting(score + 0.001)
    assert linking.link(near, [mention])["node"].to_list() == [node]
    assert linking.link(near, [mention])["how"].to_list() == ["dense"]
    refused = linking.link(far, [mention])
    assert refused["node"].to_list() == [None] and refused["how"].to_list() == ["none"]
    assert refused["score"][0] == pytest.approx(score)  # told, though not accepted
    assert linking.link(linker.accepting(0, margin + 0.001), [mention])["node"].to_list() == [None]
    assert linking.link(linker.accepting(0, margin - 0.001), [mention])["node"].to_list() == [node]


def nearest(linker, mention):
    return tuple(float(each[0]) for each in linking.nearest(linker, [mention]))


def test_links_do_not_depend_on_their_neighbours_or_order(linker):
    linker = linker.accepting(0.0)
    mentions = ["agues of old", "swollen legs", "ague", "agues of old", "nothing at all"]
    together = linking.link(linker, mentions)
    backwards = linking.link(linker, mentions[::-1]).reverse()
    assert together.equals(linking.link(linker, mentions))
    assert together["node"].equals(backwards["node"])
    assert together.row(0) == together.row(3)


def test_the_margin_is_to_another_node_not_another_name():
    terms = pl.DataFrame({"node": [5, 5, 7, 5], "numbers": [""] * 4})
    scores = np.array([[0.9, 0.8, 0.6, 0.5], [0.9, 0.8, 0.7, -np.inf]], np.float32)
    near = np.array([[0, 1, 2, 3], [0, 1, 3, -1]], np.int32)
    node, score, margin = calibration.best(terms, ["", ""], scores, near)
    assert node.tolist() == [5, 5]
    np.testing.assert_allclose(score, [0.9, 0.9], rtol=1e-6)
    np.testing.assert_allclose(margin, [0.3, 1.9], rtol=1e-6)


def test_another_number_is_never_near():
    terms = pl.DataFrame({"node": [1, 2, 3], "numbers": ["1", "2", "2"]})
    scores, near = np.array([[0.99, 0.9, 0.7]] * 2, np.float32), np.array([[0, 1, 2]] * 2, np.int32)
    node, score, margin = calibration.best(terms, ["2", "7"], scores, near)
    assert node.tolist() == [2, -1]
    np.testing.assert_allclose(score, [0.9, -1], rtol=1e-6)
    np.testing.assert_allclose(margin, [0.2, 0], rtol=1e-6)
    assert calibration.numbers(["type 2 diabete", "e coli", "hepatitis c"]) == ["2", "", "c"]


def test_a_second_start_reads_the_index_and_encodes_nothing(found, tiny, linker, tmp_path, capsys):
    capsys.readouterr()
    again = linking.open_linker(found, tiny, tmp_path / "index", cache_dir=tmp_path / "vectors")
    assert "encoded" not in capsys.readouterr().out
    assert again.dense.calibration == linker.dense.calibration
    np.testing.assert_array_equal(again.dense.vectors, linker.dense.vectors)


def test_an_index_of_another_encoder_is_refused_by_name(found, linker, tmp_path):
    other = encoders.load(GOLDEN / "tiny_cls")
    with pytest.raises(errors.KnowledgeError, match=r"encoder '.*tiny_mean'.*'.*tiny_cls'"):
        linking.open_linker(found, other, tmp_path / "index", cache_dir=tmp_path / "vectors")


def test_an_index_of_another_graph_is_refused_by_name(tiny, linker, tmp_path):
    other = tiny_graphs.made_up(synonyms=[("D:0", "another name", True)])
    with pytest.raises(errors.KnowledgeError, match="'made_up' with other terms"):
        linking.open_linker(other, tiny, tmp_path / "index", cache_dir=tmp_path / "vectors")


def test_the_index_holds_encoder_and_rule(linker, tiny, tmp_path):
    described = json.loads((tmp_path / "index" / folder.DESCRIPTION).read_text())
    assert described["encoder_fingerprint"] == tiny.fingerprint
    assert described["calibration"] == linker.dense.calibration._asdict()


def test_too_few_synonyms_accept_nothing(linker):
    assert linker.dense.calibration.threshold == calibration.NONE_ACCEPTED
    assert linking.link(linker, ["agues of old"])["node"].to_list() == [None]


def test_another_wanted_precision_calibrates_again(tiny, tmp_path):
    found, path = many_terms(), tmp_path / "index"
    loose = linking.open_linker(found, tiny, path, wanted=0.05, cache_dir=tmp_path)
    strict = linking.open_linker(found, tiny, path, wanted=1.0, cache_dir=tmp_path)
    again = linking.open_linker(found, tiny, path, wanted=1.0, cache_dir=tmp_path)
    assert (loose.dense.calibration.wanted, strict.dense.calibration.wanted) == (0.05, 1.0)
    assert strict.dense.calibration == again.dense.calibration
    assert loose.dense.calibration.recall >= strict.dense.calibration.recall


def test_a_calibration_by_another_rule_is_made_again(tiny, tmp_path, monkeypatch, capsys):
    found, path = many_terms(), tmp_path / "index"
    first = linking.open_linker(found, tiny, path, wanted=0.05, cache_dir=tmp_path)
    monkeypatch.setattr(calibration, "RULE", calibration.RULE + 1)
    monkeypatch.setattr(calibration, "MARGINS", (0.3,))
    capsys.readouterr()
    again = linking.open_linker(found, tiny, path, wanted=0.05, cache_dir=tmp_path)
    assert "encoded" not in capsys.readouterr().out
    assert again.dense.calibration != first.dense.calibration


@pytest.mark.parametrize("wanted", [0, -1, 1.5])
def test_a_wanted_precision_that_is_no_share_is_an_error(found, tiny, wanted):
    with pytest.raises(errors.KnowledgeError, match="wanted precision"):
        linking.open_linker(found, tiny, wanted=wanted)


def clustered(seed: int, nodes: int = 60, spread: float = 0.5):
    """Terms, vectors and index in which a node's names lie around one point."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(nodes, 8))
    vectors = np.repeat(centres, 3, axis=0) + spread * generator.normal(size=(3 * nodes, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    terms = pl.DataFrame({
        "node": np.repeat(np.arange(nodes), 3),
        "term": [f"term{i}" for i in range(3 * nodes)],
        "name": [i % 3 == 0 for i in range(3 * nodes)],
        "exact": [True] * (3 * nodes),
        "key": [f"t{i}" for i in range(3 * nodes)],
        "numbers": [""] * (3 * nodes),
    })  # fmt: skip
    return terms, vectors, search.place(vectors)


@given(st.integers(0, 50), st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_the_calibrated_rule_reaches_the_wanted_precision(seed, wanted):
    terms, vectors, index = clustered(seed)
    rule = calibration.calibrate(terms, vectors, index, wanted)
    rows = calibration.held_out(terms)
    right, score, margin = calibration.left_out(terms, vectors, index, rows)
    accepted = calibration.accepts(np.zeros(len(rows)), score, margin, rule)
    if rule.threshold == calibration.NONE_ACCEPTED:
        assert not accepted.any() and rule.recall == 0
    else:
        assert accepted.sum() >= calibration.FEWEST
        assert right[accepted].mean() >= wanted
        assert rule.precision == pytest.approx(right[accepted].mean())
        assert rule.recall == pytest.approx((right & accepted).mean())


def test_a_left_out_synonym_does_not_find_itself():
    terms, vectors, index = clustered(0)
    rows = calibration.held_out(terms)
    _, score, _ = calibration.left_out(terms, vectors, index, rows)
    products = vectors[rows] @ vectors.T
    products[np.arange(len(rows)), rows] = -np.inf
    np.testing.assert_allclose(score, products.max(axis=1), atol=1e-6)


def test_twins_of_a_synonym_do_not_hide_that_it_was_left_out():
    terms, vectors, _ = clustered(0)
    vectors[:] = vectors[0]  # all alike: none stands out, the lower rows come first
    rows = np.array([4, 100])
    right, score, _ = calibration.left_out(terms, vectors, search.place(vectors), rows)
    assert not right.any()
    np.testing.assert_allclose(score, 1, rtol=1e-6)


def test_only_synonyms_of_nodes_with_other_names_are_left_out():
    terms, *_ = clustered(0)
    rows = calibration.held_out(terms)
    assert not terms["name"].gather(rows).any()
    np.testing.assert_array_equal(rows, calibration.held_out(terms))
    assert len(calibration.held_out(terms, most=10)) == 10


def test_no_mention_stands_in_what_is_written_or_said(linker, tmp_path, capsys):
    linking.link(linker.accepting(0.0), ["secretum canarium"])
    said = capsys.readouterr()
    assert "canarium" not in said.out + said.err
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"canarium" not in path.read_bytes()
