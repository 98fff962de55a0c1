"""A generated hospital of any size, for tests, quick starts and experiments whose truth is known.

Latent conditions drive billing codes, drugs, procedures, vital signs, laboratory values and notes,
and persist or progress from visit to visit. What only the notes tell (`synthetic_course.TRAITS`)
acts on the next visit's conditions, on readmission and on death, as strongly as `note_signal` says;
at 0 the outcomes do not depend on it and the notes read the same. Otherwise notes speak of coded
conditions alone, so they add nothing about an outcome that the visit's codes do not tell. Codes are
many and mostly rare, and their names say what they belong to, so names carry information too.
"""

import dataclasses
import datetime
import functools
import math
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tables
from ehr_jax.synthetic import codes as synthetic_codes
from ehr_jax.synthetic import course as synthetic_course
from ehr_jax.synthetic import notes as synthetic_notes
from ehr_jax.synthetic import rare as synthetic_rare
from ehr_jax.synthetic import series as synthetic_series
from ehr_jax.synthetic import sites as synthetic_sites

_UNITS = ("MICU", "SICU", "CCU", "CSRU", "TSICU")
_INSURANCES = ("medicare", "private", "medicaid", "government", "self pay")
_MARITAL = ("married", "single", "widowed", "divorced")
_RACES = ("white", "black/african american", "hispanic or latino", "asian", "other")
_FIRST_SUBJECT, _FIRST_VISIT, _FIRST_STAY = 10_001, 100_001, 200_001
_DAY = 1440  # minutes


class Truth(NamedTuple):
    """What the records do not say. Rows are those of `Records.visits`."""

    hidden: np.ndarray  # [visit, trait] int8 levels of synthetic_course.TRAITS
    conditions: np.ndarray  # [visit, condition] bool


def generate(
    patients: int,
    seed: int,
    note_signal: float = 1.0,
    sites: int = 1,
    knowledge_signal: float | None = None,
) -> tables.Records:
    """Returns the records of `patients` generated patients, the same for the same arguments.

    Measurements and notes are made when collected. With more than one of `sites`, each hospital
    writes codes of its own (synthetic_sites). With a `knowledge_signal` notes name a rare disease
    of each patient (synthetic_rare), and deaths in hospital depend on it so strongly, at 0 not at
    all; the records then bring a split of their own, in which no two splits share a disease.
    Raises RecordsError on impossible arguments.
    """
    records = generate_with_truth(patients, seed, note_signal, knowledge_signal)[0]
    if sites < 1:
        raise errors.RecordsError(f"synthetic: sites is {sites}; it must be at least 1")
    if sites == 1:
        return records
    codes, names = synthetic_sites.localise(
        records.codes, records.code_names, records.visits, sites, np.random.default_rng((seed, 5))
    )
    return tables.check(dataclasses.replace(records, codes=codes, code_names=names))


def generate_with_truth(
    patients: int, seed: int, note_signal: float = 1.0, knowledge_signal: float | None = None
) -> tuple[tables.Records, Truth]:
    """Returns the records and what lies behind them."""
    course, written, told, rare = _simulate(patients, seed, note_signal, knowledge_signal)
    rng = np.random.default_rng((seed, 2))
    visit_id = told.visit_id
    patients_table, visits = _patients(course), _visits(course, visit_id, rng)
    stays = unit_stays(course)
    records = tables.Records(
        source="synthetic",
        patients=patients_table,
        visits=visits,
        stays=_stays(stays, course.subject[course.unit_start >= 0], rng),
        codes=_codes(course, visit_id, written, rng),
        code_names=synthetic_codes.code_names(),
        attributes=_attributes(course, patients_table, visits, rng),
        measurements=pl.defer(
            functools.partial(synthetic_series.measure, stays, (seed, 3)),
            schema=tables.MEASUREMENTS,
        ),
        notes=pl.defer(
            functools.partial(synthetic_notes.write, told, (seed, 4)), schema=tables.NOTES
        ),
        terms="Generated data; no terms",
        given_split=_given_split(rare),
    )
    return tables.check(records), Truth(course.hidden, course.conditions)


def mentions(patients: int, seed: int, note_signal: float = 1.0) -> pl.DataFrame:
    """Returns synthetic_notes.MENTIONS: what the notes of the same hospital name, where and how."""
    return synthetic_notes.mentions(_simulate(patients, seed, note_signal, None)[2], (seed, 4))


