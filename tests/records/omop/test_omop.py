import datetime
import gzip
import pathlib

import hypothesis
import polars as pl
import pytest
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.records import sources
from ehr_jax.records.common import reading, tables
from ehr_jax.records.mimic import mimic4
from ehr_jax.records.omop import reader as omop
from ehr_jax.records.omop import source_values, vocabulary

HOUR = datetime.timedelta(hours=1)


@pytest.fixture(scope="session")
def folder(data_root):
    return data_root / "mimic_iv_demo_omop"


@pytest.fixture(scope="session")
def demo(folder):
    return omop.read(folder)


# A hospital of one visit in CDM 5.4; `write` changes it row by row.
TABLES = {
    "person": [
        dict(person_id=1, gender_concept_id=8532, year_of_birth=1960, month_of_birth=3,
             day_of_birth=9, birth_datetime="", race_concept_id=8527, ethnicity_concept_id=0,
             gender_source_value="F", race_source_value="WHITE", ethnicity_source_value="")
    ],
    "visit_occurrence": [
        dict(visit_occurrence_id=10, person_id=1, visit_concept_id=9201,
             visit_start_date="2015-03-02", visit_start_datetime="2015-03-02 10:00:00",
             visit_end_date="2015-03-09", visit_end_datetime="2015-03-09 12:00:00",
             visit_source_concept_id=0, admitted_from_concept_id=8717,
             admitted_from_source_value="TRANSFER FROM HOSPITAL", discharged_to_concept_id=8863,
             discharged_to_source_value="SNF")
    ],
    "visit_detail": [
        dict(visit_detail_id=100, visit_occurrence_id=10, visit_detail_concept_id=32037,
             visit_detail_start_date="2015-03-03",
             visit_detail_start_datetime="2015-03-03 01:00:00",
             visit_detail_end_date="2015-03-05", visit_detail_end_datetime="2015-03-05 02:00:00",
             care_site_id="")
    ],
    "condition_occurrence": [
        dict(visit_occurrence_id=10, condition_concept_id=316139, condition_source_concept_id=0,
             condition_source_value="chf", condition_type_concept_id=32821,
             condition_start_date="2015-03-04", condition_start_datetime="2015-03-04 08:00:00")
    ],
    "procedure_occurrence": [
        dict(visit_occurrence_id=10, procedure_concept_id=4021323, procedure_source_concept_id=0,
             procedure_source_value="CABG", procedure_type_concept_id=32833,
             procedure_date="2015-03-04", procedure_datetime="2015-03-04 09:30:00")
    ],
    "drug_exposure": [
        dict(visit_occurrence_id=10, drug_concept_id=1367571, drug_source_concept_id=0,
             drug_source_value="Heparin", drug_type_concept_id=32838,
             drug_exposure_start_date="2015-03-04",
             drug_exposure_start_datetime="2015-03-04 00:00:00")
    ],
    "measurement": [
        dict(visit_occurrence_id=10, visit_detail_id=100, measurement_concept_id=3027018,
             measurement_date="2015-03-04", measurement_datetime="2015-03-04 06:00:00",
             value_as_number=88, unit_concept_id=0, unit_source_value="bpm",
             measurement_source_value="HR")
    ],
    "note": [
        dict(visit_occurrence_id=10, note_date="2015-03-09", note_datetime="",
             note_title="Discharge summary", note_text="Went home.")
    ],
    "death": [dict(person_id=1, death_date="2016-01-01", death_datetime="")],
}  # fmt: skip

CONCEPTS = [
    dict(concept_id=316139, concept_name="Heart failure", domain_id="Condition",
         vocabulary_id="SNOMED", concept_code="84114007"),
    dict(concept_id=44824250, concept_name='Failure, "congestive"', domain_id="Condition",
         vocabulary_id="ICD9CM", concept_code="428.0"),
    dict(concept_id=1367571, concept_name="heparin", domain_id="Drug", vocabulary_id="RxNorm",
         concept_code="5224"),
    dict(concept_id=3027018, concept_name="Heart rate", domain_id="Measurement",
         vocabulary_id="LOINC", concept_code="8867-4"),
    dict(concept_id=8541, concept_name="per minute", domain_id="Unit", vocabulary_id="UCUM",
         concept_code="/min"),
]  # fmt: skip


def write(folder: pathlib.Path, **changes: list[dict]) -> pathlib.Path:
    """Writes TABLES to `folder`, each named table with rows made of its first and the changes."""
    for stem, rows in TABLES.items():
        rows = [rows[0] | change for change in changes.get(stem, [{}])]
        text = pl.DataFrame([{k: str(v) for k, v in row.items()} for row in rows])
        text.write_csv(folder / f"{stem}.csv")
    return folder


def write_concepts(folder: pathlib.Path) -> None:
    """Writes the vocabulary as Athena does: upper case, tabs, no quoting."""
    lines = ["\t".join(CONCEPTS[0])]
    lines += ["\t".join(str(value) for value in row.values()) for row in CONCEPTS]
    (folder / "CONCEPT.csv").write_text("\n".join(lines) + "\n")


