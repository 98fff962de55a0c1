import dataclasses
import datetime
import pathlib
import tempfile

import hypothesis
import hypothesis.strategies as st
import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.cohorts import draft, tasks
from ehr_jax.cohorts import spec as specs
from ehr_jax.features import known
from ehr_jax.records import sources
from ehr_jax.records.common import tables
from ehr_jax.records.eicu import coding
from ehr_jax.records.eicu import reader as eicu

DEMO, SERIES = "eicu_demo_2.0.1", "yaib_demo/mortality24/eicu_demo"


@pytest.fixture(scope="session")
def demo(data_root):
    return eicu.read(data_root / DEMO, data_root / SERIES)


@pytest.fixture(autouse=True)
def no_titles(monkeypatch):
    # Made-up hospitals do without the tables of code names, which take longer than they do.
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)


@pytest.fixture(scope="session")
def cohort(demo):
    return tasks.build(demo, "mortality")


# A hospital of one unit stay; `write` changes it row by row.
TABLES = {
    "patient": [
        dict(patientunitstayid=100, patienthealthsystemstayid=10, gender="Female", age="50",
             ethnicity="Caucasian", hospitalid=7, apacheadmissiondx="Sepsis, pulmonary",
             hospitaladmittime24="10:00:00", hospitaladmitoffset=-60,
             hospitaladmitsource="Emergency Department", hospitaldischargeyear=2014,
             hospitaldischargeoffset=6000, hospitaldischargelocation="Home",
             hospitaldischargestatus="Alive", unittype="MICU", unitadmitsource="Floor",
             unitvisitnumber=1, unitdischargeoffset=3000, unitdischargestatus="Alive",
             uniquepid="002-1")
    ],
    "diagnosis": [
        dict(patientunitstayid=100, diagnosisoffset=30, diagnosispriority="Primary",
             diagnosisstring="cardiovascular|heart|failure", icd9code="428.0, I50.9")
    ],
    "treatment": [
        dict(patientunitstayid=100, treatmentoffset=40, treatmentstring="pulmonary|ventilation")
    ],
    "medication": [
        dict(patientunitstayid=100, drugorderoffset=50, drugstartoffset=20, drugname=" HEPARIN ")
    ],
    "infusiondrug": [
        dict(patientunitstayid=100, infusionoffset=70, drugname="Fentanyl (mcg/hr) (mcg/hr)")
    ],
    "vitalPeriodic": [
        dict(patientunitstayid=100, observationoffset=5, temperature="", heartrate=88)
    ],
    "vitalAperiodic": [
        dict(patientunitstayid=100, observationoffset=6, noninvasivesystolic=120, paop="")
    ],
    "lab": [
        dict(patientunitstayid=100, labresultoffset=7, labresultrevisedoffset=37,
             labname="potassium", labresult=4.1, labmeasurenamesystem="mmol/L")
    ],
    "nurseCharting": [
        dict(patientunitstayid=100, nursingchartoffset=8, nursingchartentryoffset=9,
             nursingchartcelltypevallabel="Temperature",
             nursingchartcelltypevalname="Temperature (C)", nursingchartvalue="36.5")
    ],
    "note": [
        dict(patientunitstayid=100, noteoffset=-10, noteenteredoffset=90,
             notepath="notes/Progress Notes/Social / Family/Smoking Status/denies",
             notevalue="denies", notetext="denies")
    ],
    "physicalExam": [
        dict(patientunitstayid=100, physicalexamoffset=-10,
             physicalexampath="notes/Progress Notes/Physical Exam/HR/HR Current",
             physicalexamvalue="HR Current", physicalexamtext="88")
    ],
    "pastHistory": [
        dict(patientunitstayid=100, pasthistoryoffset=3, pasthistoryenteredoffset=4,
             pasthistorypath="notes/Progress Notes/Past History/Organ/COPD/COPD  - severe",
             pasthistoryvalue="COPD  - severe", pasthistoryvaluetext="COPD  - severe")
    ],
    "admissionDx": [
        dict(patientunitstayid=100, admitdxenteredoffset=15,
             admitdxpath="admission diagnosis|All Diagnosis|Neurology|Coma/stupor",
             admitdxname="Coma/stupor", admitdxtext="Coma/stupor")
    ],
}  # fmt: skip

ADMITTED = datetime.datetime(2100, 1, 1, 11)  # to the unit of TABLES


def write(folder: pathlib.Path, **changes: list[dict]) -> pathlib.Path:
    """Writes TABLES to `folder`, each named table with rows made of its first and the changes."""
    for stem, rows in TABLES.items():
        rows = [rows[0] | change for change in changes.get(stem, [{}])]
        text = pl.DataFrame([{k: str(v) for k, v in row.items()} for row in rows])
        text.write_csv(folder / f"{stem}.csv")
    return folder


