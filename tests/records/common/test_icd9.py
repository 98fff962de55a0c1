import gzip
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.records.common import icd9
from ehr_jax.records.mimic import coded

categories = st.one_of(
    st.integers(1, 999).map(lambda n: f"{n:03d}"),
    st.integers(1, 91).map(lambda n: f"V{n:02d}"),
    st.integers(0, 999).map(lambda n: f"E{n:03d}"),
)
details = st.text("0123456789", max_size=2)


@given(categories, details)
def test_canonical_form_survives_the_loss_of_dots_and_leading_zeros(category, detail):
    full = category + detail
    letter = category[0] if category[0] in "VE" else ""
    bare = letter + (category[len(letter) :].lstrip("0") or "0")
    dotted = f"{bare}.{detail}" if detail else bare
    assert icd9.canonical(dotted) == full
    assert icd9.canonical(f" {dotted.lower()} ") == full


@given(categories, details)
def test_canonical_is_idempotent_and_keeps_the_category(category, detail):
    assert icd9.canonical(icd9.canonical(f"{category}.{detail}")) == category + detail
    assert icd9.category(category + detail) == category


@given(categories)
def test_every_category_has_a_name(category):
    assert len(icd9.name_of(category, icd9.Titles.of({}, {}))) > 3  # "Pain"


@pytest.mark.parametrize(
    "code, name",
    [
        ("008", "Intestinal infectious diseases"),
        ("25083", "Diabetes and diseases of other endocrine glands"),
        ("4280", "Other forms of heart disease"),
        ("V4581", "Persons with a condition influencing their health status"),
        ("E8495", "Vehicle accidents not elsewhere classifiable and place of occurrence"),
        ("999", "Complications of surgical and medical care"),
    ],
)
def test_block_names(code, name):
    assert icd9.block(code) == name


def test_lost_zeros_are_restored_by_the_dictionary():
    titles = dict.fromkeys(["0066", "066", "0331", "331", "9671", "0417"], "a title")
    found = icd9.with_zeros(["66", "331", "417", "9671", "4111"], titles, 4)
    # 331 stands in the dictionary itself; 4111 is in it in no spelling: both stay.
    assert found == {"66": "0066", "331": "331", "417": "0417", "9671": "9671", "4111": "4111"}


def test_code_that_is_two_codes_without_its_zero_is_unsure():
    titles = dict.fromkeys(["0066", "066", "0331", "331", "9671", "0417"], "a title")
    assert icd9.unsure(["66", "331", "417", "9671"], titles, 4) == ["331", "66"]
    assert icd9.unsure(["66", "331", "0417"], titles, 4) == []


@pytest.mark.parametrize(
    "column, plain",
    [
        (["9904.0", "331.0", None], ["9904", "331", None]),
        (["9904.0", "V4581", "8.00"], ["9904", "V4581", "8"]),
        (["428.0", "428.9", "V45.81"], ["428.0", "428.9", "V45.81"]),  # dotted by its source
        (["4280.0", "38.9"], ["4280", "38.9"]),
        (["4280", "0389"], ["4280", "0389"]),
    ],
)
def test_point_of_a_writer_of_numbers_goes_and_that_of_a_dotted_code_stays(column, plain):
    found = icd9.without_point(pl.Series(column, dtype=pl.String), before=3)
    assert found.to_list() == plain


@given(st.lists(st.sampled_from(["0331", "331", "9904", "3893", "0066", "8674"]), min_size=1))
def test_a_column_of_numbers_becomes_no_other_code_without_being_told(codes):
    titles = dict.fromkeys(["0331", "331", "9904", "3893", "0066", "8674"], "a title")
    oddities = {}
    floats = pl.Series([float(code) for code in codes]).cast(pl.String)
    found = coded.icd9_spelling(floats, titles, 4, "PROCEDURES", oddities).to_list()
    wrong = sum(one != other for one, other in zip(found, codes, strict=True))
    assert wrong <= sum(n for rule, n in oddities.items() if "ambiguous" in rule and "331" in rule)
    assert all(code == "331" for code, true in zip(found, codes, strict=True) if code != true)


def test_dictionary_that_lost_its_own_zeros_names_no_number_it_has_twice(tmp_path):
    (tmp_path / "d.csv").write_text("icd9_code,long_title\n331,one\n331,another\n 9904.0 ,x\n")
    assert icd9.mimic_titles(tmp_path, "d") == {"9904": "x"}


def test_column_that_kept_its_zeros_is_left_alone():
    titles = {"0417": "a title"}
    assert icd9.with_zeros(["417", "0389", "V10"], titles, 5)["417"] == "417"


def test_name_is_the_title_else_the_shared_group_else_the_shared_words():
    groups = {
        "42200": ("Circulatory", "Heart", "Myocarditis"),
        "42201": ("Circulatory", "Heart", "Myocarditis"),
        "42211": ("Circulatory", "Heart", "Other"),
    }
    titles = icd9.Titles.of(
        {"42200": "Viral myocarditis", "V4501": "Cardiac pacemaker one"}, groups
    )
    assert icd9.name_of("42200", titles) == "Viral myocarditis"
    assert icd9.name_of("422", titles) == "Myocarditis"
    assert icd9.name_of("42211", titles) == "Other"
    words = icd9.Titles.of(
        {"0031": "Salmonella food fever, a", "0032": "Salmonella food fever, b"}, {}
    )
    assert icd9.name_of("003", words) == "Salmonella food fever"


def test_ccs_file_is_read_with_its_odd_quoting(tmp_path):
    path = tmp_path / "ccs.csv.gz"
    header = ["'ICD-9-CM CODE'"] + [
        f"'CCS LVL {n}{x}'" for n in (1, 2, 3, 4) for x in ("", " LABEL")
    ]
    row = ["'V120 '", "'1'", json.dumps("Infections"), "'1.1'", json.dumps("Bacterial; all [3.]")]
    row += ["' '", json.dumps(" ")] * 2
    path.write_bytes(gzip.compress("\n".join([",".join(header), ",".join(row), ""]).encode()))
    assert icd9.ccs_groups(path) == {"V120": ("Infections", "Bacterial; all")}


def test_real_ccs_file_names_the_common_categories(data_root):
    titles = icd9.load(data_root / "diabetes_130")
    assert len(titles.groups) > 13_000
    assert icd9.name_of("25063", titles) == "Diabetes with neurological manifestations"
    assert icd9.name_of("428", titles) == "Heart failure"
    assert icd9.name_of("175", titles) == "Cancer of breast"


@pytest.mark.parametrize("written", [True, False])
def test_point_goes_where_a_code_shows_that_it_was_written_as_a_number(written):
    codes = pl.Series(["428.0", "4280.0"] if written else ["428.0", "401.0"])
    plain = ["428", "4280"] if written else ["428.0", "401.0"]
    assert icd9.without_shown_point(codes, 3).to_list() == plain