def rows_of(folder, stem):
    return reading.scan(reading.find_table(folder, stem), {"person_id": pl.Int64}).collect().height


def test_demo_has_the_counts_its_source_states(demo, folder):
    stated = {"person": 100, "visit_occurrence": 852, "visit_detail": 14_479, "death": 15,
              "condition_occurrence": 16_441, "procedure_occurrence": 18_447,
              "drug_exposure": 18_229, "observation_period": 100}  # fmt: skip
    assert {stem: rows_of(folder, stem) for stem in stated} == stated
    assert demo.patients.height == 100
    assert demo.patients["death_time"].count() == 15
    assert demo.oddities["visits of kind 38004207, no hospital encounters, left out"] == 577
    assert demo.visits.height + 577 == 852


@pytest.mark.parametrize(
    "stem, kind, n",
    [
        ("condition_occurrence", "diagnosis", 16_441),
        ("procedure_occurrence", "procedure", 18_447),
        ("drug_exposure", "drug", 18_229),
    ],
)
def test_every_row_of_the_demo_is_a_code_or_counted(demo, stem, kind, n):
    codes = demo.codes.join(demo.code_names, on="code").filter(kind=kind).height
    gone = (": rows", "left out", "the earliest kept")
    counted = sum(
        found
        for rule, found in demo.oddities.items()
        if rule.startswith(stem) and rule.endswith(gone)
    )
    assert codes + counted == n


def test_demo_concepts_without_a_vocabulary_are_kept_counted_and_named(demo):
    assert (
        demo.oddities[
            "condition_occurrence concepts that no vocabulary table names, kept as their id"
        ]
        == demo.code_names.filter(kind="diagnosis")["code"].str.starts_with("OMOP:").sum()
    )
    assert demo.oddities["drug_exposure rows without a concept, kept as their source value"] == 546
    systems = demo.code_names["code"].str.split(":").list.first().unique().sort().to_list()
    assert systems == ["ICD10CM", "ICD10PCS", "ICD9CM", "MIMICIV_PROC_DATETIMEEVENTS", "OMOP",
                       "SOURCE"]  # fmt: skip
    names = dict(demo.code_names.select("code", "name").rows())
    assert "essential hypertension" in names["ICD9CM:4019"].lower()
    assert names["OMOP:4021323"] != "223795"  # the data set's own concept says it in words
    assert demo.code_names["name"].null_count() == 0


def test_billed_conditions_of_the_demo_are_not_known_before_the_visits_end(demo):
    known = demo.codes.filter(pl.col("code").str.contains("^ICD(9|10)CM:"))
    assert known.height > 3_000 and known["time"].null_count() == known.height


@pytest.fixture(scope="session")
def twin(demo, folder, data_root):
    """The demo's hospital visits beside MIMIC-IV's admissions, of which they were made."""
    raw = reading.scan(
        folder / "visit_occurrence.csv.gz",
        {"visit_occurrence_id": pl.Int64, "visit_source_value": pl.String},
    ).collect()
    names = raw.select(
        pl.col("visit_occurrence_id").alias("visit_id"),
        pl.col("visit_source_value").str.extract(r"^(\d+)\|").cast(pl.Int64).alias("person"),
        pl.col("visit_source_value").str.extract(r"\|(\d+)$").cast(pl.Int64).alias("hadm_id"),
    )
    shifts = reading.scan(
        folder / "date_offsets.csv", dict.fromkeys(("subject_id", "offset"), pl.Int64)
    ).collect()
    admissions = mimic4.read(data_root / "mimic_iv_demo_2.2")
    joined = demo.visits.join(names, on="visit_id").join(
        shifts, left_on="person", right_on="subject_id"
    )
    shift = pl.format("{}y", "offset")
    return admissions, joined.with_columns(
        pl.col("start").dt.offset_by(shift), pl.col("end").dt.offset_by(shift)
    )


def test_demo_visits_are_the_275_admissions_of_mimic4(twin):
    admissions, ours = twin
    both = ours.join(admissions.visits, left_on="hadm_id", right_on="visit_id", suffix="_mimic")
    assert ours.height == both.height == admissions.visits.height == 275
    assert (both["person"] == both["subject_id_mimic"]).all()
    for column in ("disposition", "planned"):
        assert both[column].equals(both[f"{column}_mimic"], check_names=False), column
    told = both.filter(pl.col("transferred_in_mimic").is_not_null())
    assert told["transferred_in"].to_list() == told["transferred_in_mimic"].to_list()
    # Times are shifted by whole years. The OMOP visit starts in the emergency room where there was
    # one. Three discharges at the midnight before a death are mended by the reader of MIMIC-IV.
    later = both.filter(pl.col("start") != pl.col("start_mimic"))
    assert later.height == 180 and (later["start"] < later["start_mimic"]).all()
    odd = both.filter(pl.col("end") != pl.col("end_mimic"))
    assert odd.height == 3 and (odd["disposition"] == "died").all()


