"""Vital signs and laboratory values of the synthetic hospital's intensive-care stays.

A value is the variable's usual level, the patient's own offset, the shift of the visit's conditions
(which fades as treatment works, the slower the more acute the visit), and noise that lasts from one
observation to the next. The hidden traits have no part in it.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax.records.common import tables
from ehr_jax.synthetic import course as synthetic_course


class Variable(NamedTuple):
    """A measured variable: usual level and its standard deviation, limits, hours between values.

    `acuity` is its shift, in standard deviations, for each unit of acuity. `chance` is how often a
    planned value is there.
    """

    name: str
    unit: str
    level: float
    spread: float
    low: float
    high: float
    hours: int
    chance: float
    acuity: float


VARIABLES = (
    Variable("heart rate", "bpm", 84, 12, 25, 220, 2, 0.9, 0.5),
    Variable("systolic blood pressure", "mmHg", 122, 16, 45, 240, 2, 0.85, -0.5),
    Variable("diastolic blood pressure", "mmHg", 64, 10, 20, 140, 2, 0.85, -0.4),
    Variable("mean blood pressure", "mmHg", 81, 11, 30, 170, 2, 0.85, -0.5),
    Variable("respiratory rate", "insp/min", 18, 4, 5, 55, 2, 0.9, 0.5),
    Variable("oxygen saturation", "%", 96.8, 1.8, 60, 100, 2, 0.9, -0.4),
    Variable("temperature", "°C", 36.9, 0.5, 33, 41.5, 4, 0.85, 0.1),
    Variable("coma scale", "points", 14.0, 1.3, 3, 15, 4, 0.8, -0.9),
    Variable("inspired oxygen", "fraction", 0.32, 0.12, 0.21, 1.0, 8, 0.5, 0.6),
    Variable("glucose", "mg/dL", 130, 32, 30, 600, 8, 0.8, 0.3),
    Variable("ph", "units", 7.39, 0.05, 6.9, 7.7, 12, 0.4, -0.4),
    Variable("creatinine", "mg/dL", 1.1, 0.4, 0.2, 12, 12, 0.7, 0.3),
    Variable("urea nitrogen", "mg/dL", 19, 8, 3, 150, 12, 0.7, 0.3),
    Variable("sodium", "mEq/L", 139, 3.5, 110, 170, 12, 0.7, 0.0),
    Variable("potassium", "mEq/L", 4.1, 0.45, 2, 8, 12, 0.75, 0.1),
    Variable("lactate", "mmol/L", 1.6, 0.7, 0.4, 20, 12, 0.35, 0.8),
    Variable("white cells", "K/uL", 9.8, 3.2, 0.2, 60, 24, 0.8, 0.3),
    Variable("hemoglobin", "g/dL", 11.6, 1.6, 4, 19, 24, 0.8, -0.2),
    Variable("platelets", "K/uL", 220, 70, 5, 800, 24, 0.8, -0.2),
    Variable("bilirubin", "mg/dL", 0.8, 0.5, 0.1, 30, 24, 0.4, 0.2),
)
_RECORDED_HOURS = 96  # of a stay
_FADE_HOURS = 60  # in which the shift of a visit of middling acuity falls to 1/e


class Stays(NamedTuple):
    """The stays to measure; one row a stay. Minutes are since 1970."""

    visit_id: np.ndarray  # [stay] int64
    stay_id: np.ndarray  # [stay] int64
    start: np.ndarray  # [stay] int64 minutes
    end: np.ndarray  # [stay] int64 minutes
    acuity: np.ndarray  # [stay] float64
    conditions: np.ndarray  # [stay, condition] bool


def measure(stays: Stays, seed: tuple[int, ...]) -> pl.DataFrame:
    """Returns the table tables.MEASUREMENTS, sorted by (visit_id, time, variable)."""
    if stays.stay_id.size == 0:
        return tables.empty(tables.MEASUREMENTS)
    rng = np.random.default_rng(seed)
    parts = [_variable(stays, variable, rng) for variable in VARIABLES]
    return pl.concat(parts).sort("visit_id", "time", "variable")


def _variable(stays: Stays, variable: Variable, rng) -> pl.DataFrame:
    count, hours = stays.stay_id.size, np.arange(0, _RECORDED_HOURS, variable.hours)
    moves = [c.moves.get(variable.name, 0.0) for c in synthetic_course.CONDITIONS]
    shift = stays.conditions @ np.array(moves) + variable.acuity * stays.acuity  # [stay]
    fade = _FADE_HOURS * np.exp(0.5 * stays.acuity)
    value = 0.5 * rng.normal(size=(count, 1)) + shift[:, None] * np.exp(-hours / fade[:, None])
    noise = rng.normal(size=(count, hours.size))
    for step in range(1, hours.size):
        noise[:, step] = 0.6 * noise[:, step - 1] + 0.8 * noise[:, step]
    value = variable.level + variable.spread * (value + 0.7 * noise)  # [stay, hour]

    late = rng.integers(0, 60 * variable.hours, value.shape)
    time = stays.start[:, None] + 60 * hours + late  # minutes
    kept = (rng.random(value.shape) < variable.chance) & (time <= stays.end[:, None])
    row = np.nonzero(kept)[0]
    digits = 2 if variable.spread < 1 else 1 if variable.spread < 5 else 0
    value = np.clip(value[kept], variable.low, variable.high).round(digits)
    if variable.name == "coma scale":
        value = value.round(0)
    frame = pl.DataFrame(
        {
            "visit_id": stays.visit_id[row],
            "stay_id": stays.stay_id[row],
            "time": time[kept].astype("datetime64[m]").astype("datetime64[us]"),
            "value": value,
        }
    ).with_columns(pl.lit(variable.name).alias("variable"), pl.lit(variable.unit).alias("unit"))
    return tables.conform(frame, tables.MEASUREMENTS)
