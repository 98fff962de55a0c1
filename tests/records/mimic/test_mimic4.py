import datetime
import gzip
import pathlib
import shutil

import hypothesis
import polars as pl
import pytest
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.cohorts import tasks
from ehr_jax.features import known
from ehr_jax.records import sources
from ehr_jax.records.common import ages, tables
from ehr_jax.records.mimic import mimic4, mimic4_events

FOLDER = "mimic_iv_demo_2.2"
EAGER = ("hosp/admissions", "hosp/patients", "icu/icustays", "hosp/diagnoses_icd",
         "hosp/procedures_icd", "hosp/prescriptions", "hosp/d_icd_diagnoses",
         "hosp/d_icd_procedures")  # fmt: skip

# A hospital of one admission; `write` changes it row by row.
TABLES = {
    "hosp/admissions": [
        dict(subject_id=1, hadm_id=10, admittime="2150-01-02 10:00:00",
             dischtime="2150-01-09 12:00:00", deathtime="", admission_type="EW EMER.",
             admission_location="EMERGENCY ROOM", discharge_location="HOME",
             insurance="Medicare", marital_status="MARRIED", race="WHITE",
             edregtime="", hospital_expire_flag=0)
    ],
    "hosp/patients": [dict(subject_id=1, gender="F", anchor_age=50, anchor_year=2148, dod="")],
    "icu/icustays": [
        dict(subject_id=1, hadm_id=10, stay_id=100, first_careunit="MICU",
             intime="2150-01-03 00:00:00", outtime="2150-01-05 00:00:00")
    ],
    "hosp/diagnoses_icd": [dict(hadm_id=10, seq_num=1, icd_code="I509", icd_version=10)],
    "hosp/procedures_icd": [dict(hadm_id=10, seq_num=1, icd_code="3961", icd_version=9)],
    "hosp/d_icd_diagnoses": [
        dict(icd_code="I509", icd_version=10, long_title="Heart failure, unspecified")
    ],
    "hosp/prescriptions": [dict(hadm_id=10, starttime="2150-01-04 08:00:00", drug="Heparin")],
    "hosp/labevents": [
        dict(hadm_id=10, itemid=50868, charttime="2150-01-04 06:00:00", storetime="", valuenum=20.5,
             valueuom="mEq/L")
    ],
    "icu/chartevents": [
        dict(hadm_id=10, stay_id=100, itemid=220045, charttime="2150-01-04 06:00:00",
             storetime="",
             valuenum=88, valueuom="bpm")
    ],
    "icu/outputevents": [
        dict(hadm_id=10, stay_id=100, itemid=226559, charttime="2150-01-04 07:00:00",
             storetime="",
             value=60, valueuom="ml")
    ],
    "note/discharge": [
        dict(hadm_id=10, charttime="2150-01-09 00:00:00", storetime="", text="Went home.")
    ],
    "note/radiology": [
        dict(hadm_id=10, charttime="2150-01-03 04:05:00", storetime="", text="No effusion.")
    ],
}  # fmt: skip


def write(folder: pathlib.Path, flat: bool = False, **changes: list[dict]) -> pathlib.Path:
    """Writes TABLES to `folder`, each named table with rows made of its first and the changes."""
    for name, rows in TABLES.items():
        module, stem = name.split("/")
        place = folder if flat else folder / module
        place.mkdir(parents=True, exist_ok=True)
        rows = [rows[0] | change for change in changes.get(stem, [{}])]
        text = pl.DataFrame([{k: str(v) for k, v in row.items()} for row in rows])
        text.write_csv(place / f"{stem}.csv")
    return folder


def without(path: pathlib.Path, column: str) -> None:
    """Rewrites a table without one column."""
    pl.read_csv(path, infer_schema=False).drop(column).write_csv(path)


@pytest.fixture(autouse=True)
def no_code_maps(monkeypatch):
    """Written hospitals name their codes from what the test gives them alone."""
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)


@pytest.fixture(scope="session")
def demo(data_root):
    return mimic4.read(data_root / FOLDER)