def _simulate(patients: int, seed: int, note_signal: float, knowledge_signal: float | None):
    """Returns what happened, what was written down of it as codes, what the notes are told, and
    the rare diseases, None where there are none."""
    _check_arguments(patients, seed, note_signal, knowledge_signal)
    rare, standing = None, np.zeros(patients)
    if knowledge_signal is not None:
        rare = synthetic_rare.draw(patients, np.random.default_rng((seed, 6)))
        standing = knowledge_signal * rare.sign
    course = synthetic_course.simulate(
        patients, np.random.default_rng((seed, 0)), note_signal, standing
    )
    written = synthetic_codes.record(course, np.random.default_rng((seed, 1)))
    visit_id = np.arange(course.subject.size) + _FIRST_VISIT
    coded = synthetic_codes.coded_conditions(written["diagnosis"], visit_id.size)
    named = np.full(visit_id.size, "", object) if rare is None else rare.disease[course.subject]
    told = synthetic_notes.Told(visit_id, course.start, course.end, coded, course.hidden, named)
    return course, written, told, rare


def unit_stays(course: synthetic_course.Course) -> synthetic_series.Stays:
    """Returns what is measured of a course: its intensive-care stays, in the order of visits."""
    in_unit = np.flatnonzero(course.unit_start >= 0)
    return synthetic_series.Stays(
        in_unit + _FIRST_VISIT,
        np.arange(in_unit.size) + _FIRST_STAY,
        course.unit_start[in_unit],
        course.unit_end[in_unit],
        course.acuity[in_unit],
        course.conditions[in_unit],
    )


def _check_arguments(
    patients: int, seed: int, note_signal: float, knowledge_signal: float | None
) -> None:
    if patients < 1:
        raise errors.RecordsError(f"synthetic: patients is {patients}; it must be at least 1")
    if seed < 0:
        raise errors.RecordsError(f"synthetic: seed is {seed}; it must be 0 or more")
    if not (math.isfinite(note_signal) and note_signal >= 0):
        raise errors.RecordsError(
            f"synthetic: note_signal is {note_signal}; it must be a finite number of 0 or more"
        )
    if knowledge_signal is not None and not (
        math.isfinite(knowledge_signal) and knowledge_signal >= 0
    ):
        raise errors.RecordsError(
            f"synthetic: knowledge_signal is {knowledge_signal}; it must be None or a finite "
            "number of 0 or more"
        )


def _given_split(rare: synthetic_rare.Drawn | None) -> pl.DataFrame:
    if rare is None:
        return tables.empty(tables.GIVEN_SPLIT)
    frame = pl.DataFrame(
        {
            "subject_id": np.arange(rare.split.size) + _FIRST_SUBJECT,
            "split": pl.Series(rare.split, dtype=pl.String),
        }
    )
    return tables.conform(frame, tables.GIVEN_SPLIT)


def _patients(course: synthetic_course.Course) -> pl.DataFrame:
    # Outside hospital only the day of a death is on record, so it counts as its end.
    outside = np.isin(np.arange(course.death.size), course.subject[course.died], invert=True)
    death = pl.DataFrame({"time": _times(course.death), "outside": outside})
    day_end = pl.col("time") + pl.duration(days=1, seconds=-1)
    death_time = death.select(pl.when("outside").then(day_end).otherwise("time")).to_series()
    frame = pl.DataFrame(
        {
            "subject_id": np.arange(course.birth.size) + _FIRST_SUBJECT,
            "sex": np.where(course.female, "F", "M").astype(object),
            "birth_time": _times(course.birth),
            "death_time": death_time,
        },
        schema_overrides={"sex": pl.String},
    )
    return tables.conform(frame, tables.PATIENTS)


def _visits(course: synthetic_course.Course, visit_id: np.ndarray, rng) -> pl.DataFrame:
    burden = course.conditions.sum(1) + course.acuity
    frail = rng.random(burden.size) < 1 / (1 + np.exp(1.6 - 0.15 * burden))
    elsewhere = ("home", "transfer", "other", "hospice")
    left = rng.choice(elsewhere, burden.size, p=(0.93, 0.03, 0.02, 0.02))
    disposition = np.where(frail, "facility", left)
    frame = pl.DataFrame(
        {
            "visit_id": visit_id,
            "subject_id": course.subject + _FIRST_SUBJECT,
            "order": course.order,
            "start": _times(course.start),
            "end": _times(course.end),
            "age": (course.start - course.birth[course.subject]) // _DAY / tables.DAYS_A_YEAR,
            "disposition": np.where(course.died, "died", disposition).astype(object),
            "planned": course.elective,
            "transferred_in": ~course.elective & (rng.random(burden.size) < 0.15),
            "emergency": np.zeros(burden.size, bool),
            "readmitted_30d": pl.Series([None] * burden.size, dtype=pl.Boolean),
        },
        schema_overrides={"disposition": pl.String},
    )
    return tables.conform(frame, tables.VISITS)


