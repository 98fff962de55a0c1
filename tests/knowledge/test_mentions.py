"""The gazetteer: names are found however they are written, the longest wins, offsets are true."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.knowledge import mentions, phrases, sentences

NAMES = {
    0: ["diabetes mellitus", "diabetes"],
    1: ["type 2 diabetes mellitus", "Diabetes mellitus, type II"],
    2: ["congestive heart failure"],
    3: ["heart failure"],
    4: ["Crohn's disease"],
    5: ["malignant neoplasm", "Neoplasm, malignant"],
    6: ["myocardial infarction"],
    7: ["non-small cell lung carcinoma"],
    8: ["pulmonary embolism"],
    9: ["disease", "syndrome"],
    10: ["flu"],
    11: ["acquired immunodeficiency syndrome", "AIDS"],
    12: ["heart failure with preserved ejection fraction"],
}
TERMS = pl.DataFrame(
    [(node, name, True) for node, names in NAMES.items() for name in names],
    schema=mentions.TERMS,
    orient="row",
)
GAZETTEER = mentions.build(TERMS, accelerate=False)


def found(text: str, gazetteer=GAZETTEER) -> list[tuple[str, int]]:
    note = sentences.read(text)
    return [(text[m.start : m.end], m.node) for m in mentions.find(gazetteer, note)]


@pytest.mark.parametrize(
    "text, node",
    [
        ("Diabetes mellitus", 0),
        ("DIABETES MELLITUS", 0),
        ("type 2 diabetes mellitus", 1),
        ("type II diabetes mellitus", 1),
        ("diabetes mellitus, type 2", 1),
        ("Crohns disease", 4),
        ("Crohn disease", 4),
        ("Crohn\u2019s disease", 4),
        ("malignant neoplasms", 5),
        ("Neoplasm, malignant", 5),
        ("non small-cell lung carcinoma", 7),
        ("myocardial\n  infarctions", 6),
    ],
)
def test_a_name_is_found_however_it_is_written(text, node):
    assert found(f"He has {text} today.") == [(text, node)]


def test_the_longest_name_wins():
    assert found("congestive heart failure") == [("congestive heart failure", 2)]
    text = "congestive heart failure with preserved ejection fraction"
    assert found(text) == [("heart failure with preserved ejection fraction", 12)]


def test_a_word_that_only_begins_like_a_name_is_none():
    assert found("prediabetes, diabetesx, heartfailure") == []


def test_no_name_reaches_across_sentences_or_list_marks():
    assert found("Seen by heart. Failure of pump.") == []
    assert found("heart: failure") == []
    assert found("- heart\n- failure") == []


@pytest.mark.parametrize("text, node", [("MI", 6), ("PE", 8), ("UTIs", None), ("AIDS", 11)])
def test_abbreviations_count_in_capitals(text, node):
    expected = [] if node is None else [(text, node)]
    assert found(f"admitted with {text} today") == expected
    assert found(f"admitted with {text.lower()} today") == []


def test_the_plural_of_an_abbreviation_is_one():
    assert found("two prior MIs") == [("MI", 6)]


def test_an_abbreviation_within_a_word_is_none():
    assert found("MIX, AMI, MI6, aMI") == []


def test_short_and_generic_names_are_left_out():
    assert found("the flu, a disease and a syndrome") == []


def test_two_letters_in_a_shouted_sentence_are_no_abbreviation():
    assert found("PATIENT WAS SEEN FOR PE OF THE CHEST") == []


def test_an_exact_name_comes_before_a_wider_one_of_another_node():
    rows = [(3, "pump trouble", False), (5, "pump trouble", True), (1, "lung trouble", False)]
    gazetteer = mentions.build(pl.DataFrame(rows, schema=mentions.TERMS, orient="row"))
    text = "pump trouble and lung trouble"
    got = mentions.find(gazetteer, sentences.read(text))
    assert [(m.node, m.score) for m in got] == [(5, mentions.EXACT), (1, mentions.RELATED)]


def test_lookup_knows_names_and_abbreviations_alone():
    assert mentions.lookup(GAZETTEER, "Type II Diabetes Mellitus") == 1
    assert mentions.lookup(GAZETTEER, "MI") == 6
    assert mentions.lookup(GAZETTEER, "bad diabetes") == -1
    assert mentions.lookup(GAZETTEER, "") == -1


def test_terms_without_a_column_or_a_name_are_refused():
    with pytest.raises(errors.KnowledgeError, match="no column exact"):
        mentions.build(TERMS.drop("exact"))
    with pytest.raises(errors.KnowledgeError, match="none of 0 names"):
        mentions.build(TERMS.head(0))


WORDS = st.sampled_from("heart failure with acute a b diabetes mellitus type 2 . , MI\n".split(" "))


@given(st.lists(WORDS, max_size=40))
def test_mentions_are_sorted_apart_and_true_to_the_text(words):
    text = " ".join(words)
    got = mentions.find(GAZETTEER, sentences.read(text))
    assert all(a.end <= b.start for a, b in zip(got, got[1:], strict=False))
    for mention in got:
        assert mentions.lookup(GAZETTEER, text[mention.start : mention.end]) == mention.node


LETTERS = st.sampled_from("abcd")


@given(st.lists(st.lists(LETTERS, min_size=1, max_size=4), max_size=8), st.lists(LETTERS))
def test_occurrences_are_all_there_are(rows, words):
    expected = {
        (start, start + len(row), rows.index(row))
        for row in rows
        for start in range(len(words))
        if words[start : start + len(row)] == row
    }
    assert phrases.occurrences(phrases.index(rows, accelerate=False), words) == sorted(expected)


@given(st.lists(st.lists(LETTERS, min_size=1, max_size=4), max_size=8), st.lists(LETTERS))
def test_the_automaton_finds_what_the_dictionary_finds(rows, words):
    pytest.importorskip("ahocorasick")
    plain = phrases.occurrences(phrases.index(rows, accelerate=False), words)
    assert phrases.occurrences(phrases.index(rows, accelerate=True), words) == plain


def test_the_accelerated_gazetteer_is_the_same():
    pytest.importorskip("ahocorasick")
    quick = mentions.build(TERMS, accelerate=True)
    text = "congestive heart failure, DM: type 2 diabetes mellitus; MI, Crohns disease."
    assert found(text, quick) == found(text) and len(found(text)) >= 4


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=15))
def test_longest_leaves_no_overlap_and_drops_only_what_a_longer_one_covers(pairs):
    spans = [(start, start + length) for start, length in pairs]
    kept = phrases.longest(spans)
    assert all(a[1] <= b[0] for a, b in zip(kept, kept[1:], strict=False))
    for start, end in set(spans) - set(kept):
        over = [other for other in kept if other[0] < end and start < other[1]]
        assert max(other[1] - other[0] for other in over) >= end - start