def test_demo_holds_the_stated_patients_visits_deaths_and_stays(demo):
    assert demo.patients.height == 100
    assert demo.visits.height == 275
    assert demo.visits.filter(disposition="died").height == 15
    assert demo.stays.height == 140
    assert demo.patients["birth_time"].null_count() == 3  # masked ages
    assert demo.oddities["discharges at midnight of the day of death, set to the death"] == 3


def test_demo_holds_the_stated_codes_of_either_version(demo):
    systems = pl.col("code").str.split(":").list.first().alias("system")
    counts = dict(demo.codes.group_by(systems).len().rows())
    assert (counts["ICD9CM"], counts["ICD10CM"]) == (2193, 2313)
    # Repeats in a visit are counted, so that every row of the three tables is accounted for.
    repeated = demo.oddities["codes standing more than once in a visit, the earliest kept"]
    assert demo.codes.height + repeated == 4506 + 722 + 18_087
    assert demo.visits.join(demo.codes, on="visit_id", how="anti").height == 0
    named = demo.code_names.filter(pl.col("name") == pl.col("code").str.split(":").list.last())
    assert named.filter(pl.col("kind") != "drug").height == 0


def test_same_digits_in_both_versions_stay_two_codes(demo, tmp_path):
    names = dict(demo.code_names.select("code", "name").rows())
    assert names["ICD9CM:E8881"] == "Fall resulting in striking against other object"
    assert names["ICD10CM:E8881"] == "Metabolic syndrome"
    both = [{"icd_code": "E8881", "icd_version": version} for version in (9, 10)]
    records = mimic4.read(write(tmp_path, diagnoses_icd=both, d_icd_diagnoses=[
        row | {"long_title": f"of {row['icd_version']}"} for row in both
    ]))  # fmt: skip
    names = dict(records.code_names.select("code", "name").rows())
    assert (names["ICD9CM:E8881"], names["ICD10CM:E8881"]) == ("of 9", "of 10")
    assert records.codes.filter(pl.col("code").str.ends_with(":E8881")).height == 2


def test_demo_readmissions_within_30_days_are_the_stated_53_of_260(demo):
    following = pl.col("start").shift(-1).over("subject_id", order_by="order")
    live = demo.visits.with_columns(gap=following - pl.col("end")).filter(
        pl.col("disposition") != "died"
    )
    assert live.height == 260
    assert live.filter(pl.col("gap") <= pl.duration(days=30)).height == 53


def test_readmission_builds_on_the_demo(demo):
    built = tasks.build(demo, "readmission30")
    labelled = built.samples.filter("labelled")
    # Of the 53, one follows a transfer to another hospital by minutes and two an observation in the
    # emergency unit at once: one episode goes on.
    assert built.excluded["died in hospital"] == 15
    assert built.excluded["discharged to hospice"] == 5
    assert (labelled.height, labelled["label.readmission"].sum()) == (252, 50)


def test_mortality_builds_on_the_demo(demo):
    built = tasks.build(demo, "mortality")
    assert (built.samples.height, built.samples["label.mortality"].sum()) == (66, 11)


def test_demo_measurements_are_numeric_named_and_of_its_visits(demo, data_root):
    names = mimic4_events.measurement_names(data_root / FOLDER)
    names = dict(names.select("variable", "name").rows())
    assert (names["LAB:50868"], names["CHART:226559"]) == ("Anion Gap (blood)", "Foley")
    found = demo.measurements.collect(engine="streaming")
    outputs = found.filter(pl.col("variable").str.starts_with("CHART:"))
    assert outputs.height == 9362
    # Of 107,727 laboratory rows 79,307 have a hadm_id, and most of those a number.
    assert 70_000 < found.height - outputs.height < 79_307
    assert found["visit_id"].is_in(demo.visits["visit_id"].to_list()).all()
    assert demo.notes.collect().height == 0


def test_demo_is_told_from_the_credentialed_release(demo, tmp_path):
    assert "Open Database License" in demo.terms
    assert "Credentialed" in mimic4.read(write(tmp_path)).terms


