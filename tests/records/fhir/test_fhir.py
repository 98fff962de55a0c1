import base64
import datetime
import gzip
import json
import pathlib
import re

import hypothesis
import polars as pl
import pytest
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.records import sources
from ehr_jax.records.common import tally
from ehr_jax.records.fhir import coding as fhir_coding
from ehr_jax.records.fhir import reader as fhir
from ehr_jax.records.fhir import resources as fhir_resources
from ehr_jax.records.fhir import versions

at = datetime.datetime
SECRET = "Mrs Smith fell"


@pytest.fixture(scope="session")
def folder(data_root):
    return data_root / "synthea_fhir_10"


@pytest.fixture(scope="session")
def sample(folder):
    return fhir.read(folder)


def coding(system, code, display=None):
    return {"coding": [{"system": system, "code": code, "display": display}]}


SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"


def encoded(text: str, charset: str = "utf-8") -> str:
    return base64.b64encode(text.encode(charset)).decode()


def document(text: str = "Went home.", form: str = "text/plain", **more) -> dict:
    attachment = {"contentType": form, "data": encoded(text)} | more
    return {"content": [{"attachment": attachment}]}


RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
OF_VISIT = {"subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/e1"}}
# A hospital of one encounter; `write` changes it resource by resource.
RESOURCES = {
    "Patient": {
        "id": "p1", "gender": "female", "birthDate": "1960-03-09",
        "extension": [{"url": RACE, "extension": [
            {"url": "ombCategory", "valueCoding": {"display": "White"}},
            {"url": "text", "valueString": "White"}]}]},
    "Encounter": {
        "id": "e1", "status": "finished", "class": {"code": "IMP"},
        "type": [{"text": "Hospital admission"}], "subject": {"reference": "Patient/p1"},
        "period": {"start": "2015-03-02T05:00:00-05:00", "end": "2015-03-09T12:00:00Z"},
        "hospitalization": {"admitSource": {"coding": [{"code": "hosp-trans"}]},
                            "dischargeDisposition": {"coding": [{"code": "snf"}]}}},
    "Condition": OF_VISIT | {
        "code": coding(SNOMED, "84114007", "Heart failure"),
        "recordedDate": "2015-03-04T08:00:00Z"},
    "Procedure": OF_VISIT | {
        "status": "completed", "code": coding(SNOMED, "232717009", "Bypass"),
        "performedPeriod": {"start": "2015-03-04T08:00:00Z", "end": "2015-03-04T11:30:00Z"}},
    "MedicationRequest": OF_VISIT | {
        "status": "active", "intent": "order", "authoredOn": "2015-03-04",
        "medicationCodeableConcept": coding(RXNORM, "5224", "heparin")},
    "Observation": OF_VISIT | {
        "status": "final", "code": coding(LOINC, "8867-4", "Heart rate"),
        "effectiveDateTime": "2015-03-04T06:00:00Z", "valueQuantity": {"value": 88, "unit": "bpm"}},
    "DocumentReference": {
        "status": "current", "type": {"text": "Discharge summary"}, "date": "2015-03-08T09:00:00Z",
        "context": {"encounter": [{"reference": "Encounter/e1"}]}} | document(),
}  # fmt: skip
ENCOUNTER = RESOURCES["Encounter"]


def lines(kind: str, changes: list[dict] = ({},)) -> bytes:
    resources = [{"resourceType": kind} | RESOURCES[kind] | change for change in changes]
    return b"".join(json.dumps(resource).encode() + b"\n" for resource in resources)


def write(folder: pathlib.Path, **changes: list[dict]) -> pathlib.Path:
    """Writes RESOURCES to `folder`, each named kind with resources made of its own and changes."""
    for kind in RESOURCES:
        (folder / f"{kind}.ndjson").write_bytes(lines(kind, changes.get(kind, [{}])))
    return folder


def test_sample_has_the_counts_its_source_states(sample, folder):
    stated = {"Patient": 13, "Encounter": 1_215, "Condition": 555, "MedicationRequest": 1_745,
              "Procedure": 2_056, "DocumentReference": 1_215}  # fmt: skip
    files = fhir_resources.find(folder, tuple(stated))
    found = {
        kind: sum(
            batch.height for batch in fhir_resources.batches(files[kind], kind, {"id": pl.String})
        )
        for kind in stated
    }
    assert found == stated
    assert sample.patients.height == 13
    assert sample.patients["death_time"].count() == 3
    left = [n for rule, n in sample.oddities.items() if "no hospital encounters" in rule]
    assert sorted(left) == [1, 9, 1_133]
    assert sample.visits.height + sum(left) == 1_215
    assert dict(sample.attributes.filter(name="admission type")["text"].value_counts().rows()) == {
        "inpatient encounter": 49,
        "emergency": 23,
    }


@pytest.mark.parametrize(
    "kind, what, n",
    [
        ("Condition", "diagnosis", 555),
        ("Procedure", "procedure", 2_056),
        ("MedicationRequest", "drug", 1_745),
    ],
)
def test_every_resource_of_the_sample_is_a_code_or_counted(sample, kind, what, n):
    codes = sample.codes.join(sample.code_names, on="code").filter(kind=what).height
    gone = ("left out", "the earliest kept")
    counted = sum(
        found
        for rule, found in sample.oddities.items()
        if rule.startswith(kind) and rule.endswith(gone)
    )
    assert codes + counted == n


def test_sample_notes_are_read_and_known_at_the_end_they_sum_up(sample):
    notes = sample.notes.collect().join(sample.visits, on="visit_id")
    assert notes.height == 72
    assert notes["text"].str.contains("# Chief Complaint").all()
    assert (notes["time"] == notes["end"]).all()
    rule = (
        "attachments of DocumentReference of encounters that take no part or are unknown, left out"
    )
    assert sample.oddities[rule] == 1_215 - 72


