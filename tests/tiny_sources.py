"""A tiny valid input of every source and container, as files in memory: six patients, three dead.

Made of the hospitals of one that each source's own tests write.
"""

import gzip
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import hospital
import mutations
import polars as pl
from records.diabetes130 import test_diabetes130
from records.eicu import test_eicu
from records.fhir import test_fhir
from records.meds import test_meds
from records.mimic import test_mimic3, test_mimic4
from records.omop import test_omop
from records.physionet2012 import test_physionet2012

from ehr_jax.features import hypergraph_file
from ehr_jax.records.common import tables
from ehr_jax.records.diabetes130 import reader as diabetes130
from ehr_jax.records.eicu import reader as eicu
from ehr_jax.records.fhir import reader as fhir
from ehr_jax.records.meds import reader as meds
from ehr_jax.records.meds import writer
from ehr_jax.records.mimic import mimic3, mimic4
from ehr_jax.records.omop import reader as omop
from ehr_jax.records.physionet2012 import reader as physionet2012

PATIENTS = range(6)
DEAD = range(3)
# Identifiers and words that no message may repeat.
SUBJECT, VISIT, STAY = 7_730_101, 8_840_202, 9_950_303
SECRET = "Qwertz"


class Form(NamedTuple):
    make: Callable[[pathlib.Path], None]  # writes the input into a folder
    read: Callable[[pathlib.Path], Any]
    task: str | None  # that its records serve; None for what is no Records


def files(form: Form) -> mutations.Files:
    """Returns the input of a form: name to content."""
    with tempfile.TemporaryDirectory() as folder:
        form.make(pathlib.Path(folder))
        return mutations.load(pathlib.Path(folder))


def _each(row: Callable[[int], dict]) -> list[dict]:
    return [row(k) for k in PATIENTS]


def _diabetes130(folder: pathlib.Path) -> None:
    rows = _each(
        lambda k: {
            "encounter_id": str(VISIT + k),
            "patient_nbr": str(SUBJECT + k),
            "readmitted": "<30" if k in DEAD else ">30",
            "diag_1": ("8", "250.83", "V45", "E850", "428", "?")[k],
            "insulin": ("Up", "No", "Steady")[k % 3],
        }
    )
    (folder / "diabetic_data.csv").write_text(test_diabetes130.table(rows))
    (folder / "IDs_mapping.csv").write_text(
        "admission_type_id,description\n1,Emergency\n3,Elective\n,\n"
        "discharge_disposition_id,description\n1,Discharged to home\n11,Expired\n,\n"
        "admission_source_id,description\n1,Physician Referral\n"
    )


def _mimic3(folder: pathlib.Path) -> None:
    of_visit = _each(lambda k: {"hadm_id": VISIT + k, "subject_id": SUBJECT + k})
    in_unit = _each(lambda k: {"hadm_id": VISIT + k, "icustay_id": STAY + k})
    test_mimic3.write(
        folder,
        admissions=[row | _mimic_end(k, "DEAD/EXPIRED") for k, row in enumerate(of_visit)],
        patients=_each(lambda k: {"subject_id": SUBJECT + k}),
        icustays=_each(lambda k: of_visit[k] | in_unit[k]),
        diagnoses_icd=of_visit,
        procedures_icd=of_visit,
        prescriptions=of_visit,
        labevents=of_visit,
        chartevents=in_unit,
        noteevents=[row | {"text": f"Mr {SECRET} went home."} for row in of_visit],
    )
    title = "icd9_code,long_title\n4280,Heart failure\n3961,Bypass\n"
    for stem in ("D_ICD_DIAGNOSES", "D_ICD_PROCEDURES"):
        (folder / f"{stem}.csv").write_text(title)


def _mimic_end(k: int, place: str) -> dict:
    if k not in DEAD:
        return {}
    died = {"discharge_location": place, "hospital_expire_flag": 1}
    return died | {"deathtime": "2150-01-09 12:00:00"}


def _mimic4(folder: pathlib.Path) -> None:
    of_visit = _each(lambda k: {"hadm_id": VISIT + k, "subject_id": SUBJECT + k})
    in_unit = _each(lambda k: {"hadm_id": VISIT + k, "stay_id": STAY + k})
    text = {"text": f"Mr {SECRET} went home."}
    test_mimic4.write(
        folder,
        admissions=[row | _mimic_end(k, "DIED") for k, row in enumerate(of_visit)],
        patients=_each(lambda k: {"subject_id": SUBJECT + k}),
        icustays=_each(lambda k: of_visit[k] | in_unit[k]),
        diagnoses_icd=[row | {"icd_version": (9, 10)[k % 2]} for k, row in enumerate(of_visit)],
        procedures_icd=of_visit,
        prescriptions=of_visit,
        labevents=of_visit,
        chartevents=in_unit,
        outputevents=in_unit,
        discharge=[row | text for row in of_visit],
        radiology=[row | text for row in of_visit],
    )