@pytest.mark.parametrize("form", ["flat.csv", "core.parquet"])
def test_other_layout_and_container_give_equal_records(demo, data_root, tmp_path, form):
    for name in EAGER:
        raw = pl.read_csv(data_root / FOLDER / f"{name}.csv.gz", infer_schema=False)
        module, stem = name.split("/")
        if form == "flat.csv":
            raw.rename(str.upper).write_csv(tmp_path / f"{stem.upper()}.csv")
        else:
            early = stem in ("admissions", "patients")
            place = tmp_path / ("core" if early else module)
            place.mkdir(exist_ok=True)
            raw.rename({"race": "ethnicity"}, strict=False).write_parquet(place / f"{stem}.parquet")
    shutil.copytree(data_root / "code_maps", tmp_path.parent / "code_maps", dirs_exist_ok=True)
    other = mimic4.read(tmp_path)
    assert sources.fingerprint(other) == sources.fingerprint(demo)
    assert other.measurements.collect().height == 0


def test_one_admission_reads_as_described(tmp_path):
    records = mimic4.read(write(tmp_path))
    assert records.codes.select("code", "position", "time").rows() == [
        ("DRUG:Heparin", None, datetime.datetime(2150, 1, 4, 23, 59, 59)),
        ("ICD10CM:I509", 1, None),
        ("ICD9PROC:3961", 1, None),
    ]
    names = dict(records.code_names.select("code", "name").rows())
    assert names["ICD10CM:I509"] == "Heart failure, unspecified"
    visit, patient = records.visits.row(0, named=True), records.patients.row(0, named=True)
    assert (visit["disposition"], visit["planned"], visit["transferred_in"]) == (
        "home",
        False,
        False,
    )
    assert (visit["age"], patient["birth_time"]) == (52, datetime.datetime(2098, 1, 1))
    facts = dict(records.attributes.select("name", "text").rows())
    assert facts == {"admission type": "ew emer.", "admission location": "emergency room",
                     "insurance": "medicare", "marital status": "married", "race": "white",
                     "sex": "female", "age": None}  # fmt: skip
    assert (records.attributes["time"] == visit["start"]).all()
    measured = records.measurements.collect().sort("variable")
    assert measured.select("variable", "value", "unit", "stay_id").rows() == [
        ("CHART:220045", 88.0, "bpm", 100),
        ("CHART:226559", 60.0, "ml", 100),
        ("LAB:50868", 20.5, "mEq/L", None),
    ]
    assert records.oddities == {}


def test_any_of_its_folders_may_be_given(tmp_path):
    write(tmp_path / "nested")
    write(tmp_path / "flat", flat=True)
    read = [mimic4.read(tmp_path / place) for place in ("nested", "nested/hosp", "flat")]
    assert len({sources.fingerprint(records) for records in read}) == 1
    assert [records.notes.collect().height for records in read] == [2, 2, 2]
    assert [records.measurements.collect().height for records in read] == [3, 3, 3]


@pytest.mark.parametrize("column", ["race", "ethnicity"])
def test_race_is_read_under_its_old_name_too(tmp_path, column):
    path = write(tmp_path) / "hosp" / "admissions.csv"
    pl.read_csv(path, infer_schema=False).rename({"race": column}).write_csv(path)
    race = mimic4.read(tmp_path).attributes.filter(name="race")
    assert race["text"].to_list() == ["white"]


def test_a_sex_that_is_not_f_or_m_is_unknown_and_an_age_of_89_is_not_masked(tmp_path):
    people = [("f ", 50), ("U", 89), ("", 91)]
    patients = [
        {"subject_id": number, "gender": gender, "anchor_age": age}
        for number, (gender, age) in enumerate(people)
    ]
    admissions = [{"subject_id": number, "hadm_id": 10 + number} for number in range(3)]
    records = mimic4.read(write(tmp_path, patients=patients, admissions=admissions))
    found = records.patients.sort("subject_id")
    assert found["sex"].to_list() == ["F", None, None]
    assert found["birth_time"].dt.year().to_list() == [2098, 2059, None]


