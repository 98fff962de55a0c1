"""Files of any number of chart rows, read back by the real reader."""

import csv
import gzip
import time

import polars as pl
import pytest
from polars import testing

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.features import series, variables
from ehr_jax.records.common import parsing, reading
from ehr_jax.records.mimic import mimic3, mimic3_events
from ehr_jax.synthetic import charts as synthetic_charts
from ehr_jax.synthetic import release as synthetic_release

ROWS = 120_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthetic_release.write(tmp_path_factory.mktemp("release") / "mimic", ROWS, seed=3)


@pytest.fixture(scope="module")
def rows(folder):
    with gzip.open(folder / "CHARTEVENTS.csv.gz", "rt", newline="") as text:
        return list(csv.DictReader(text))


def test_chart_has_the_rows_asked_for_numbered_and_of_its_stays(folder, rows):
    assert [int(row["ROW_ID"]) for row in rows] == list(range(1, ROWS + 1))
    stays = mimic3.read(folder).stays
    known = dict(stays.select("stay_id", "visit_id").rows())
    assert {int(row["ICUSTAY_ID"]): int(row["HADM_ID"]) for row in rows} == known
    assert 4000 < ROWS / len(known) < 7500  # MIMIC-III v1.4: 5375


def test_one_row_in_six_is_of_the_benchmarks_variables(rows):
    wanted = {item.name for v in variables.named("mimic17") for item in v.items}
    share = sum(f"CHART:{row['ITEMID']}" in wanted for row in rows) / ROWS
    assert 0.15 < share < 0.19  # the open demo: 0.168
    assert len({row["ITEMID"] for row in rows}) > 1000


def test_reader_finds_the_rows_that_a_plain_csv_reader_finds(folder, rows):
    expected = [
        (int(row["HADM_ID"]), f"CHART:{row['ITEMID']}", value)
        for row in rows
        if row["ERROR"] != "1"
        and (value := row["VALUENUM"] or mimic3_events.WORDS.get(row["VALUE"])) is not None
    ]
    measured = mimic3.read(folder).measurements
    found = measured.filter(pl.col("variable").str.starts_with("CHART:"))
    found = found.select("visit_id", "variable", "value").collect(engine="streaming")
    assert sorted(found.rows()) == sorted((v, name, float(x)) for v, name, x in expected)


def test_named_variables_are_those_of_the_whole_table(folder):
    measured = mimic3.read(folder).measurements
    wanted = ["CHART:220045", "CHART:223951", "LAB:50931", "CHART:1"]
    few = measured.filter(pl.col("variable").is_in(wanted)).collect(engine="streaming")
    whole = measured.collect(engine="streaming").filter(pl.col("variable").is_in(wanted))
    testing.assert_frame_equal(few, whole, check_row_order=False)
    assert few["variable"].n_unique() == 3


def test_grid_of_the_seventeen_variables_is_filled(folder):
    records = mimic3.read(folder)
    cohort = tasks.build(
        records, "long_stay", changes={"exclude": ("no_stay",), "more_than_days": 5.0}
    )
    found = series.build(records, cohort, variables.named("mimic17"), 1.0, 24)
    assert found.oddities.filter(pl.col("rule").str.contains("unit")).is_empty()
    charted = found.observed.any((1, 2))
    seen = found.observed[charted].any(1).mean(0)
    assert seen.min() > 0 and seen[[v.name for v in found.variables].index("heart rate")] > 0.95


def test_parquet_holds_the_same(folder, tmp_path):
    other = synthetic_release.write(tmp_path / "mimic", ROWS, seed=3, suffix=".parquet")
    first, second = (
        mimic3.read(each).measurements.collect(engine="streaming") for each in (folder, other)
    )
    testing.assert_frame_equal(first, second, check_row_order=False)


def test_systems_share_no_item_and_fillers_are_of_no_variable():
    items = synthetic_charts.catalogue().items
    assert len({item.itemid for item in items}) == len(items)
    asked = {item.name for v in variables.VARIABLES.values() for item in v.items}
    for system in synthetic_charts.SYSTEMS:
        assert not asked & {f"CHART:{i.itemid}" for i in synthetic_charts.fillers(system)}
        assert asked >= {f"CHART:{i.itemid}" for i in synthetic_charts.charted(system)}


@pytest.mark.parametrize("rows, suffix, said", [(0, ".csv", "at least 1"), (9, ".gz", "'.gz'")])
def test_impossible_arguments_are_refused(tmp_path, rows, suffix, said):
    with pytest.raises(errors.RecordsError, match=said):
        synthetic_release.write(tmp_path / "mimic", rows, suffix=suffix)


def test_measurements_come_in_batches_while_the_file_is_still_read(folder, monkeypatch):
    parsed, parse = [], parsing.typed

    def slowly(path, raw, wanted, marks):
        time.sleep(0.01)
        parsed.append(raw.height)
        return parse(path, raw, wanted, marks)

    monkeypatch.setattr(parsing, "typed", slowly)
    monkeypatch.setattr(reading, "_BATCH_BYTES", 1)
    charted = mimic3.read(folder).measurements.filter(pl.col("variable").str.starts_with("CHART:"))
    parsed.clear()
    batches = charted.collect_batches(chunk_size=500, maintain_order=False, engine="streaming")
    next(iter(batches))
    seen = len(parsed)
    for _ in batches:
        pass
    # A plan that keeps the rows (a `replace_strict` in it is enough) gives the first at the end.
    assert 0 < seen < len(parsed) / 2
