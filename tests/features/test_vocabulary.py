"""Nodes are fitted on training visits alone and named readably."""

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.features import vocabulary

NODES = pl.DataFrame(
    {"sample_id": [0, 0, 1, 2, 2], "code": ["A", "B", "A", "A", "C"]},
)
NAMES = pl.DataFrame(
    {"code": ["A", "B", "C"], "kind": ["drug", "diagnosis", "drug"], "name": ["a", "b", "c"]}
)


def test_a_code_of_test_visits_only_is_no_node():
    fitted = vocabulary.fit(NODES, NAMES, pl.Series([0, 1]), min_visits=1)
    assert fitted.codes == ("B", "A")  # by kind, then code
    assert fitted.names == ("b", "a")


def test_rare_codes_are_left_out_by_min_visits():
    assert vocabulary.fit(NODES, NAMES, pl.Series([0, 1]), min_visits=2).codes == ("A",)


def test_no_code_left_is_an_error_that_names_the_key():
    with pytest.raises(errors.CohortError, match="config.features.min_visits"):
        vocabulary.fit(NODES, NAMES, pl.Series([0, 1]), min_visits=9)


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("ICD9CM:42822", "ICD9CM:428"),
        ("ICD9CM:V1582", "ICD9CM:V15"),
        ("ICD9CM:E8859", "ICD9CM:E885"),
        ("ICD9CM:250", "ICD9CM:250"),
        ("ICD10CM:E1165", "ICD10CM:E11"),
        ("ICD10PCS:02HV33Z", "ICD10PCS:02HV33Z"),
        ("DRUG:insulin", "DRUG:insulin"),
        ("ICD9PROC:3961", "ICD9PROC:3961"),
    ],
)
def test_categories_have_three_characters_and_e_codes_four(code, category):
    frame = pl.DataFrame({"code": [code]})
    assert frame.select(vocabulary.at_category_level(pl.col("code")))["code"][0] == category


def test_bins_are_quantiles_of_training_values_only():
    attributes = pl.DataFrame(
        {
            "sample_id": range(200),
            "name": ["days"] * 200,
            "text": [None] * 200,
            "number": [float(k) for k in range(100)] + [1e6] * 100,
        },
        schema_overrides={"text": pl.String},
    )
    (fitted,) = vocabulary.fit_bins(attributes, pl.Series(range(100)), bins=4)
    assert fitted.edges == (24.75, 49.5, 74.25)


def test_a_number_of_few_values_gets_a_bin_each():
    attributes = pl.DataFrame(
        {
            "sample_id": [0, 1, 2, 3],
            "name": ["n"] * 4,
            "text": [None] * 4,
            "number": [0.0, 1.0, 5.0, 9.0],
        },
        schema_overrides={"text": pl.String},
    )
    bins = vocabulary.fit_bins(attributes, pl.Series([0, 1, 2]), bins=10)
    nodes, names = vocabulary.attribute_nodes(attributes, bins)
    assert sorted(names["name"]) == ["n: 1 to under 5", "n: 5 or more", "n: under 1"]
    # A test value beyond the training range falls in the last bin, it makes no node of its own.
    held = ["n: under 1", "n: 1 to under 5", "n: 5 or more", "n: 5 or more"]
    assert nodes.sort("sample_id")["code"].to_list() == [f"ATTRIBUTE:{name}" for name in held]


def test_main_diagnosis_is_a_node_beside_the_plain_one():
    coded = pl.DataFrame(
        {"sample_id": [0, 0], "code": ["ICD9CM:428", "ICD9CM:250"], "position": [1, 2]},
        schema_overrides={"position": pl.Int32},
    )
    names = pl.DataFrame(
        {"code": ["ICD9CM:428", "ICD9CM:250"], "kind": ["diagnosis"] * 2, "name": ["hf", "dm"]}
    )
    first, first_names = vocabulary.main_diagnosis_nodes(coded, names)
    assert first["code"].to_list() == ["MAIN:ICD9CM:428"]
    assert "main diagnosis: hf" in first_names["name"].to_list()


def test_a_code_of_an_earlier_visit_is_another_node_than_the_code():
    coded = pl.DataFrame({"sample_id": [4, 4], "code": ["ICD9CM:428", "ICD9CM:428"]})
    names = pl.DataFrame({"code": ["ICD9CM:428"], "kind": ["diagnosis"], "name": ["hf"]})
    nodes, earlier_names = vocabulary.earlier_nodes(coded, names)
    assert nodes.rows() == [(4, "EARLIER:ICD9CM:428", None)]
    assert earlier_names.rows() == [("EARLIER:ICD9CM:428", "earlier diagnosis", "earlier: hf")]