def test_planned_transferred_and_disposition_follow_the_words_of_the_source(tmp_path):
    rows = [
        {"hadm_id": 10, "admission_type": "SURGICAL SAME DAY ADMISSION"},
        {"hadm_id": 11, "admission_location": "TRANSFER FROM HOSPITAL"},
        {"hadm_id": 12, "admission_location": "INFORMATION NOT AVAILABLE"},
        {"hadm_id": 13, "discharge_location": "", "admission_type": ""},
        {"hadm_id": 14, "discharge_location": "A NEW PLACE"},
    ]
    read = mimic4.read(write(tmp_path / "said", admissions=rows))
    visits = read.visits
    padded = [
        {k: f" {v.lower()} " if type(v) is str else v for k, v in row.items()} for row in rows
    ]
    again = mimic4.read(write(tmp_path / "padded", admissions=padded))
    assert again.visits.equals(visits) and again.attributes.equals(read.attributes)
    assert visits["planned"].to_list() == [True, False, False, None, False]
    assert visits["transferred_in"].to_list() == [False, True, None, False, False]
    places = ["home", "home", "home", "other", "other"]
    assert visits["disposition"].to_list() == places
    assert set(mimic4.DISPOSITIONS.values()) <= set(tables.DISPOSITIONS)


def test_death_is_the_hospital_clock_time_else_the_end_of_the_day(tmp_path):
    died = {"deathtime": "2150-01-09 12:00:00", "hospital_expire_flag": 1,
            "discharge_location": "DIED"}  # fmt: skip
    both = mimic4.read(write(tmp_path, admissions=[died], patients=[{"dod": "2150-01-09"}]))
    assert both.patients["death_time"].item() == datetime.datetime(2150, 1, 9, 12)
    later = mimic4.read(write(tmp_path, patients=[{"dod": "2150-06-01"}]))
    assert later.patients["death_time"].item() == datetime.datetime(2150, 6, 1, 23, 59, 59)
    assert later.visits["disposition"].item() == "home"


def test_discharge_summary_is_kept_from_outcomes_inside_the_stay(tmp_path):
    # Dated before the prediction time, so that the category alone keeps it out.
    rows = [{"charttime": "2150-01-04 00:00:00"}]
    records = mimic4.read(write(tmp_path, discharge=rows))
    notes = records.notes.collect().sort("category")
    assert notes["category"].to_list() == ["Discharge summary", "Radiology"]
    assert notes["date_only"].to_list() == [True, False]
    samples = records.visits.select(
        "subject_id", "visit_id", sample_id=pl.lit(0, pl.Int64), prediction_time="end"
    )

    def texts(at_discharge: bool) -> list[str]:
        cohort = cohorts.Cohort("task", "strict", "", (), samples, at_discharge, {}, ())
        return known.notes(records, cohort)["text"].to_list()

    assert texts(at_discharge=False) == ["No effusion."]
    assert texts(at_discharge=True) == ["No effusion.\n\nWent home."]


def test_notes_and_values_that_cannot_be_placed_are_left_out(tmp_path):
    placeless = {
        "discharge": [{}, {"text": ""}, {"hadm_id": ""}, {"hadm_id": 99}, {"charttime": ""}],
        "labevents": [{}, {"hadm_id": ""}, {"valuenum": ""}, {"hadm_id": 99}, {"charttime": ""}],
    }
    records = mimic4.read(write(tmp_path, **placeless))
    assert records.notes.collect()["category"].to_list() == ["Discharge summary", "Radiology"]
    assert records.measurements.collect().height == 3


def test_lost_zeros_come_back_in_the_system_of_the_code(tmp_path):
    records = mimic4.read(write(
        tmp_path,
        diagnoses_icd=[{"icd_code": "8.45", "icd_version": 9}, {"icd_code": "a04.7"}],
        d_icd_diagnoses=[{"icd_code": "00845", "icd_version": 9, "long_title": "Colitis"}],
        procedures_icd=[{"icd_code": "16070", "icd_version": 10}],
    ))  # fmt: skip
    assert records.codes["code"].to_list() == [
        "DRUG:Heparin", "ICD10CM:A047", "ICD10PCS:0016070", "ICD9CM:00845",
    ]  # fmt: skip
    names = dict(records.code_names.select("code", "name").rows())
    assert names["ICD9CM:00845"] == "Colitis"
    assert names["ICD10CM:A047"] == "ICD-10-CM A047"  # no title: the code itself
    assert records.oddities == {
        "diagnoses_icd codes that had lost leading zeros, restored": 1,
        "procedures_icd codes that had lost leading zeros, restored": 1,
    }


