"""A generated hospital of any size, for tests, quick starts and experiments whose truth is known.

Latent conditions drive billing codes, drugs, procedures, vital signs, laboratory values and notes,
and persist or progress from visit to visit. What only the notes tell (`synthetic_course.TRAITS`)
acts on the next visit's conditions, on readmission and on death, as strongly as `note_signal` says;
at 0 the outcomes do not depend on it and the notes read the same. Otherwise notes speak of coded
conditions alone, so they add nothing about an outcome that the visit's codes do not tell. Codes are
many and mostly rare, and their names say what they belong to, so names carry information too.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.records import (
    synthetic_codes,
    synthetic_course,
    synthetic_notes,
    synthetic_series,
    tables,
)

_UNITS = ("MICU", "SICU", "CCU", "CSRU", "TSICU")
_INSURANCES = ("Medicare", "Private", "Medicaid", "Government", "Self Pay")
_MARITAL = ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED")
_ETHNICITIES = ("WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC OR LATINO", "ASIAN", "OTHER")
_FIRST_SUBJECT, _FIRST_VISIT, _FIRST_STAY = 10_001, 100_001, 200_001
_DAY, _YEAR = 1440, 525_949  # minutes


class Truth(NamedTuple):
    """What the records do not say. Rows are those of `Records.visits`."""

    hidden: np.ndarray  # [visit, trait] int8 levels of synthetic_course.TRAITS
    conditions: np.ndarray  # [visit, condition] bool


def generate(patients: int, seed: int, note_signal: float = 1.0) -> tables.Records:
    """Returns the records of `patients` generated patients, the same for the same arguments.

    Measurements and notes are made when collected. Raises RecordsError on impossible arguments.
    """
    return generate_with_truth(patients, seed, note_signal)[0]


def generate_with_truth(
    patients: int, seed: int, note_signal: float = 1.0
) -> tuple[tables.Records, Truth]:
    """Returns the records and what lies behind them."""
    _check_arguments(patients, seed, note_signal)
    course = synthetic_course.simulate(patients, np.random.default_rng((seed, 0)), note_signal)
    written = synthetic_codes.record(course, np.random.default_rng((seed, 1)))
    rng = np.random.default_rng((seed, 2))
    visit_id = np.arange(course.subject.size) + _FIRST_VISIT
    visits = _visits(course, visit_id, rng)
    coded = synthetic_codes.coded_conditions(written["diagnosis"], visit_id.size)
    told = synthetic_notes.Told(visit_id, course.start, course.end, coded, course.hidden)
    in_unit = np.flatnonzero(course.unit_start >= 0)
    stays = synthetic_series.Stays(
        visit_id[in_unit],
        np.arange(in_unit.size) + _FIRST_STAY,
        course.unit_start[in_unit],
        course.unit_end[in_unit],
        course.acuity[in_unit],
        course.conditions[in_unit],
    )
    records = tables.Records(
        source="synthetic",
        patients=_patients(course),
        visits=visits,
        stays=_stays(stays, course.subject[in_unit], rng),
        codes=_codes(course, visit_id, written, rng),
        code_names=synthetic_codes.code_names(),
        attributes=_attributes(course, visits, rng),
        measurements=pl.defer(
            functools.partial(synthetic_series.measure, stays, (seed, 3)),
            schema=tables.MEASUREMENTS,
        ),
        notes=pl.defer(
            functools.partial(synthetic_notes.write, told, (seed, 4)), schema=tables.NOTES
        ),
        terms="Generated data; no terms",
    )
    return tables.check(records), Truth(course.hidden, course.conditions)


def _check_arguments(patients: int, seed: int, note_signal: float) -> None:
    if patients < 1:
        raise errors.RecordsError(f"synthetic: patients is {patients}; it must be at least 1")
    if seed < 0:
        raise errors.RecordsError(f"synthetic: seed is {seed}; it must be 0 or more")
    if not (math.isfinite(note_signal) and note_signal >= 0):
        raise errors.RecordsError(
            f"synthetic: note_signal is {note_signal}; it must be a finite number of 0 or more"
        )


def _patients(course: synthetic_course.Course) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "subject_id": np.arange(course.birth.size) + _FIRST_SUBJECT,
            "sex": np.where(course.female, "F", "M").astype(object),
            "birth_time": _times(course.birth),
            "death_time": _times(course.death),
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
            "age": (course.start - course.birth[course.subject]) / _YEAR,
            "disposition": np.where(course.died, "died", disposition).astype(object),
            "planned": course.elective,
            "transferred_in": ~course.elective & (rng.random(burden.size) < 0.15),
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
            pl.Series("code", synthetic_codes.vocabulary(kind).code).gather(code)
        )
        # Drugs are ordered at the midnight that opens a day of the stay; the rest is billed at its
        # end, which tables.CODES writes as null.
        opened = course.start[visit] // _DAY + 1
        days = np.maximum(course.end[visit] // _DAY - opened + 1, 1)
        day = opened + (rng.random(visit.size) ** 2 * days).astype(np.int64)
        time = day * _DAY if kind == "drug" else np.full(visit.size, -1)
        parts.append(
            frame.with_columns(pl.Series("time", _times(time)), pl.lit(kind).alias("kind"))
        )
    codes = pl.concat(parts).unique(["visit_id", "code"], keep="first", maintain_order=True)
    codes = codes.with_columns(
        pl.int_range(1, pl.len() + 1).over("visit_id", "kind").alias("position")
    )
    return tables.conform(codes.sort("visit_id", maintain_order=True), tables.CODES)


def _attributes(course, visits: pl.DataFrame, rng) -> pl.DataFrame:
    count = visits.height
    person = course.subject
    walked_in = rng.random(count) < 0.8
    location = np.where(
        course.elective,
        "PHYS REFERRAL/NORMAL DELI",
        np.where(walked_in, "EMERGENCY ROOM ADMIT", "CLINIC REFERRAL/PREMATURE"),
    )
    location = np.where(visits["transferred_in"].to_numpy(), "TRANSFER FROM HOSP/EXTRAM", location)
    texts = {
        "admission type": np.where(course.elective, "ELECTIVE", "EMERGENCY"),
        "admission location": location,
        "insurance": rng.choice(_INSURANCES, course.birth.size, p=(0.5, 0.3, 0.12, 0.05, 0.03))[
            person
        ],
        "marital status": rng.choice(_MARITAL, course.birth.size, p=(0.48, 0.28, 0.15, 0.09))[
            person
        ],
        "ethnicity": rng.choice(_ETHNICITIES, course.birth.size, p=(0.7, 0.12, 0.06, 0.04, 0.08))[
            person
        ],
    }
    parts = [
        visits.select("visit_id", pl.col("start").alias("time")).with_columns(
            pl.lit(name).alias("name"),
            pl.Series("text", text.astype(object), dtype=pl.String),
            pl.lit(None, pl.Float64).alias("number"),
        )
        for name, text in texts.items()
    ]
    merged = pl.concat(parts).sort("visit_id", maintain_order=True)
    return tables.conform(merged, tables.ATTRIBUTES)


def _times(minutes: np.ndarray) -> pl.Series:
    """Returns times of minutes since 1970, null where negative. minutes: [row] int64."""
    times = np.asarray(minutes, np.int64).astype("datetime64[m]").astype("datetime64[us]")
    times[np.asarray(minutes) < 0] = np.datetime64("NaT")
    return pl.Series(times, dtype=tables.TIME)