def _eicu(folder: pathlib.Path) -> None:
    ids = _each(lambda k: {"patientunitstayid": STAY + k})
    people = _each(
        lambda k: {
            "patientunitstayid": STAY + k,
            "patienthealthsystemstayid": VISIT + k,
            "uniquepid": f"002-{SUBJECT + k}",
            "hospitaldischargestatus": "Expired" if k in DEAD else "Alive",
            "hospitaldischargelocation": "Death" if k in DEAD else "Home",
        }
    )
    said = {"note": {"notetext": SECRET}, "pastHistory": {"pasthistoryvaluetext": SECRET}}
    rest = {stem: [row | said.get(stem, {}) for row in ids] for stem in test_eicu.TABLES}
    test_eicu.write(folder, **rest | {"patient": people})
    hours = [0.0, 1.0] * len(ids)
    test_eicu.write_series(folder / "series", [STAY + k for k in PATIENTS for _ in "ab"], hours)


def _read_eicu(folder: pathlib.Path) -> tables.Records:
    return eicu.read(folder, folder / "series")


def _physionet2012(form: str) -> Callable[[pathlib.Path], None]:
    def make(folder: pathlib.Path) -> None:
        stays = list(test_physionet2012.STAYS.items())
        rows, endings = {}, {}
        for k in PATIENTS:
            old, text = stays[k % 3]
            rows[SUBJECT + k] = text.replace(f"RecordID,{old}", f"RecordID,{SUBJECT + k}")
            endings[SUBJECT + k] = f"{SUBJECT + k},6,1,5,5,{int(k in DEAD)}"
        test_physionet2012.write(folder, form, rows, endings)

    return make


def _meds(folder: pathlib.Path) -> None:
    """As the MIMIC-IV ETL writes it, in two shards."""
    ends = {"text_value": SECRET}
    for k in PATIENTS:
        place = "DIED" if k in DEAD else "HOME"
        rows = []
        for time, code, visit, number, text in test_meds.EXTERNAL:
            code = f"HOSPITAL_DISCHARGE//{place}" if code.startswith("HOSPITAL_DISC") else code
            number_of = visit and VISIT + 10 * k + visit - 10
            text = ends["text_value"] if code.startswith("NOTE") else text
            # The second visit belongs to the living alone.
            if k in DEAD and time and time > test_meds.DAY(6):
                continue
            if k in DEAD or code != "MEDS_DEATH":
                rows.append((time, code, number_of, number, text))
        test_meds.external(folder / f"{k}", rows, subject=SUBJECT + k)
    frames = [pl.read_parquet(folder / f"{k}" / "data" / "train" / "0.parquet") for k in PATIENTS]
    for part in (0, 1):
        shard = folder / "data" / "train" / f"{part}.parquet"
        shard.parent.mkdir(parents=True, exist_ok=True)
        pl.concat(frames[part::2]).write_parquet(shard)
    for k in PATIENTS:
        (folder / f"{k}" / "data" / "train" / "0.parquet").unlink()
    splits = [(SUBJECT + k, ("train", "tuning", "held_out")[k % 3]) for k in PATIENTS]
    test_meds.write_metadata(folder, splits)


def _meds_own(folder: pathlib.Path) -> None:
    visits = _each(
        lambda k: hospital.visit(
            SUBJECT + k, 0, 7, "4280", "25000", disposition="died" if k in DEAD else "home"
        )
    )
    records = hospital.records(visits, stays=[(k, 1, 5) for k in PATIENTS])
    note = {"time": hospital.day(3), "date_only": True, "category": "Nursing", "text": SECRET}
    measured = {"stay_id": 0, "time": hospital.day(2), "variable": "LAB:1", "value": 0.1}
    of = pl.DataFrame({"visit_id": PATIENTS})
    records = records.__class__(
        **vars(records)
        | {
            "notes": tables.conform(of.with_columns(**_literals(note)), tables.NOTES).lazy(),
            "measurements": tables.conform(
                of.with_columns(**_literals(measured), unit=pl.lit(None)), tables.MEASUREMENTS
            ).lazy(),
        }
    )
    made = writer.write(records, folder / "made", subjects_a_shard=3)
    for path in sorted(made.iterdir()):
        path.rename(folder / path.name)


def _literals(row: dict) -> dict[str, pl.Expr]:
    return {name: pl.lit(value) for name, value in row.items()}