ODD = {
    "discharges before admission": ("admissions", [{"dischtime": "2150-01-01 00:00:00"}]),
    "discharges at midnight of the day of death": (
        "admissions",
        [{"dischtime": "2150-01-09 00:00:00", "deathtime": "2150-01-09 22:20:00",
          "discharge_location": "DIED"}],
    ),
    "visits that begin at or after the patient's death": (
        "admissions",
        [{"deathtime": "2150-01-02 09:00:00", "discharge_location": "DIED"}],
    ),
    "missing admission times": ("admissions", [{"admittime": ""}]),
    "visits without an end, outcome unknown": ("admissions", [{"dischtime": ""}]),
    "admissions rows of unknown patients": ("admissions", [{}, {"hadm_id": 11, "subject_id": 2}]),
    "hospital deaths told by one column": (
        "admissions",
        [{"hospital_expire_flag": 1, "discharge_location": ""}],
    ),
    "patients rows standing more than once": ("patients", [{}, {}]),
    "ages masked by the source": ("patients", [{"anchor_age": 91}]),
    "births after admission": ("patients", [{"anchor_age": 20, "anchor_year": 2190}]),
    "ages over 130 at admission": ("patients", [{"anchor_age": 300}]),
    "deaths before the last visit": ("patients", [{"dod": "2149-01-01"}]),
    "icustays rows standing more than once": ("icustays", [{}, {}]),
    "icustays rows without a stay_id": ("icustays", [{}, {"stay_id": ""}]),
    "icustays rows of another patient": ("icustays", [{}, {"stay_id": 101, "subject_id": 2}]),
    "icustays rows of unknown visits": ("icustays", [{}, {"hadm_id": 11, "stay_id": 101}]),
    "ICU stays ending before they begin": ("icustays", [{"outtime": "2150-01-02"}]),
    "diagnoses_icd rows of unknown visits": ("diagnoses_icd", [{}, {"hadm_id": 11}]),
    "diagnoses_icd rows without a hadm_id": ("diagnoses_icd", [{}, {"hadm_id": ""}]),
    "diagnoses_icd rows without a code": ("diagnoses_icd", [{}, {"icd_code": ""}]),
    "codes standing more than once": ("procedures_icd", [{}, {"seq_num": 2}]),
    "deaths told inside a visit that the source says was survived": (
        "patients",
        [{"dod": "2150-01-05"}],
    ),
    "visits of dates without clock times": (
        "admissions",
        [{"admittime": "2150-01-02", "dischtime": "2150-01-09"}],
    ),
    "visits that last longer than ten years": ("admissions", [{"dischtime": "2510-01-09"}]),
    "visits that begin before 1900": (
        "admissions",
        [{}, {"hadm_id": 11, "admittime": "0001-01-01", "dischtime": ""}],
    ),
    "prescriptions starting after": ("prescriptions", [{"starttime": "2150-02-01"}]),
}  # fmt: skip


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_mended_or_left_out_and_counted(tmp_path, rule):
    table, rows = ODD[rule]
    records = mimic4.read(write(tmp_path, **{table: rows}))
    counted = [(found[: len(rule)], n) for found, n in records.oddities.items()]
    # A visit mended to end as it begins also has its prescription after it, one without an end no
    # outcome.
    mended = rule in ("discharges before admission", "visits that last longer than ten years")
    assert (rule, 1) in counted and len(counted) == 1 + mended
    assert records.visits.height == 1
    visit, patient = records.visits.row(0, named=True), records.patients.row(0, named=True)
    assert visit["end"] is None or visit["start"] <= visit["end"]
    assert visit["age"] is None or 0 <= visit["age"] <= ages.OLDEST
    early = patient["death_time"] is not None and patient["death_time"] < visit["start"]
    assert early == rule.startswith("visits that begin at")
    assert visit["end"] is None or records.codes["time"].drop_nulls().max() <= visit["end"]


