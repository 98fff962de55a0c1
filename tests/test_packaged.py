"""The tables that travel with the package hold what their readers ask of them."""

import configparser
import pathlib
import re

import pytest

from ehr_jax import packaged
from ehr_jax.cohorts import phenotypes
from ehr_jax.features import settings as features
from ehr_jax.features import units, variables
from ehr_jax.knowledge import aliases
from ehr_jax.records.common import icd9, tables
from ehr_jax.records.diabetes130 import ids

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# A table: its columns, those that may be empty, and those that name a row.
TABLES = {
    "ehr_jax/cohorts/data/phenotypes.csv": (("label", "name", "kind", "codes"), (), ("label",)),
    "ehr_jax/features/data/variables.csv": (
        ("name", "unit", "least", "low", "high", "most", "category", "rule"),
        ("category", "rule"),
        ("name",),
    ),
    "ehr_jax/features/data/items.csv": (
        ("variable", "item", "unit"), ("unit",), ("variable", "item"),
    ),
    "ehr_jax/features/data/sets.csv": (("set", "variable"), (), ("set", "variable")),
    "ehr_jax/features/data/conversions.csv": (
        ("unit", "spelling", "scale", "offset", "variable"),
        ("variable",),
        ("unit", "spelling", "variable"),
    ),
    "ehr_jax/knowledge/data/abbreviations.csv": (("short", "name"), (), ("short", "name")),
    "ehr_jax/knowledge/data/aliases.csv": (("name", "alias", "short"), ("short",), ("alias",)),
    "ehr_jax/knowledge/data/broader.csv": (("name", "broader"), (), ("name", "broader")),
    "ehr_jax/knowledge/data/conditions.csv": (("name", "definition"), (), ("name",)),
    "ehr_jax/records/common/data/icd9_blocks.csv": (("first", "last", "name"), (), ("first",)),
    "ehr_jax/records/common/data/icd9_categories.csv": (("category", "title"), (), ("category",)),
    "ehr_jax/records/diabetes130/data/ids.csv": (
        ("column", "number", "text", "disposition"), ("disposition",), ("column", "number"),
    ),
}  # fmt: skip


def rows(table: str) -> list[dict[str, str]]:
    package, file = table.split("/data/")
    return packaged.rows(package.replace("/", "."), f"data/{file}")


def test_every_table_is_known_here_and_travels_with_its_package():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    globs = setup["options.package_data"]
    paths = [path.relative_to(REPOSITORY) for path in (REPOSITORY / "ehr_jax").rglob("*.csv")]
    assert {path.as_posix() for path in paths} == set(TABLES)
    for path in paths:
        package = path.parent.parent
        assert (REPOSITORY / package / "__init__.py").is_file()
        assert path.relative_to(package).match(globs[".".join(package.parts)])


@pytest.mark.parametrize("table", TABLES)
def test_rows_have_their_columns_and_keys(table):
    columns, optional, keys = TABLES[table]
    assert rows(table)
    for row in rows(table):
        assert tuple(row) == columns
        assert all(row[name] or name in optional for name in columns)
        assert all(text == text.strip() for text in row.values())
    assert len({tuple(row[key] for key in keys) for row in rows(table)}) == len(rows(table))


def test_variables_have_units_that_are_known_and_limits_in_order():
    known = {row["name"] for row in rows("ehr_jax/features/data/variables.csv")}
    for v in variables.VARIABLES.values():
        assert v.unit in units.CONVERSIONS
        assert v.least <= v.low <= v.high <= v.most
        assert v.rule in ("", "fraction", "percent")
        assert all(item.unit == v.unit or units.CONVERSIONS[v.unit] for item in v.items)
    for table, column in (("items", "variable"), ("sets", "variable"), ("conversions", "variable")):
        named = {row[column] for row in rows(f"ehr_jax/features/data/{table}.csv")} - {""}
        assert named <= known
    assert tuple(variables.SETS) == features.VARIABLE_SETS


def test_phenotypes_are_acute_or_chronic_sets_of_codes():
    assert len(phenotypes.PHENOTYPES) == 25
    for phenotype in phenotypes.PHENOTYPES:
        assert phenotype.kind in ("acute", "chronic")
        assert all(re.fullmatch(r"V?\d{2,5}\$?", code) for code in phenotype.codes.split())


def test_blocks_do_not_overlap_and_hold_every_named_category():
    blocks = [
        (row["first"], row["last"]) for row in rows("ehr_jax/records/common/data/icd9_blocks.csv")
    ]
    for letter in ("", "V", "E"):
        spans = [pair for pair in blocks if pair[0].rstrip("0123456789") == letter]
        ends = [int(end.lstrip("VE")) for pair in sorted(spans) for end in pair]
        assert ends == sorted(ends)
    for row in rows("ehr_jax/records/common/data/icd9_categories.csv"):
        assert icd9.category(row["category"]) == row["category"]
        assert not icd9.block(row["category"]).startswith("ICD-9-CM")


def test_numbers_of_diabetes130_are_of_its_columns_and_dispositions_of_ours():
    assert {row["column"] for row in rows("ehr_jax/records/diabetes130/data/ids.csv")} == set(
        ids.COLUMNS
    )
    assert set(ids.DISPOSITIONS.values()) <= set(tables.DISPOSITIONS)


def test_short_names_are_marked_by_yes_and_conditions_are_sentences():
    assert {row["short"] for row in rows("ehr_jax/knowledge/data/aliases.csv")} == {"", "yes"}
    assert all(text.endswith(".") for text in aliases.CONDITIONS.values())
