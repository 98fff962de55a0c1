"""Sentences end where they end, and sections say what stands in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.knowledge import sections, sentences


def parts(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences.split(text)]


def kinds(text: str) -> dict[str, str]:
    return {text[s.start : s.end]: s.section for s in sentences.split(text)}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One thing. Another thing.", ["One thing.", "Another thing."]),
        ("seen by Dr. Smith today. stable.", ["seen by Dr. Smith today.", "stable."]),
        ("aspirin q.d. with food. Stable.", ["aspirin q.d. with food.", "Stable."]),
        ("Creatinine 2.5 mg. Then 1.9.", ["Creatinine 2.5 mg.", "Then 1.9."]),
        ("grew E. coli in urine", ["grew E. coli in urine"]),
        ("Is it MI? No! Yes", ["Is it MI?", "No!", "Yes"]),
        ("a wrapped line that goes on and on for long\nand on", None),
        ("1. Asthma 2. Stroke\n3. MI", ["1. Asthma", "2. Stroke", "3. MI"]),
        ("- asthma\n- stroke", ["- asthma", "- stroke"]),
        ("Asthma\nStroke\nDiabetes", ["Asthma", "Stroke", "Diabetes"]),
        ("diabetes type 2. She is well", ["diabetes type 2.", "She is well"]),
        ("no stop here\n\nnew paragraph", ["no stop here", "new paragraph"]),
        ("", []),
        (" \n\t\n ", []),
        ("...", ["..."]),
    ],
)
def test_sentences_end_where_they_end(text, expected):
    assert parts(text) == ([text] if expected is None else expected)


def test_known_headings_give_their_section_and_belong_to_no_sentence():
    text = (
        "Chief Complaint: cough\nPast Medical History:\n1. Asthma\n2. Stroke\n"
        "FAMILY HISTORY: Diabetes.\nMother: MI\nSocial History: smoker\n"
        "Assessment and Plan: treat sepsis. PMH: gout. Fam Hx: lupus"
    )
    assert kinds(text) == {
        "cough": sections.OTHER,
        "1. Asthma": sections.HISTORY,
        "2. Stroke": sections.HISTORY,
        "Diabetes.": sections.FAMILY,
        "Mother: MI": sections.FAMILY,
        "smoker": sections.OTHER,
        "treat sepsis.": sections.OTHER,
        "gout.": sections.HISTORY,
        "lupus": sections.FAMILY,
    }


def test_a_heading_may_stand_alone_on_its_line():
    text = "PAST MEDICAL HISTORY\nasthma\n\nHospital Course\nwent well"
    assert kinds(text) == {"asthma": sections.HISTORY, "went well": sections.OTHER}


def test_an_unknown_title_behind_a_blank_line_ends_a_section_and_is_text():
    text = "Family History:\nstroke\n\nDiabetes: on insulin"
    assert kinds(text) == {"stroke": sections.FAMILY, "Diabetes: on insulin": sections.OTHER}


def test_a_short_name_within_a_sentence_is_no_heading():
    assert kinds("No change of plan: continue.") == {"No change of plan: continue.": "other"}


@given(st.text(st.sampled_from("aB1 .:\n\t-*()?é\u2028;2"), max_size=200))
def test_sentences_are_in_order_apart_and_lose_only_headings_and_blanks(text):
    found = sentences.split(text)
    assert all(a.end <= b.start for a, b in zip(found, found[1:], strict=False))
    assert all(s.start < s.end and text[s.start : s.end].strip() for s in found)
    held = "".join(text[s.start : s.end] for s in found)
    if not any(name in text.lower() for name in ("a1", "b1", "ap", "pe", "cc", "fh", "sh")):
        assert "".join(held.split()) == "".join(text.split())


def test_a_sentence_without_end_is_cut():
    found = sentences.split("word " * 100_000)
    assert max(s.end - s.start for s in found) <= 2000 and len(found) >= 250


def test_long_odd_text_is_read():
    for odd in (".", "\n", ":", "? ", "a:\n", " \n", "(", "1. A"):
        text = odd * (100_000 // len(odd))
        assert sentences.split(text) is not None