def _stays(stays: synthetic_series.Stays, subject: np.ndarray, rng) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "stay_id": stays.stay_id,
            "visit_id": stays.visit_id,
            "subject_id": subject + _FIRST_SUBJECT,
            "start": _times(stays.start),
            "end": _times(stays.end),
            "unit": rng.choice(_UNITS, subject.size).astype(object),
        },
        schema_overrides={"unit": pl.String},
    )
    return tables.conform(frame, tables.STAYS)


def _codes(course, visit_id: np.ndarray, written: dict[str, tuple], rng) -> pl.DataFrame:
    parts = []
    for kind, (visit, code) in written.items():
        frame = pl.DataFrame({"visit_id": visit_id[visit]}).with_columns(
            pl.Series("code", synthetic_codes.vocabulary(kind).code, dtype=pl.String).gather(code),
            pl.lit(kind).alias("kind"),
        )
        # A drug is dated by the day alone, so known at the day's end or at discharge; the rest is
        # billed after the visit, which tables.CODES writes as null.
        first, last = course.start[visit] // _DAY, course.end[visit] // _DAY
        day = first + (rng.random(visit.size) ** 2 * (last - first + 1)).astype(np.int64)
        day_end = _times((day + 1) * _DAY) - datetime.timedelta(seconds=1)
        known = pl.min_horizontal(day_end, _times(course.end[visit]))
        never = pl.lit(None, tables.TIME)
        parts.append(frame.with_columns(time=known if kind == "drug" else never))
    codes = pl.concat(parts).unique(["visit_id", "code"], keep="first", maintain_order=True)
    rank = pl.int_range(1, pl.len() + 1).over("visit_id", "kind")
    codes = codes.with_columns(position=pl.when(pl.col("kind") != "drug").then(rank))
    return tables.conform(codes.sort("visit_id", "code"), tables.CODES)


def _attributes(course, patients: pl.DataFrame, visits: pl.DataFrame, rng) -> pl.DataFrame:
    count, people, person = visits.height, patients.height, course.subject
    location = np.where(
        course.elective,
        "phys referral/normal deli",
        np.where(rng.random(count) < 0.8, "emergency room admit", "clinic referral/premature"),
    )
    location = np.where(visits["transferred_in"].to_numpy(), "transfer from hosp/extram", location)
    texts = {
        "admission type": np.where(course.elective, "elective", "emergency"),
        "admission location": location,
        "insurance": rng.choice(_INSURANCES, people, p=(0.5, 0.3, 0.12, 0.05, 0.03))[person],
        "marital status": rng.choice(_MARITAL, people, p=(0.48, 0.28, 0.15, 0.09))[person],
        "race": rng.choice(_RACES, people, p=(0.7, 0.12, 0.06, 0.04, 0.08))[person],
        "sex": np.where(course.female, "female", "male")[person],
    }
    key = visits.select("visit_id", time="start")
    parts = [
        key.with_columns(
            pl.lit(name).alias("name"), pl.Series("text", text.astype(object), dtype=pl.String)
        )
        for name, text in texts.items()
    ]
    age = visits["age"].cast(pl.Float64).alias("number")
    parts.append(key.with_columns(pl.lit("age").alias("name"), age))
    merged = pl.concat(parts, how="diagonal").sort("visit_id", maintain_order=True)
    return tables.conform(merged, tables.ATTRIBUTES)


def _times(minutes: np.ndarray) -> pl.Series:
    """Returns times of minutes since 1970, null where negative. minutes: [row] int64."""
    times = np.asarray(minutes, np.int64).astype("datetime64[m]").astype("datetime64[us]")
    times[np.asarray(minutes) < 0] = np.datetime64("NaT")
    return pl.Series(times, dtype=tables.TIME)