def write_series(folder: pathlib.Path, stays, time) -> pathlib.Path:
    columns = {"stay_id": stays, "time": time, "hr": [80.0] * len(stays), "na": [None] * len(stays)}
    folder.mkdir(exist_ok=True)
    pl.DataFrame(columns, schema_overrides={"na": pl.Float64}).write_parquet(folder / "dyn.parquet")
    return folder


def minutes(time: datetime.datetime) -> float:
    return (time - ADMITTED).total_seconds() / 60


def test_golden_counts_of_the_demo(demo):
    assert demo.stays.height == 2520
    assert demo.patients.height == 1841
    assert demo.visits.height == 2174
    ends = demo.visits["disposition"]
    assert (ends == "died").sum() == 182
    assert (ends == "unknown").sum() == 25
    assert (~ends.is_in(["died", "unknown"])).sum() == 1967
    several = demo.visits.group_by("subject_id").len().filter(pl.col("len") > 1)
    assert several.height == 221
    hospitals = demo.attributes.filter(name="hospital")
    assert (hospitals.height, hospitals["text"].n_unique()) == (2174, 186)
    assert demo.dated is False


def test_golden_counts_of_the_demo_codes(demo, data_root):
    kept = demo.code_names["code"]
    assert demo.oddities["diagnosis rows without an ICD code, kept as EICUDX"] == 24_978 - 21_206
    assert kept.str.starts_with("EICUTX:").sum() == 1199
    diagnosed = pl.read_csv(data_root / DEMO / "diagnosis.csv.gz", infer_schema=False)
    assert diagnosed["diagnosisstring"].n_unique() == 1091
    uncoded = diagnosed.filter(pl.col("icd9code") == "")["diagnosisstring"].n_unique()
    assert kept.str.starts_with("EICUDX:").sum() == uncoded
    assert "entries of icd9code that are no ICD code, left out" not in demo.oddities
    # The source's 1,402 distinct names count having none as one; letter case is not told apart.
    ordered = pl.read_csv(data_root / DEMO / "medication.csv.gz", infer_schema=False)["drugname"]
    assert ordered.n_unique() == 1402
    nameless = demo.oddities["medication rows without a name, left out"]
    far = demo.oddities["medication rows more than 30 days outside their visit, left out"]
    assert (nameless + far, far) == (ordered.null_count(), 2)
    names = "DRUG:" + ordered.drop_nulls().str.strip_chars().str.to_lowercase()
    names = names.str.replace_all(r"\s+", " ").unique()
    assert names.is_in(kept.implode()).all()


def test_demo_measurements_lie_in_their_stays_and_are_plausible(demo):
    kinds = demo.measurements.group_by("variable").agg(
        pl.len(), pl.col("value").median(), pl.col("stay_id").n_unique().alias("stays")
    )
    found = {row["variable"]: row for row in kinds.collect(engine="streaming").rows(named=True)}
    assert found["VITAL:noninvasivesystolic"]["len"] == 274_088 - 32_280
    assert 100 < found["VITAL:noninvasivesystolic"]["value"] < 140
    assert 3 < found["LAB:potassium"]["value"] < 5
    assert max(row["stays"] for name, row in found.items() if name.startswith("LAB:")) <= 169


@pytest.mark.parametrize("task, stays", [("mortality24", 1367), ("los", 2267), ("aki", 1988),
                                         ("sepsis", 896), ("kidney_function", 801)])  # fmt: skip
def test_series_join_every_stay_of_the_demo(demo, data_root, task, stays):
    folder = data_root / "yaib_demo" / task / "eicu_demo"
    raw = pl.read_parquet(folder / "dyn.parquet")
    assert raw["stay_id"].n_unique() == stays
    assert raw["stay_id"].cast(pl.Int64).is_in(demo.stays["stay_id"].implode()).all()


def test_series_of_the_demo_has_every_value_an_hour_late(demo, data_root):
    raw = pl.read_parquet(data_root / SERIES / "dyn.parquet")
    held = demo.measurements.filter(pl.col("variable").str.starts_with("YAIB:"))
    held = held.join(demo.stays.lazy().select("stay_id", "start"), on="stay_id")
    held = held.with_columns(hour=(pl.col("time") - pl.col("start")).dt.total_hours()).collect()
    values = raw.drop("stay_id", "time")
    assert held.height == sum(values[name].count() for name in values.columns)
    assert held["variable"].n_unique() == 48
    filled = raw.filter(pl.any_horizontal(pl.exclude("stay_id", "time").is_not_null()))
    assert held["stay_id"].n_unique() == filled["stay_id"].n_unique()
    assert (held["hour"].min(), held["hour"].max()) == (1, 25)


