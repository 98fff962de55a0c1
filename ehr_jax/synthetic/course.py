"""The course of the synthetic hospital's patients: who has what, visit by visit, and what follows.

Conditions of a visit follow the patient's liability in each disease group, the conditions of the
visit before, and how acutely ill the visit is. Beside them every visit carries `hidden`, three
independent traits that no code, drug or measurement shows. They act on the conditions of the *next*
visit, on readmission and on death, each in proportion to `note_signal`.
"""

from typing import NamedTuple

import numpy as np

from ehr_jax.synthetic import conditions as synthetic_conditions

MAXIMUM_VISITS = 8
TRAITS = ("adherence", "function", "intake")  # level 0 good, 1 middling, 2 poor

CONDITIONS = synthetic_conditions.CONDITIONS
_INDEX = {condition.name: k for k, condition in enumerate(CONDITIONS)}
_GROUP = np.array([synthetic_conditions.GROUPS.index(c.group) for c in CONDITIONS])
_LINKS = np.zeros((len(CONDITIONS), len(CONDITIONS)))  # [before, after] log-odds
for _before in CONDITIONS:
    for _after in _before.leads_to:
        _LINKS[_INDEX[_before.name], _INDEX[_after]] = 1.1

# Log-odds of a group's conditions at the next visit per standard deviation of each trait.
_TRAIT_EFFECT = {
    "heart": (1.5, 0.2, 0.0),
    "metabolic": (1.5, 0.0, 0.3),
    "lung": (0.3, 1.5, 0.0),
    "infection": (0.0, 1.5, 0.3),
    "kidney": (0.3, 0.0, 1.5),
    "gut": (0.3, 0.0, 1.5),
    "brain": (1.1, 1.1, 0.0),
}
_NEXT = np.array([_TRAIT_EFFECT[c.group] for c in CONDITIONS]).T  # [trait, condition]
_READMISSION = np.array([1.3, 0.9, 0.7])  # [trait]
_DEATH = np.array([0.3, 1.3, 1.1])  # [trait]

# Rates held whatever the strength of the signal.
_READMITTED, _DIED, _IN_UNIT, _LATER_VISIT = 0.18, 0.065, 0.5, 0.55

_HOUR, _DAY, _YEAR = 60, 1440, 525_949  # minutes


class Course(NamedTuple):
    """What truly happened; one row a visit, sorted by (subject, order). Minutes are since 1970."""

    birth: np.ndarray  # [subject] int64 minutes, at midnight
    female: np.ndarray  # [subject] bool
    death: np.ndarray  # [subject] int64 minutes, of the day outside hospital; -1 if none is known
    subject: np.ndarray  # [visit] int64, from 0
    order: np.ndarray  # [visit] int32
    start: np.ndarray  # [visit] int64 minutes
    end: np.ndarray  # [visit] int64 minutes
    unit_start: np.ndarray  # [visit] int64 minutes, -1 without an intensive-care stay
    unit_end: np.ndarray  # [visit] int64 minutes
    elective: np.ndarray  # [visit] bool
    acuity: np.ndarray  # [visit] float64, standard normal
    conditions: np.ndarray  # [visit, condition] bool
    hidden: np.ndarray  # [visit, trait] int8 levels
    died: np.ndarray  # [visit] bool, in hospital


def simulate(
    patients: int, rng: np.random.Generator, note_signal: float, standing: np.ndarray
) -> Course:
    """Returns the course of `patients` patients, each with 1 to `MAXIMUM_VISITS` visits.

    standing: [patient] log-odds that a patient's danger of death has in every visit.
    """
    age = np.clip(rng.normal(63, 16, patients), 18, 85)
    female = rng.random(patients) < 0.46
    first = rng.integers(130 * _YEAR, 200 * _YEAR, patients)  # the years 2100 to 2170
    birth = (first - age * _YEAR).astype(np.int64) // _DAY * _DAY
    liability = _liability(rng, patients, age)
    death = np.full(patients, -1, np.int64)

    alive, start, before, rows = np.arange(patients), first, None, []
    for order in range(MAXIMUM_VISITS):
        visit = _visit(rng, liability[alive], start, before, note_signal, standing[alive])
        rows.append({"subject": alive, "order": np.full(alive.size, order, np.int32), **visit})
        death[alive[visit["died"]]] = visit["end"][visit["died"]]
        again, gap = _what_follows(rng, visit, note_signal)
        gone = ~again & ~visit["died"] & (rng.random(alive.size) < 0.08)
        days = visit["end"][gone] // _DAY + rng.integers(1, 365, gone.sum())
        death[alive[gone]] = days * _DAY
        alive, start = alive[again], (visit["end"] + gap)[again]
        before = {key: visit[key][again] for key in ("conditions", "hidden")}
        if alive.size == 0:
            break
    merged = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    sequence = np.lexsort((merged["order"], merged["subject"]))
    return Course(birth, female, death, **{key: value[sequence] for key, value in merged.items()})