def test_sample_serves_the_tasks_that_need_no_icd_codes(sample):
    assert {"readmission30", "mortality"} <= set(tasks.possible(sample))
    # A split by patient leaves some part of 13 patients without a positive; one by visit does not.
    cohort = tasks.build(sample, "readmission30", "paper")
    assert (cohort.samples.height, cohort.samples["label.readmission"].sum()) == (72, 15)


def test_one_encounter_reads_as_described(tmp_path):
    records = fhir.read(write(tmp_path))
    assert records.codes.select("code", "time").rows() == [
        ("RXNORM:5224", at(2015, 3, 5, 4, 59, 59)),  # the end of that day at the hospital
        ("SNOMED:232717009", at(2015, 3, 4, 11, 30)),
        ("SNOMED:84114007", at(2015, 3, 4, 8)),
    ]
    assert records.code_names.rows() == [
        ("RXNORM:5224", "drug", "heparin"),
        ("SNOMED:232717009", "procedure", "Bypass"),
        ("SNOMED:84114007", "diagnosis", "Heart failure"),
    ]
    visit = records.visits.row(0, named=True)
    assert (visit["start"], visit["end"]) == (at(2015, 3, 2, 10), at(2015, 3, 9, 12))
    assert (visit["disposition"], visit["planned"]) == ("facility", None)
    assert visit["transferred_in"] and visit["age"] == pytest.approx(54.98, abs=0.01)
    assert visit["visit_id"] == fhir_resources.identifier("e1")
    assert records.patients.row(0) == (fhir_resources.identifier("p1"), "F", at(1960, 3, 9), None)
    facts = dict(records.attributes.select("name", "text").rows())
    assert facts == {"admission type": "inpatient encounter", "race": "white", "sex": "female",
                     "age": None}  # fmt: skip
    assert records.measurements.collect().row(0) == (
        visit["visit_id"], None, at(2015, 3, 4, 6), "LOINC:8867-4", 88.0, "bpm",
    )  # fmt: skip
    assert records.notes.collect().row(0) == (
        visit["visit_id"], at(2015, 3, 8, 9), False, "Discharge summary", "Went home.",
    )  # fmt: skip
    assert records.oddities == {}


def test_files_in_parts_zipped_or_of_other_names_give_equal_records(tmp_path):
    people = [{}, {"id": "p2"}, {"id": "p3"}]
    visits = [{}, {"id": "e2", "subject": {"reference": "Patient/p2"}}]
    whole, parts, odd = (tmp_path / name for name in ("whole", "parts", "odd"))
    for place in (whole, parts, odd):
        place.mkdir()
        write(place, Patient=people, Encounter=visits)
    (parts / "Patient.ndjson").unlink()
    for i, person in enumerate(people):
        raw = lines("Patient", [person])
        (parts / f"Patient.00{i}.ndjson.gz").write_bytes(gzip.compress(raw))
    for i, kind in enumerate(RESOURCES):
        (odd / f"{kind}.ndjson").rename(odd / f"export{i}.NDJSON")
    (odd / "Device.ndjson").write_text('{"resourceType": "Device"}\n')
    prints = {sources.fingerprint(fhir.read(place)) for place in (whole, parts, odd)}
    assert len(prints) == 1


@pytest.mark.parametrize(
    "reference",
    ["Encounter/e1", "urn:uuid:e1", "https://h.org/fhir/Encounter/e1", "Encounter/e1/_history/2"],
)
def test_reference_is_followed_in_each_of_its_forms(reference):
    frame = pl.DataFrame({"r": [reference, None]})
    assert frame.select(fhir_resources.referred(pl.col("r"))).to_series().to_list() == ["e1", None]


def spans(*texts):
    batch = pl.DataFrame({"t": list(texts), "file": "x.ndjson", "line": range(1, len(texts) + 1)})
    return fhir_resources.times(batch, pl.col("t"), "period.start")


def test_times_are_utc_and_partial_dates_the_span_they_may_mean():
    told = spans(
        "2012",
        "2012-02",
        "2012-02-29",
        "2012-02-29T10:00:00+02:00",
        "2012-02-29T10:00:00.250Z",
        "2012-02-29T23:00-05:30",
        None,
    )
    assert told.select("low", "high").rows() == [
        (at(2012, 1, 1), at(2012, 12, 31, 23, 59, 59)),
        (at(2012, 2, 1), at(2012, 2, 29, 23, 59, 59)),
        (at(2012, 2, 29), at(2012, 2, 29, 23, 59, 59)),
        (at(2012, 2, 29, 8), at(2012, 2, 29, 8)),
        (at(2012, 2, 29, 10, 0, 0, 250_000), at(2012, 2, 29, 10, 0, 0, 250_000)),
        (at(2012, 3, 1, 4, 30), at(2012, 3, 1, 4, 30)),
        (None, None),
    ]  # fmt: skip


@hypothesis.given(
    st.datetimes(at(1900, 1, 2), at(2200, 1, 1)), st.integers(-14 * 60, 14 * 60), st.booleans()
)
def test_any_clock_time_is_the_instant_python_reads(time, minutes, whole):
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    time = time.replace(microsecond=0 if whole else time.microsecond, tzinfo=zone)
    utc = time.astimezone(datetime.UTC).replace(tzinfo=None)
    assert spans(time.isoformat()).rows() == [(utc, utc, datetime.timedelta(minutes=minutes))]


@pytest.mark.parametrize(
    "text", ["yesterday", "2012-13", "2012-02-30", "12-02-2012", "2012-02-03T25:00:00Z", "2012-2-3"]
)
def test_unparsable_date_names_file_line_and_field_and_keeps_the_text_out(text):
    with pytest.raises(errors.RecordsError, match="x.ndjson: line 2, field 'period.start'") as said:
        spans("2012", text)
    assert text not in str(said.value)