def test_hour_of_the_series_is_rounded_down(demo, data_root):
    # A creatinine drawn in minute 119 stands in the row of hour 1, so hour 1 is known at hour 2.
    drawn = pl.read_csv(data_root / DEMO / "lab.subset-169-stays.csv.gz", infer_schema=False)
    drawn = drawn.filter(labname="creatinine").select(
        pl.col("patientunitstayid").cast(pl.Int64).alias("stay_id"),
        (pl.col("labresultoffset").cast(pl.Int64) // 60).alias("hour"),
    )
    raw = pl.read_parquet(data_root / "yaib_demo/los/eicu_demo/dyn.parquet")
    rows = raw.drop_nulls("crea").select(
        pl.col("stay_id").cast(pl.Int64), pl.col("time").dt.total_hours().alias("hour")
    )
    rows = rows.join(drawn.select("stay_id").unique(), on="stay_id", how="semi")
    assert rows.height > 400
    assert rows.join(drawn, on=["stay_id", "hour"], how="anti").height == 0


def test_mortality_of_the_demo_is_what_its_patient_table_says(cohort, data_root):
    raw = pl.read_csv(data_root / DEMO / "patient.csv.gz")
    first = raw.sort("hospitaladmitoffset", "unitvisitnumber", descending=[True, False]).unique(
        "patienthealthsystemstayid", keep="first", maintain_order=True
    )
    young = pl.col("age").cast(pl.Int64, strict=False) < 18
    long = (pl.col("unitdischargeoffset") >= 2880) & (pl.col("hospitaldischargeoffset") > 2880)
    known = pl.col("hospitaldischargestatus").is_in(["Alive", "Expired"])
    wanted = first.filter(long & known & ~young.fill_null(False))
    dead = wanted.filter(hospitaldischargestatus="Expired")["patienthealthsystemstayid"]
    samples = cohort.samples
    assert set(samples["visit_id"]) == set(wanted["patienthealthsystemstayid"])
    assert set(samples.filter(pl.col("label.mortality"))["visit_id"]) == set(dead)
    assert (samples.height, len(dead)) == (810, 94)


def test_readmission_is_refused_because_dates_mean_nothing(demo):
    with pytest.raises(errors.CohortError, match="dates that compare"):
        tasks.build(demo, "readmission30")


def test_nothing_after_the_prediction_time_is_known(demo, cohort):
    when = cohort.samples.select("visit_id", "sample_id", "prediction_time")

    def early(frame):
        joined = frame.lazy().join(when.lazy(), on="visit_id")
        return joined.filter(pl.col("time") <= pl.col("prediction_time")).drop(
            "sample_id", "prediction_time"
        )

    # The same records without all that came later must give the same features.
    past = dataclasses.replace(
        demo,
        codes=early(demo.codes).collect(),
        attributes=early(demo.attributes).collect(),
        measurements=early(demo.measurements),
        notes=early(demo.notes),
    )
    assert past.codes.height < demo.codes.height
    for see in (known.codes, known.attributes, known.last_measurements, known.notes):
        seen = see(demo, cohort)
        assert seen.height > 500
        assert seen.sort(seen.columns).equals(see(past, cohort).sort(seen.columns)), see.__name__


APACHE = """patientunitstayid,apacheversion,predictedhospitalmortality,actualhospitalmortality
100,IV,{iv},EXPIRED
100,IVa,0.25,EXPIRED
99,IV,0.5,ALIVE
"""


def test_predictions_of_apache_are_scores_known_after_a_day_and_no_input(tmp_path):
    plain = eicu.read(write(tmp_path))
    assert plain.scores.is_empty()
    (tmp_path / "apachePatientResult.csv").write_text(APACHE.format(iv="8.0E-2"))
    scored = eicu.read(tmp_path)
    first = plain.stays.sort("start").head(1)
    day = first["start"].item() + datetime.timedelta(days=1)
    visit = first["visit_id"].item()
    assert scored.scores.rows() == [
        (visit, "apache iv", 0.08, day), (visit, "apache iva", 0.25, day)
    ]  # fmt: skip
    assert sources.fingerprint(scored) != sources.fingerprint(plain)
    for name in ("patients", "visits", "stays", "codes", "code_names", "attributes"):
        assert getattr(scored, name).equals(getattr(plain, name))


def test_a_stay_that_apache_does_not_score_has_none(tmp_path):
    write(tmp_path)
    (tmp_path / "apachePatientResult.csv").write_text(APACHE.format(iv="-1"))
    assert eicu.read(tmp_path).scores["name"].to_list() == ["apache iva"]


def test_scores_are_known_only_to_predictions_a_day_later(demo):
    for hours, few in ((23.0, 0), (24.0, 1000)):
        cohort = tasks.build(demo, "mortality", changes={"after_hours": hours})
        found = known.scores(demo, cohort)
        assert found.height >= few and (few or not found.height)
        assert found.height == found.select("sample_id", "name").n_unique()
        assert found["probability"].is_between(0, 1).all()


def test_outcomes_are_never_read_as_attributes(tmp_path):
    with_outcome = {"actualhospitalmortality": "EXPIRED", "unitdischargelocation": "Death"}
    told = eicu.read(write(tmp_path, patient=[with_outcome]))
    said = " ".join([*told.attributes["name"], *told.attributes["text"].drop_nulls()])
    assert not any(word in said for word in ("discharge", "death", "expired", "mortality"))


def test_visits_of_a_patient_follow_each_other_without_overlap(demo):
    after = demo.visits.with_columns(
        next=pl.col("start").shift(-1).over("subject_id", order_by="order")
    ).drop_nulls("next")
    assert (after["next"] - after["end"]).min() > datetime.timedelta(days=300)
    assert demo.visits.equals(demo.visits.sort("subject_id", "order"))
    inside = demo.stays.join(demo.visits, on="visit_id")
    assert (inside["start"] >= inside["start_right"]).all()
    assert (inside["end"] <= inside["end_right"]).all()


def test_one_stay_reads_as_described(tmp_path):
    records = eicu.read(write(tmp_path))
    codes = records.codes.sort("code")
    assert [(code, minutes(time), position) for _, code, time, position in codes.rows()] == [
        ("DRUG:fentanyl", 70, None),
        ("DRUG:heparin", 50, None),
        ("EICUTX:pulmonary|ventilation", 40, None),
        ("ICD10CM:I509", 30, 1),
        ("ICD9CM:4280", 30, 1),
    ]
    names = {code: (kind, name) for code, kind, name in records.code_names.rows()}
    assert names["EICUTX:pulmonary|ventilation"] == ("procedure", "pulmonary: ventilation")
    assert names["ICD10CM:I509"] == ("diagnosis", "cardiovascular: heart: failure")
    visit = records.visits.row(0, named=True)
    assert (minutes(visit["start"]), minutes(visit["end"])) == (-60, 6000)
    assert (visit["disposition"], visit["age"], visit["transferred_in"]) == ("home", 50, False)
    patient = records.patients.row(0, named=True)
    assert patient == {"subject_id": 1, "sex": "F", "birth_time": None, "death_time": None}
    facts = {row["name"]: (row["text"] or row["number"], minutes(row["time"]))
             for row in records.attributes.rows(named=True)}  # fmt: skip
    assert facts == {"admission location": ("emergency department", -60), "age": (50, -60),
                     "race": ("caucasian", -60), "sex": ("female", -60), "hospital": ("7", -60),
                     "unit type": ("micu", 0), "unit admission source": ("floor", 0),
                     "admission diagnosis": ("sepsis, pulmonary", 15)}  # fmt: skip
    assert records.oddities == {}


def test_every_kind_of_measurement_is_timed_by_when_it_was_known(tmp_path):
    found = eicu.read(write(tmp_path)).measurements.sort("time").collect(engine="streaming")
    assert dict(found.schema) == tables.MEASUREMENTS
    assert [(row["variable"], row["value"], row["unit"], minutes(row["time"]), row["stay_id"])
            for row in found.rows(named=True)] == [
        ("VITAL:heartrate", 88, "bpm", 5, 100),
        ("VITAL:noninvasivesystolic", 120, "mmHg", 6, 100),
        ("NURSE:Temperature, Temperature (C)", 36.5, None, 9, 100),
        ("LAB:potassium", 4.1, "mmol/L", 37, 100),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["", "nan", "inf", "Oral"])
def test_chart_cell_without_a_number_is_no_measurement(tmp_path, value):
    rows = [{"nursingchartvalue": value}]
    found = eicu.read(write(tmp_path, nurseCharting=rows)).measurements.collect()
    assert found.height == 3 and not found["variable"].str.starts_with("NURSE:").any()


def test_texts_are_timed_by_their_entry_and_read_as_words(tmp_path):
    found = eicu.read(write(tmp_path)).notes.sort("time", "category").collect(engine="streaming")
    assert dict(found.schema) == tables.NOTES
    assert [(row["category"], row["text"], minutes(row["time"]))
            for row in found.rows(named=True)] == [
        ("pastHistory", "Past history: COPD - severe.", 4),
        ("admissionDx", "Admission diagnosis: Neurology: Coma/stupor.", 15),
        ("note", "Note: Smoking Status: denies.", 90),
        ("physicalExam", "Physical examination: HR Current 88.", 90),
    ]  # fmt: skip
    assert not found["date_only"].any()


def test_rows_of_one_form_are_one_text_and_clerical_ones_are_left_out(tmp_path):
    rows = [
        {},
        {"notepath": "notes/Shared/View and Save/Copies/Copies", "notevalue": "Copies"},
        {"notepath": "notes/Progress Notes/Alcohol/none", "notevalue": "none", "notetext": ""},
        {"noteenteredoffset": 95},
        {"patientunitstayid": 5},
        {"noteoffset": "", "noteenteredoffset": ""},
    ]
    texts = eicu.read(write(tmp_path, note=rows)).notes.filter(pl.col("category") == "note")
    texts = texts.sort("time").collect()
    assert texts["text"].to_list() == [
        "Note: Alcohol: none; Smoking Status: denies.",
        "Note: Smoking Status: denies.",
    ]
    assert [minutes(time) for time in texts["time"]] == [90, 95]


def test_unit_stays_of_a_hospital_stay_share_its_clock(tmp_path):
    second = dict(patientunitstayid=101, unitvisitnumber=2, hospitaladmitoffset=-3660,
                  hospitaldischargeoffset=2400, unitdischargeoffset=1000)  # fmt: skip
    records = eicu.read(
        write(tmp_path, patient=[second, {}], treatment=[{}, {"patientunitstayid": 101}])
    )
    assert [minutes(time) for time in records.stays["start"]] == [0, 3600]
    assert [minutes(time) for time in records.stays["end"]] == [3000, 4600]
    assert records.visits.height == 1 and records.oddities.keys() == {
        "codes standing more than once in a visit, the earliest kept"
    }
    treated = records.codes.filter(pl.col("code").str.starts_with("EICUTX"))["time"].item()
    assert minutes(treated) == 40


def test_people_are_numbered_by_the_order_of_their_names(tmp_path):
    people = ["010-2", "002-9", "010-1", "002-9"]
    rows = [
        dict(patientunitstayid=k, patienthealthsystemstayid=k, uniquepid=person)
        for k, person in enumerate(people)
    ]
    records = eicu.read(write(tmp_path, patient=rows, **{stem: [{"patientunitstayid": 0}]
                        for stem in TABLES if stem != "patient"}))  # fmt: skip
    subjects = dict(records.visits.select("visit_id", "subject_id").rows())
    assert subjects == {0: 3, 1: 1, 2: 2, 3: 1}


def test_places_of_discharge_are_what_they_say(tmp_path):
    places = {"Home": "home", "Rehabilitation": "facility", "Nursing Home": "facility",
              "Skilled Nursing Facility": "facility", "Other Hospital": "transfer",
              "Other External": "other", "Death": "died"}  # fmt: skip
    rows = [
        dict(patientunitstayid=k, patienthealthsystemstayid=k, uniquepid=k,
             hospitaldischargelocation=place, hospitaldischargestatus="")
        for k, place in enumerate(places, 100)
    ]  # fmt: skip
    visits = eicu.read(write(tmp_path, patient=rows)).visits.sort("visit_id")
    assert visits["disposition"].to_list() == list(places.values())
    padded = {"hospitaldischargelocation": " DEATH ", "hospitaladmitsource": " other hospital"}
    (visit,) = eicu.read(write(tmp_path, patient=[padded])).visits.rows(named=True)
    assert visit["disposition"] == "died" and visit["transferred_in"]


def test_of_unit_stays_that_begin_together_the_source_says_which_is_first(tmp_path):
    second = dict(patientunitstayid=99, unitvisitnumber=2)
    records = eicu.read(write(tmp_path, patient=[second, {}]))
    first = draft.visits(records, specs.find("mortality", "strict"))
    assert records.stays["stay_id"].to_list() == [100, 99]
    assert first["index_end"].to_list() == [records.stays["end"][0]]


def test_visits_are_ordered_by_year_then_age_whatever_came_of_them(tmp_path):
    told = [("2015", "50", "Alive"), ("2014", "50", "Expired"), ("2014", "49", "Alive"),
            ("2014", "50", "Alive")]  # fmt: skip
    rows = [
        dict(patientunitstayid=k, patienthealthsystemstayid=k, hospitaldischargeyear=year, age=age,
             hospitaldischargestatus=status)
        for k, (year, age, status) in enumerate(told, 100)
    ]  # fmt: skip
    records = eicu.read(write(tmp_path, patient=rows))
    assert records.visits["visit_id"].to_list() == [102, 101, 103, 100]
    assert records.visits["order"].to_list() == [0, 1, 2, 3]
    death = records.visits.filter(disposition="died")["end"].item()
    assert records.patients["death_time"].to_list() == [death]
    assert (
        records.oddities["visits ordered by number, of a patient, year and age with several"] == 2
    )
    rule = "visits that begin at or after the patient's death, no samples"
    assert records.oddities[rule] == 2


@pytest.mark.parametrize("text, code", [
    ("428.0", "ICD9CM:4280"), ("038.9", "ICD9CM:0389"), ("V62.84", "ICD9CM:V6284"),
    ("V08", "ICD9CM:V08"), ("E980.2", "ICD9CM:E9802"), ("E87.1", "ICD10CM:E871"),
    ("E46", "ICD10CM:E46"), ("E11.65", "ICD10CM:E1165"), (" i50.9 ", "ICD10CM:I509"),
    ("T39.1X", "ICD10CM:T391X"), ("C7A.1", "ICD10CM:C7A1"), ("31.1", "ICD9PROC:311"),
    ("V97.33XD", "ICD10CM:V9733XD"), ("", None), ("see note", None), ("12345678", None),
])  # fmt: skip
def test_versions_of_icd_are_told_apart_by_form(text, code):
    assert coding.icd_code(text) == code


@hypothesis.given(st.from_regex(r"([0-9]{3}|V[0-8][0-9]|E[89][0-9]{2})(\.[0-9])?", fullmatch=True))
def test_every_dotted_icd9_code_is_read_as_one(text):
    assert coding.icd_code(text) == f"ICD9CM:{text.replace('.', '')}"


@hypothesis.given(st.text(max_size=12))
def test_any_text_is_a_code_without_dots_or_none(text):
    code = coding.icd_code(text)
    assert code is None or "." not in code and code.split(":")[1]


def test_entries_of_both_versions_become_codes_of_their_own(tmp_path):
    rows = [
        {},
        {"icd9code": "038.9, 518.81, R65.20, rubbish"},
        {"icd9code": "", "diagnosisoffset": 9},
    ]
    records = eicu.read(write(tmp_path, diagnosis=rows))
    codes = set(records.codes.filter(~pl.col("code").str.contains("DRUG|EICUTX"))["code"])
    assert codes == {"ICD9CM:4280", "ICD10CM:I509", "ICD9CM:0389", "ICD9CM:51881",
                     "ICD10CM:R6520", "EICUDX:cardiovascular|heart|failure"}  # fmt: skip
    assert records.oddities == {
        "entries of icd9code that are no ICD code, left out": 1,
        "diagnosis rows without an ICD code, kept as EICUDX": 1,
    }


ODD = {
    "ages given as over 89": ("patient", [{"age": "> 89"}]),
    "hospital admissions without offset": ("patient", [{"hospitaladmitoffset": ""}]),
    "hospital admissions without a clock time": ("patient", [{"hospitaladmittime24": ""}]),
    "hospital admissions after the first unit": ("patient", [{"hospitaladmitoffset": 30}]),
    "hospital stays whose first unit stay": ("patient", [{"unitvisitnumber": 2}]),
    "visits without an end, outcome unknown": ("patient", [{"hospitaldischargeoffset": ""}]),
    "deaths in a unit in a hospital stay": ("patient", [{"unitdischargestatus": "Expired"}]),
    "unit discharges after the hospital": ("patient", [{"unitdischargeoffset": 6001}]),
    "unit stays that disagree with the first": (
        "patient",
        [{}, dict(patientunitstayid=101, hospitaladmitoffset=-61, hospitaldischargestatus="")],
    ),
    "diagnosis rows of unknown unit stays": ("diagnosis", [{}, {"patientunitstayid": 5}]),
    "diagnosis rows without code and name": (
        "diagnosis",
        [{}, {"icd9code": "", "diagnosisstring": ""}],
    ),
    "diagnosis rows without a time": ("diagnosis", [{"diagnosisoffset": ""}]),
    "treatment rows more than 30 days outside": (
        "treatment",
        [{}, {"treatmentoffset": 99_999_999_999}],
    ),
    "diagnosis rows more than 30 days outside": ("diagnosis", [{}, {"diagnosisoffset": -525_600}]),
    "medication rows more than 30 days outside": (
        "medication",
        [{}, {"drugorderoffset": 525_600, "drugname": "aspirin"}],
    ),
    "admission diagnoses entered more than 30 days outside": (
        "admissionDx",
        [{"admitdxenteredoffset": 525_600}],
    ),
    "treatment rows without a name": ("treatment", [{}, {"treatmentstring": ""}]),
    "medication rows without a name": ("medication", [{}, {"drugname": " "}]),
    "infusiondrug rows without a name": ("infusiondrug", [{}, {"drugname": ""}]),
    "codes standing more than once": ("treatment", [{}, {"treatmentoffset": 50}]),
    "codes entered after the discharge": ("treatment", [{"treatmentoffset": 6001}]),
}


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_mended_or_left_out_and_counted(tmp_path, rule):
    table, rows = ODD[rule]
    records = eicu.read(write(tmp_path, **{table: rows}))
    counted = {found[: len(rule)]: n for found, n in records.oddities.items()}
    assert counted[rule] == 1
    # A row without code is told as such too before it is left out.
    assert len(counted) == 1 + (rule == "diagnosis rows without code and name")
    assert records.visits.height == 1
    visit = records.visits.row(0, named=True)
    assert visit["end"] is None or visit["start"] <= visit["end"]
    assert visit["age"] in (50, 90)
    stays = records.stays
    assert (stays["start"] >= visit["start"]).all()
    assert visit["end"] is None or (stays["end"] <= visit["end"]).all()


BAD = {
    "repeat a 'patientunitstayid' .*first in row 2, as in column 'age'": (
        "patient",
        [{}, {"age": "51"}],
    ),
    "row 2 has no value in column 'uniquepid'": (
        "patient",
        [{}, {"patientunitstayid": 101, "uniquepid": ""}],
    ),
    "row 2: its hospital stay .* is given to two patients": (
        "patient",
        [{}, {"patientunitstayid": 101, "hospitaladmitoffset": -90, "uniquepid": "002-2"}],
    ),
    "row 1 .*'age': a text of 3 character": ("patient", [{"age": "old"}]),
    "row 1 .*'age': a text of 2 character": ("patient", [{"age": "-4"}]),
    "row 1, column 'unitdischargeoffset' lies more than ten": (
        "patient",
        [{"unitdischargeoffset": 10**15}],
    ),
    "row 1 .*'hospitaladmitoffset'.*whole number": ("patient", [{"hospitaladmitoffset": "-1.5"}]),
    "row 1 .*'diagnosisoffset'.*whole number": ("diagnosis", [{"diagnosisoffset": "soon"}]),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_row_is_explained_without_an_identifier(tmp_path, said):
    table, rows = BAD[said]
    with pytest.raises(errors.RecordsError, match=f"{table}.csv: .*{said}") as found:
        eicu.read(write(tmp_path, **{table: rows}))
    assert "002-" not in str(found.value) and "101" not in str(found.value)


@pytest.mark.parametrize("stem", ["patient", "diagnosis", "treatment", "medication"])
def test_missing_table_is_explained(tmp_path, stem):
    (write(tmp_path) / f"{stem}.csv").unlink()
    with pytest.raises(errors.RecordsError, match=f"table '{stem}' is missing"):
        eicu.read(tmp_path)


OPTIONAL = [
    stem for stem in TABLES if stem not in ("patient", "diagnosis", "treatment", "medication")
]


@pytest.mark.parametrize("stem", OPTIONAL)
def test_optional_table_may_be_missing(tmp_path, stem):
    whole = eicu.read(write(tmp_path))
    rows = whole.codes.height + whole.measurements.collect().height + whole.notes.collect().height
    (tmp_path / f"{stem}.csv").unlink()
    records = eicu.read(tmp_path)
    left = [records.codes, records.measurements.collect(), records.notes.collect()]
    assert sum(frame.height for frame in left) == rows - 1
    if stem == "admissionDx":  # then the diagnosis counts as known at the end of the first day
        assert minutes(records.attributes.filter(name="admission diagnosis")["time"].item()) == 1440


@pytest.mark.parametrize("column", ["uniquepid", "hospitaladmitoffset", "unittype"])
def test_missing_column_is_explained(tmp_path, column):
    raw = pl.read_csv(write(tmp_path) / "patient.csv", infer_schema=False)
    raw.rename({column: f"{column}_x"}).write_csv(tmp_path / "patient.csv")
    with pytest.raises(errors.RecordsError, match=f"column '{column}' is missing.*{column}_x"):
        eicu.read(tmp_path)


def test_bad_value_of_a_lazy_table_is_explained_when_it_is_read(tmp_path):
    records = eicu.read(write(tmp_path, vitalPeriodic=[{}, {"heartrate": "high"}]))
    with pytest.raises(errors.RecordsError, match="vitalPeriodic.csv: row 2 .*'heartrate'"):
        records.measurements.collect(engine="streaming")


@pytest.mark.parametrize("hours", ["duration", "float", "integer"])
def test_hours_of_a_series_may_be_lengths_of_time_or_numbers(tmp_path, hours):
    time = pl.Series([0, 3])
    if hours == "duration":
        time = (time * 3_600_000).cast(pl.Duration("ms"))
    time = time.cast(pl.Float64) if hours == "float" else time
    folder = write_series(tmp_path / "series", [100, 100], time)
    found = eicu.read(write(tmp_path), folder).measurements
    found = found.filter(pl.col("variable") == "YAIB:hr").sort("time").collect()
    assert [minutes(time) for time in found["time"]] == [60, 240]
    assert found["value"].to_list() == [80, 80]


def test_series_of_other_stays_is_refused_and_of_some_counted(tmp_path):
    some = write_series(tmp_path / "some", [100, 7], [0.0, 0.0])
    records = eicu.read(write(tmp_path), some)
    assert records.oddities == {"stays of the hourly series that are unknown, left out": 1}
    other = write_series(tmp_path / "other", [7], [0.0])
    with pytest.raises(errors.RecordsError, match="series of another source"):
        eicu.read(tmp_path, other)
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.RecordsError, match="table 'dyn' is missing"):
        eicu.read(tmp_path, tmp_path / "empty")


def test_series_is_found_beside_the_data_and_refused_for_other_sources(tmp_path, monkeypatch):
    (tmp_path / DEMO).mkdir()
    write(tmp_path / DEMO)
    write_series(tmp_path / "hourly", [100], [0.0])
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path))
    found = sources.read("eicu", series="hourly").measurements.collect()["variable"]
    assert "YAIB:hr" in found
    with pytest.raises(errors.ConfigError, match="only 'eicu' does"):
        sources.read("mimic3", str(tmp_path), series="hourly")


