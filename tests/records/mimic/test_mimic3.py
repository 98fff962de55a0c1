import datetime
import pathlib
import shutil

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records import sources
from ehr_jax.records.mimic import mimic3, mimic3_events

EAGER = ("ADMISSIONS", "PATIENTS", "ICUSTAYS", "DIAGNOSES_ICD", "PROCEDURES_ICD", "PRESCRIPTIONS",
         "D_ICD_DIAGNOSES", "D_ICD_PROCEDURES")  # fmt: skip


@pytest.fixture(scope="session")
def demo(data_root):
    return mimic3.read(data_root / "mimic_iii_demo_1.4")


# A hospital of one admission; `write` changes it row by row.
TABLES = {
    "ADMISSIONS": [
        dict(subject_id=1, hadm_id=10, admittime="2150-01-02 10:00:00",
             dischtime="2150-01-09 12:00:00", deathtime="", admission_type="EMERGENCY",
             admission_location="EMERGENCY ROOM ADMIT", discharge_location="HOME",
             insurance="Medicare", marital_status="MARRIED", ethnicity="WHITE",
             edregtime="", hospital_expire_flag=0)
    ],
    "PATIENTS": [dict(subject_id=1, gender="F", dob="2100-01-01 00:00:00", dod="")],
    "ICUSTAYS": [
        dict(subject_id=1, hadm_id=10, icustay_id=100, first_careunit="MICU",
             intime="2150-01-03 00:00:00", outtime="2150-01-05 00:00:00")
    ],
    "DIAGNOSES_ICD": [dict(hadm_id=10, seq_num=1, icd9_code="4280")],
    "PROCEDURES_ICD": [dict(hadm_id=10, seq_num=1, icd9_code="3961")],
    "PRESCRIPTIONS": [dict(hadm_id=10, startdate="2150-01-04 00:00:00", drug="Heparin")],
    "LABEVENTS": [
        dict(hadm_id=10, itemid=50868, charttime="2150-01-04 06:00:00", valuenum=20.5,
             valueuom="mEq/L")
    ],
    "CHARTEVENTS": [
        dict(hadm_id=10, icustay_id=100, itemid=211, charttime="2150-01-04 06:00:00",
             storetime="",
             valuenum=88, valueuom="BPM", error="")
    ],
    "NOTEEVENTS": [
        dict(hadm_id=10, chartdate="2150-01-09", charttime="", storetime="",
             category="Discharge summary ", text="Went home.", iserror="")
    ],
}  # fmt: skip


def write(folder: pathlib.Path, **changes: list[dict]) -> pathlib.Path:
    """Writes TABLES to `folder`, each named table with rows made of its first and the changes."""
    for stem, rows in TABLES.items():
        rows = [rows[0] | change for change in changes.get(stem.lower(), [{}])]
        text = pl.DataFrame([{k: str(v) for k, v in row.items()} for row in rows])
        text.write_csv(folder / f"{stem}.csv")
    return folder


def test_golden_counts_of_the_demo(demo):
    assert demo.visits.height == 129
    assert demo.patients.height == 100
    assert demo.visits.filter(disposition="died").height == 40
    assert demo.stays.height == 136
    kinds = dict(demo.code_names.group_by("kind").len().rows())
    assert kinds == {"diagnosis": 581, "procedure": 164, "drug": 570}
    diagnoses = demo.code_names.filter(kind="diagnosis")["code"].str.strip_prefix("ICD9CM:")
    short = {code[: 4 if code[0] == "E" else 3] for code in diagnoses}
    assert len(short) == 275
    assert demo.codes.height / demo.visits.height == pytest.approx(51.8, abs=0.05)
    later = demo.visits.group_by("subject_id").len().filter(pl.col("len") > 1)
    assert (later.height, (later["len"] - 1).sum()) == (14, 29)


def test_demo_is_told_from_the_credentialed_release(demo, tmp_path):
    assert "Open Database License" in demo.terms
    assert "Credentialed" in mimic3.read(write(tmp_path)).terms


def test_masked_ages_of_the_demo_are_the_stated_median(demo):
    assert demo.oddities["ages masked by the source (over 89), set to 91.4"] == 8
    assert demo.visits["age"].max() == pytest.approx(91.4)
    assert demo.patients["birth_time"].min() > datetime.datetime(1900, 1, 1)


