"""MIMIC-III files written from generated records, read back by the real reader."""

import dataclasses
import gzip

import polars as pl
import pytest
from polars import testing

from ehr_jax import errors
from ehr_jax.records.mimic import mimic3, mimic3_writer
from ehr_jax.synthetic import hospital as synthetic


@pytest.fixture(scope="module")
def records():
    return synthetic.generate(60, seed=2)


@pytest.fixture(scope="module", params=[(True, ".csv.gz"), (False, ".csv")], ids=["upper", "lower"])
def returned(records, request, tmp_path_factory):
    upper_case, suffix = request.param
    folder = tmp_path_factory.mktemp("mimic") / "hospital"
    return mimic3.read(mimic3_writer.write(records, folder, upper_case, suffix))


def test_visits_patients_and_stays_come_back(records, returned):
    testing.assert_frame_equal(returned.visits, records.visits)
    testing.assert_frame_equal(returned.patients, records.patients)
    testing.assert_frame_equal(returned.stays, records.stays)
    deaths = (returned.visits["disposition"] == "died").sum()
    assert deaths == (records.visits["disposition"] == "died").sum() > 0
    assert not returned.oddities


def test_codes_and_their_names_come_back(records, returned):
    testing.assert_frame_equal(returned.codes, records.codes, check_row_order=False)
    used = records.code_names.filter(pl.col("code").is_in(records.codes["code"].unique().implode()))
    testing.assert_frame_equal(returned.code_names, used, check_row_order=False)


def test_attributes_come_back(records, returned):
    testing.assert_frame_equal(returned.attributes, records.attributes, check_row_order=False)


def test_notes_come_back(records, returned):
    testing.assert_frame_equal(
        returned.notes.collect(), records.notes.collect(), check_row_order=False
    )


def test_measurements_come_back_under_item_ids(records, returned):
    items = {name: item.variable for name, item in mimic3_writer.ITEMS.items()}
    wanted = records.measurements.collect().with_columns(pl.col("variable").replace_strict(items))
    found = returned.measurements.collect()
    charted = pl.col("variable").str.starts_with("CHART:")
    testing.assert_frame_equal(found.filter(charted), wanted.filter(charted), check_row_order=False)
    # LABEVENTS has no column for the intensive-care stay.
    testing.assert_frame_equal(
        found.filter(~charted).drop("stay_id"),
        wanted.filter(~charted).drop("stay_id"),
        check_row_order=False,
    )


def test_files_have_the_columns_of_the_release(records, tmp_path):
    folder = mimic3_writer.write(records, tmp_path / "hospital")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{table}.csv.gz" for table in mimic3_writer.COLUMNS
    )
    with gzip.open(folder / "DIAGNOSES_ICD.csv.gz", "rt") as lines:
        assert next(lines).strip() == "ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE"


def test_columns_are_those_of_the_open_demo(data_root):
    for table, columns in mimic3_writer.COLUMNS.items():
        path = data_root / "mimic_iii_demo_1.4" / f"{table}.csv.gz"
        with gzip.open(path, "rt") as lines:
            assert tuple(next(lines).strip().split(",")) == columns


def test_codes_are_real_icd9_codes(data_root):
    folder = data_root / "mimic_iii_demo_1.4"
    names = synthetic.generate(1, seed=0).code_names
    for kind, table in (("diagnosis", "D_ICD_DIAGNOSES"), ("procedure", "D_ICD_PROCEDURES")):
        known = pl.read_csv(folder / f"{table}.csv.gz", infer_schema=False)["icd9_code"]
        codes = names.filter(pl.col("kind") == kind)["code"].str.split(":").list.last()
        assert set(codes) <= set(known)


def test_a_folder_in_use_is_refused_and_a_failed_write_leaves_nothing(records, tmp_path):
    folder = tmp_path / "hospital"
    folder.mkdir()
    (folder / "kept.txt").write_text("mine")
    with pytest.raises(errors.RecordsError, match="not empty"):
        mimic3_writer.write(records, folder)
    assert (folder / "kept.txt").read_text() == "mine"

    undated = records.visits.with_columns(pl.lit(None, pl.Datetime("us")).alias("start"))
    with pytest.raises(errors.RecordsError, match="no start or end"):
        mimic3_writer.write(dataclasses.replace(records, visits=undated), tmp_path / "undated")
    strange = records.measurements.with_columns(pl.lit("mood").alias("variable"))
    with pytest.raises(errors.RecordsError, match="'mood' has no MIMIC-III item"):
        mimic3_writer.write(
            dataclasses.replace(records, measurements=strange), tmp_path / "strange"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["hospital"]
