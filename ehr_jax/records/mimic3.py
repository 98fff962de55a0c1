"""MIMIC-III v1.4, the open demo or the credentialed release: hospital stays with an ICU stay.

Files may be .csv, .csv.gz or .parquet, headers and file names of either case. Measurements and
notes stay lazy. Diagnoses and procedures are billed after discharge, so they carry no time.
"""

import pathlib
import types

import polars as pl

from ehr_jax import errors
from ehr_jax.records import icd9, mimic3_events, reading, tables

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

# Column to attribute, each known at admission. Language and religion are left out: the one is
# missing from four admissions in ten, neither is a matter of care, and both single people out.
ATTRIBUTES = {
    "admission_type": "admission type",
    "admission_location": "admission location",
    "insurance": "insurance",
    "marital_status": "marital status",
    "ethnicity": "race",
}
_NO_VALUE = (
    r"(?i)^(unknown.*|unable to obtain|patient declined to answer|\*\*.*\*\*|not specified)$"
)


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads the MIMIC-III files of the folder `root`.

    Needs ADMISSIONS, PATIENTS, DIAGNOSES_ICD, PROCEDURES_ICD and PRESCRIPTIONS; takes ICUSTAYS,
    the dictionaries, LABEVENTS, CHARTEVENTS and NOTEEVENTS where they are there. Codes:
    "ICD9CM:4280", "ICD9PROC:3961", and "DRUG:" with the drug exactly as printed (the published
    vocabularies tell "Heparin" from "heparin"). A drug is known at the end of its start date.

    Raises RecordsError for a missing table or column, a damaged file, or a repeated hadm_id.
    """
    oddities: dict[str, int] = {}
    stays = _stays(root)
    admissions = _admissions(root, stays, oddities)
    patients = _patients(root, admissions, oddities)
    admissions = _keep_known(
        admissions, patients, "subject_id", "ADMISSIONS rows of unknown patients", oddities
    )
    visits = _visits(admissions, patients, oddities)
    stays = _keep_known(stays, visits, "visit_id", "ICUSTAYS rows of unknown visits", oddities)
    codes, code_names = _codes(root, visits, oddities)
    return tables.check(
        tables.Records(
            source="mimic3",
            patients=tables.conform(patients.sort("subject_id"), tables.PATIENTS),
            visits=tables.conform(visits, tables.VISITS),
            stays=tables.conform(stays.sort("stay_id"), tables.STAYS),
            codes=codes,
            code_names=code_names,
            attributes=_attributes(admissions, visits, patients),
            measurements=mimic3_events.measurements(root, visits),
            notes=mimic3_events.notes(root, visits),
            terms=_terms(pathlib.Path(root).expanduser()),
            oddities=types.MappingProxyType({rule: n for rule, n in oddities.items() if n}),
        )
    )


def _stays(root) -> pl.DataFrame:
    path = reading.find_table(root, "ICUSTAYS", required=False)
    if path is None:
        return tables.empty(tables.STAYS)
    ids = dict.fromkeys(("icustay_id", "hadm_id", "subject_id"), pl.Int64)
    times = {"intime": tables.TIME, "outtime": tables.TIME}
    raw = reading.read(path, ids | times | {"first_careunit": pl.String})
    names = {"icustay_id": "stay_id", "hadm_id": "visit_id", "intime": "start", "outtime": "end"}
    return tables.conform(raw.rename(names | {"first_careunit": "unit"}), tables.STAYS)


def _admissions(root, stays: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns ADMISSIONS with `start`, `end` and `died`, its times mended."""
    path = reading.find_table(root, "ADMISSIONS")
    schema = dict.fromkeys(("hadm_id", "subject_id", "hospital_expire_flag"), pl.Int64)
    schema |= dict.fromkeys(("admittime", "dischtime", "deathtime", "edregtime"), tables.TIME)
    schema |= dict.fromkeys((*ATTRIBUTES, "discharge_location"), pl.String)
    raw = reading.read(path, schema, optional=("edregtime",))
    for key in ("hadm_id", "subject_id"):
        if raw[key].null_count():
            row = raw[key].is_null().arg_true()[0] + 1
            raise errors.RecordsError(f"{path.name}: row {row} has no value in column '{key}'")
    if repeated := raw.height - raw["hadm_id"].n_unique():
        row = raw["hadm_id"].is_first_distinct().not_().arg_true()[0] + 1
        raise errors.RecordsError(
            f"{path.name}: {repeated} row(s) repeat a 'hadm_id', first in row {row}; every "
            "admission may stand once. Were two exports joined? Remove the copies"
        )
    unit = stays.group_by("visit_id").agg(pl.col("start").min(), pl.col("end").max())
    raw = raw.rename({"hadm_id": "visit_id"}).join(
        unit.rename({"start": "unit_start", "end": "unit_end"}), on="visit_id", how="left"
    )
    died = pl.col("deathtime").is_not_null() | (pl.col("hospital_expire_flag") == 1)
    died |= pl.col("discharge_location") == "DEAD/EXPIRED"
    raw = raw.with_columns(
        pl.coalesce("admittime", "edregtime", "unit_start").alias("start"),
        pl.coalesce("dischtime", "deathtime", "unit_end").alias("end"),
        died.fill_null(False).alias("died"),
    )
    mended = {
        "missing admission times, taken from the emergency or ICU entry": raw.select(
            pl.col("admittime").is_null() & pl.col("start").is_not_null()
        ),
        "missing discharge times, taken from the death or ICU exit": raw.select(
            pl.col("dischtime").is_null() & pl.col("end").is_not_null()
        ),
        "visits without any admission or discharge time, left out": raw.select(
            pl.col("start").is_null() | pl.col("end").is_null()
        ),
        "discharges before admission, set to the admission": raw.select(
            pl.col("end") < pl.col("start")
        ),
        "deaths before admission, set to the admission": raw.select(
            pl.col("deathtime") < pl.col("start")
        ),
    }
    oddities |= {rule: int(found.to_series().sum()) for rule, found in mended.items()}
    # A death without a clock time is taken at the discharge.
    death = pl.when("died").then(pl.coalesce("deathtime", "end"))
    return raw.drop_nulls(["start", "end"]).with_columns(
        pl.max_horizontal("start", "end").alias("end"),
        pl.when(death.is_not_null()).then(pl.max_horizontal("start", death)).alias("deathtime"),
    )


