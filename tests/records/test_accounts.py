"""Of every table that is accounted for, rows read are rows kept and rows left out by rule."""

import mutations
import polars as pl
import pytest
import tiny_sources

from ehr_jax import errors

NAMES = ["mimic3 csv", "mimic4 csv", "omop csv", "eicu csv, series"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_read_are_kept_or_left_out_by_rule(name, tmp_path, monkeypatch):
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)
    form = tiny_sources.FORMS[name]
    mutations.write(tiny_sources.files(form), tmp_path / "input")
    records = form.read(tmp_path / "input")
    records.measurements.collect()
    records.notes.collect()
    assert records.accounts
    for table, account in records.accounts.items():
        left_out = {k: n for k, n in account.items() if k not in ("read", "kept")}
        assert account["read"] == account["kept"] + sum(left_out.values()), table
        assert left_out.items() <= dict(records.oddities).items()


@pytest.mark.parametrize("table", ["DIAGNOSES_ICD.csv", "LABEVENTS.csv", "NOTEEVENTS.csv"])
def test_table_whose_identifiers_are_exchanged_is_refused(table, tmp_path):
    form = tiny_sources.FORMS["mimic3 csv"]
    mutations.write(tiny_sources.files(form), tmp_path)
    path = next(path for path in tmp_path.iterdir() if path.name.lower() == table.lower())
    frame = pl.read_csv(path, infer_schema=False, glob=False)
    swap = {name: name.lower() for name in frame.columns}
    swap |= {
        k: {"hadm_id": "subject_id", "subject_id": "hadm_id"}.get(v, v) for k, v in swap.items()
    }
    frame = frame.rename(swap)
    if "subject_id" not in frame.columns:
        frame = frame.with_columns((pl.col("hadm_id").cast(pl.Int64) - 7).alias("hadm_id"))
    frame.write_csv(path)
    with pytest.raises(errors.RecordsError, match=f"^{path.stem}: none of its"):
        records = form.read(tmp_path)
        records.measurements.collect()
        records.notes.collect()
