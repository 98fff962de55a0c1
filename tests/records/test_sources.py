import dataclasses
import os
import subprocess
import sys

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records import sources
from ehr_jax.records.common import tables


@pytest.fixture
def records():
    visits = tables.empty(tables.VISITS)
    row = {"visit_id": 1, "subject_id": 1, "order": 0, "disposition": "home", "age": 50.5}
    visits = pl.concat(
        [visits, pl.DataFrame([row, row | {"visit_id": 2, "order": 1}])], how="diagonal_relaxed"
    )
    return tables.Records(
        "test",
        pl.concat([tables.empty(tables.PATIENTS), pl.DataFrame({"subject_id": 1})], how="diagonal"),
        tables.conform(visits, tables.VISITS),
        *map(tables.empty, (tables.STAYS, tables.CODES, tables.CODE_NAMES, tables.ATTRIBUTES)),
        tables.empty(tables.MEASUREMENTS).lazy(),
        tables.empty(tables.NOTES).lazy(),
        "none",
    )  # fmt: skip


def test_fingerprint_does_not_depend_on_row_order(records):
    turned = dataclasses.replace(records, visits=records.visits.reverse())
    assert sources.fingerprint(turned) == sources.fingerprint(records)


@pytest.mark.parametrize(
    "column, value", [("age", 51.0), ("disposition", "hospice"), ("planned", False)]
)
def test_fingerprint_changes_with_any_value(records, column, value):
    value = pl.lit(value).cast(tables.VISITS[column])
    other = records.visits.with_columns(
        pl.when(pl.col("visit_id") == 2).then(value).otherwise(column).alias(column)
    )
    changed = dataclasses.replace(records, visits=other)
    assert sources.fingerprint(changed) != sources.fingerprint(records)


def test_fingerprint_is_the_same_in_every_process_and_release(records):
    assert (
        sources.fingerprint(records)
        == "b7bced8f824b6098fcc36251afa14cf6693948a6a086613379a9b78577812e3e"
    )


def test_root_given_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path))
    (tmp_path / "diabetes_130").mkdir()
    assert sources.default_root("diabetes130") == tmp_path / "diabetes_130"
    assert sources.default_root("diabetes130", str(tmp_path / "mine")) == tmp_path / "mine"


def test_full_release_wins_over_the_demo_and_the_environment_over_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path / "data"))
    wanted = []
    for folder in (
        "cache/ehr_jax/mimic_iii_demo_1.4",
        "data/mimic_iii_demo_1.4",
        "data/mimic_iii_1.4",
    ):
        (tmp_path / folder).mkdir(parents=True)
        wanted.append(sources.default_root("mimic3") == tmp_path / folder)
    assert wanted == [True] * 3


@pytest.mark.parametrize(
    "source, host",
    [("diabetes130", "archive.ics.uci.edu"), ("mimic3", "physionet.org"), ("mimic4", "mimiciv")],
)
def test_missing_data_says_what_to_set_and_where_it_may_be_had(source, host, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)
    with pytest.raises(errors.RecordsError, match=f"EHR_JAX_DATA.*{host}"):
        sources.read(source)


def test_unknown_source_suggests_the_near_miss():
    with pytest.raises(errors.ConfigError, match="'mimc3'.*mean 'mimic3'"):
        sources.read("mimc3")


def test_files_are_the_same_in_a_copy_and_others_where_a_large_table_changed(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name, text in {"LABEVENTS.csv": "itemid\n1\n", "NOTEEVENTS.csv": "text\na\n"}.items():
            (tmp_path / folder / name).write_text(text)
    first = sources.digest(tmp_path / "one")
    os.utime(tmp_path / "two" / "LABEVENTS.csv", (0, 0))
    (tmp_path / "two" / "._LABEVENTS.csv").write_text("by a Mac")
    assert sources.digest(tmp_path / "two") == first
    for name, text in {"LABEVENTS.csv": "itemid\n2\n", "NOTEEVENTS.csv": "text\nb\n"}.items():
        old = (tmp_path / "two" / name).read_text()
        (tmp_path / "two" / name).write_text(text)
        assert sources.digest(tmp_path / "two") != first
        (tmp_path / "two" / name).write_text(old)


def test_fingerprint_covers_the_files_of_large_tables(records):
    prints = {
        sources.fingerprint(dataclasses.replace(records, files=files)) for files in ("", "a", "b")
    }
    assert len(prints) == 3


def test_a_wrong_source_or_folder_is_refused_before_any_reader_is_imported():
    program = """
import sys
from ehr_jax import errors
from ehr_jax.records import sources
for source, key in (("mimic5", "config.data.source"), ("mimic4", "config.data.root")):
    try:
        sources.read(source)
    except errors.UserError as error:
        assert key in str(error), error
    else:
        raise AssertionError(source)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    empty = {"XDG_CACHE_HOME": "none", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=empty
    )
    assert not {"polars", "numpy"} & set(ended.stdout.split())