def test_birth_of_partial_date_is_in_the_middle_of_it(tmp_path):
    people = [{"birthDate": date, "id": f"p{i}"} for i, date in enumerate(("1960", "1960-03"), 1)]
    records = fhir.read(write(tmp_path, Patient=people))
    births = dict(records.patients.select("subject_id", "birth_time").rows())
    assert births[fhir_resources.identifier("p1")] == at(1960, 7, 1)
    assert births[fhir_resources.identifier("p2")] == at(1960, 3, 16)


BROKEN = {
    "Condition.ndjson: line 3 is not valid JSON": ("Condition", b'\n{"resourceType": "Cond'),
    "line 2 is not a JSON object": ("Condition", b"[1, 2]\n"),
    "line 2 is a 'Patient' resource; this file holds Condition": (
        "Condition",
        b'{"resourceType": "Patient"}\n',
    ),
    "line 2 has no resourceType": ("Condition", b'{"id": "x"}\n'),
    "Encounter.ndjson: line 2, field 'class' does not have the form": (
        "Encounter",
        b'{"resourceType": "Encounter", "id": "x", "class": [{"coding": []}]}\n',
    ),
    "Patient.ndjson: line 2 is not UTF-8": ("Patient", b'{"id": "\xe9"}\n'),
    "line 2, field 'recordedDate': a text of 14 char": (
        "Condition",
        json.dumps({"resourceType": "Condition", "recordedDate": SECRET}).encode() + b"\n",
    ),
    "line 2 repeats the id of another Encounter with other content": (
        "Encounter",
        lines("Encounter", [{"status": "in-progress"}]),
    ),
    "line 2 repeats the id of another Patient with other content": (
        "Patient",
        lines("Patient", [{"gender": "male"}]),
    ),
    "DocumentReference.ndjson: line 2 is not valid": ("DocumentReference", SECRET.encode()),
}


@pytest.mark.parametrize("said", BROKEN)
def test_broken_line_is_named_and_never_shown(tmp_path, said):
    kind, line = BROKEN[said]
    with open(write(tmp_path) / f"{kind}.ndjson", "ab") as file:
        file.write(line)
    with pytest.raises(errors.RecordsError, match=said) as caught:
        fhir.read(tmp_path)
    assert SECRET not in str(caught.value) and "Smith" not in str(caught.value)


def test_cut_gzip_is_explained(tmp_path):
    raw = gzip.compress(lines("Patient", [{"id": f"p{i}"} for i in range(999)]))
    (write(tmp_path) / "Patient.ndjson").unlink()
    (tmp_path / "Patient.ndjson.gz").write_bytes(raw[:-20])
    with pytest.raises(errors.RecordsError, match="Patient.ndjson.gz: the gzip file is cut short"):
        fhir.read(tmp_path)


@pytest.mark.parametrize("kind", ["Patient", "Encounter", "Condition"])
def test_missing_kind_is_explained(tmp_path, kind):
    (write(tmp_path) / f"{kind}.ndjson").unlink()
    with pytest.raises(errors.RecordsError, match=f"no file of {kind} resources"):
        fhir.read(tmp_path)


def test_other_kinds_may_be_missing_or_empty(tmp_path):
    write(tmp_path)
    (tmp_path / "Procedure.ndjson").unlink()
    (tmp_path / "Observation.ndjson").unlink()
    (tmp_path / "MedicationRequest.ndjson").write_bytes(b"")
    (tmp_path / "DocumentReference.ndjson").write_bytes(b"\n")
    records = fhir.read(tmp_path)
    assert set(records.code_names["kind"]) == {"diagnosis"}
    assert records.measurements.collect().is_empty() and records.notes.collect().is_empty()
    assert records.oddities == {"no file of Procedure resources: no procedure codes": 1}


def test_missing_folder_is_explained(tmp_path):
    with pytest.raises(errors.RecordsError, match="does not exist"):
        fhir.read(tmp_path / "none")


def test_conditions_and_documents_stamped_with_the_start_are_known_at_the_end(tmp_path):
    stamps = ["2015-03-02T10:00:00.824Z", "2009", "2015-03-04", "2015-04-04T00:00:00Z"]
    conditions = [
        {"recordedDate": stamp, "code": coding(SNOMED, str(i))} for i, stamp in enumerate(stamps)
    ]
    write(tmp_path, Condition=conditions, DocumentReference=[{"date": s} for s in stamps])
    records = fhir.read(tmp_path)
    times = dict(records.codes.select("code", "time").rows())
    end, day_end = at(2015, 3, 9, 12), at(2015, 3, 5, 4, 59, 59)
    assert [times[f"SNOMED:{i}"] for i in range(4)] == [None, None, day_end, end]
    # The document of 2009 is not believed to be of this visit.
    assert records.notes.collect()["time"].to_list() == [end, day_end, end]


def test_of_several_codings_icd_wins_and_its_dots_go():
    two = {"coding": [{"system": SNOMED, "code": "1"}, {"system": ICD10, "code": "i50.9"}]}
    icd9 = coding("http://hl7.org/fhir/sid/icd-9-cm", "39.61")
    rows = [two, coding("http://x.org/CodeSystem/local-drug", "A 1"), {"text": "said"}, None, icd9]
    concepts = pl.Series([json.dumps(row) for row in rows]).str.json_decode(fhir_resources.CONCEPT)
    found = fhir_coding.coded(concepts)
    assert found["code"].to_list() == ["ICD10CM:I509", "LOCAL-DRUG:A 1", None, None, "ICD9CM:3961"]
    assert found["name"].to_list() == [None, None, "said", None, None]
    assert fhir_coding.coded(concepts, procedure=True)["code"][4] == "ICD9PROC:3961"


