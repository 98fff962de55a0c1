"""eICU-CRD 2.0, the open demo or the credentialed release: hospital stays with their unit stays.

Visits are hospital stays (patienthealthsystemstayid), stays are unit stays (patientunitstayid).
eICU gives every time in minutes from a unit admission and no date, so the dates here are made up:
a patient's visits follow each other from 1 January 2100, each a year or more after the last, with
the hour of the day as the source states it. Times compare within a visit only (`dated` is False).
Of the APACHE tables its predictions of hospital death alone are read, as scores to compare with; no
outcome that stands there is.
"""

import datetime
import pathlib

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import (
    ages,
    attributes,
    deaths,
    parsing,
    reading,
    repeats,
    tables,
    tally,
    when,
)
from ehr_jax.records.eicu import coding, events, forms

DEMO_TERMS = "eICU Collaborative Research Database Demo v2.0.1, Open Data Commons ODbL 1.0."
CREDENTIALED_TERMS = (
    "eICU Collaborative Research Database v2.0, PhysioNet Credentialed Health Data License 1.5.0 "
    "and Data Use Agreement 1.5.0: no sharing of the data, no attempt to identify anybody."
)

FIRST_DAY = datetime.datetime(2100, 1, 1)  # of a patient's first visit; arbitrary
DAYS_BETWEEN = 365  # from one visit of a patient to the next, at least; arbitrary
MASKED_AGE = 90  # what "> 89" becomes

DISPOSITIONS = {
    "home": "home",
    "skilled nursing facility": "facility",
    "nursing home": "facility",
    "rehabilitation": "facility",
    "other hospital": "transfer",
    "death": "died",
}

# Column to attribute. Those of the hospital stay are known at its start, those of the unit stay at
# the first unit admission, the admission diagnosis when it was entered.
OF_VISIT = {
    "hospitaladmitsource": "admission location",
    "ethnicity": "race",
    "gender": "sex",
    "hospitalid": "hospital",
}
OF_UNIT = {"unittype": "unit type", "unitadmitsource": "unit admission source"}
ADMISSION_DIAGNOSIS = "admission diagnosis"

# Versions of APACHE to the names of their scores, each of death in hospital. They rest on the worst
# values of the first 24 hours in the unit; -1 stands for a stay that APACHE does not score.
APACHE = {"IV": "apache iv", "IVa": "apache iva"}
APACHE_KNOWN = 24 * 60  # minutes from the unit admission

_IDS = ("patientunitstayid", "patienthealthsystemstayid")
_OFFSETS = ("hospitaladmitoffset", "hospitaldischargeoffset", "unitdischargeoffset")
_NUMBERS = ("unitvisitnumber", "hospitaldischargeyear")
_TEXTS = ("uniquepid", "age", "hospitaladmittime24", "hospitaldischargestatus")
_TEXTS += ("hospitaldischargelocation", "unitdischargestatus", "apacheadmissiondx")


def read(root: str | pathlib.Path, series: str | pathlib.Path = "") -> tables.Records:
    """Reads the eICU files of the folder `root`.

    Needs patient, diagnosis, treatment and medication; takes infusiondrug, the tables of
    `events` and `forms`, apachePatientResult, and an hourly series made by YAIB from the same stays
    (`series`, the folder of its dyn.parquet). Codes: see `coding`. A subject_id is the rank of
    the patient's uniquepid among those of the file, in order of text, from 1: the same for the same
    file.

    Visits of a patient are ordered by year of discharge, then age; eICU tells no more, so ties
    (counted in the oddities) fall by the number of the hospital stay, and not by how a stay ended.

    Raises RecordsError for a missing table or column, a damaged file, two rows of one unit
    stay that contradict each other, a hospital stay of two patients, and a series of other stays.
    """
    oddities = tally.Ledger()
    patient = _patient(root, oddities)
    visits = _visits(patient, oddities)
    units = _units(patient, visits, oddities)
    codes, code_names = coding.codes(root, units, visits, oddities)
    records = tables.Records(
        source="eicu",
        patients=_patients(visits),
        visits=tables.conform(visits, tables.VISITS),
        stays=when.stays(tables.sorted_stays(units), visits, "unit stays", oddities, "patient"),
        codes=codes,
        code_names=code_names,
        attributes=_attributes(root, units, visits, oddities),
        measurements=events.measurements(root, units, visits, series, oddities),
        notes=forms.notes(root, units, visits, oddities),
        terms=reading.terms(root, DEMO_TERMS, CREDENTIALED_TERMS),
        oddities=tally.standing(oddities),
        accounts=oddities.tables,
        dated=False,
        scores=_scores(root, units),
    )
    return tables.check(records)