def test_demo_stays_are_those_of_mimic4_but_for_two_that_began_in_step_down_units(demo, twin):
    admissions, ours = twin
    stays = demo.stays.join(ours.select("visit_id", "hadm_id", "offset"), on="visit_id")
    stays = stays.with_columns(pl.col("start", "end").dt.offset_by(pl.format("{}y", "offset")))
    theirs = admissions.stays
    assert stays.height == theirs.height == 140
    same = stays.join(
        theirs, left_on=["hadm_id", "start"], right_on=["visit_id", "start"], suffix="_mimic"
    )
    assert same.height == 138
    # One stay held a time in a step-down unit, another a 29 February that the shift had to lose.
    assert (same["end"] != same["end_mimic"]).sum() == 2
    odd = theirs.join(
        stays, left_on=["visit_id", "start"], right_on=["hadm_id", "start"], how="anti"
    )
    assert sorted(odd["unit"]) == ["Neuro Intermediate", "Neuro Stepdown"]


def test_demo_gives_the_mortality_cohort_of_mimic4(demo, twin):
    admissions, ours = twin
    one, two = (tasks.build(records, "mortality").samples for records in (demo, admissions))
    both = one.join(ours.select("visit_id", "hadm_id"), on="visit_id").join(
        two, left_on="hadm_id", right_on="visit_id", suffix="_mimic"
    )
    assert both.height == one.height == two.height == 66
    assert both["label.mortality"].equals(both["label.mortality_mimic"], check_names=False)
    assert both["label.mortality"].sum() == 11


def test_demo_gives_the_readmissions_of_mimic4(demo, twin):
    admissions, ours = twin
    one, two = (tasks.build(records, "readmission30").samples for records in (demo, admissions))
    assert one.height == two.height == 255
    both = one.join(ours.select("visit_id", "hadm_id"), on="visit_id").join(
        two, left_on="hadm_id", right_on="visit_id", suffix="_mimic"
    )
    label = "label.readmission"
    assert both[label].eq_missing(both[f"{label}_mimic"]).all()
    assert both[label].sum() == 50


def test_icd_codes_of_the_demo_are_those_of_mimic4_without_one_of_a_wrong_edition(demo, twin):
    admissions, ours = twin
    of_visit = ours.select("visit_id", "hadm_id")
    read = demo.codes.join(of_visit, on="visit_id").select("hadm_id", "code")
    truth = admissions.codes.select(pl.col("visit_id").alias("hadm_id"), "code")
    # The CDM keeps some codes, of V mostly, in OBSERVATION, which is not here, and no ICD-9-PROC.
    shares = {"ICD9CM": (1_781, 2_193), "ICD10CM": (1_859, 2_313), "ICD10PCS": (281, 297)}
    for system, (held, stated) in shares.items():
        own = read.filter(pl.col("code").str.starts_with(f"{system}:"))
        all_of = truth.filter(pl.col("code").str.starts_with(f"{system}:"))
        assert own.join(all_of, on=["hadm_id", "code"], how="semi").height == own.height == held
        assert all_of.height == stated


@pytest.mark.parametrize("task, agreement", [("phenotype_next", 0.997), ("cvd_next", 1)])
def test_demo_serves_tasks_on_icd_codes_as_mimic4_does(demo, twin, task, agreement):
    admissions, ours = twin
    one, two = (tasks.build(records, task).samples for records in (demo, admissions))
    both = one.join(ours.select("visit_id", "hadm_id"), on="visit_id").join(
        two, left_on="hadm_id", right_on="visit_id", suffix="_mimic"
    )
    assert both.height == one.height == two.height > 100
    labels = [name for name in one.columns if name.startswith("label.")]
    equal = pl.concat([both[name].eq_missing(both[f"{name}_mimic"]) for name in labels])
    assert equal.mean() >= agreement


def test_demo_as_parquet_in_upper_case_gives_equal_records(demo, folder, tmp_path):
    for path in folder.glob("*.csv.gz"):
        raw = pl.read_csv(path, infer_schema=False).rename(str.upper)
        whole = ("CONCEPT_ID", "PERSON_ID", "OCCURRENCE_ID", "DETAIL_ID")
        ids = [name for name in raw.columns if name.endswith(whole)]
        raw.cast(dict.fromkeys(ids, pl.Int64), strict=False).write_parquet(
            tmp_path / path.name.upper().replace(".CSV.GZ", ".parquet")
        )
    assert sources.fingerprint(omop.read(tmp_path)) == sources.fingerprint(demo)