def test_drug_may_be_named_by_a_medication_resource_or_by_its_text_alone(tmp_path):
    orders = [
        {"medicationCodeableConcept": None, "medicationReference": {"reference": "Medication/m1"}},
        {"medicationCodeableConcept": {"text": "Aspirin 81 mg"}},
    ]
    write(tmp_path, MedicationRequest=orders)
    resource = {"resourceType": "Medication", "id": "m1", "code": coding(RXNORM, "7", "x")}
    (tmp_path / "Medication.ndjson").write_text(json.dumps(resource))
    names = fhir.read(tmp_path).code_names.filter(kind="drug")
    assert names["code"].to_list() == ["DRUG:Aspirin 81 mg", "RXNORM:7"]


def test_intensive_care_is_told_by_a_part_or_by_a_place(tmp_path):
    unit = {
        "id": "icu",
        "partOf": {"reference": "Encounter/e1"},
        "class": {"code": "ACUTE"},
        "type": [{"text": "Intensive care unit"}],
        "period": {"start": "2015-03-03T00:00:00Z", "end": "2015-03-05T00:00:00Z"},
    }
    place = {
        "location": {"display": "Surgical ICU"},
        "period": {"start": "2015-03-07", "end": "2015-03-07"},
    }
    ward = {"location": {"display": "Ward 7"}}
    seen = {"encounter": {"reference": "Encounter/icu"}}
    write(tmp_path, Encounter=[{"location": [place, ward]}, unit], Observation=[{}, seen],
          Condition=[seen])  # fmt: skip
    records = fhir.read(tmp_path)
    assert records.visits.height == 1
    assert records.stays.sort("start").select("start", "end", "unit").rows() == [
        (at(2015, 3, 3), at(2015, 3, 5), "Intensive care unit"),
        (at(2015, 3, 7), at(2015, 3, 7, 23, 59, 59), "Surgical ICU"),
    ]
    first = records.stays.sort("start")["stay_id"][0]
    assert records.measurements.collect()["stay_id"].to_list() == [None, first]
    assert "SNOMED:84114007" in records.codes["code"]
    assert records.oddities == {"encounters that are part of another, taken with it": 1}


def test_encounters_all_take_part_where_none_is_in_a_hospital(tmp_path):
    visits = [{"class": {"code": "AMB"}}, {"id": "e2", "class": {"code": "HH"}}]
    records = fhir.read(write(tmp_path, Encounter=visits))
    assert records.visits.height == 2
    rule = "encounters of no hospital class, taken part as there are no others"
    assert records.oddities == {rule: 2}


def test_death_is_told_by_the_disposition_or_by_its_date(tmp_path):
    silent = {"hospitalization": None}
    visits = [{"id": f"e{i}", "subject": {"reference": f"Patient/p{i}"}} | silent for i in range(5)]
    visits[1] |= {"hospitalization": {"dischargeDisposition": {"coding": [{"code": "20"}]}}}
    people = [{"id": f"p{i}"} for i in range(5)]
    people[0] |= {"deceasedDateTime": "2015-03-09T07:00:00-05:00"}
    people[2] |= {"deceasedDateTime": "2015-03-20"}
    people[3] |= {"deceasedBoolean": True}
    records = fhir.read(write(tmp_path, Encounter=visits, Patient=people))
    joined = records.visits.join(records.patients, on="subject_id")
    found = {visit: (said, death) for visit, said, death in
             joined.select("visit_id", "disposition", "death_time").rows()}  # fmt: skip
    assert [found[fhir_resources.identifier(f"e{i}")] for i in range(5)] == [
        ("died", at(2015, 3, 9, 12)),
        ("died", at(2015, 3, 9, 12)),
        ("other", at(2015, 3, 21, 4, 59, 59)),  # the end of that day at the hospital
        ("unknown", None),
        ("other", None),
    ]


@pytest.mark.parametrize("change", [
    {"status": "in-progress"},
    {"hospitalization": {"dischargeDisposition": {"coding": [{"code": "30"}]}}},
    {"period": {"start": "2015-03-02T05:00:00-05:00"}},
])  # fmt: skip
def test_who_is_still_a_patient_has_no_end_and_no_outcome(tmp_path, change):
    records = fhir.read(write(tmp_path, Encounter=[change]))
    assert records.visits.select("end", "disposition").rows() == [(None, "unknown")]
    assert records.codes.height and records.measurements.collect().height


def test_a_death_dated_by_its_day_is_of_the_day_at_the_hospital(tmp_path):
    # Discharged at 22:00 of the 9th, which is the 10th in UTC, and dead on the 9th.
    period = {"start": "2015-03-02T05:00:00-05:00", "end": "2015-03-09T22:00:00-05:00"}
    for place, expected in ((None, "died"), ({"coding": [{"code": "home"}]}, "home")):
        stay = {"period": period, "hospitalization": {"dischargeDisposition": place}}
        folder = tmp_path / expected
        folder.mkdir()
        records = fhir.read(
            write(folder, Encounter=[stay], Patient=[{"deceasedDateTime": "2015-03-09"}])
        )
        assert records.visits["disposition"].to_list() == [expected]


def test_observations_give_their_numbers_and_those_of_their_components(tmp_path):
    parts = [
        {"code": coding(LOINC, "8480-6"), "valueQuantity": {"value": 120, "code": "mm[Hg]"}},
        {"code": coding(LOINC, "8462-4"), "valueInteger": 80},
    ]
    observations = [
        {"valueQuantity": None, "component": parts},
        {"status": "entered-in-error"},
        {"valueQuantity": None, "valueString": "high"},
        {"encounter": {"reference": "Encounter/none"}},
        {"effectiveDateTime": None, "effectivePeriod": {"end": "2015-03-05"}},
        {"effectiveDateTime": None, "issued": "2015-03-06T00:00:00Z"},
    ]
    measured = fhir.read(write(tmp_path, Observation=observations)).measurements
    found = measured.select("variable", "value", "unit", "time").collect()
    assert found.sort("time", "variable").rows() == [
        ("LOINC:8462-4", 80.0, None, at(2015, 3, 4, 6)),
        ("LOINC:8480-6", 120.0, "mm[Hg]", at(2015, 3, 4, 6)),
        ("LOINC:8867-4", 88.0, "bpm", at(2015, 3, 6)),
        ("LOINC:8867-4", 88.0, "bpm", at(2015, 3, 6, 4, 59, 59)),
    ]
    assert measured.filter(pl.col("value") > 100).select("value").collect().height == 1
    assert measured.head(3).collect().height == 3