@hypothesis.settings(max_examples=5)
@hypothesis.given(
    anchors=st.lists(
        st.tuples(st.integers(0, 400), st.integers(-10, 10**6), st.integers(2100, 2200)),
        min_size=20,
        max_size=40,
    )
)
def test_no_anchor_gives_an_impossible_age(tmp_path_factory, anchors):
    people, admitted = [], []
    for number, (age, year, start) in enumerate(anchors):
        people.append({"subject_id": number, "anchor_age": age, "anchor_year": year})
        times = {"admittime": f"{start}-06-01", "dischtime": f"{start}-06-04"}
        admitted.append({"subject_id": number, "hadm_id": number + 10} | times)
    folder = write(tmp_path_factory.mktemp("anchored"), patients=people, admissions=admitted)
    records = mimic4.read(folder)
    exact = [start - year + age for age, year, start in anchors]
    possible = [age if 0 <= age <= ages.OLDEST else None for age in exact]
    assert records.visits["age"].to_list() == possible
    for birth, (age, year, _), found in zip(
        records.patients["birth_time"], anchors, possible, strict=True
    ):
        told = found is not None and age <= mimic4.MASKED_OVER
        assert birth == (datetime.datetime(year - age, 1, 1) if told else None)


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
    "row 1 .*'hospital_expire_flag': 2; expected 0, 1": (
        "admissions",
        [{"hospital_expire_flag": 2}],
    ),
    "row 1 .*'seq_num'.*whole number": ("diagnoses_icd", [{"seq_num": "first"}]),
    "row 1 .*'anchor_age'.*whole number": ("patients", [{"anchor_age": "old"}]),
    "row 2 .*'icd_version': '11'; expected 9 or 10": ("diagnoses_icd", [{}, {"icd_version": 11}]),
    "row 2 .*'icd_version': no value; expected": ("procedures_icd", [{}, {"icd_version": ""}]),
    "row 1 .*'icd_version': '8'": ("d_icd_diagnoses", [{"icd_version": 8}]),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_row_is_explained(tmp_path, said):
    table, rows = BAD[said]
    with pytest.raises(errors.RecordsError, match=f"{table}.csv: .*{said}"):
        mimic4.read(write(tmp_path, **{table: rows}))


@pytest.mark.parametrize(
    ("table", "exchanged", "of"),
    [
        ("admissions", {"subject_id": 10, "hadm_id": 1}, "patient"),
        ("icustays", {"subject_id": 10, "hadm_id": 1}, "visit"),
        ("icustays", {"hadm_id": 100, "stay_id": 10}, "visit"),
    ],
)
def test_exchanged_identifiers_are_refused(tmp_path, table, exchanged, of):
    with pytest.raises(errors.RecordsError, match=f"{table}: none of its 1 .* of a known {of}"):
        mimic4.read(write(tmp_path, **{table: [exchanged]}))


@pytest.mark.parametrize("stem", ["diagnoses_icd", "procedures_icd", "d_icd_diagnoses"])
def test_codes_without_a_version_column_are_refused(tmp_path, stem):
    without(write(tmp_path) / "hosp" / f"{stem}.csv", "icd_version")
    with pytest.raises(errors.RecordsError, match=f"{stem}.csv: column 'icd_version' is missing"):
        mimic4.read(tmp_path)


@pytest.mark.parametrize("column", ["race", "hospital_expire_flag", "dischtime"])
def test_missing_column_is_explained(tmp_path, column):
    without(write(tmp_path) / "hosp" / "admissions.csv", column)
    with pytest.raises(errors.RecordsError, match=f"admissions.csv: column '{column}' is missing"):
        mimic4.read(tmp_path)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("stem", ["admissions", "patients", "diagnoses_icd", "prescriptions"])
def test_missing_table_is_explained(tmp_path, stem, flat):
    write(tmp_path, flat)
    (tmp_path / ("" if flat else "hosp") / f"{stem}.csv").unlink()
    with pytest.raises(errors.RecordsError, match=f"table '{stem}' is missing"):
        mimic4.read(tmp_path)


