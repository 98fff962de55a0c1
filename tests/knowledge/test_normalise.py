"""Two ways of writing a term have one key; tokens say where words stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.knowledge import normalise

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Pneumonia, Bacterial", "bacterial pneumonia"),
        ("anemia, hemolytic, autoimmune", "autoimmune hemolytic anaemia"),
        ("Diabetes mellitus, Type II", "type-2 diabetes mellitus"),
        ("Crohn's disease", "Crohn disease"),
        ("Crohn\u2019s disease", "crohn disease"),
        ("Sjögren syndrome", "SJOGREN SYNDROME"),
        ("Sjo\u0308gren syndrome", "sjögren syndrome"),
        ("α1-antitrypsin deficiency", "alpha-1 antitrypsin deficiency"),
        ("hypertension (disease)", "Hypertension"),
        ("asthma, unspecified", "asthma"),
        ("abscesses", "abscess"),
        ("metastases", "metastasis"),
        ("thromboses", "thrombosis"),
        ("pneumonias", "pneumonia"),
        ("biopsies", "biopsy"),
        ("oesophageal tumours", "esophageal tumor"),
        ("COVID-19", "covid 19"),
        ("Malignant neoplasm of the lung", "lung cancer"),
        ("renal failure", "failure of kidneys"),
    ],
)
def test_spellings_of_one_term_share_a_key(one, other):
    assert normalise.normalise(one) == normalise.normalise(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("type 1 diabetes", "type 2 diabetes"),
        ("hypotension", "hypertension"),
        ("acidosis", "alkalosis"),
        ("hepatitis B", "hepatitis C"),
        ("factor V deficiency", "factor VII deficiency"),
        ("benign neoplasm of lung", "malignant neoplasm of lung"),
    ],
)
def test_different_terms_keep_different_keys(one, other):
    assert normalise.normalise(one) != normalise.normalise(other)


def test_a_segment_that_depends_on_the_first_keeps_its_place():
    assert normalise.normalise("sepsis, with shock") == "sepsis with shock"


@given(TEXT)
def test_a_key_is_its_own_key(text):
    key = normalise.normalise(text)
    assert normalise.normalise(key) == key


@given(TEXT)
def test_case_does_not_matter(text):
    # Not every letter has one capital ("ß"), so that only those that return are compared.
    if text.upper().lower() == text.lower():
        assert normalise.normalise(text.upper()) == normalise.normalise(text.lower())


@given(TEXT)
def test_tokens_stand_where_they_say_in_order(text):
    found = normalise.tokens(text)
    assert all(word and text[start:end] for word, start, end in found)
    assert all(one.end <= other.start for one, other in zip(found, found[1:], strict=False))


def test_tokens_point_into_the_text_as_it_is_written():
    text = "Hx: Crohn's disease; DM type II."
    found = {token.word: text[token.start : token.end] for token in normalise.tokens(text)}
    assert found["crohn"] == "Crohn's" and found["2"] == "II" and found["dm"] == "DM"


@pytest.mark.parametrize("text", ["", "  ", "...", "(disease)", "\u0301"])
def test_nothing_to_say_is_an_empty_key(text):
    assert normalise.normalise(text) == ""
