"""MIMIC-IV 1.x to 3.x, the open demo or the credentialed release: hospital visits since 2008.

The folder holds `hosp` and `icu` (1.x also `core`), and `note` of MIMIC-IV-Note where it is had;
one flat folder does as well. Files may be .csv, .csv.gz or .parquet. Measurements and notes stay
lazy. Diagnoses and procedures are billed after discharge, so they carry no time.
"""

import pathlib
from collections.abc import Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import ages, code_spelling, icd9, reading, tables, tally
from ehr_jax.records.mimic import coded, common, mimic4_events

DEMO_TERMS = "MIMIC-IV Clinical Database Demo, Open Data Commons Open Database License 1.0."
CREDENTIALED_TERMS = (
    "MIMIC-IV, PhysioNet Credentialed Health Data License 1.5.0 and Data Use Agreement 1.5.0: no "
    "sharing of the data, no attempt to identify anybody."
)

# The code systems by `icd_version`: the same digits may stand for one thing in each.
DIAGNOSES = {9: "ICD9CM", 10: "ICD10CM"}
PROCEDURES = {9: "ICD9PROC", 10: "ICD10PCS"}

DISPOSITIONS = {
    "DIED": "died",
    "HOSPICE": "hospice",
    "HOME": "home",
    "HOME HEALTH CARE": "home",
    "SKILLED NURSING FACILITY": "facility",
    "REHAB": "facility",
    "CHRONIC/LONG TERM ACUTE CARE": "facility",
    "ASSISTED LIVING": "facility",
    "HEALTHCARE FACILITY": "facility",
    "OTHER FACILITY": "facility",
    "ACUTE HOSPITAL": "transfer",
    "PSYCH FACILITY": "transfer",
    "AGAINST ADVICE": "other",
}
PLANNED = ("ELECTIVE", "SURGICAL SAME DAY ADMISSION")  # admission types
# Visits under observation, which an admission of their own may follow at once.
EMERGENCY = ("EU OBSERVATION", "DIRECT OBSERVATION", "AMBULATORY OBSERVATION")

# Column to attribute, each known at admission; `race` was `ethnicity` before 2.0. Language is left
# out: it is no matter of care and singles people out.
ATTRIBUTES = {
    "admission_type": "admission type",
    "admission_location": "admission location",
    "insurance": "insurance",
    "marital_status": "marital status",
    "race": "race",
}
MASKED_OVER = 89  # years; older patients are 91 in their anchor year


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads the MIMIC-IV files of the folder `root`.

    Needs admissions, patients, diagnoses_icd, procedures_icd and prescriptions; takes icustays,
    the dictionaries, labevents, chartevents, outputevents, discharge and radiology where they are
    there. Codes: "ICD9CM:4280", "ICD10CM:I509", "ICD9PROC:3961", "ICD10PCS:5A1221Z", and "DRUG:"
    with the drug as most often printed. A drug is known at the end of its start date.

    The source gives an age in whole years in an anchor year: a visit's age is that age and the
    calendar years since, and a birth is put on the first of January (inferred).

    Raises RecordsError for a missing table or column, a damaged file, a repeated hadm_id, or codes
    that do not say their version of ICD.
    """
    oddities = tally.Ledger()
    stays = common.stays(
        mimic4_events.find_table(root, "icustays", required=False), "icustays", "stay_id", oddities
    )
    admissions = _admissions(root, stays, oddities)
    raw = _raw_patients(root)
    admissions = common.settle(raw, admissions, oddities)
    patients = _patients(raw, admissions, oddities)
    age = pl.col("start").dt.year() - pl.col("birth_year")
    stems = ("admissions", "icustays")
    admissions, visits, stays = common.admitted(
        admissions, patients, stays, stems, age, (PLANNED, EMERGENCY), oddities
    )
    codes, code_names = _codes(root, visits, oddities)
    return common.records(
        admissions,
        patients,
        visits,
        stays,
        ATTRIBUTES,
        oddities,
        source="mimic4",
        codes=codes,
        code_names=code_names,
        measurements=mimic4_events.measurements(root, visits, oddities),
        notes=mimic4_events.notes(root, visits, oddities),
        terms=reading.terms(mimic4_events.home(root), DEMO_TERMS, CREDENTIALED_TERMS),
    )


def _admissions(root, stays: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns admissions with `start`, `end` and how it ended, its times mended."""
    path = mimic4_events.find_table(root, "admissions")
    columns = reading.columns(path)
    race = "ethnicity" if "ethnicity" in columns and "race" not in columns else "race"
    texts = [*(race if name == "race" else name for name in ATTRIBUTES), "discharge_location"]
    schema = dict.fromkeys(("hadm_id", "subject_id", "hospital_expire_flag"), pl.Int64)
    schema |= dict.fromkeys(("admittime", "dischtime", "deathtime", "edregtime"), tables.TIME)
    schema |= dict.fromkeys(texts, pl.String)
    raw = reading.read(path, schema, optional=("edregtime",)).rename({race: "race"})
    raw = common.check_admissions(path, "admissions", raw, oddities)
    # Some discharges of the dead are a date alone, the midnight before the death.
    leaving, death = pl.col("dischtime"), pl.col("deathtime")
    early = (leaving < death) & (leaving == death.dt.truncate("1d"))
    oddities["discharges at midnight of the day of death, set to the death"] = int(
        raw.select(early).to_series().sum()
    )
    raw = raw.with_columns(pl.when(early).then(death).otherwise(leaving).alias("dischtime"))
    return common.mend_admissions("admissions", raw, stays, DISPOSITIONS, oddities)