def test_demo_measurements_are_numeric_named_and_of_its_visits(demo, data_root):
    names = mimic3_events.measurement_names(data_root / "mimic_iii_demo_1.4")
    names = dict(names.select("variable", "name").rows())
    assert names["CHART:211"] == "Heart Rate"
    assert names["LAB:50868"] == "Anion Gap (blood)"
    rates = demo.measurements.filter(pl.col("variable") == "CHART:211").collect(engine="streaming")
    assert rates.height > 5_000 and 60 < rates["value"].median() < 120
    assert rates["visit_id"].is_in(demo.visits["visit_id"].to_list()).all()
    assert demo.notes.collect().height == 0


@pytest.mark.parametrize("form", ["upper.csv", "lower.parquet"])
def test_other_case_and_container_give_equal_records(demo, data_root, tmp_path, form):
    folder = data_root / "mimic_iii_demo_1.4"
    for stem in EAGER:
        raw = pl.read_csv(folder / f"{stem}.csv.gz", infer_schema=False)
        if form == "upper.csv":
            raw.rename(str.upper).write_csv(tmp_path / f"{stem}.csv")
        else:
            raw.write_parquet(tmp_path / f"{stem.lower()}.parquet")
    shutil.copytree(data_root / "code_maps", tmp_path.parent / "code_maps", dirs_exist_ok=True)
    other = mimic3.read(tmp_path)
    assert sources.fingerprint(other) == sources.fingerprint(demo)
    assert other.measurements.collect().height == 0


def test_one_admission_reads_as_described(tmp_path):
    records = mimic3.read(write(tmp_path))
    assert records.codes.select("code", "position").rows() == [
        ("DRUG:Heparin", None),
        ("ICD9CM:4280", 1),
        ("ICD9PROC:3961", 1),
    ]
    assert records.codes["time"].to_list() == [
        datetime.datetime(2150, 1, 4, 23, 59, 59),
        None,
        None,
    ]
    visit = records.visits.row(0, named=True)
    assert (visit["disposition"], visit["planned"], visit["transferred_in"]) == (
        "home",
        False,
        False,
    )
    assert visit["age"] == pytest.approx(50, abs=0.01)
    facts = dict(records.attributes.select("name", "text").rows())
    assert facts == {"admission type": "emergency", "admission location": "emergency room admit",
                     "insurance": "medicare", "marital status": "married", "race": "white",
                     "sex": "female", "age": None}  # fmt: skip
    assert (records.attributes["time"] == visit["start"]).all()
    note = records.notes.collect().row(0, named=True)
    assert (note["date_only"], note["category"]) == (True, "Discharge summary")
    lab, chart = records.measurements.collect().sort("variable", descending=True).rows(named=True)
    assert (lab["variable"], lab["value"], lab["stay_id"]) == ("LAB:50868", 20.5, None)
    assert (chart["variable"], chart["value"], chart["stay_id"]) == ("CHART:211", 88.0, 100)
    assert records.oddities == {}


def test_earliest_of_a_repeated_drug_is_kept_and_none_is_known_after_discharge(tmp_path):
    days = ["2150-01-05", "2150-01-03", ""]
    rows = [{"startdate": day} for day in days] + [{"startdate": "2150-01-09", "drug": "Aspirin"}]
    codes = mimic3.read(write(tmp_path, prescriptions=rows)).codes
    times = dict(codes.select("code", "time").rows())
    assert times["DRUG:Heparin"] == datetime.datetime(2150, 1, 3, 23, 59, 59)
    assert times["DRUG:Aspirin"] == datetime.datetime(2150, 1, 9, 12)


def test_notes_and_values_marked_as_errors_are_left_out(tmp_path):
    marked = {"noteevents": [{}, {"iserror": 1}, {"text": ""}, {"hadm_id": ""}, {"hadm_id": 99}],
              "chartevents": [{}, {"error": 1}, {"valuenum": ""}, {"hadm_id": 99}]}  # fmt: skip
    records = mimic3.read(write(tmp_path, **marked))
    assert records.notes.collect().height == 1
    assert records.measurements.collect().height == 2


