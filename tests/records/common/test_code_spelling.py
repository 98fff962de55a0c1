"""Spellings of a code that differ by case or blanks alone are one code."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.records.common import code_spelling

RULE = "code rows spelled with other blanks or capitals than their code, taken as that code"


def joined(codes, **counts):
    oddities = {}
    frame = pl.DataFrame({"code": codes, **counts})
    found = code_spelling.joined(frame, oddities, *counts)
    return found["code"].to_list(), oddities[RULE]


def test_most_frequent_spelling_stands():
    codes = ["DRUG:Heparin", "DRUG:heparin ", "DRUG:Heparin", "DRUG: HEPARIN", "ICD9CM:4280"]
    assert joined(codes) == (["DRUG:Heparin"] * 4 + ["ICD9CM:4280"], 2)


def test_blanks_within_are_single_and_equals_fall_by_sort():
    assert joined(["DRUG:Vitamin  D", "DRUG:vitamin D"]) == (["DRUG:Vitamin D"] * 2, 2)


def test_rows_of_the_source_are_counted():
    assert joined(["DRUG:a", "DRUG:A"], n=[3, 1]) == (["DRUG:a"] * 2, 1)


def test_systems_that_tell_case_keep_it():
    assert joined(["READ:G30x.", "READ:G30X. "]) == (["READ:G30x.", "READ:G30X."], 1)


@given(st.lists(st.text("aAbB :", min_size=1, max_size=4)))
def test_no_two_codes_of_the_result_differ_by_case_or_blanks(texts):
    codes, _ = joined([f"DRUG:{text}" for text in texts] or ["DRUG:a"])
    assert len(set(codes)) == len({" ".join(code.lower().split()) for code in codes})