def _patients(root, admissions: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    path = reading.find_table(root, "PATIENTS")
    schema = {"subject_id": pl.Int64, "gender": pl.String, "dob": tables.TIME, "dod": tables.TIME}
    raw = reading.read(path, schema).drop_nulls("subject_id")
    distinct = raw.unique("subject_id", keep="first", maintain_order=True)
    oddities["PATIENTS rows of a patient named before, left out"] = raw.height - distinct.height
    # A death in hospital has a clock time; else the day alone is known and counts as its end.
    last = admissions.group_by("subject_id").agg(
        pl.col("deathtime").max(),
        pl.col("start").min().alias("first"),
        pl.col("start").max().alias("last"),
    )
    found = distinct.join(last, on="subject_id", how="left").with_columns(
        pl.coalesce("deathtime", _end_of_day(pl.col("dod"))).alias("death_time")
    )
    age = _years(pl.col("dob"), pl.col("first"))
    early = pl.col("death_time") < pl.col("last")
    odd = found.select(masked=age > 150, unborn=age < 0, early=early).sum().row(0, named=True)
    oddities["ages masked by the source (over 89), set to 91.4"] = odd["masked"]
    oddities["births after admission, age and birth unknown"] = odd["unborn"]
    oddities["deaths before the last admission, death time unknown"] = odd["early"]
    sex = pl.col("gender").str.strip_chars().str.to_uppercase()
    return found.select(
        "subject_id",
        pl.when(sex.is_in(["F", "M"])).then(sex).alias("sex"),
        pl.when(age.is_between(0, 150)).then("dob").alias("birth_time"),
        pl.when(early.fill_null(False).not_()).then("death_time").alias("death_time"),
        (age > 150).fill_null(False).alias("masked"),
    )


def _visits(admissions: pl.DataFrame, patients: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns the rows of `tables.VISITS`, sorted."""
    place = pl.col("discharge_location")
    known = place.replace_strict(DISPOSITIONS, default="other", return_dtype=pl.String)
    source = pl.col("admission_location")
    joined = admissions.join(patients, on="subject_id").sort("subject_id", "start", "visit_id")
    oddities["hospital deaths told by one column and not by another, taken as deaths"] = int(
        joined.select(pl.col("died") & (place != "DEAD/EXPIRED")).to_series().sum()
    )
    return joined.select(
        "visit_id",
        "subject_id",
        pl.int_range(pl.len()).over("subject_id").alias("order"),
        "start",
        "end",
        pl.when("masked")
        .then(MASKED_AGE)
        .otherwise(_years(pl.col("birth_time"), pl.col("start")))
        .alias("age"),
        pl.when("died")
        .then(pl.lit("died"))
        .when(place.is_null())
        .then(pl.lit("unknown"))
        .otherwise(known)
        .alias("disposition"),
        (pl.col("admission_type").str.to_uppercase() == "ELECTIVE").alias("planned"),
        pl.when(~source.str.contains(_NO_VALUE))
        .then(source.str.starts_with("TRANSFER FROM HOSP"))
        .alias("transferred_in"),
        pl.lit(None).alias("readmitted_30d"),
    )


def _codes(root, visits: pl.DataFrame, oddities: dict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the tables of codes and of their names."""
    titles = icd9.load(root)
    procedures = icd9.mimic_titles(root, "D_ICD_PROCEDURES")
    diagnosed = _billed(root, "DIAGNOSES_ICD", "ICD9CM:", titles.exact, 5, visits, oddities)
    performed = _billed(root, "PROCEDURES_ICD", "ICD9PROC:", procedures, 4, visits, oddities)
    prescribed = _prescribed(root, visits, oddities)
    names = [
        ("diagnosis", diagnosed, lambda code: icd9.name_of(code, titles)),
        ("procedure", performed, lambda code: _procedure_name(code, procedures)),
        ("drug", prescribed, str.strip),
    ]
    rows = [
        (code, kind, name(code.split(":", 1)[1]))
        for kind, frame, name in names
        for code in frame["code"].unique().sort()
    ]
    code_names = pl.DataFrame(rows, schema=tables.CODE_NAMES, orient="row").sort("code")
    codes = pl.concat([diagnosed, performed, prescribed], how="vertical")
    # Of a code that stands twice in a visit the earliest is kept: known time before none.
    distinct = codes.sort(
        "visit_id", "code", "time", "position", nulls_last=True, maintain_order=True
    ).unique(["visit_id", "code"], keep="first", maintain_order=True)
    oddities["codes standing more than once in a visit, the earliest kept"] = (
        codes.height - distinct.height
    )
    return tables.conform(distinct, tables.CODES), code_names


def _billed(root, stem, prefix, titles, longest, visits, oddities) -> pl.DataFrame:
    path = reading.find_table(root, stem)
    raw = reading.read(path, {"hadm_id": pl.Int64, "seq_num": pl.Int64, "icd9_code": pl.String})
    raw = _of_visits(raw, "icd9_code", stem, visits, oddities)
    given = raw["icd9_code"].str.strip_chars().str.to_uppercase().str.replace(".", "", literal=True)
    spelling = icd9.with_zeros(given, titles, longest)
    restored = sum(given.is_in([old for old, new in spelling.items() if old != new]))
    oddities[f"{stem} codes that had lost leading zeros, restored"] = restored
    code = given.replace_strict(spelling, return_dtype=pl.String)
    return raw.select("visit_id", code=prefix + code, time=_NO_TIME, position=pl.col("seq_num"))


def _prescribed(root, visits: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    path = reading.find_table(root, "PRESCRIPTIONS")
    raw = reading.read(path, {"hadm_id": pl.Int64, "startdate": tables.TIME, "drug": pl.String})
    raw = _of_visits(raw, "drug", "PRESCRIPTIONS", visits, oddities)
    raw = raw.join(
        visits.select("visit_id", "end"), on="visit_id", how="left", maintain_order="left"
    )
    late = pl.col("startdate") > pl.col("end")
    oddities["PRESCRIPTIONS starting after the day of discharge, taken as known at discharge"] = (
        int(raw.select(late).to_series().sum())
    )
    # A start date is known at the end of that day, and nothing is ordered after discharge.
    time = pl.when(pl.col("startdate").is_not_null()).then(
        pl.min_horizontal(_end_of_day(pl.col("startdate")), "end")
    )
    position = pl.lit(None, pl.Int64)
    return raw.select("visit_id", code="DRUG:" + pl.col("drug"), time=time, position=position)


def _of_visits(raw, column: str, stem: str, visits, oddities: dict) -> pl.DataFrame:
    raw = raw.rename({"hadm_id": "visit_id"})
    oddities[f"{stem} rows without a hadm_id, left out"] = raw["visit_id"].null_count()
    raw = raw.drop_nulls("visit_id")
    oddities[f"{stem} rows without a code, left out"] = raw[column].null_count()
    raw = raw.drop_nulls(column)
    return _keep_known(raw, visits, "visit_id", f"{stem} rows of unknown visits", oddities)


def _keep_known(frame, known, key: str, rule: str, oddities: dict) -> pl.DataFrame:
    kept = frame.join(known.select(key), on=key, how="semi", maintain_order="left")
    oddities[f"{rule}, left out"] = frame.height - kept.height
    return kept


def _procedure_name(code: str, titles: dict[str, str]) -> str:
    if code in titles:
        return titles[code]
    below = sorted(other for other in titles if other.startswith(code))
    return titles[below[0]] if below else f"ICD-9-CM procedure {code[:2]}.{code[2:]}"


def _attributes(admissions, visits, patients) -> pl.DataFrame:
    joined = admissions.join(visits.select("visit_id", "age"), on="visit_id").join(
        patients.select("subject_id", "sex"), on="subject_id"
    )
    sex = pl.col("sex").replace_strict({"F": "female", "M": "male"}, default=None)
    texts = [(name, pl.col(column)) for column, name in ATTRIBUTES.items()] + [("sex", sex)]
    key = ("visit_id", pl.col("start").alias("time"))
    long = [
        joined.select(*key, pl.lit(name).alias("name"), text.str.to_lowercase().alias("text"))
        for name, text in texts
    ]
    long = pl.concat(long).filter(~pl.col("text").str.strip_chars().str.contains(_NO_VALUE))
    age = joined.select(
        *key, pl.lit("age").alias("name"), pl.col("age").cast(pl.Float64).alias("number")
    )
    both = pl.concat([long, age.drop_nulls("number")], how="diagonal")
    return tables.conform(both.sort("visit_id", maintain_order=True), tables.ATTRIBUTES)


def _terms(folder: pathlib.Path) -> str:
    """Returns what binds the data: by its LICENSE.txt; without one, the strictest."""
    paths = [path for path in folder.iterdir() if path.name.lower() == "license.txt"]
    text = paths[0].read_text(encoding="utf-8", errors="replace").strip() if paths else ""
    if "open database license" in text.lower():
        return DEMO_TERMS
    if not text or "credentialed" in text.lower():
        return CREDENTIALED_TERMS
    return f"LICENSE.txt of the data folder: {text.splitlines()[0].strip('# ')}"


_NO_TIME = pl.lit(None, tables.TIME)


def _years(birth: pl.Expr, at: pl.Expr) -> pl.Expr:
    return (at - birth).dt.total_days() / 365.2425


def _end_of_day(time: pl.Expr) -> pl.Expr:
    return time.dt.truncate("1d") + pl.duration(hours=23, minutes=59, seconds=59)
