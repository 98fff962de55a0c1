"""Of every table, the rows of its files are the rows kept and the rows left out by rule."""

import csv
import gzip
import io
import json
import pathlib

import mutations
import polars as pl
import pytest
import tiny_sources

from ehr_jax import errors
from ehr_jax.records import sources
from ehr_jax.records.common import tables
from ehr_jax.records.eicu import forms

# Our own layout of MEDS and the hypergraph are read as they were written.
NAMES = [n for n in tiny_sources.FORMS if n not in ("meds, our own layout", "hypergraph npz")]
# Accounts of what a row or resource holds several of.
INNER = {
    "Observation values", "attachments of DocumentReference", "vitalPeriodic values",
    "vitalAperiodic values", "dyn values", "coded events", "measured events", "note events",
}  # fmt: skip
# Tables that give values, names or times of others and no rows of their own.
ASIDE = {
    "d_icd_diagnoses", "d_icd_procedures", "ids_mapping", "concept", "care_site",
    "observation_period", "apachepatientresult", "codes", "subject_splits", "dataset",
    "vitalperiodic", "vitalaperiodic", "dyn",
}  # fmt: skip


def rows_of_files(folder: pathlib.Path) -> dict[str, int]:
    """Returns the rows, or resources, of each table of a folder, by its name in lower case."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.name.lower()
        stem = name.split(".")[0]
        content = path.read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        if name.endswith(".parquet"):
            rows = pl.read_parquet(io.BytesIO(content)).height
            stem = "events" if path.parts[-3] == "data" else stem
        elif ".ndjson" in name:
            rows = sum(bool(json.loads(line)) for line in content.splitlines())
        else:
            text = content.decode()
            rows = len(list(csv.reader(text.splitlines(), delimiter=_tab(text)))) - 1
            stem = "set-a" if path.parent.name == "set-a" else stem
        found[stem] = found.get(stem, 0) + rows
    return found


def _tab(text: str) -> str:
    return "\t" if "\t" in text.partition("\n")[0] else ","


def read_whole(name: str, folder: pathlib.Path) -> tables.Records:
    records = tiny_sources.FORMS[name].read(folder)
    records.measurements.collect(engine="streaming")
    records.notes.collect(engine="streaming")
    return records


@pytest.fixture(autouse=True)
def no_titles(monkeypatch):
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)


def _assert_balanced(records: tables.Records) -> None:
    for table, account in records.accounts.items():
        left_out = {rule: n for rule, n in account.items() if rule not in ("read", "kept")}
        assert account["read"] == account["kept"] + sum(left_out.values()), table
        assert min(account.values()) >= 0, table
        assert left_out.items() <= dict(records.oddities).items()


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_files_are_kept_or_left_out_by_rule(name, tmp_path):
    mutations.write(tiny_sources.files(tiny_sources.FORMS[name]), tmp_path / "input")
    records = read_whole(name, tmp_path / "input")
    _assert_balanced(records)
    read = {
        t.lower(): a["read"] for t, a in records.accounts.items() if t not in INNER and a["read"]
    }
    if "tar.gz" in name or "zip" in name:  # the same stays as in the folder
        assert read == {"set-a": 44, "outcomes-a": 6}
    else:
        rows = rows_of_files(tmp_path / "input")
        assert read == {table: n for table, n in rows.items() if table not in ASIDE}


ONCE = {  # the tables in which every row is a patient, a visit or a unit stay
    "mimic3 csv": ("admissions", "patients"),
    "mimic4 csv": ("admissions", "patients"),
    "omop csv": ("visit_occurrence", "person"),
    "eicu csv, series": ("patient",),
    "diabetes130 csv": ("diabetic_data",),
    "physionet2012 csv.gz": ("outcomes-a",),
}


@pytest.mark.parametrize("name", ONCE)
def test_rows_that_stand_twice_where_each_should_once_are_taken_once(name, tmp_path):
    form, changed = tiny_sources.FORMS[name], tiny_sources.files(tiny_sources.FORMS[name])
    mutations.write(changed, tmp_path / "once")
    for file, content in list(changed.items()):
        if pathlib.PurePath(file).stem.lower() in ONCE[name]:
            changed[file] = content + content.split(b"\n", 1)[1]
    mutations.write(changed, tmp_path / "twice")
    once, twice = (form.read(tmp_path / folder) for folder in ("once", "twice"))
    assert sources.fingerprint(once) == sources.fingerprint(twice)
    counted = {r: n for r, n in twice.oddities.items() if "rows standing more than once" in r}
    assert list(counted.values()) == [6] * len(ONCE[name])


KEYS = {
    "mimic3 csv": "hadm_id",
    "mimic4 csv": "hadm_id",
    "eicu csv, series": "patientunitstayid",
    "omop csv": "visit_occurrence_id",
}


@pytest.mark.parametrize("name", KEYS)
def test_rows_of_unknown_visits_are_counted_in_every_table(name, tmp_path):
    files = tiny_sources.files(tiny_sources.FORMS[name])
    mutations.write(files, tmp_path / "whole")
    whole = read_whole(name, tmp_path / "whole").accounts
    changed = {}
    for file, content in files.items():
        text = content.decode() if file.endswith(".csv") else ""
        tab = _tab(text)
        rows = list(csv.reader(text.splitlines(), delimiter=tab))
        header = [cell.lower() for cell in rows[0]] if rows else []
        stem = pathlib.PurePath(file).stem.lower()
        if KEYS[name] in header and stem not in ("admissions", "patient", "visit_occurrence"):
            odd = list(rows[-1])
            odd[header.index(KEYS[name])] = "404404"
            out = io.StringIO()
            csv.writer(out, delimiter=tab).writerows([*rows, odd])
            files[file] = out.getvalue().encode()
            changed[stem] = 1
    mutations.write(files, tmp_path / "more")
    records = read_whole(name, tmp_path / "more")
    _assert_balanced(records)
    for table, account in records.accounts.items():
        stem = table.removesuffix(" values").lower()
        if stem in changed:
            assert account["kept"] == whole[table]["kept"], table
            assert account["read"] > whole[table]["read"], table
            changed.pop(stem)
    assert changed.keys() <= {"apachepatientresult"}


def test_rows_of_texts_stand_for_the_rows_of_their_form(tmp_path):
    files = tiny_sources.files(tiny_sources.FORMS["eicu csv, series"])
    name = next(file for file in files if file.lower() == "note.csv")
    header, first, *rest = files[name].decode().splitlines()
    path = dict(zip(header.lower().split(","), first.split(","), strict=True))["notepath"]
    clerical = first.replace(path, "notes/Shared/x")
    lines = [header, first, first, clerical, *rest]
    files[name] = "\n".join(lines).encode() + b"\n"
    mutations.write(files, tmp_path / "input")
    account = read_whole("eicu csv, series", tmp_path / "input").accounts["note"]
    assert account == {"read": 8, "kept": 7, "note rows of clerical marks, left out": 1}
    assert forms.FORMS["note"].path == "notepath"


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
        read_whole("mimic3 csv", tmp_path)


@pytest.mark.parametrize("kind", ["Condition", "MedicationRequest", "Observation", "Encounter"])
def test_resources_of_another_server_are_refused(kind, tmp_path):
    files = tiny_sources.files(tiny_sources.FORMS["fhir"])
    name = next(file for file in files if file.startswith(f"{kind}."))
    content = files[name]
    content = gzip.decompress(content) if name.endswith(".gz") else content
    old = (b"Patient/", b"Encounter/")[kind != "Encounter"]
    content = content.replace(old, old + b"other-")
    files[name] = gzip.compress(content) if name.endswith(".gz") else content
    mutations.write(files, tmp_path / "input")
    with pytest.raises(errors.RecordsError, match=f"^{kind}: none of its 6 row"):
        read_whole("fhir", tmp_path / "input")


@pytest.mark.parametrize("stem", ["diagnosis", "medication", "lab", "note"])
def test_table_of_other_unit_stays_is_refused(stem, tmp_path):
    files = tiny_sources.files(tiny_sources.FORMS["eicu csv, series"])
    name = next(file for file in files if file.lower() == f"{stem}.csv")
    files[name] = files[name].replace(b"99503", b"11503")
    mutations.write(files, tmp_path / "input")
    with pytest.raises(errors.RecordsError, match=f"^{stem}: none of its 6 row"):
        read_whole("eicu csv, series", tmp_path / "input")