def test_observations_are_read_only_when_asked_for(tmp_path):
    with open(write(tmp_path) / "Observation.ndjson", "ab") as file:
        file.write(b"{torn\n")
    records = fhir.read(tmp_path)
    with pytest.raises(errors.RecordsError, match="Observation.ndjson: line 2 is not valid JSON"):
        records.measurements.collect()


def test_attachments_that_cannot_be_read_are_counted_and_left_out(tmp_path):
    def attached(**attachment):
        return {"content": [{"attachment": attachment}]}

    latin, two = encoded("Größe", "latin-1"), encoded("one\ntwo")
    documents = [
        document("Größe", "text/plain; charset=UTF-8"),
        attached(contentType="Text/Plain;charset=iso-8859-1", data=latin),
        attached(contentType="text/plain", data=two[:6] + "\n" + two[6:]),
        attached(contentType="text/plain", data="not base64!"),
        attached(contentType="text/plain", data="QUJ"),
        attached(contentType="text/plain", data=latin),
        attached(contentType="text/plain;charset=klingon", data=encoded("x")),
        attached(contentType="application/pdf", data=encoded("x")),
        attached(contentType="text/plain", url="Binary/1"),
        attached(contentType="text/plain", data=""),
        {"status": "entered-in-error"},
        {"context": None},
        {"context": {"encounter": [{"reference": "Encounter/none"}]}},
    ]  # fmt: skip
    records = fhir.read(write(tmp_path, DocumentReference=documents))
    assert records.notes.collect()["text"].to_list() == ["Größe", "Größe", "one\ntwo"]
    start, end = "attachments of DocumentReference ", ", left out"
    assert {
        rule.removeprefix(start).removesuffix(end): n for rule, n in records.oddities.items()
    } == {
        "that are not valid base64": 2,
        "that are not text of their character set": 2,
        "that are not plain text": 1,
        "stored elsewhere": 1,
        "without text": 1,
        "entered in error": 1,
        "without an encounter": 1,
        "of encounters that take no part or are unknown": 1,
    }


OTHER = {"id": "e2"}
ODD = {
    "encounters of class AMB, no": {"Encounter": [{}, OTHER | {"class": {"code": "AMB"}}]},
    "encounters planned, cancelled": {"Encounter": [{}, OTHER | {"status": "cancelled"}]},
    "encounters of unknown patients": {
        "Encounter": [{}, OTHER | {"subject": {"reference": "Patient/p9"}}]
    },
    "encounters without a start": {"Encounter": [{}, OTHER | {"period": {"end": "2015"}}]},
    "encounters that begin before 1900": {
        "Encounter": [{}, OTHER | {"period": {"start": "0001-01-01", "end": "0001-01-03"}}]
    },
    "encounters ending before they start": {
        "Encounter": [{"period": {"start": "2015-03-02", "end": "2014"}}],
        **dict.fromkeys(("Condition", "Procedure", "MedicationRequest"), [{"code": None}]),
    },
    "visits before the patient's birth": {"Patient": [{"birthDate": "2020"}]},
    "Patient resources standing more than once": {"Patient": [{}, {}]},
    "Encounter resources standing more than once": {"Encounter": [{}, {}]},
    "deaths before the last visit": {"Patient": [{"deceasedDateTime": "2014"}]},
    "Condition resources not carried out": {
        "Condition": [{}, {"verificationStatus": {"coding": [{"code": "refuted"}]}}]
    },
    "Condition resources without an encounter": {"Condition": [{}, {"encounter": None}]},
    "Condition resources of unknown encounters": {
        "Condition": [{}, {"encounter": {"reference": "Encounter/none"}}]
    },
    "Procedure resources not carried out": {"Procedure": [{}, {"status": "not-done"}]},
    "Procedure resources without a code": {"Procedure": [{}, {"code": {"text": "x"}}]},
    "Procedure resources dated after": {
        "Procedure": [{"performedPeriod": None, "performedDateTime": "2015-03-12"}]
    },
    "MedicationRequest resources not carried": {"MedicationRequest": [{}, {"doNotPerform": True}]},
    "MedicationRequest resources repeating": {"MedicationRequest": [{}, {}]},
}


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_mended_or_left_out_and_counted(tmp_path, rule):
    records = fhir.read(write(tmp_path, **ODD[rule]))
    assert [n for found, n in records.oddities.items() if found.startswith(rule)] == [1]
    visit = records.visits.row(0, named=True)
    assert records.visits.height == 1 and visit["start"] <= visit["end"]
    assert (records.codes["time"].drop_nulls() <= visit["end"]).all()


def test_ids_are_numbers_that_never_change():
    assert fhir_resources.identifier("129c6ac7-8d06-89de-ad63-0204a93e76c3") == 3857833796827309321
    numbers = fhir_resources.identifiers(pl.Series([f"x{i}" for i in range(5_000)]))
    assert numbers.n_unique() == 5_000 and numbers.min() >= 0