def test_capillary_refill_is_charted_in_words(tmp_path):
    said = ("Normal <3 secs", "Abnormal >3 secs", "Other/Remarks")
    rows = [{"itemid": 3348, "valuenum": "", "value": words} for words in said]
    measured = mimic3.read(write(tmp_path, chartevents=rows)).measurements.collect()
    assert measured.filter(variable="CHART:3348")["value"].to_list() == [0.0, 1.0]


ODD = {
    "discharges before admission": ("admissions", [{"dischtime": "2150-01-01 00:00:00"}]),
    "visits that begin at or after the patient's death": (
        "admissions",
        [{"deathtime": "2150-01-02 09:00:00", "discharge_location": "DEAD/EXPIRED"}],
    ),
    "missing admission times": ("admissions", [{"admittime": ""}]),
    "visits without an end, outcome unknown": ("admissions", [{"dischtime": ""}]),
    "ADMISSIONS rows of unknown patients": ("admissions", [{}, {"hadm_id": 11, "subject_id": 2}]),
    "hospital deaths told by one column": ("admissions", [{"hospital_expire_flag": 1}]),
    "PATIENTS rows standing more than once": ("patients", [{}, {}]),
    "ages masked by the source": ("patients", [{"dob": "1850-01-01"}]),
    "births after admission": ("patients", [{"dob": "2151-01-01"}]),
    "deaths before the last visit": ("patients", [{"dod": "2149-01-01"}]),
    "ICUSTAYS rows of unknown visits": ("icustays", [{}, {"hadm_id": 11, "icustay_id": 101}]),
    "DIAGNOSES_ICD rows of unknown visits": ("diagnoses_icd", [{}, {"hadm_id": 11}]),
    "DIAGNOSES_ICD rows without a hadm_id": ("diagnoses_icd", [{}, {"hadm_id": ""}]),
    "DIAGNOSES_ICD rows without a code": ("diagnoses_icd", [{}, {"icd9_code": ""}]),
    "codes standing more than once": ("procedures_icd", [{}, {"seq_num": 2}]),
    "PROCEDURES_ICD codes that had lost": ("procedures_icd", [{}, {"icd9_code": "66"}]),
    "PRESCRIPTIONS starting after": ("prescriptions", [{"startdate": "2150-02-01"}]),
}


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_mended_or_left_out_and_counted(tmp_path, rule):
    table, rows = ODD[rule]
    records = mimic3.read(write(tmp_path, **{table: rows}))
    counted = [(found[: len(rule)], n) for found, n in records.oddities.items()]
    # A visit mended to end as it begins also has its prescription after it.
    assert (rule, 1) in counted and len(counted) == 1 + rule.startswith("discharges")
    assert records.visits.height == 1
    visit, patient = records.visits.row(0, named=True), records.patients.row(0, named=True)
    assert visit["end"] is None or visit["start"] <= visit["end"]
    assert visit["age"] is None or 0 <= visit["age"] <= mimic3.MASKED_AGE + 0.01
    early = patient["death_time"] is not None and patient["death_time"] < visit["start"]
    assert early == rule.startswith("visits that begin")
    assert visit["end"] is None or records.codes["time"].drop_nulls().max() <= visit["end"]


def test_visit_without_any_time_is_left_out_and_counted(tmp_path):
    rows = [{}, {"hadm_id": 11, "admittime": "", "dischtime": ""}]
    records = mimic3.read(write(tmp_path, admissions=rows))
    assert records.visits["visit_id"].to_list() == [10]
    assert records.oddities == {"visits without any admission time, left out": 1}