def test_one_visit_reads_as_described(tmp_path):
    records = omop.read(write(tmp_path))
    at = datetime.datetime
    assert records.codes.select("code", "time").rows() == [
        ("OMOP:1367571", at(2015, 3, 4, 23, 59, 59)),
        ("OMOP:316139", None),
        ("OMOP:4021323", at(2015, 3, 4, 9, 30)),
    ]
    assert records.code_names.rows() == [
        ("OMOP:1367571", "drug", "Heparin"),
        ("OMOP:316139", "diagnosis", "chf"),
        ("OMOP:4021323", "procedure", "CABG"),
    ]
    visit = records.visits.row(0, named=True)
    assert (visit["disposition"], visit["planned"], visit["transferred_in"]) == (
        "facility",
        None,
        True,
    )
    assert visit["age"] == pytest.approx(54.98, abs=0.01)
    assert records.patients.row(0)[1:] == ("F", at(1960, 3, 9), at(2016, 1, 1, 23, 59, 59))
    facts = dict(records.attributes.select("name", "text").rows())
    assert facts == {"admission type": "inpatient visit", "race": "white", "sex": "female",
                     "admission location": "transfer from hospital", "age": None}  # fmt: skip
    assert records.stays.row(0) == (
        100, 10, 1, at(2015, 3, 3, 1), at(2015, 3, 5, 2), "intensive care",
    )  # fmt: skip
    assert records.measurements.collect().row(0) == (
        10, 100, at(2015, 3, 4, 6), "OMOP:3027018", 88.0, "bpm",
    )  # fmt: skip
    assert records.notes.collect().row(0) == (
        10, at(2015, 3, 9), True, "Discharge summary", "Went home.",
    )  # fmt: skip
    assert {rule[:36] for rule in records.oddities} == {
        f"{table} concepts that no vocabulary table"[:36]
        for table in ("condition_occurrence", "procedure_occurrence", "drug_exposure")
    }


def test_cdm_5_3_and_5_4_give_equal_records(tmp_path):
    old = {"admitted_from_concept_id": "admitting_source_concept_id",
           "admitted_from_source_value": "admitting_source_value",
           "discharged_to_concept_id": "discharge_to_concept_id",
           "discharged_to_source_value": "discharge_to_source_value"}  # fmt: skip
    new_print = sources.fingerprint(omop.read(write(tmp_path)))
    path = tmp_path / "visit_occurrence.csv"
    pl.read_csv(path, infer_schema=False).rename(old).write_csv(path)
    assert sources.fingerprint(omop.read(tmp_path)) == new_print


def test_vocabulary_gives_codes_names_and_units(tmp_path):
    write(tmp_path, measurement=[{"unit_concept_id": 8541, "unit_source_value": ""}])
    write_concepts(tmp_path)
    records = omop.read(tmp_path)
    names = dict(records.code_names.select("code", "name").rows())
    assert names == {"SNOMED:84114007": "Heart failure", "RXNORM:5224": "heparin",
                     "OMOP:4021323": "CABG"}  # fmt: skip
    measured = records.measurements.collect().row(0, named=True)
    assert (measured["variable"], measured["unit"]) == ("LOINC:8867-4", "per minute")


def test_icd_source_concept_of_the_vocabulary_wins_over_the_standard_one(tmp_path):
    write(tmp_path, condition_occurrence=[{"condition_source_concept_id": 44824250}])
    write_concepts(tmp_path)
    names = dict(omop.read(tmp_path).code_names.select("code", "name").rows())
    assert names["ICD9CM:4280"] == 'Failure, "congestive"'
    assert "SNOMED:84114007" not in names


@pytest.mark.parametrize("concept", ["0", ""])
def test_row_without_a_concept_is_kept_as_its_source_value(tmp_path, concept):
    row = {"condition_concept_id": concept, "condition_source_value": "chf "}
    records = omop.read(write(tmp_path, condition_occurrence=[row]))
    assert "SOURCE:chf" in records.code_names["code"]
    rule = "condition_occurrence rows without a concept, kept as their source value"
    assert records.oddities[rule] == 1


KNOWN = {
    "a bill at any time is known at the end": (32821, "2015-03-04 08:00:00", None),
    "a charted row at its time": (32817, "2015-03-04 08:00:00", "2015-03-04 08:00:00"),
    "a stamp of the start at the end": (32817, "2015-03-02 10:00:00", None),
    "an earlier onset at the end": (32817, "2009-01-01 00:00:00", None),
    "a day alone at its end": (32817, "2015-03-04", "2015-03-04 23:59:59"),
    "nothing after the end": (32817, "2015-04-01 08:00:00", "2015-03-09 12:00:00"),
    "a row of unknown type at the end": (0, "2015-03-04 08:00:00", None),
}


def test_conditions_are_known_when_they_were(tmp_path):
    rows = [
        {"condition_concept_id": i, "condition_type_concept_id": kind,
         "condition_start_date": written[:10],
         "condition_start_datetime": written if len(written) > 10 else ""}
        for i, (kind, written, _) in enumerate(KNOWN.values(), 1)
    ]  # fmt: skip
    codes = omop.read(write(tmp_path, condition_occurrence=rows)).codes
    times = dict(codes.select("code", "time").rows())
    found = {fact: times[f"OMOP:{i}"] for i, fact in enumerate(KNOWN, 1)}
    assert found == {
        fact: datetime.datetime.fromisoformat(known) if known else None
        for fact, (_, _, known) in KNOWN.items()
    }


