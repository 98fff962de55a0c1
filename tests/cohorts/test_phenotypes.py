import re

import pytest

from ehr_jax.cohorts import phenotypes


def _benchmark(data_root):
    """Yields (group name, flagged, type, codes) of the benchmark's definitions."""
    path = data_root / "mimic3_benchmark_maps" / "hcup_ccs_2015_definitions.yaml"
    group = re.compile(
        r'^"?(?P<name>[^\s"].*?)"?:\s*\n'
        r"\s+use_in_benchmark: (?P<flagged>\w+)\s*\n"
        r'\s+type: "(?P<type>\w+)"\s*\n'
        r"\s+id: \d+\s*\n"
        r"\s+codes: \[(?P<codes>[^\]]*)\]",
        re.MULTILINE,
    )
    for match in group.finditer(path.read_text()):
        codes = re.findall(r'"(\w+)"', match["codes"])
        yield match["name"], match["flagged"] == "True", match["type"], codes


def test_every_code_of_the_benchmark_has_the_phenotype_it_defines(data_root):
    by_name = {row.name: row for row in phenotypes.PHENOTYPES}
    seen = flagged_groups = 0
    for name, flagged, kind, codes in _benchmark(data_root):
        wanted = ()
        if flagged:
            flagged_groups += 1
            wanted = (by_name[name].label,)
            assert by_name[name].kind == kind
        wrong = [code for code in codes if phenotypes.phenotypes_of(f"ICD9CM:{code}") != wanted]
        assert not wrong, name
        seen += len(codes)
    assert (seen, flagged_groups, len(by_name)) == (15_082, 25, 25)


def test_labels_are_distinct_short_words():
    assert len(set(phenotypes.LABELS)) == 25
    assert all(re.fullmatch(r"[a-z_]{4,32}", label) for label in phenotypes.LABELS)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ICD9CM:5849", ("acute_renal_failure",)),
        ("584.9", ("acute_renal_failure",)),
        ("486", ("pneumonia",)),  # a category that is all of one phenotype
        ("ICD9CM:2766", ("fluid_electrolyte_disorders",)),
        ("ICD9CM:276", ()),  # a category that is not
        ("ICD9CM:99", ()),
        ("ICD9CM:", ()),
        ("ICD9PROC:4860", ()),
        ("DRUG:584", ()),
    ],
)
def test_a_code_gives_the_phenotype_that_all_codes_below_it_share(code, expected):
    assert phenotypes.phenotypes_of(code) == expected


def test_the_table_keeps_only_diagnoses_with_a_phenotype():
    found = phenotypes.table(["ICD9CM:5849", "DRUG:584", "ICD9CM:V3000", "ICD9CM:5849"])
    assert found.rows() == [("ICD9CM:5849", "acute_renal_failure")]