def _raw_patients(root) -> pl.DataFrame:
    schema = dict.fromkeys(("subject_id", "anchor_age", "anchor_year"), pl.Int64)
    schema |= {"gender": pl.String, "dod": tables.TIME}
    return reading.read(mimic4_events.find_table(root, "patients"), schema)


def _patients(raw: pl.DataFrame, admissions: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    found = common.mend_patients("patients", raw, admissions, oddities)
    birth = pl.col("anchor_year") - pl.col("anchor_age")
    age = pl.coalesce(pl.col("first").dt.year(), "anchor_year") - birth
    masked = pl.col("anchor_age") > MASKED_OVER
    known = ages.believed(age) & birth.is_between(1, 9999)
    odd = found.select(masked=masked & known, unborn=age < 0, old=age > ages.OLDEST)
    odd = odd.sum().row(0, named=True)
    oddities["ages masked by the source (over 89), counted on from 91"] = odd["masked"]
    oddities["births after admission, age and birth unknown"] = odd["unborn"]
    oddities[f"ages over {ages.OLDEST} at admission, age and birth unknown"] = odd["old"]
    birth = pl.when(known).then(birth)
    return found.select(
        "subject_id",
        "sex",
        pl.when(~masked).then(pl.datetime(birth, 1, 1)).alias("birth_time"),
        "death_time",
        birth.alias("birth_year"),
    )


def _codes(root, visits: pl.DataFrame, oddities: dict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the tables of codes and of their names."""
    diagnoses = _titles(root, "d_icd_diagnoses", DIAGNOSES)
    procedures = _titles(root, "d_icd_procedures", PROCEDURES)
    diagnosed = _billed(root, "diagnoses_icd", DIAGNOSES, diagnoses, 5, visits, oddities)
    performed = _billed(root, "procedures_icd", PROCEDURES, procedures, 4, visits, oddities)
    prescribed = coded.prescribed(
        mimic4_events.find_table(root, "prescriptions"),
        "prescriptions",
        "starttime",
        visits,
        oddities,
    )
    codes = code_spelling.table([diagnosed, performed, prescribed], oddities)
    named9 = icd9.load(mimic4_events.home(root), diagnoses["ICD9CM"])
    tens = diagnoses["ICD10CM"], procedures["ICD10PCS"]
    systems = {
        "ICD9CM": ("diagnosis", lambda code: icd9.name_of(code, named9)),
        "ICD10CM": ("diagnosis", lambda code: tens[0].get(code, f"ICD-10-CM {code}")),
        "ICD9PROC": (
            "procedure",
            lambda code: icd9.procedure_name(code, procedures["ICD9PROC"]),
        ),
        "ICD10PCS": ("procedure", lambda code: tens[1].get(code, f"ICD-10-PCS {code}")),
        "DRUG": ("drug", str.strip),
    }
    return codes, coded.name_codes(codes, systems)


def _titles(root, stem: str, systems: Mapping[int, str]) -> dict[str, dict[str, str]]:
    """Returns system to undotted code to title; empty where the dictionary is absent."""
    titles = {system: {} for system in systems.values()}
    if path := mimic4_events.find_table(root, stem, required=False):
        raw = _versioned(path, {"long_title": pl.String}, systems)
        for version, code, title in (
            _undotted(raw.drop_nulls()).select("icd_version", "icd_code", "long_title").iter_rows()
        ):
            titles[systems[version]][code] = title
    return titles


def _undotted(raw: pl.DataFrame) -> pl.DataFrame:
    plain = icd9.without_point(raw["icd_code"], before=3)
    return raw.with_columns(plain.str.replace(".", "", literal=True).alias("icd_code"))


def _billed(root, stem, systems, titles, longest, visits, oddities) -> pl.DataFrame:
    path = mimic4_events.find_table(root, stem)
    raw = _versioned(path, {"hadm_id": pl.Int64, "seq_num": pl.Int64}, systems)
    raw = coded.of_visits(raw, "icd_code", stem, visits, oddities)
    parts = []
    for version, system in systems.items():
        part = raw.filter(icd_version=version)
        given = part["icd_code"]
        if version == 9:
            given = coded.icd9_spelling(given, titles[system], longest, stem, oddities)
        else:
            given = _whole_icd10(given, system, stem, oddities)
        code = f"{system}:" + given
        parts.append(part.select("visit_id", code=code, time=tables.NO_TIME, position="seq_num"))
    return pl.concat(parts)


def _whole_icd10(codes: pl.Series, system: str, stem: str, oddities: dict) -> pl.Series:
    # Every ICD-10-PCS code has seven characters; one of digits alone may have lost its zeros.
    plain = icd9.without_point(codes, before=3).str.replace(".", "", literal=True)
    if system != "ICD10PCS":
        return plain
    short = plain.str.contains(r"^\d{1,6}$").fill_null(False)
    rule = f"{stem} codes that had lost leading zeros, restored"
    oddities[rule] = oddities.get(rule, 0) + short.sum()
    return plain.set(short, None).fill_null(plain.str.pad_start(7, "0"))


def _versioned(
    path: pathlib.Path, columns: Mapping[str, pl.DataType], systems: Mapping[int, str]
) -> pl.DataFrame:
    """Reads `columns`, `icd_code` and `icd_version`; every code must say its version."""
    if "icd_version" not in reading.columns(path):
        raise errors.RecordsError(
            f"{path.name}: column 'icd_version' is missing. ICD-9 and ICD-10 stand in one table, "
            "and a code alone does not tell which it is of; export that column (9 or 10) too"
        )
    schema = {**columns, "icd_code": pl.String, "icd_version": pl.Int64}
    raw = reading.read(path, schema)
    strange = raw["icd_code"].is_not_null() & ~raw["icd_version"].is_in(list(systems)).fill_null(
        False
    )
    if strange.any():
        row = strange.arg_true()[0]
        value = raw["icd_version"][row]
        found = "no value" if value is None else "another number"
        found = f"'{value}'" if value is not None and abs(value) < 100 else found
        raise errors.RecordsError(
            f"{path.name}: row {row + 1} (the header not counted), column 'icd_version': {found}; "
            f"expected {' or '.join(str(version) for version in systems)} beside a code"
        )
    return raw.with_columns(pl.col("icd_code").str.strip_chars().str.to_uppercase())