PLACES = {
    ("4216643", ""): "died",
    ("0", "DIED"): "died",
    ("0", "Hospice - home"): "hospice",
    ("0", "Rehab facility"): "facility",
    ("0", "Short term hospital"): "transfer",
    ("0", "Home with help"): "home",
    ("0", "Left against advice"): "other",
    ("", ""): "other",  # the data set tells deaths, and none of this patient
    ("581476", "anything"): "home",
}


def test_disposition_is_told_by_the_concept_or_else_the_text(tmp_path):
    people = [{"person_id": i} for i in range(len(PLACES))]
    rows = [
        {"visit_occurrence_id": 10 + i, "person_id": i, "discharged_to_concept_id": concept,
         "discharged_to_source_value": text}
        for i, (concept, text) in enumerate(PLACES)
    ]  # fmt: skip
    records = omop.read(write(tmp_path, person=people, visit_occurrence=rows))
    found = records.visits.sort("visit_id")["disposition"].to_list()
    assert found == list(PLACES.values())


DEATHS = {
    # date and clock time of death, discharged to: disposition, death time
    ("2015-03-09", "", ""): ("died", "2015-03-09 12:00:00"),
    ("2015-03-09", "", "Home"): ("home", "2015-03-09 23:59:59"),
    ("2015-03-08", "2015-03-08 07:00:00", "Home"): ("died", "2015-03-08 07:00:00"),
    ("2015-03-10", "2015-03-10 07:00:00", ""): ("other", "2015-03-10 07:00:00"),
    ("2015-03-09", "2015-03-09 14:00:00", "Died"): ("died", "2015-03-09 14:00:00"),
    ("", "", ""): ("unknown", None),
}


@pytest.mark.parametrize("start, end, expected", [
    ("2015-03-02 10:00:00", "2015-03-09 00:00:00", "2015-03-09 00:00:00"),
    ("2015-03-02 00:00:00", "2015-03-09 00:00:00", "2015-03-09 23:59:59"),
    ("2015-03-02 00:00:00", "2015-03-09 07:00:00", "2015-03-09 07:00:00"),
])  # fmt: skip
def test_an_end_at_midnight_is_a_day_alone_where_the_start_is_one(tmp_path, start, end, expected):
    row = {"visit_start_datetime": start, "visit_end_datetime": end}
    records = omop.read(write(tmp_path, visit_occurrence=[row]))
    assert str(records.visits["end"].item()) == expected


@pytest.mark.parametrize("change", [
    {"visit_type_concept_id": 32220},
    {"discharged_to_concept_id": 32220},
    {"discharged_to_concept_id": 0, "discharged_to_source_value": "Still patient"},
])  # fmt: skip
def test_who_is_still_a_patient_has_no_end_and_no_outcome(tmp_path, change):
    records = omop.read(write(tmp_path, visit_occurrence=[change]))
    assert records.visits.select("end", "disposition").rows() == [(None, "unknown")]
    assert records.codes.height and records.measurements.collect().height


def test_death_within_the_visit_is_a_death_in_hospital(tmp_path):
    ids = range(len(DEATHS))
    rows = [
        {"visit_occurrence_id": 10 + i, "person_id": i, "discharged_to_concept_id": "",
         "discharged_to_source_value": place}
        for i, (_, _, place) in enumerate(DEATHS)
    ]  # fmt: skip
    deaths = [
        {"person_id": i, "death_date": day, "death_datetime": clock}
        for i, (day, clock, _) in enumerate(DEATHS)
    ]
    people = [{"person_id": i} for i in ids]
    records = omop.read(write(tmp_path, person=people, visit_occurrence=rows, death=deaths))
    dispositions = records.visits.sort("visit_id")["disposition"]
    found = list(zip(dispositions, records.patients["death_time"], strict=True))
    assert found == [
        (said, datetime.datetime.fromisoformat(time) if time else None)
        for said, time in DEATHS.values()
    ]


@pytest.mark.parametrize("later, expected", [(False, ["unknown"]), (True, ["other", "unknown"])])
def test_visit_that_says_nothing_is_survived_only_where_that_is_told(tmp_path, later, expected):
    silent = {"discharged_to_concept_id": "", "discharged_to_source_value": ""}
    rows = [silent]
    if later:
        rows.append(silent | {"visit_occurrence_id": 11, "visit_start_datetime": "2015-03-08"})
    (write(tmp_path, visit_occurrence=rows) / "death.csv").unlink()
    assert omop.read(tmp_path).visits["disposition"].to_list() == expected


@pytest.mark.parametrize(
    "start, end, date, wanted",
    [
        ("2015-03-02 10:00:00", "2015-03-09 00:00:00", "2015-03-09", (9, 0, 0, 0)),
        ("2015-03-02 00:00:00", "2015-03-09 00:00:00", "2015-03-09", (9, 23, 59, 59)),
        ("2015-03-02 10:00:00", "", "2015-03-09", (9, 23, 59, 59)),
        ("2015-03-02 00:00:00", "2015-03-09 12:00:00", "2015-03-09", (9, 12, 0, 0)),
    ],
)
def test_end_at_midnight_is_a_day_only_where_the_start_is_one(tmp_path, start, end, date, wanted):
    visit = dict(visit_start_date=start[:10], visit_start_datetime=start, visit_end_date=date,
                 visit_end_datetime=end)  # fmt: skip
    records = omop.read(write(tmp_path, visit_occurrence=[visit]))
    assert records.visits["end"].to_list() == [datetime.datetime(2015, 3, *wanted)]