def _omop(folder: pathlib.Path) -> None:
    of_visit = _each(lambda k: {"visit_occurrence_id": VISIT + k})
    person = _each(lambda k: {"person_id": SUBJECT + k})
    place = {"discharged_to_source_value": "DIED", "discharged_to_concept_id": 0}
    test_omop.write(
        folder,
        person=person,
        death=person[:1],
        visit_occurrence=[of_visit[k] | person[k] | (place if k in DEAD else {}) for k in PATIENTS],
        visit_detail=_each(lambda k: of_visit[k] | {"visit_detail_id": STAY + k}),
        condition_occurrence=of_visit,
        procedure_occurrence=of_visit,
        drug_exposure=of_visit,
        measurement=_each(lambda k: of_visit[k] | {"visit_detail_id": STAY + k}),
        note=[row | {"note_text": f"Mr {SECRET} went home."} for row in of_visit],
    )
    test_omop.write_concepts(folder)
    (folder / "observation_period.csv").write_text(
        "person_id,observation_period_start_date,observation_period_end_date\n"
        + "".join(f"{SUBJECT + k},2010-01-01,2020-01-01\n" for k in PATIENTS)
    )
    (folder / "care_site.csv").write_text("care_site_id,care_site_name\n1,Medical ICU\n")


def _fhir(folder: pathlib.Path) -> None:
    def of(k: int) -> dict:
        return {
            "subject": {"reference": f"Patient/{SUBJECT + k}"},
            "encounter": {"reference": f"Encounter/{VISIT + k}"},
        }

    def encounter(k: int) -> dict:
        end = {"dischargeDisposition": {"coding": [{"code": "exp" if k in DEAD else "home"}]}}
        unit = {"location": {"display": "Medical ICU"}, "period": test_fhir.ENCOUNTER["period"]}
        return {
            "id": str(VISIT + k), "subject": of(k)["subject"], "hospitalization": end,
            "location": [unit],
        }  # fmt: skip

    def document(k: int) -> dict:
        context = {"context": {"encounter": [of(k)["encounter"]]}}
        return context | test_fhir.document(f"Mr {SECRET} went home.")

    kinds = {kind: _each(of) for kind in test_fhir.RESOURCES}
    kinds |= {"Patient": _each(lambda k: {"id": str(SUBJECT + k)}), "Encounter": _each(encounter)}
    test_fhir.write(folder, **kinds | {"DocumentReference": _each(document)})
    unpacked = folder / "Observation.ndjson"
    (folder / "Observation.ndjson.gz").write_bytes(mutations.packed(unpacked.read_bytes()))
    unpacked.unlink()


def _hypergraph(folder: pathlib.Path) -> None:
    from features import test_hypergraph_file

    test_hypergraph_file.save(folder)


def _read_hypergraph(folder: pathlib.Path) -> dict:
    return hypergraph_file.read(folder / "hypergraph.npz").counts()


def _as(suffix: str, make: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    """Returns `make` with its tables in another container."""

    def made(folder: pathlib.Path) -> None:
        make(folder)
        for path in sorted(folder.rglob("*.csv")):
            if suffix == ".csv.gz":
                path.with_suffix(suffix).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            else:
                tab = "\t" if b"\t" in path.read_bytes() else ","
                frame = pl.read_csv(path, try_parse_dates=True, separator=tab,
                                    quote_char=None if tab == "\t" else '"')  # fmt: skip
                frame.write_parquet(path.with_suffix(suffix))
            path.unlink()

    return made


FORMS = {
    "diabetes130 csv": Form(_diabetes130, diabetes130.read, "readmission30"),
    "mimic3 csv": Form(_mimic3, mimic3.read, "mortality"),
    "mimic3 csv.gz": Form(_as(".csv.gz", _mimic3), mimic3.read, "mortality"),
    "mimic3 parquet": Form(_as(".parquet", _mimic3), mimic3.read, "mortality"),
    "mimic4 csv": Form(_mimic4, mimic4.read, "mortality"),
    "mimic4 parquet": Form(_as(".parquet", _mimic4), mimic4.read, "mortality"),
    "eicu csv, series": Form(_eicu, _read_eicu, "mortality"),
    "physionet2012 folder": Form(_physionet2012("folder"), physionet2012.read, "mortality"),
    "physionet2012 tar.gz": Form(_physionet2012("tar.gz"), physionet2012.read, "mortality"),
    "physionet2012 zip": Form(_physionet2012("zip"), physionet2012.read, "mortality"),
    "physionet2012 csv.gz": Form(_physionet2012("csv.gz"), physionet2012.read, "mortality"),
    "meds": Form(_meds, meds.read, "readmission30"),
    "meds, our own layout": Form(_meds_own, meds.read, "mortality"),
    "omop csv": Form(_omop, omop.read, "mortality"),
    "omop parquet": Form(_as(".parquet", _omop), omop.read, "mortality"),
    "fhir": Form(_fhir, fhir.read, "mortality"),
    "hypergraph npz": Form(_hypergraph, _read_hypergraph, None),
}
