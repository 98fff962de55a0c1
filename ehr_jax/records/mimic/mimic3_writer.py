"""Writes Records as files in the schema of MIMIC-III v1.4, so that its reader and its users' tools
can be tried on a hospital whose truth is known.

Reading the folder back with `mimic3.read` gives the same visits, codes, names, notes, stays and
attributes; measured variables come back under their item ids (`ITEMS`), diagnoses and drugs under
the same codes.
"""

import pathlib
from typing import NamedTuple

import polars as pl

from ehr_jax import errors, storage
from ehr_jax.records.common import tables

# fmt: off
COLUMNS = {
    "ADMISSIONS": ("row_id", "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "admission_location", "discharge_location", "insurance", "language", "religion", "marital_status", "ethnicity", "edregtime", "edouttime", "diagnosis", "hospital_expire_flag", "has_chartevents_data"),  # noqa: E501
    "PATIENTS": ("row_id", "subject_id", "gender", "dob", "dod", "dod_hosp", "dod_ssn", "expire_flag"),  # noqa: E501
    "ICUSTAYS": ("row_id", "subject_id", "hadm_id", "icustay_id", "dbsource", "first_careunit", "last_careunit", "first_wardid", "last_wardid", "intime", "outtime", "los"),  # noqa: E501
    "DIAGNOSES_ICD": ("row_id", "subject_id", "hadm_id", "seq_num", "icd9_code"),
    "PROCEDURES_ICD": ("row_id", "subject_id", "hadm_id", "seq_num", "icd9_code"),
    "PRESCRIPTIONS": ("row_id", "subject_id", "hadm_id", "icustay_id", "startdate", "enddate", "drug_type", "drug", "drug_name_poe", "drug_name_generic", "formulary_drug_cd", "gsn", "ndc", "prod_strength", "dose_val_rx", "dose_unit_rx", "form_val_disp", "form_unit_disp", "route"),  # noqa: E501
    "D_ICD_DIAGNOSES": ("row_id", "icd9_code", "short_title", "long_title"),
    "D_ICD_PROCEDURES": ("row_id", "icd9_code", "short_title", "long_title"),
    "D_ITEMS": ("row_id", "itemid", "label", "abbreviation", "dbsource", "linksto", "category", "unitname", "param_type", "conceptid"),  # noqa: E501
    "D_LABITEMS": ("row_id", "itemid", "label", "fluid", "category", "loinc_code"),
    "LABEVENTS": ("row_id", "subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum", "valueuom", "flag"),  # noqa: E501
    "CHARTEVENTS": ("row_id", "subject_id", "hadm_id", "icustay_id", "itemid", "charttime", "storetime", "cgid", "value", "valuenum", "valueuom", "warning", "error", "resultstatus", "stopped"),  # noqa: E501
    "NOTEEVENTS": ("row_id", "subject_id", "hadm_id", "chartdate", "charttime", "storetime", "category", "description", "cgid", "iserror", "text"),  # noqa: E501
}
# fmt: on


class Item(NamedTuple):
    """How MIMIC-III knows a variable; "CHART:" items are charted, "LAB:" ones laboratory values."""

    variable: str
    label: str


# The synthetic hospital's variables under the item ids of the release.
ITEMS = {
    "heart rate": Item("CHART:220045", "Heart Rate"),
    "systolic blood pressure": Item("CHART:220179", "Non Invasive Blood Pressure systolic"),
    "diastolic blood pressure": Item("CHART:220180", "Non Invasive Blood Pressure diastolic"),
    "mean blood pressure": Item("CHART:220181", "Non Invasive Blood Pressure mean"),
    "respiratory rate": Item("CHART:220210", "Respiratory Rate"),
    "oxygen saturation": Item("CHART:220277", "O2 saturation pulseoxymetry"),
    "temperature": Item("CHART:223762", "Temperature Celsius"),
    "coma scale": Item("CHART:198", "GCS Total"),
    "inspired oxygen": Item("CHART:223835", "Inspired O2 Fraction"),
    "glucose": Item("LAB:50931", "Glucose"),
    "ph": Item("LAB:50820", "pH"),
    "creatinine": Item("LAB:50912", "Creatinine"),
    "urea nitrogen": Item("LAB:51006", "Urea Nitrogen"),
    "sodium": Item("LAB:50983", "Sodium"),
    "potassium": Item("LAB:50971", "Potassium"),
    "lactate": Item("LAB:50813", "Lactate"),
    "white cells": Item("LAB:51301", "White Blood Cells"),
    "hemoglobin": Item("LAB:51222", "Hemoglobin"),
    "platelets": Item("LAB:51265", "Platelet Count"),
    "bilirubin": Item("LAB:50885", "Bilirubin, Total"),
}

_PLACES = {
    "home": "HOME",
    "facility": "SNF",
    "transfer": "SHORT TERM HOSPITAL",
    "hospice": "HOSPICE-HOME",
    "died": "DEAD/EXPIRED",
    "other": "LEFT AGAINST MEDICAL ADVI",
    "unknown": None,
}
_SYSTEMS = ("ICD9CM", "ICD9PROC", "DRUG")
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def write(
    records: tables.Records,
    folder: str | pathlib.Path,
    upper_case: bool = True,
    suffix: str = ".csv.gz",
) -> pathlib.Path:
    """Writes `records` to the new folder `folder`, which appears whole or not at all.

    Headers are in upper case, as in the credentialed release, or in lower case, as in the demo;
    `suffix` is ".csv.gz" or ".csv". Raises RecordsError where the folder already holds something,
    or for records this schema cannot hold: visits without dates, codes other than ICD-9 and drugs,
    variables that have no item.
    """
    folder = pathlib.Path(folder).expanduser().absolute()
    if suffix not in (".csv", ".csv.gz"):
        raise errors.RecordsError(f"suffix is '{suffix}'; expected '.csv' or '.csv.gz'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.RecordsError(f"{folder.name} already exists and is not empty; name a new one")
    _check_dates(records)
    with storage.new_folder(folder) as unfinished:
        for table, make in _TABLES.items():
            _write_table(make(records), table, unfinished / (table + suffix), upper_case)
    return folder


def _check_dates(records: tables.Records) -> None:
    undated = records.visits.select(pl.any_horizontal(pl.col("start", "end").is_null()).sum())
    if undated.item():
        raise errors.RecordsError(
            f"{records.source}: {undated.item()} visit(s) have no start or end; ADMISSIONS needs "
            "both, so a source without dates cannot be written as MIMIC-III"
        )


def _write_table(frame: pl.DataFrame, table: str, path: pathlib.Path, upper_case: bool) -> None:
    present = [pl.col(n) if n in frame.columns else pl.lit(None).alias(n) for n in COLUMNS[table]]
    frame = frame.select(present).with_columns(
        pl.int_range(1, pl.len() + 1).alias("row_id"),
    )
    if upper_case:
        frame = frame.rename(str.upper)
    compression = "gzip" if path.suffix == ".gz" else "uncompressed"
    frame.write_csv(path, datetime_format=_TIME_FORMAT, compression=compression)


def _admissions(records: tables.Records) -> pl.DataFrame:
    frame = records.visits.rename({"visit_id": "hadm_id", "start": "admittime", "end": "dischtime"})
    frame = frame.join(records.patients, on="subject_id", how="left", maintain_order="left")
    facts = {
        "admission_type": "admission type",
        "admission_location": "admission location",
        "insurance": "insurance",
        "marital_status": "marital status",
        "ethnicity": "race",
    }
    for column, name in facts.items():
        found = records.attributes.filter(pl.col("name") == name).select(
            pl.col("visit_id").alias("hadm_id"), pl.col("text").str.to_uppercase().alias(column)
        )
        found = found.unique("hadm_id", keep="first", maintain_order=True)
        frame = frame.join(found, on="hadm_id", how="left", maintain_order="left")
    died = pl.col("disposition") == "died"
    measured = records.stays["visit_id"].unique().implode()
    return frame.with_columns(
        deathtime=pl.when(died).then(pl.coalesce("death_time", "dischtime")),
        admission_type=pl.when("planned")
        .then(pl.lit("ELECTIVE"))
        .otherwise(pl.coalesce("admission_type", pl.lit("EMERGENCY"))),
        admission_location=pl.when("transferred_in")
        .then(pl.lit("TRANSFER FROM HOSP/EXTRAM"))
        .otherwise("admission_location"),
        discharge_location=pl.col("disposition").replace_strict(_PLACES, return_dtype=pl.String),
        hospital_expire_flag=died.cast(pl.Int8),
        has_chartevents_data=pl.col("hadm_id").is_in(measured).cast(pl.Int8),
    )


def _patients(records: tables.Records) -> pl.DataFrame:
    died = records.visits.filter(pl.col("disposition") == "died")["subject_id"].implode()
    dod = pl.col("death_time").dt.truncate("1d")
    in_hospital = pl.col("subject_id").is_in(died)
    return records.patients.select(
        "subject_id",
        gender="sex",
        dob="birth_time",
        dod=dod,
        dod_hosp=pl.when(in_hospital).then(dod),
        dod_ssn=pl.when(~in_hospital).then(dod),
        expire_flag=dod.is_not_null().cast(pl.Int8),
    )


def _stays(records: tables.Records) -> pl.DataFrame:
    return records.stays.select(
        "subject_id",
        hadm_id="visit_id",
        icustay_id="stay_id",
        dbsource=pl.lit("metavision"),
        first_careunit="unit",
        last_careunit="unit",
        intime="start",
        outtime="end",
        los=((pl.col("end") - pl.col("start")).dt.total_seconds() / 86400).round(4),
    )


def _coded(records: tables.Records, system: str) -> pl.DataFrame:
    """Returns the codes of one system with the columns all three tables of codes share."""
    found = pl.col("code").str.split_exact(":", 1)
    unknown = records.code_names.filter(
        ~found.struct.field("field_0").is_in(_SYSTEMS) | (pl.col("kind") != _kind(found))
    )
    if unknown.height:
        raise errors.RecordsError(
            f"{records.source}: {unknown.height} code(s) are neither ICD-9 nor drugs, first "
            f"'{unknown['code'][0]}'; MIMIC-III has no column for them"
        )
    return (
        records.codes.filter(pl.col("code").str.starts_with(system + ":"))
        .join(records.visits.select("visit_id", "subject_id"), on="visit_id", maintain_order="left")
        .sort("visit_id", "position", "code")
        .select(
            "subject_id",
            "time",
            hadm_id="visit_id",
            seq_num="position",
            icd9_code=pl.col("code").str.strip_prefix(system + ":"),
        )
    )


def _kind(found: pl.Expr) -> pl.Expr:
    kinds = dict(zip(_SYSTEMS, tables.KINDS, strict=True))
    return found.struct.field("field_0").replace_strict(kinds, default=None, return_dtype=pl.String)


def _prescriptions(records: tables.Records) -> pl.DataFrame:
    ends = records.visits.select(hadm_id="visit_id", end="end")
    found = _coded(records, "DRUG").join(ends, on="hadm_id", maintain_order="left")
    return found.with_columns(
        drug="icd9_code",
        startdate=pl.col("time").dt.truncate("1d"),
        enddate=pl.when(pl.col("time").is_not_null()).then(pl.col("end").dt.truncate("1d")),
        drug_type=pl.lit("MAIN"),
    )


def _titles(records: tables.Records, system: str) -> pl.DataFrame:
    named = records.code_names.filter(pl.col("code").str.starts_with(system + ":")).sort("code")
    return named.select(
        icd9_code=pl.col("code").str.strip_prefix(system + ":"),
        short_title=pl.col("name").str.slice(0, 24),
        long_title="name",
    )


def _measured(records: tables.Records, table: str) -> pl.DataFrame:
    """Returns the rows of LABEVENTS ("LAB:") or CHARTEVENTS ("CHART:")."""
    items = {name: item.variable for name, item in ITEMS.items()}
    frame = records.measurements.collect().with_columns(pl.col("variable").replace(items))
    strange = frame.filter(~pl.col("variable").str.contains(r"^(LAB|CHART):\d+$"))
    if strange.height:
        raise errors.RecordsError(
            f"{records.source}: variable '{strange['variable'][0]}' has no MIMIC-III item; "
            "add it to ITEMS"
        )
    subjects = records.visits.select("visit_id", "subject_id")
    return (
        frame.filter(pl.col("variable").str.starts_with(table))
        .join(subjects, on="visit_id", maintain_order="left")
        .select(
            "subject_id",
            hadm_id="visit_id",
            icustay_id="stay_id",
            itemid=pl.col("variable").str.strip_prefix(table),
            charttime="time",
            storetime="time",
            value="value",
            valuenum="value",
            valueuom="unit",
        )
    )


def _dictionary(table: str) -> pl.DataFrame:
    found = [item for item in ITEMS.values() if item.variable.startswith(table)]
    return pl.DataFrame(
        {
            "itemid": [int(item.variable.removeprefix(table)) for item in found],
            "label": [item.label for item in found],
        }
    ).with_columns(
        abbreviation="label",
        dbsource=pl.lit("metavision"),
        linksto=pl.lit("chartevents"),
        fluid=pl.lit("Blood"),
    )


def _notes(records: tables.Records) -> pl.DataFrame:
    subjects = records.visits.select("visit_id", "subject_id")
    frame = records.notes.collect().join(subjects, on="visit_id", maintain_order="left")
    return frame.with_columns(
        hadm_id="visit_id",
        chartdate=pl.col("time").dt.truncate("1d").dt.strftime("%Y-%m-%d"),
        charttime=pl.when(~pl.col("date_only")).then("time"),
        description=pl.lit("Report"),
    )


_TABLES = {
    "ADMISSIONS": _admissions,
    "PATIENTS": _patients,
    "ICUSTAYS": _stays,
    "DIAGNOSES_ICD": lambda records: _coded(records, "ICD9CM"),
    "PROCEDURES_ICD": lambda records: _coded(records, "ICD9PROC"),
    "PRESCRIPTIONS": _prescriptions,
    "D_ICD_DIAGNOSES": lambda records: _titles(records, "ICD9CM"),
    "D_ICD_PROCEDURES": lambda records: _titles(records, "ICD9PROC"),
    "D_ITEMS": lambda records: _dictionary("CHART:"),
    "D_LABITEMS": lambda records: _dictionary("LAB:"),
    "LABEVENTS": lambda records: _measured(records, "LAB:"),
    "CHARTEVENTS": lambda records: _measured(records, "CHART:"),
    "NOTEEVENTS": _notes,
}