def test_birth_of_year_alone_is_midyear_and_told_birth_wins(tmp_path):
    people = [
        {"person_id": 1, "month_of_birth": "", "day_of_birth": ""},
        {"person_id": 2, "day_of_birth": ""},
        {"person_id": 3, "birth_datetime": "1960-05-06 07:00:00"},
        {"person_id": 4, "year_of_birth": ""},
    ]
    births = omop.read(write(tmp_path, person=people)).patients["birth_time"].to_list()
    at = datetime.datetime
    assert births == [at(1960, 7, 1), at(1960, 3, 15), at(1960, 5, 6, 7), None]


def test_moves_without_a_gap_are_one_stay_and_units_are_told_by_name(tmp_path):
    details = [
        {},
        {"visit_detail_id": 101, "visit_detail_start_datetime": "2015-03-05 02:00:00",
         "visit_detail_end_datetime": "2015-03-06 00:00:00"},
        {"visit_detail_id": 102, "visit_detail_start_datetime": "2015-03-07 00:00:00",
         "visit_detail_end_datetime": "2015-03-08 00:00:00", "visit_detail_concept_id": 0,
         "care_site_id": 5},
        {"visit_detail_id": 103, "visit_detail_concept_id": 0, "care_site_id": 6},
    ]  # fmt: skip
    write(tmp_path, visit_detail=details, measurement=[{"visit_detail_id": 101}])
    sites = "care_site_id,care_site_name\n5,Surgical ICU\n6,Ward\n"
    (tmp_path / "care_site.csv").write_text(sites)
    records = omop.read(tmp_path)
    assert records.stays.select("stay_id", "unit").rows() == [
        (100, "intensive care"),
        (102, "Surgical ICU"),
    ]
    assert records.stays["end"][0] == datetime.datetime(2015, 3, 6)
    assert records.measurements.collect()["stay_id"].to_list() == [100]


def test_visits_all_take_part_where_none_is_a_hospital_encounter(tmp_path):
    row = {
        "visit_concept_id": 9202,
        "admitted_from_concept_id": 0,
        "admitted_from_source_value": "",
    }
    records = omop.read(write(tmp_path, visit_occurrence=[row]))
    assert records.visits.height == 1
    rule = "visits of no hospital kind, taken part as there are no others"
    assert records.oddities[rule] == 1


OFF = {"visit_occurrence_id": 11, "visit_concept_id": 9202, "admitted_from_concept_id": 0,
       "admitted_from_source_value": ""}  # fmt: skip
ODD = {
    "visits of kind 9202, no hospital": {"visit_occurrence": [{}, OFF]},
    "visits of another kind that were": {
        "visit_occurrence": [{}, OFF | {"admitted_from_source_value": "CLINIC"}]
    },
    "visits without a start, left out": {
        "visit_occurrence": [
            {},
            {"visit_occurrence_id": 11, "visit_start_date": "", "visit_start_datetime": ""},
        ]
    },
    "visits that begin before 1900": {
        "visit_occurrence": [
            {},
            {
                "visit_occurrence_id": 11,
                "visit_start_date": "1899-12-30",
                "visit_start_datetime": "",
            },
        ]
    },
    "visits ending before they start": {
        "visit_occurrence": [{"visit_end_datetime": "2015-03-01 00:00:01"}]
    },
    "visits of unknown persons": {
        "visit_occurrence": [{}, {"visit_occurrence_id": 11, "person_id": 2}]
    },
    "visits before the patient's birth": {"person": [{"year_of_birth": 2020}]},
    "visits at an age over 130": {"person": [{"year_of_birth": 1820}]},
    "visit_detail rows repeating an id": {"visit_detail": [{}, {}]},
    "person rows standing more than once": {"person": [{}, {}]},
    "visit_occurrence rows standing more than once": {"visit_occurrence": [{}, {}]},
    "deaths before the last visit": {"death": [{"death_date": "2014-01-01"}]},
    "hospital deaths told by the date": {"death": [{"death_datetime": "2015-03-08 01:00:00"}]},
    "condition_occurrence rows without a visit": {
        "condition_occurrence": [{}, {"visit_occurrence_id": ""}]
    },
    "condition_occurrence rows of unknown": {
        "condition_occurrence": [{}, {"visit_occurrence_id": 99}]
    },
    "drug_exposure rows of visits that take": {
        "visit_occurrence": [{}, OFF],
        "drug_exposure": [{}, {"visit_occurrence_id": 11}],
    },
    "procedure_occurrence rows without a concept or": {
        "procedure_occurrence": [{}, {"procedure_concept_id": 0, "procedure_source_value": ""}]
    },
    "procedure_occurrence rows repeating": {"procedure_occurrence": [{}, {}]},
    "drug_exposure rows after the visit's end": {
        "drug_exposure": [{"drug_exposure_start_datetime": "2015-03-20 00:00:01"}]
    },
    "codes of more than one kind": {"drug_exposure": [{"drug_concept_id": 316139}]},
}


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_mended_or_left_out_and_counted(tmp_path, rule):
    records = omop.read(write(tmp_path, **ODD[rule]))
    assert [n for found, n in records.oddities.items() if found.startswith(rule)] == [1]
    visit, patient = records.visits.row(0, named=True), records.patients.row(0, named=True)
    assert visit["visit_id"] == 10 and visit["start"] <= visit["end"]
    assert visit["age"] is None or 0 <= visit["age"] <= 130
    assert patient["death_time"] is None or patient["death_time"] >= visit["start"]
    assert (records.codes["time"].drop_nulls() <= visit["end"]).all()