@pytest.mark.parametrize("place, said", [("nowhere", "does not exist"), ("a_file", "is a file")])
def test_missing_folder_is_explained(tmp_path, place, said):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(errors.RecordsError, match=f"{place}: this data folder {said}"):
        mimic4.read(tmp_path / place)


@pytest.mark.parametrize("module", ["icu", "note"])
def test_optional_module_may_be_missing(tmp_path, module):
    shutil.rmtree(write(tmp_path) / module)
    records = mimic4.read(tmp_path)
    in_icu = module == "note"
    assert records.stays.height == in_icu
    assert records.measurements.collect().height == 1 + 2 * in_icu
    assert records.notes.collect().height == 2 * (not in_icu)


def test_ragged_row_is_explained(tmp_path):
    path = write(tmp_path) / "hosp" / "prescriptions.csv"
    path.write_text(path.read_text() + "10,2150-01-04\n")
    with pytest.raises(errors.RecordsError, match="prescriptions.csv: .*2 field.*header has 3"):
        mimic4.read(tmp_path)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_cut_gzip_is_explained(tmp_path, kept):
    path = write(tmp_path) / "hosp" / "diagnoses_icd.csv"
    whole = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_suffix(".csv.gz").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(errors.RecordsError, match="diagnoses_icd.csv.gz: the gzip file is cut"):
        mimic4.read(tmp_path)


def test_bad_time_of_a_measurement_is_explained_when_it_is_read(tmp_path):
    records = mimic4.read(write(tmp_path, chartevents=[{}, {"charttime": "yesterday"}]))
    with pytest.raises(errors.RecordsError, match="chartevents.csv: row 2 .*'charttime'"):
        records.measurements.collect(engine="streaming")


STORED = {"storetime": "2150-01-04 20:00:00"}


def test_results_outputs_and_notes_are_known_once_they_are_stored(tmp_path):
    summary = {"storetime": "2150-01-11 10:00:00"}
    rows = dict.fromkeys(("labevents", "chartevents", "outputevents", "radiology"), [STORED])
    records = mimic4.read(write(tmp_path, **rows, discharge=[summary, {}]))
    stored = datetime.datetime(2150, 1, 4, 20)
    assert records.measurements.collect()["time"].to_list() == [stored] * 3
    assert records.notes.collect().sort("time").select("time", "date_only").rows() == [
        (stored, False),
        (datetime.datetime(2150, 1, 9), True),
        (datetime.datetime(2150, 1, 11, 10), False),
    ]


def test_table_without_the_time_of_storing_says_so(tmp_path):
    without(write(tmp_path) / "hosp" / "labevents.csv", "storetime")
    records = mimic4.read(tmp_path)
    assert records.oddities == {
        "labevents has no storetime: its rows count as known at their charttime": 1
    }


def test_stays_outside_and_prescriptions_far_from_their_visit_are_left_out(tmp_path):
    stay = {"stay_id": 101, "intime": "2148-01-03 00:00:00", "outtime": "2148-01-05 00:00:00"}
    drug = {"starttime": "2149-01-04 08:00:00", "drug": "Aspirin"}
    records = mimic4.read(write(tmp_path, icustays=[{}, stay], prescriptions=[{}, drug]))
    assert records.stays["stay_id"].to_list() == [100]
    assert set(records.oddities.values()) == {1} and len(records.oddities) == 2
    assert "DRUG:Aspirin" not in records.codes["code"]


def test_result_that_is_no_number_is_missing_and_counted(tmp_path):
    values = [{"valuenum": text} for text in ("20.5", "<5", "NA", " ", "nan", ">= 3")]
    records = mimic4.read(write(tmp_path, labevents=values))
    labs = records.measurements.filter(pl.col("variable") == "LAB:50868").collect()
    assert labs["value"].to_list() == [20.5]
    assert records.oddities == {
        "labevents rows whose value is no number, left out": 3,
        "labevents rows without a number, time or item, left out": 2,  # a blank and "nan"
    }