BAD = {
    "1 row.s. repeat a 'hadm_id' .* column 'dischtime'": (
        "admissions",
        [{}, {"dischtime": "2150-01-09 09:00:00"}],
    ),
    "row 2 has no value in column 'subject_id'": (
        "admissions",
        [{}, {"hadm_id": 9, "subject_id": ""}],
    ),
    "row 1 .*'admittime': '2150-13-01' is not a date": (
        "admissions",
        [{"admittime": "2150-13-01"}],
    ),
    "row 1 .*'seq_num'.*whole number": ("diagnoses_icd", [{"seq_num": "first"}]),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_row_is_explained(tmp_path, said):
    table, rows = BAD[said]
    with pytest.raises(errors.RecordsError, match=f"{table.upper()}.csv: .*{said}"):
        mimic3.read(write(tmp_path, **{table: rows}))


@pytest.mark.parametrize("stem", ["ADMISSIONS", "PATIENTS", "DIAGNOSES_ICD", "PRESCRIPTIONS"])
def test_missing_table_is_explained(tmp_path, stem):
    (write(tmp_path) / f"{stem}.csv").unlink()
    with pytest.raises(errors.RecordsError, match=f"table '{stem}' is missing"):
        mimic3.read(tmp_path)


@pytest.mark.parametrize("stem", ["ICUSTAYS", "LABEVENTS", "CHARTEVENTS", "NOTEEVENTS"])
def test_optional_table_may_be_missing(tmp_path, stem):
    (write(tmp_path) / f"{stem}.csv").unlink()
    records = mimic3.read(tmp_path)
    left = {"ICUSTAYS": records.stays.height, "NOTEEVENTS": records.notes.collect().height}
    measured = records.measurements.collect()["variable"].to_list()
    left |= {"LABEVENTS": "LAB:50868" in measured, "CHARTEVENTS": "CHART:211" in measured}
    assert left == dict.fromkeys(left, 1) | {stem: 0}


def test_bad_time_of_a_measurement_is_explained_when_it_is_read(tmp_path):
    records = mimic3.read(write(tmp_path, chartevents=[{}, {"charttime": "yesterday"}]))
    with pytest.raises(errors.RecordsError, match="CHARTEVENTS.csv: row 2 .*'charttime'"):
        records.measurements.collect(engine="streaming")


def test_values_and_notes_are_known_once_they_are_stored(tmp_path):
    charted = {"charttime": "2150-01-04 06:00:00"}
    records = mimic3.read(
        write(
            tmp_path,
            chartevents=[
                charted | {"valuenum": 1, "storetime": "2150-01-04 09:30:00"},
                charted | {"valuenum": 2, "storetime": "2150-01-04 05:00:00"},
                charted | {"valuenum": 3},
            ],
            noteevents=[
                charted | {"text": "a", "storetime": "2150-01-04 09:30:00"},
                {"text": "b", "storetime": "2150-01-09 15:00:00"},
                {"text": "c", "storetime": "2150-01-08 15:00:00"},
            ],
        )
    )
    values = records.measurements.filter(pl.col("variable") == "CHART:211").collect()
    stored, taken = datetime.datetime(2150, 1, 4, 9, 30), datetime.datetime(2150, 1, 4, 6)
    assert dict(values.select("value", "time").rows()) == {1: stored, 2: taken, 3: taken}
    # A summary that was stored before the day it is dated by is known by that day alone.
    assert records.notes.collect().sort("text").select("text", "time", "date_only").rows() == [
        ("a", stored, False),
        ("b", datetime.datetime(2150, 1, 9, 15), False),
        ("c", datetime.datetime(2150, 1, 9), True),
    ]


def test_events_and_stays_a_year_off_are_left_out_and_counted(tmp_path):
    slip = {"charttime": "2149-01-04 06:00:00"}
    records = mimic3.read(
        write(
            tmp_path,
            icustays=[{}, {"icustay_id": 101, "intime": "0050-01-03 00:00:00"}],
            prescriptions=[{}, {"drug": "Aspirin", "startdate": "2151-01-04 00:00:00"}],
            labevents=[{}, slip],
            chartevents=[{}, slip | {"storetime": "2150-01-04 07:00:00"}],
            noteevents=[{}, {"chartdate": "9999-01-09"}],
        )
    )
    assert records.stays["stay_id"].to_list() == [100]
    assert "DRUG:Aspirin" not in records.codes["code"]
    assert records.measurements.collect()["time"].dt.year().to_list() == [2150, 2150]
    assert records.notes.collect().height == 1
    far = {rule: n for rule, n in records.oddities.items() if "outside their visit" in rule}
    assert [rule.split()[0] for rule in far] == [
        "ICU", "PRESCRIPTIONS", "LABEVENTS", "CHARTEVENTS", "NOTEEVENTS"
    ]  # fmt: skip
    assert set(far.values()) == {1}