def _patient(root, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns the table `patient`, each unit stay once, times in minutes from hospital admission.

    `enter` and `leave` are of the unit stay, `out` is of the hospital stay. Sorted so that the
    earliest unit stay of a hospital stay comes first.
    """
    path = reading.find_table(root, "patient")
    schema = dict.fromkeys((*_IDS, *_OFFSETS, *_NUMBERS), pl.Int64)
    schema |= dict.fromkeys((*_TEXTS, *OF_VISIT, *OF_UNIT), pl.String)
    raw = reading.read(path, schema, optional=("hospitaladmittime24", "hospitaldischargeyear"))
    reading.check_filled(path, raw, (*_IDS, "uniquepid"))
    oddities.begin("patient", raw.height)
    raw = repeats.once(raw, "patientunitstayid", "patient", oddities, path.name)
    for column in _OFFSETS:
        if (far := raw[column].abs() > events.FURTHEST_MINUTES).any():
            raise errors.RecordsError(
                f"{path.name}: row {far.arg_true()[0] + 1}, column '{column}' lies more than ten "
                "years from the unit admission; expected minutes"
            )
    raw = raw.rename({"patientunitstayid": "stay_id", "patienthealthsystemstayid": "visit_id"})
    person = pl.col("uniquepid").str.strip_chars()
    other = raw.select(person != person.first().over("visit_id")).to_series()
    if other.any():
        row = other.arg_true()[0] + 1
        raise errors.RecordsError(
            f"{path.name}: row {row}: its hospital stay (patienthealthsystemstayid) is given to "
            "two patients (uniquepid); every hospital stay is of one"
        )
    enter = -pl.col("hospitaladmitoffset").fill_null(0)
    return raw.with_columns(
        person.rank("dense").cast(pl.Int64).alias("subject_id"),
        *_age(path, raw["age"]),
        enter=enter,
        leave=pl.col("unitdischargeoffset") + enter,
        out=pl.col("hospitaldischargeoffset") + enter,
    ).sort("visit_id", "enter", "unitvisitnumber", "stay_id", nulls_last=True)


def _visits(patient: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns the columns of `tables.VISITS`, sorted, and what the rest of this file asks for."""
    first = patient.unique("visit_id", keep="first", maintain_order=True)
    outcome = (pl.col("out"), pl.col("hospitaldischargestatus"))
    disagrees = [column.ne_missing(column.first().over("visit_id")) for column in outcome]
    last_leave = patient.group_by("visit_id").agg(
        pl.col("leave").max().alias("last_leave"),
        (parsing.tidy(pl.col("unitdischargestatus")) == "expired").any().alias("unit_death"),
    )
    place = parsing.tidy(pl.col("hospitaldischargelocation"))
    status = parsing.tidy(pl.col("hospitaldischargestatus"))
    died = ((status == "expired") | (place == "death")).fill_null(False)
    clock = pl.col("hospitaladmittime24").str.strip_chars().str.to_time("%H:%M:%S", strict=False)
    in_unit = died & pl.col("unit_death")
    finish = pl.coalesce("out", pl.when(in_unit).then("last_leave"))
    found = first.join(last_leave, on="visit_id", maintain_order="left").with_columns(
        stated=pl.when(died)
        .then(pl.lit("died"))
        .when(place.is_not_null())
        .then(place.replace_strict(DISPOSITIONS, default="other", return_dtype=pl.String))
        .when(status == "alive")
        .then(pl.lit("other"))
        .otherwise(pl.lit("unknown")),
        begin=pl.min_horizontal(0, "enter"),
        finish=pl.when(finish.is_not_null()).then(pl.max_horizontal(finish, "enter")),
        clock=clock,
        survived=~died & (status == "alive").fill_null(False),
    )
    # What a stay came to may not tell where it stands: its history would depend on its outcome.
    known = ("subject_id", "hospitaldischargeyear", "age")
    found = found.sort(*known, "visit_id", nulls_last=True).with_columns(
        order=pl.int_range(pl.len()).over("subject_id"), tied=pl.len().over(*known) > 1
    )
    odd = {
        "ages given as over 89, set to 90": pl.col("masked"),
        "hospital admissions without offset, taken as the unit admission": pl.col(
            "hospitaladmitoffset"
        ).is_null(),
        "hospital admissions without a clock time, taken at midnight": pl.col("clock").is_null(),
        "hospital admissions after the first unit admission, taken at it": pl.col("enter") < 0,
        "hospital stays whose first unit stay is not in the data": pl.col("unitvisitnumber") > 1,
        "hospital discharges without offset, of deaths in a unit taken as the unit discharge": (
            pl.col("out").is_null() & pl.col("finish").is_not_null()
        ),
        "hospital discharges before the first unit admission, set to it": finish < pl.col("enter"),
        "deaths in a unit in a hospital stay stated as survived, taken as survived": (
            pl.col("unit_death") & (pl.col("stated") != "died")
        ),
        "visits ordered by number, of a patient, year and age with several": pl.col("tied"),
    }
    oddities |= {rule: int(found.select(holds).to_series().sum()) for rule, holds in odd.items()}
    oddities["unit stays that disagree with the first on the hospital discharge, it believed"] = (
        int(patient.select(pl.any_horizontal(disagrees)).to_series().sum())
    )
    longest = pl.max_horizontal("finish", "last_leave", pl.lit(0))
    days = longest // (24 * 60) + 1 + DAYS_BETWEEN
    day = (days.cum_sum() - days).over("subject_id", order_by="order")
    midnight = pl.lit(FIRST_DAY, tables.TIME) + pl.duration(days=day)
    since = pl.col("clock").fill_null(datetime.time(0)).cast(pl.Duration("us"))
    source = parsing.tidy(pl.col("hospitaladmitsource"))
    found = found.with_columns(zero=midnight + since).with_columns(
        start=events.after("zero", pl.col("begin")),
        end=events.after("zero", pl.col("finish")),
        death_first=tables.NO_TIME,
        death_time=tables.NO_TIME,
    )
    return deaths.settle(found, oddities).with_columns(
        disposition=pl.when(pl.col("end").is_null() & ~pl.col("died"))
        .then(pl.lit("unknown"))
        .otherwise("stated"),
        planned=pl.lit(None, pl.Boolean),
        transferred_in=source == "other hospital",
        emergency=pl.lit(False),
        readmitted_30d=pl.lit(None, pl.Boolean),
    )


def _units(patient: pl.DataFrame, visits: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns the columns of `tables.STAYS`, in the order of `patient`."""
    joined = patient.join(
        visits.select("visit_id", "zero", "finish"), on="visit_id", maintain_order="left"
    )
    late = pl.col("leave") > pl.col("finish")
    oddities["unit discharges after the hospital discharge, set to it"] = int(
        joined.select(late).to_series().sum()
    )
    leave = pl.max_horizontal("enter", pl.min_horizontal("leave", "finish"))
    leave = pl.when(pl.col("leave").is_not_null()).then(leave)
    return joined.with_columns(
        start=events.after("zero", pl.col("enter")),
        end=events.after("zero", leave),
        unit=pl.col("unittype"),
    )


def _patients(visits: pl.DataFrame) -> pl.DataFrame:
    sex = parsing.tidy(pl.col("gender"))
    sex = sex.replace_strict({"female": "F", "male": "M"}, default=None, return_dtype=pl.String)
    found = visits.group_by("subject_id").agg(
        sex=sex.drop_nulls().first(),
        birth_time=tables.NO_TIME,
        death_time=pl.col("death").last(),
    )
    return tables.conform(found.sort("subject_id"), tables.PATIENTS)


def _attributes(root, units: pl.DataFrame, visits: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    first = units.unique("visit_id", keep="first", maintain_order=True)
    known = forms.admission_diagnosis_times(root, first, visits, oddities)
    texts = {name: pl.col(column) for column, name in OF_VISIT.items()}
    unit_texts = {name: pl.col(column) for column, name in OF_UNIT.items()}
    diagnosis = {ADMISSION_DIAGNOSIS: pl.col("apacheadmissiondx")}
    parts = (
        attributes.texts(visits, texts),
        attributes.texts(first, unit_texts),
        attributes.texts(known, diagnosis, "known"),
    )
    return attributes.table(parts, visits)


def _scores(root, units: pl.DataFrame) -> pl.DataFrame:
    """What APACHE predicted at the first unit stay of each hospital stay."""
    path = reading.find_table(root, "apachePatientResult", required=False)
    if path is None:
        return tables.empty(tables.SCORES)
    number = "predictedhospitalmortality"
    schema = {"patientunitstayid": pl.Int64, "apacheversion": pl.String, number: pl.Float64}
    first = units.unique("visit_id", keep="first", maintain_order=True)
    found = (
        reading.read(path, schema)
        .filter(pl.col(number).is_between(0, 1))
        .join(first, left_on="patientunitstayid", right_on="stay_id")
        .with_columns(
            name=pl.col("apacheversion").replace_strict(
                APACHE, default=None, return_dtype=pl.String
            ),
            probability=number,
            time=events.after("start", pl.lit(APACHE_KNOWN)),
        )
        .drop_nulls("name")
        .unique(["visit_id", "name"], keep="first", maintain_order=True)
    )
    return tables.conform(found.sort("visit_id", "name"), tables.SCORES)


def _age(path: pathlib.Path, column: pl.Series) -> list[pl.Series]:
    """Returns `age` in years and `masked`, or raises RecordsError for the first that is neither."""
    text = column.str.strip_chars()
    masked = text.str.contains(r"^>\s*89$").fill_null(False)
    years = text.cast(pl.Float64, strict=False)
    wrong = text.is_not_null() & ~masked & ~years.is_between(0, ages.OLDEST).fill_null(False)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise errors.RecordsError(
            f"{path.name}: row {row + 1} (the header not counted), column 'age': a text of "
            f"{len(text[row])} character(s) is neither years from 0 to {ages.OLDEST} nor '> 89'"
        )
    return [years.set(masked, MASKED_AGE).alias("age"), masked.alias("masked")]