def standardised(hidden: np.ndarray) -> np.ndarray:
    """Returns trait levels as values of mean 0 and variance 1; high is poor."""
    return (hidden.astype(float) - 1) * np.sqrt(1.5)


def _liability(rng, patients: int, age: np.ndarray) -> np.ndarray:
    """Returns each patient's standing log-odds of each condition, correlated through groups."""
    groups = len(synthetic_conditions.GROUPS)
    shared = rng.normal(size=(patients, 1))
    group = 0.5 * shared + rng.normal(size=(patients, groups))
    return group[:, _GROUP] + 0.2 * (age[:, None] - 63) / 16


def _visit(rng, liability: np.ndarray, start: np.ndarray, before, note_signal: float, standing):
    count = start.size
    elective = rng.random(count) < 0.13
    acuity = rng.normal(size=count)
    score = liability + _column("acuity") * acuity[:, None]
    rate = _column("prevalence")
    if before is not None:
        score += before["conditions"] * _column("persistence") + before["conditions"] @ _LINKS
        score += note_signal * standardised(before["hidden"]) @ _NEXT
        rate = rate * 1.1
    conditions = _draw(rng, score, rate)
    # Three levels, equally likely, whatever else is true of the visit.
    hidden = rng.integers(0, 3, (count, len(TRAITS)), dtype=np.int8)

    burden = conditions @ _column("death")
    danger = 0.9 * acuity + burden - 0.6 * elective
    in_unit = _draw(rng, 0.7 * danger, _IN_UNIT)
    told = note_signal * standardised(hidden) @ _DEATH + standing
    died = _draw(rng, danger + 0.7 * in_unit + told, _DIED)
    days = np.exp(rng.normal(1.5, 0.55, count) + 0.15 * np.clip(danger, -2, 4))
    end = start + (np.clip(days, 1.1, 60) * _DAY).astype(np.int64)
    unit_start = start + rng.integers(30, 10 * _HOUR, count)
    unit_days = np.clip(np.exp(rng.normal(0.9, 0.6, count)), 0.6, 30)
    unit_end = np.minimum(unit_start + (unit_days * _DAY).astype(np.int64), end)
    unit_end = np.where(died & (rng.random(count) < 0.7), end, unit_end)
    return {
        "start": start,
        "end": end,
        "unit_start": np.where(in_unit, unit_start, -1),
        "unit_end": np.where(in_unit, unit_end, -1),
        "elective": elective,
        "acuity": acuity,
        "conditions": conditions,
        "hidden": hidden,
        "died": died,
    }


def _what_follows(rng, visit: dict, note_signal: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns which patients come again and after how many minutes."""
    count = visit["start"].size
    score = visit["conditions"] @ _column("readmission") - 0.4 * visit["elective"]
    score = score + note_signal * standardised(visit["hidden"]) @ _READMISSION
    soon = _draw(rng, score, _READMITTED)
    later = rng.random(count) < _LATER_VISIT
    gap = np.where(
        soon,
        rng.integers(_DAY, 29 * _DAY, count),
        32 * _DAY + (rng.exponential(260, count) * _DAY).astype(np.int64),
    )
    return (soon | later) & ~visit["died"], gap


def _column(field: str) -> np.ndarray:
    return np.array([getattr(condition, field) for condition in CONDITIONS], float)


def _draw(rng, score: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
    """Draws events with log-odds `score` shifted, column by column, to happen at `rate`."""
    sample = score[:4000]
    low, high = np.full(score.shape[1:], -20.0), np.full(score.shape[1:], 20.0)
    for _ in range(30):
        middle = (low + high) / 2
        over = _sigmoid(sample + middle).mean(0) > rate
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return rng.random(score.shape) < _sigmoid(score + (low + high) / 2)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