def test_terms_follow_the_licence_of_the_folder(tmp_path):
    assert "Credentialed" in eicu.read(write(tmp_path)).terms
    (tmp_path / "LICENSE.txt").write_text("## ODC Open Database License (ODbL)")
    assert "ODbL" in eicu.read(tmp_path).terms


def stays(visit_id: int):
    """One to three unit stays of a hospital stay, with any offsets and outcomes."""
    offset = st.one_of(st.just(""), st.integers(-9000, 9000))
    row = st.fixed_dictionaries(
        {
            "patienthealthsystemstayid": st.just(visit_id),
            "uniquepid": st.just(f"002-{visit_id % 3}"),
            "hospitaladmitoffset": offset,
            "unitdischargeoffset": offset,
            "hospitaldischargeoffset": offset,
            "hospitaldischargeyear": st.sampled_from(["", "2014", "2015"]),
            "hospitaldischargestatus": st.sampled_from(["", "Alive", "Expired"]),
            "age": st.sampled_from(["", "0", "17", "89", "> 89"]),
            "hospitaladmittime24": st.sampled_from(["", "00:00:00", "23:59:00", "noon"]),
        }
    )
    return st.lists(row, min_size=1, max_size=3)


@hypothesis.settings(max_examples=10, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@hypothesis.given(st.tuples(*map(stays, range(6))))
def test_whatever_the_offsets_times_are_in_order(hospital):
    rows = [row | {"patientunitstayid": k} for k, row in enumerate(sum(hospital, []), 100)]
    with tempfile.TemporaryDirectory() as folder:
        root = write(pathlib.Path(folder), patient=rows)
        for stem in OPTIONAL:
            (root / f"{stem}.csv").unlink()
        records = eicu.read(root)
    visits, held = records.visits, records.stays.join(records.visits, on="visit_id")
    outside = records.oddities.get("unit stays outside their visit, left out", 0)
    assert (visits.height, records.stays.height + outside) == (6, len(rows))
    assert (visits["start"] <= visits["end"]).drop_nulls().all()
    assert (held["start"] <= held["end"]).drop_nulls().all()
    assert (held["start_right"] <= held["start"]).all()
    following = pl.col("start").shift(-1).over("subject_id", order_by="order")
    gaps = visits.select(following - pl.col("end").fill_null(pl.col("start"))).to_series()
    assert (gaps.drop_nulls() > datetime.timedelta(days=300)).all()
    died = visits.filter(disposition="died")["subject_id"].unique()
    dead = records.patients.drop_nulls("death_time")["subject_id"]
    assert dead.is_in(died.implode()).all()


def test_cohort_of_the_demo_is_split_by_patient(cohort):
    groups = cohort.samples.group_by("subject_id").agg(pl.col("split").n_unique())
    assert (groups["split"] == 1).all()
    assert set(cohort.samples["split"]) == set(cohorts.SPLITS)


KNOWN = {"0389", "0311", "00845", "486", "4270", "25000", "2500", "3899"}


@pytest.mark.parametrize(
    "texts, codes",
    [
        # A column with its zeros is as written, and one without them lost them.
        (["038.9", "31.1", "38.9"], ["ICD9CM:0389", "ICD9PROC:311", "ICD9PROC:389"]),
        (["A41.9", "38.9", "31.1"], ["ICD10CM:A419", "ICD9CM:0389", "ICD9PROC:311"]),
        (["8.45", "401.9"], ["ICD9CM:00845", "ICD9CM:4019"]),
        (["486.0", "427.0", "38.9"], ["ICD9CM:486", "ICD9CM:4270", "ICD9CM:0389"]),
    ],
)
def test_entry_that_lost_its_zero_is_the_diagnosis_it_was(texts, codes):
    read, _, unsure = coding.icd_codes(texts, KNOWN)
    assert [read[text] for text in texts] == codes and not unsure


def test_entry_that_may_be_two_codes_is_named():
    read, lost, unsure = coding.icd_codes(["250.0", "38.9"], KNOWN)
    assert unsure == ["250.0"] and lost == ["38.9"] and read["250.0"] == "ICD9CM:2500"


def test_without_a_dictionary_no_diagnosis_becomes_a_procedure():
    assert coding.icd_codes(["38.9"], ())[0] == {"38.9": "ICD9CM:0389"}


def test_values_and_texts_a_year_off_are_left_out_and_counted(tmp_path):
    slip = 525_600
    rows = {
        "vitalPeriodic": "observationoffset",
        "vitalAperiodic": "observationoffset",
        "lab": "labresultrevisedoffset",
        "nurseCharting": "nursingchartentryoffset",
        "note": "noteenteredoffset",
        "pastHistory": "pasthistoryenteredoffset",
    }
    write(tmp_path, **{stem: [{}, {column: slip}] for stem, column in rows.items()})
    records = eicu.read(tmp_path)
    measured, notes = records.measurements.collect(), records.notes.collect()
    starts = records.visits["start"][0], records.visits["end"][0]
    month = datetime.timedelta(days=30)
    for found in (measured, notes):
        assert found["time"].is_between(starts[0] - month, starts[1] + month).all()
    far = {rule.split()[0] for rule in records.oddities if "outside their visit" in rule}
    # An examination is entered with the note it belongs to.
    assert far == {*rows, "physicalExam"}


def test_result_in_words_is_missing_and_counted(tmp_path):
    records = eicu.read(write(tmp_path, lab=[{}, {"labresult": "<5"}]))
    found = records.measurements.filter(pl.col("variable").str.starts_with("LAB:")).collect()
    assert found.height == 1
    assert records.oddities["lab rows whose value is no number, left out"] == 1
