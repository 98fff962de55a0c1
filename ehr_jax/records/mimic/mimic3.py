"""MIMIC-III v1.4, the open demo or the credentialed release: hospital stays with an ICU stay.

Files may be .csv, .csv.gz or .parquet, headers and file names of either case. Measurements and
notes stay lazy. Diagnoses and procedures are billed after discharge, so they carry no time.
"""

import pathlib

import polars as pl

from ehr_jax.records.common import ages, code_spelling, icd9, reading, tables, tally
from ehr_jax.records.mimic import coded, common, mimic3_events

MASKED_AGE = 91.4  # what MIMIC states as the median age of patients whose age it masks (over 89)

DEMO_TERMS = "MIMIC-III Clinical Database Demo v1.4, Open Data Commons Open Database License 1.0."
CREDENTIALED_TERMS = (
    "MIMIC-III Clinical Database v1.4, PhysioNet Credentialed Health Data License 1.5.0 and Data "
    "Use Agreement 1.5.0: no sharing of the data, no attempt to identify anybody."
)

DISPOSITIONS = {
    "DEAD/EXPIRED": "died",
    "HOSPICE-HOME": "hospice",
    "HOSPICE-MEDICAL FACILITY": "hospice",
    "HOME": "home",
    "HOME HEALTH CARE": "home",
    "HOME WITH HOME IV PROVIDR": "home",
    "SNF": "facility",
    "SNF-MEDICAID ONLY CERTIF": "facility",
    "ICF": "facility",
    "REHAB/DISTINCT PART HOSP": "facility",
    "LONG TERM CARE HOSPITAL": "facility",
    "OTHER FACILITY": "facility",
    "SHORT TERM HOSPITAL": "transfer",
    "DISCH-TRAN TO PSYCH HOSP": "transfer",
    "DISC-TRAN CANCER/CHLDRN H": "transfer",
    "DISC-TRAN TO FEDERAL HC": "transfer",
    "LEFT AGAINST MEDICAL ADVI": "other",
}
PLANNED = ("ELECTIVE",)  # admission types

# Column to attribute, each known at admission. Language and religion are left out: the one is
# missing from four admissions in ten, neither is a matter of care, and both single people out.
ATTRIBUTES = {
    "admission_type": "admission type",
    "admission_location": "admission location",
    "insurance": "insurance",
    "marital_status": "marital status",
    "ethnicity": "race",
}


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads the MIMIC-III files of the folder `root`.

    Needs ADMISSIONS, PATIENTS, DIAGNOSES_ICD, PROCEDURES_ICD and PRESCRIPTIONS; takes ICUSTAYS,
    the dictionaries, LABEVENTS, CHARTEVENTS and NOTEEVENTS where they are there. Codes:
    "ICD9CM:4280", "ICD9PROC:3961", and "DRUG:" with the drug as most often printed
    (see `code_spelling`: "heparin " is "Heparin"). A drug is known at the end of its start date.

    Raises RecordsError for a missing table or column, a damaged file, or a repeated hadm_id.
    """
    oddities = tally.Ledger()
    stays = common.stays(
        reading.find_table(root, "ICUSTAYS", required=False), "ICUSTAYS", "icustay_id", oddities
    )
    admissions = _admissions(root, stays, oddities)
    raw = _raw_patients(root)
    admissions = common.settle(raw, admissions, oddities)
    patients = _patients(raw, admissions, oddities)
    age = pl.when("masked").then(MASKED_AGE)
    age = age.otherwise(ages.years(pl.col("birth_time"), pl.col("start")))
    stems = ("ADMISSIONS", "ICUSTAYS")
    admissions, visits, stays = common.admitted(
        admissions, patients, stays, stems, age, (PLANNED, ()), oddities
    )
    codes, code_names = _codes(root, visits, oddities)
    return common.records(
        admissions,
        patients,
        visits,
        stays,
        ATTRIBUTES,
        oddities,
        source="mimic3",
        codes=codes,
        code_names=code_names,
        measurements=mimic3_events.measurements(root, visits, oddities),
        notes=mimic3_events.notes(root, visits, oddities),
        terms=reading.terms(root, DEMO_TERMS, CREDENTIALED_TERMS),
    )


def _admissions(root, stays: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns ADMISSIONS with `start`, `end` and how it ended, its times mended."""
    path = reading.find_table(root, "ADMISSIONS")
    schema = dict.fromkeys(("hadm_id", "subject_id", "hospital_expire_flag"), pl.Int64)
    schema |= dict.fromkeys(("admittime", "dischtime", "deathtime", "edregtime"), tables.TIME)
    schema |= dict.fromkeys((*ATTRIBUTES, "discharge_location"), pl.String)
    raw = reading.read(path, schema, optional=("edregtime",))
    raw = common.check_admissions(path, "ADMISSIONS", raw, oddities)
    return common.mend_admissions("ADMISSIONS", raw, stays, DISPOSITIONS, oddities)


def _raw_patients(root) -> pl.DataFrame:
    schema = {"subject_id": pl.Int64, "gender": pl.String, "dob": tables.TIME, "dod": tables.TIME}
    return reading.read(reading.find_table(root, "PATIENTS"), schema)


def _patients(raw: pl.DataFrame, admissions: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    found = common.mend_patients("PATIENTS", raw, admissions, oddities)
    age = ages.years(pl.col("dob"), pl.col("first"))
    odd = found.select(masked=age > ages.OLDEST, unborn=age < 0).sum().row(0, named=True)
    oddities["ages masked by the source (over 89), set to 91.4"] = odd["masked"]
    oddities["births after admission, age and birth unknown"] = odd["unborn"]
    return found.select(
        "subject_id",
        "sex",
        pl.when(ages.believed(age)).then("dob").alias("birth_time"),
        "death_time",
        (age > ages.OLDEST).fill_null(False).alias("masked"),
    )


def _codes(root, visits: pl.DataFrame, oddities: dict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the tables of codes and of their names."""
    titles = icd9.load(root)
    procedures = icd9.mimic_titles(root, "D_ICD_PROCEDURES")
    diagnosed = _billed(root, "DIAGNOSES_ICD", "ICD9CM:", titles.exact, 5, visits, oddities)
    performed = _billed(root, "PROCEDURES_ICD", "ICD9PROC:", procedures, 4, visits, oddities)
    prescribed = coded.prescribed(
        reading.find_table(root, "PRESCRIPTIONS"), "PRESCRIPTIONS", "startdate", visits, oddities
    )
    codes = code_spelling.table([diagnosed, performed, prescribed], oddities)
    systems = {
        "ICD9CM": ("diagnosis", lambda code: icd9.name_of(code, titles)),
        "ICD9PROC": ("procedure", lambda code: icd9.procedure_name(code, procedures)),
        "DRUG": ("drug", str.strip),
    }
    return codes, coded.name_codes(codes, systems)


def _billed(root, stem, prefix, titles, longest, visits, oddities) -> pl.DataFrame:
    path = reading.find_table(root, stem)
    raw = reading.read(path, {"hadm_id": pl.Int64, "seq_num": pl.Int64, "icd9_code": pl.String})
    raw = coded.of_visits(raw, "icd9_code", stem, visits, oddities)
    code = coded.icd9_spelling(raw["icd9_code"], titles, longest, stem, oddities)
    return raw.select(
        "visit_id", code=prefix + code, time=tables.NO_TIME, position=pl.col("seq_num")
    )