BAD = {
    "1 row.s. repeat a 'visit_occurrence_id' .* column 'visit_end_datetime'": (
        "visit_occurrence",
        [{}, {"visit_end_datetime": "2015-03-10 12:00:00"}],
    ),
    "1 row.s. repeat a 'person_id' .* column 'gender_concept_id'": (
        "person",
        [{}, {"gender_concept_id": 8507}],
    ),
    "row 2 has no value in column 'person_id'": (
        "visit_occurrence",
        [{}, {"visit_occurrence_id": 9, "person_id": ""}],
    ),
    "row 1 .*'visit_start_datetime': '2015-13-01' is not": (
        "visit_occurrence",
        [{"visit_start_datetime": "2015-13-01"}],
    ),
    "row 1 .*'condition_start_date'.* text of 5 char": (
        "condition_occurrence",
        [{"condition_start_date": "March"}],
    ),
    "row 1 .*'drug_concept_id'.*whole number": ("drug_exposure", [{"drug_concept_id": "aspirin"}]),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_row_is_explained(tmp_path, said):
    table, rows = BAD[said]
    with pytest.raises(errors.RecordsError, match=f"{table}.csv: .*{said}"):
        omop.read(write(tmp_path, **{table: rows}))


@pytest.mark.parametrize("stem", ["person", "visit_occurrence", "condition_occurrence"])
def test_missing_table_is_explained(tmp_path, stem):
    (write(tmp_path) / f"{stem}.csv").unlink()
    with pytest.raises(errors.RecordsError, match=f"table '{stem}' is missing"):
        omop.read(tmp_path)


def test_missing_column_is_explained(tmp_path):
    path = write(tmp_path) / "person.csv"
    pl.read_csv(path, infer_schema=False).drop("year_of_birth").write_csv(path)
    with pytest.raises(errors.RecordsError, match="person.csv: column 'year_of_birth' is missing"):
        omop.read(tmp_path)


def test_cut_gzip_is_explained(tmp_path):
    path = write(tmp_path) / "drug_exposure.csv"
    whole = gzip.compress(path.read_bytes() * 50)
    path.unlink()
    (tmp_path / "drug_exposure.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.RecordsError, match="drug_exposure.csv.gz: the gzip file is cut"):
        omop.read(tmp_path)


@pytest.mark.parametrize(
    "stem",
    ["procedure_occurrence", "drug_exposure", "visit_detail", "death", "measurement", "note"],
)
def test_optional_table_may_be_missing(tmp_path, stem):
    (write(tmp_path) / f"{stem}.csv").unlink()
    records = omop.read(tmp_path)
    kinds = set(records.code_names["kind"])
    left = {
        "procedure_occurrence": "procedure" in kinds,
        "drug_exposure": "drug" in kinds,
        "visit_detail": records.stays.height,
        "death": records.patients["death_time"].count(),
        "measurement": records.measurements.collect().height,
        "note": records.notes.collect().height,
    }
    assert left == dict.fromkeys(left, 1) | {stem: 0}
    if "_" in stem and stem != "visit_detail":
        assert any(rule.startswith(f"{stem} is missing") for rule in records.oddities)


def test_tables_with_tabs_keep_quotation_marks_and_torn_rows_are_found(tmp_path):
    write_concepts(tmp_path)
    path = reading.find_table(tmp_path, "concept")
    schema = {"concept_id": pl.Int64, "concept_name": pl.String}
    assert reading.read(path, schema)["concept_name"][1] == 'Failure, "congestive"'
    path.write_text(path.read_text() + "1\ttorn\n")
    with pytest.raises(errors.RecordsError, match="row 6 .* has 2 field.s., the header has 5"):
        reading.read(path, schema)


def test_note_text_never_stands_in_an_error(tmp_path):
    records = omop.read(write(tmp_path, note=[{"note_date": "Smith", "note_text": "Smith"}]))
    with pytest.raises(errors.RecordsError) as caught:
        records.notes.collect()
    assert "Smith" not in str(caught.value) and "note.csv: row 1" in str(caught.value)


@hypothesis.settings(max_examples=8)
@hypothesis.given(
    st.lists(
        st.tuples(
            st.sampled_from((32817, 32821, 0)),
            # Midnight is left out: it stands for a day without a time.
            st.integers(-100, 400).filter(lambda hours: (10 + hours) % 24),
            st.sampled_from((0, 1, 2)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_no_code_is_known_at_the_start_or_after_the_end(tmp_path_factory, rows):
    start = datetime.datetime(2015, 3, 2, 10)
    conditions = [
        {"condition_type_concept_id": kind, "condition_concept_id": concept,
         "condition_start_datetime": start + hours * HOUR}
        for kind, hours, concept in rows
    ]  # fmt: skip
    folder = write(tmp_path_factory.mktemp("cdm"), condition_occurrence=conditions)
    records = omop.read(folder)
    found = records.codes.join(records.code_names.filter(kind="diagnosis"), on="code")
    visit = records.visits.row(0, named=True)
    times = found["time"].drop_nulls()
    assert ((times > visit["start"]) & (times <= visit["end"])).all()
    charted = [r for r in rows if r[0] == 32817 and r[1] > 0]
    assert len(times) == len({concept for _, _, concept in charted})
    assert found.height == len({concept for _, _, concept in rows})


def test_every_known_disposition_is_one_of_the_projects_words():
    assert set(vocabulary.DISPOSITIONS.values()) <= set(tables.DISPOSITIONS)


def by_value(rows) -> tuple[dict[str, str | None], dict[str, int]]:
    """Returns the codes by source value of (visit_id, source_value, code of a vocabulary)."""
    counts = {}
    frame = pl.DataFrame(rows, schema=["visit_id", "source_value", "code"], orient="row")
    frame = frame.with_columns(n=pl.lit(1), code=pl.col("code").cast(pl.String))
    coded = source_values.coded(frame, "diagnosis", "t", counts)
    return dict(zip(frame["source_value"], coded, strict=True)), counts


FORMS = {
    "4280": "ICD9CM:4280", "428.0": "ICD9CM:4280", "042": "ICD9CM:042", "E9320": "ICD9CM:E9320",
    "E875.1": "ICD9CM:E8751", "I50.9": "ICD10CM:I509", "i509": "ICD10CM:I509", "E87.5":
    "ICD10CM:E875", "E11.9": "ICD10CM:E119", "E1165": "ICD10CM:E1165", "U07.1": "ICD10CM:U071",
    "V4352XA": "ICD10CM:V4352XA", "S72001A": "ICD10CM:S72001A", "ICD10CM:E875": "ICD10CM:E875",
    "icd-9-cm|V45.81": "ICD9CM:V4581", "ICD9//V4582": "ICD9CM:V4582", "E039": None, "V4581": None,
    "V45.81": None, "E8120": None, "84114007": None, "SR (Sinus Rhythm)": None, None: None,
}  # fmt: skip


def test_edition_of_a_diagnosis_is_told_by_its_form():
    rows = [(i, value, None) for i, value in enumerate(FORMS)]
    codes, counts = by_value(rows)
    assert codes == FORMS
    assert counts["t codes of no sure edition of ICD, left as they are"] == 4


@pytest.mark.parametrize("other, edition", [("4280", "ICD9CM"), ("I509", "ICD10CM")])
def test_unclear_code_is_of_the_edition_of_the_visits_others(other, edition):
    mixed = [(2, "4280", None), (2, "I509", None), (2, "V4581", None)]
    rows = [(1, other, None), (1, "E8751", None), (3, "V4582", None)]
    rows += [(4, None, f"{edition}:1"), (4, "V4583", None)]
    codes, _ = by_value(rows + mixed)
    assert codes["E8751"] == f"{edition}:E8751" and codes["V4583"] == f"{edition}:V4583"
    assert codes["V4581"] is None and codes["V4582"] is None


def test_values_of_a_hospitals_own_numbering_and_rows_with_a_concept_are_left():
    own = [(i, value, None) for i, value in enumerate(("A12", "K7", "Q-99", "X1Y2Z3W4", "I509"))]
    assert set(by_value(own)[0].values()) == {None}
    assert by_value([(1, "I509", "SNOMED:1")])[0] == {"I509": None}


@pytest.mark.parametrize(
    "value, code",
    [("02HV33Z", "ICD10PCS:02HV33Z"), ("39.61", "ICD9PROC:3961"), ("3961", None), ("19301", None),
     ("BYPASSX", None), ("0016070", None), ("G0378", None), ("ICD9Proc/3961", "ICD9PROC:3961")],
)  # fmt: skip
def test_edition_of_a_procedure_is_told_by_its_form(value, code):
    frame = pl.DataFrame({"visit_id": [1], "source_value": [value], "code": [None], "n": [1]})
    assert source_values.coded(frame, "procedure", "t", {}).to_list() == [code]


def test_source_values_written_as_numbers_are_the_codes_they_were():
    codes, counts = by_value([(1, "4280.0", None), (1, "25000.0", None), (1, "486.0", None)])
    assert codes == {"4280.0": "ICD9CM:4280", "25000.0": "ICD9CM:25000", "486.0": "ICD9CM:486"}
    assert counts["t source values written as numbers, their '.0' left out"] == 3