def test_line_numbers_hold_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(fhir_resources, "_BATCH_BYTES", 500)
    path = tmp_path / "Patient.ndjson"
    path.write_bytes(b"\n" + lines("Patient", [{"id": f"p{i}"} for i in range(30)]) + b"\n{\n")
    read = fhir_resources.batches([path], "Patient", {"id": pl.String})
    numbers = []
    with pytest.raises(errors.RecordsError, match="Patient.ndjson: line 33 is not valid JSON"):
        for batch in read:
            numbers += batch["line"].to_list()
    assert numbers == list(range(2, 2 + len(numbers))) and len(numbers) > 10


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "Patient.ndjson"
    path.write_text(json.dumps({"resourceType": "Patient", "id": "p1"}) + "\n")
    found = fhir_resources.batches([path], "Patient", {"id": pl.String})
    next(found)
    path.write_text("")
    with pytest.raises(errors.RecordsError, match="Patient.ndjson: the file changed while it was"):
        list(found)


SYSTEMS = {
    "ICD9CM": (
        "http://hl7.org/fhir/sid/icd-9-cm",
        "https://hl7.org/fhir/sid/icd-9-cm/",
        "HTTP://HL7.ORG/fhir/sid/ICD-9-CM/diagnosis",
        "urn:oid:2.16.840.1.113883.6.103",
        "URN:OID:2.16.840.1.113883.6.42",
        "2.16.840.1.113883.6.103",
        "http://terminology.hl7.org/CodeSystem/icd9cm",
        "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd9",
        "http://fhir.mimic.mit.edu/CodeSystem/diagnosis-icd9",
    ),
    "ICD10CM": (
        "http://hl7.org/fhir/sid/icd-10-cm|2024",
        " http://hl7.org/fhir/sid/icd-10-cm ",
        "urn:oid:2.16.840.1.113883.6.90",
        "http://terminology.hl7.org/CodeSystem/icd10CM",
        "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd10",
    ),
    "ICD9PROC": (
        "http://www.cms.gov/Medicare/Coding/ICD9",
        "https://cms.gov/medicare/coding/icd9",
        "urn:oid:2.16.840.1.113883.6.104",
        "http://hl7.org/fhir/sid/icd-9-cm/procedure",
        "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-procedure-icd9",
    ),
    "ICD10PCS": (
        "http://www.cms.gov/Medicare/Coding/ICD10",
        "http://hl7.org/fhir/sid/icd-10-pcs/",
        "urn:oid:2.16.840.1.113883.6.4",
        "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-procedure-icd10",
    ),
    "LAB": ("http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-d-labitems",),
    "CHART": ("http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-chartevents-d-items",),
    "DRUG": ("http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-medication-name",),
    "NDC": (
        "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-medication-ndc",
        "http://hl7.org/fhir/sid/ndc",
    ),
    "SNOMED": (
        "http://snomed.info/sct/731000124108/version/20230301",
        "urn:oid:2.16.840.1.113883.6.96",
    ),
    "ICD10": ("http://hl7.org/fhir/sid/icd-10",),
    "LOCAL-DRUG": ("http://x.org/CodeSystem/local-drug",),
    None: (None, "", "/"),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_code_systems_are_known_by_any_of_their_addresses(name):
    addresses = pl.DataFrame({"system": SYSTEMS[name]}, schema={"system": pl.String})
    assert set(addresses.select(fhir_coding.named(pl.col("system"))).to_series()) == {name}


def inside(kind: str, **resource) -> dict:
    return {"contained": [{"resourceType": kind} | resource]}


def test_resource_inside_another_is_meant_there_alone(tmp_path):
    refers = {"medicationCodeableConcept": None, "medicationReference": {"reference": "#m"}}
    person = {"resourceType": "Practitioner", "id": "m", "name": [{"family": "x"}], "code": 5}
    orders = [
        refers | inside("Medication", id="m", code=coding(RXNORM, "5224")),
        refers | inside("Medication", id="m", code=coding(RXNORM, "6809")),
        refers | {"contained": [person]},  # another kind under that id
        refers | {"medicationReference": {"reference": "Medication/none", "display": "salt"}},
    ]
    given = {"status": "completed", "context": {"reference": "Encounter/e1"}, **refers}
    given |= {"effectivePeriod": {"start": "2015-03-03T08:00:00Z", "end": "2015-03-05T00:00:00Z"}}
    given |= inside("Medication", id="m", code=coding(RXNORM, "11124"))
    write(tmp_path, MedicationRequest=orders)
    kind = {"resourceType": "MedicationAdministration"}
    (tmp_path / "MedicationAdministration.ndjson").write_text(
        json.dumps(kind | given) + "\n" + json.dumps(kind | given | {"status": "not-done"})
    )
    records = fhir.read(tmp_path)
    drugs = records.codes.join(records.code_names.filter(kind="drug"), on="code")
    day = at(2015, 3, 5, 4, 59, 59)
    assert drugs.sort("code").select("code", "time").rows() == [
        ("DRUG:salt", day),
        ("RXNORM:11124", at(2015, 3, 3, 8)),
        ("RXNORM:5224", day),
        ("RXNORM:6809", day),
    ]
    assert records.oddities == {
        "MedicationRequest resources without a code, left out": 1,
        "MedicationAdministration resources not carried out or entered in error, left out": 1,
    }


def test_place_is_named_by_its_location_apart_or_inside(tmp_path):
    icu = {"name": "Medical ICU"}
    period = {"start": "2015-03-03T00:00:00Z", "end": "2015-03-04T00:00:00Z"}
    apart = {"location": [{"location": {"reference": "Location/l1"}, "period": period}]}
    within = {"location": [{"location": {"reference": "#l"}, "period": period}]}
    visits = [
        apart,
        {"id": "e2"} | within | inside("Location", id="l", **icu),
        {"id": "e3"} | within | inside("Location", id="l", name="Ward 7"),
    ]
    write(tmp_path, Encounter=visits)
    (tmp_path / "Location.ndjson").write_text(
        json.dumps({"resourceType": "Location", "id": "l1"} | icu)
    )
    stays = fhir.read(tmp_path).stays
    assert stays["unit"].to_list() == ["Medical ICU"] * 2
    assert set(stays["visit_id"]) == set(map(fhir_resources.identifier, ("e1", "e2")))


def test_encounter_or_patient_inside_another_resource_is_none_of_the_export(tmp_path):
    condition = {"encounter": {"reference": "#e1"}} | inside("Encounter", id="e1")
    visit = {"id": "e2", "subject": {"reference": "#p1"}} | inside("Patient", id="p1")
    records = fhir.read(write(tmp_path, Condition=[{}, condition], Encounter=[{}, visit]))
    assert records.visits.height == 1
    assert records.oddities == {
        "Condition resources of unknown encounters, left out": 1,
        "encounters of unknown patients, left out": 1,
    }


def test_members_and_attachments_inside_a_resource_are_read(tmp_path):
    member = inside("Observation", id="o", code=coding(LOINC, "8480-6"), valueInteger=120)
    void = inside("Observation", id="o", status="entered-in-error", valueInteger=7)
    binary = inside("Binary", id="b", contentType="text/plain", data=encoded("Inside."))
    attached = {"content": [{"attachment": {"url": "#b"}}]} | binary
    documents = [attached, attached | {"contained": None}]
    write(tmp_path, Observation=[member, void], DocumentReference=documents)
    records = fhir.read(tmp_path)
    measured = records.measurements.select("variable", "value").collect()
    assert sorted(measured.rows()) == [("LOINC:8480-6", 120), *[("LOINC:8867-4", 88)] * 2]
    assert records.notes.collect()["text"].to_list() == ["Inside."]


def version(number: object, updated: str | None = None, **changes) -> dict:
    return {"id": "x", "meta": {"versionId": number, "lastUpdated": updated}} | changes


RIGHT = {"code": coding(SNOMED, "22298006"), "valueQuantity": {"value": 2, "unit": "bpm"},
         **document("new"), "medicationCodeableConcept": coding(RXNORM, "6809")}  # fmt: skip
EVENTS = ("Condition", "Procedure", "MedicationRequest", "Observation", "DocumentReference")


def found_of(kind: str, records) -> list:
    if kind == "Observation":
        return records.measurements.collect()["value"].to_list()
    if kind == "DocumentReference":
        return records.notes.collect()["text"].to_list()
    kinds = {"Condition": "diagnosis", "Procedure": "procedure", "MedicationRequest": "drug"}
    return records.code_names.filter(kind=kinds[kind])["code"].to_list()


NEW = {"Condition": "SNOMED:22298006", "Procedure": "SNOMED:22298006",
       "MedicationRequest": "RXNORM:6809", "Observation": 2,
       "DocumentReference": "new"}  # fmt: skip


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("newest", [0, 1, 2])
def test_newest_version_of_an_event_counts_wherever_it_stands(tmp_path, kind, newest):
    if kind == "MedicationRequest":
        right = {"medicationCodeableConcept": RIGHT["medicationCodeableConcept"]}
    else:
        right = {name: RIGHT[name] for name in RIGHT if name in RESOURCES[kind]}
    # As numbers 9 is less than 10; in UTC the second is the later.
    rows = [version("9", "2015-04-01T10:00:00+05:00"), version("8", "2015-03-01T00:00:00Z")]
    rows.insert(newest, version("10", "2015-04-01T06:00:00Z", **right))
    records = fhir.read(write(tmp_path, **{kind: [*rows, rows[0]]}))
    assert found_of(kind, records) == [NEW[kind]]
    assert records.oddities == {
        f"{kind} resources standing more than once, taken once": 1,
        f"{kind} resources with a newer version, left out": 2,
    }


@pytest.mark.parametrize("kind", EVENTS)
def test_resource_whose_newest_version_is_void_is_gone(tmp_path, kind):
    wrong = {"status": "entered-in-error",
             "verificationStatus": {"coding": [{"code": "entered-in-error"}]}}  # fmt: skip
    rows = [version("2", **wrong), version("1")]
    assert found_of(kind, fhir.read(write(tmp_path, **{kind: rows}))) == []


def test_newest_version_of_patients_encounters_medications_and_locations_counts(tmp_path):
    old, new = ({"meta": {"versionId": str(n)}} for n in (9, 10))
    refers = {
        "medicationCodeableConcept": None,
        "medicationReference": {"reference": "Medication/m"},
    }
    place = {"location": [{"location": {"reference": "Location/l"}}]}
    write(
        tmp_path,
        Patient=[new | {"deceasedDateTime": "2015-03-08T00:00:00Z"}, old],
        Encounter=[new | place, old | {"class": {"code": "AMB"}}],
        MedicationRequest=[refers],
    )
    further = {
        "Medication": [new | {"code": coding(RXNORM, "6809")}, old | {"code": coding(RXNORM, "1")}],
        "Location": [new | {"name": "Surgical ICU"}, old | {"name": "Ward"}],
    }
    for kind, rows in further.items():
        resources = [{"resourceType": kind, "id": kind[0].lower()} | row for row in rows]
        (tmp_path / f"{kind}.ndjson").write_text("\n".join(map(json.dumps, resources)))
    records = fhir.read(tmp_path)
    assert records.visits["disposition"].to_list() == ["died"]
    assert records.code_names.filter(kind="drug")["code"].to_list() == ["RXNORM:6809"]
    assert records.stays["unit"].to_list() == ["Surgical ICU"]
    kinds = ("Patient", "Encounter", "Medication", "Location")
    told = {f"{kind} resources with a newer version, left out": 1 for kind in kinds}
    assert {rule: n for rule, n in records.oddities.items() if "newer" in rule} == told


def test_versions_of_which_one_lacks_the_mark_are_refused_unless_equal(tmp_path):
    one = {"id": "x", "meta": {"versionId": "1"}}
    with pytest.raises(errors.RecordsError, match="neither meta.lastUpdated nor meta.versionId"):
        fhir.read(write(tmp_path, Procedure=[one, {"id": "x"}]))
    turned = dict(reversed(({"resourceType": "Procedure"} | RESOURCES["Procedure"] | one).items()))
    path = write(tmp_path, Procedure=[one]) / "Procedure.ndjson"
    path.write_bytes(path.read_bytes() + json.dumps(turned, indent=None).encode())
    told = fhir.read(tmp_path).oddities
    assert told == {"Procedure resources standing more than once, taken once": 1}


def test_resources_without_an_id_are_never_one(tmp_path):
    write(tmp_path, Observation=[{}, {}])
    assert versions.outdated(
        [tmp_path / "Observation.ndjson"], "Observation", tally.Ledger()
    ).is_empty()


WEST = {"start": "2015-03-02T22:00:00-05:00", "end": "2015-03-09T22:00:00-05:00"}
# How something is dated, in a visit west of Greenwich: when it is known, in UTC.
DATED = {
    "2015-03-02": None,  # the local day of the start
    "2015-03": None,  # a month that holds the start
    "2015-03-04": at(2015, 3, 5, 4, 59, 59),
    "2015-03-04T08:00:00-05:00": at(2015, 3, 4, 13),
    "2015-03-03T03:00:30Z": None,  # the very start
    "2015-03-09": at(2015, 3, 10, 3),  # a day that ends after the visit
}


@pytest.mark.parametrize("date", DATED)
def test_date_alone_is_a_day_by_the_clock_of_its_encounter(tmp_path, date):
    records = fhir.read(
        write(
            tmp_path,
            Encounter=[{"period": WEST}],
            Condition=[{"recordedDate": date}],
            Procedure=[{"performedPeriod": None, "performedDateTime": date}],
            MedicationRequest=[{"authoredOn": date}],
            Observation=[{"effectiveDateTime": date}],
            DocumentReference=[{"date": date}],
        )
    )
    times = dict(records.codes.join(records.code_names, on="code").select("kind", "time").rows())
    assert (times["diagnosis"], times["procedure"]) == (DATED[date], DATED[date])
    ends = {"2015-03-02": at(2015, 3, 3, 4, 59, 59), "2015-03": at(2015, 3, 10, 3)}
    clock = DATED[date] or ends.get(date, at(2015, 3, 3, 3, 0, 30))
    assert times["drug"] == clock
    (measured,) = records.measurements.collect()["time"]
    days = {"2015-03": at(2015, 4, 1, 4, 59, 59), "2015-03-09": at(2015, 3, 10, 4, 59, 59)}
    assert measured == days.get(date, clock)
    (written,) = records.notes.collect()["time"]
    assert written == (DATED[date] or at(2015, 3, 10, 3))


def test_visit_of_dates_alone_lasts_its_local_days(tmp_path):
    period = {"start": "2015-03-02T22:00:00-05:00", "end": "2015-03-09"}
    (end,) = fhir.read(write(tmp_path, Encounter=[{"period": period}])).visits["end"]
    assert end == at(2015, 3, 10, 4, 59, 59)


def test_observation_is_known_once_it_is_issued(tmp_path):
    issued = [{"issued": "2015-03-05T06:00:00Z"}, {"issued": "2015-03-03T06:00:00Z"}]
    records = fhir.read(write(tmp_path, Observation=issued))
    found = records.measurements.collect()["time"].sort().to_list()
    assert found == [at(2015, 3, 4, 6), at(2015, 3, 5, 6)]


def test_value_that_is_only_below_a_number_is_missing_and_counted(tmp_path):
    below = {"valueQuantity": {"value": 5, "comparator": "<", "unit": "bpm"}}
    records = fhir.read(write(tmp_path, Observation=[{}, below]))
    assert records.measurements.collect()["value"].to_list() == [88]
    assert records.oddities["Observation values whose value is no number, left out"] == 1


def test_resources_a_year_off_are_left_out_and_counted(tmp_path):
    slip, snomed = "2014-03-04T08:00:00Z", coding(SNOMED, "1")
    far = {"Procedure": {"performedPeriod": None, "performedDateTime": slip, "code": snomed}}
    far |= {"MedicationRequest": {"authoredOn": slip, "medicationCodeableConcept": snomed}}
    far |= {"Observation": {"effectiveDateTime": slip, "issued": "2015-03-04T08:00:00Z"}}
    far |= {"DocumentReference": {"date": slip}, "Condition": {"recordedDate": "9999-01-01"}}
    records = fhir.read(write(tmp_path, **{kind: [{}, more] for kind, more in far.items()}))
    assert records.codes.height == 3
    assert records.measurements.collect().height == records.notes.collect().height == 1
    counted = [n for rule, n in records.oddities.items() if "30 days outside" in rule]
    assert counted == [1] * 5


@pytest.mark.parametrize(
    "name", ["._Patient.ndjson", ".Patient.ndjson.crc", "_SUCCESS", ".DS_Store"]
)
def test_what_lies_beside_the_files_is_no_resource(tmp_path, name):
    whole = sources.fingerprint(fhir.read(write(tmp_path)))
    (tmp_path / name).write_bytes(b"\x00\x05\x16\x07 Mac OS X")
    assert sources.fingerprint(fhir.read(tmp_path)) == whole


def test_code_that_is_a_number_is_refused(tmp_path):
    path = write(tmp_path) / "Condition.ndjson"
    text = path.read_text()
    odd = re.sub(r'"code": *"([0-9]+)"', r'"code": \1.0', text, count=1)
    assert odd != text
    path.write_text(odd)
    with pytest.raises(
        errors.RecordsError, match="Condition.ndjson: line 1 has a 'code' that is a"
    ):
        fhir.read(tmp_path)
