"""What the synthetic hospital writes down of a visit's conditions: codes, drugs and procedures.

Every condition has many codes: variants of its diagnosis, and each of its drugs by brand, strength
and form. How often a variant is used falls off as a power of its rank, so most codes are rare;
their names say what they belong to. The vocabulary is the same for every seed.
"""

import functools
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax.synthetic import conditions as synthetic_conditions
from ehr_jax.synthetic import course as synthetic_course

CONDITIONS = synthetic_conditions.CONDITIONS
_COMMON = len(CONDITIONS)  # the owner of codes that belong to no condition
_FALLOFF = 0.3  # exponent with which the use of a condition's codes falls with their rank

_MAKERS = ("home supply", "unit dose", "generic brand")  # labels of a ward's stock

# How often a condition leaves how many marks of each kind, and how many common marks a visit has.
_MARKS = {"diagnosis": (0.70, 0.05), "drug": (0.75, 0.45), "procedure": (0.30, 0.05)}
_COMMON_MARKS = {"diagnosis": 2.0, "drug": 3.0, "procedure": 0.6}
_FALSE_MARKS = {"diagnosis": 0.3, "drug": 0.6, "procedure": 0.2}  # of a condition not there


class Vocabulary(NamedTuple):
    """Codes of one kind, grouped by owner; the owner after the last condition is the ward."""

    code: np.ndarray  # [code] object
    name: np.ndarray  # [code] object
    owner: np.ndarray  # [code] int
    reach: np.ndarray  # [code] owner + cumulative share within it, for drawing by searchsorted


@functools.cache
def vocabulary(kind: str) -> Vocabulary:
    """Returns the codes of `kind` (one of tables.KINDS)."""
    order = np.random.default_rng(9)
    rows, reach = [], []
    for owner in range(_COMMON + 1):
        named = [(code, name, owner) for code, name in _variants(kind, owner)]
        if named:
            named = [named[k] for k in order.permutation(len(named))]
            share = np.arange(1, len(named) + 1) ** -_FALLOFF
            reach.append(owner + np.cumsum(share) / share.sum())
            rows += named
    columns = [np.array(column, dtype=object) for column in zip(*rows, strict=True)]
    return Vocabulary(columns[0], columns[1], columns[2].astype(int), np.concatenate(reach))


def code_names() -> pl.DataFrame:
    """Returns the table tables.CODE_NAMES of the whole vocabulary."""
    parts = [
        pl.DataFrame(
            {"code": vocabulary(kind).code, "name": vocabulary(kind).name},
            schema_overrides={"code": pl.String, "name": pl.String},
        )
        .select("code", pl.lit(kind).alias("kind"), "name")
        .unique("code", keep="first", maintain_order=True)
        for kind in _MARKS
    ]
    return pl.concat(parts)


def record(course: synthetic_course.Course, rng: np.random.Generator) -> dict[str, tuple]:
    """Returns for each kind the (visit, code index) pairs written down, each pair once."""
    return {kind: _record(course.conditions, kind, rng) for kind in _MARKS}


def coded_conditions(pairs: tuple, visits: int) -> np.ndarray:
    """Returns [visit, condition] bool: a diagnosis of the condition was written down."""
    visit, code = pairs
    coded = np.zeros((visits, _COMMON + 1), bool)
    coded[visit, vocabulary("diagnosis").owner[code]] = True
    return coded[:, :_COMMON]


def _variants(kind: str, owner: int) -> list[tuple[str, str]]:
    if owner == _COMMON:
        codes, procedures, drugs = (
            synthetic_conditions.COMMON_CODES,
            synthetic_conditions.COMMON_PROCEDURES,
            synthetic_conditions.COMMON_DRUGS,
        )
    else:
        condition = CONDITIONS[owner]
        codes, procedures, drugs = condition.codes, condition.procedures, condition.drugs
    if kind == "drug":
        names = [name for drug in drugs.split("; ") for name in _drug_names(drug)]
        return [(f"DRUG:{name}", name) for name in names]
    prefix, text = ("ICD9CM", codes) if kind == "diagnosis" else ("ICD9PROC", procedures)
    split = [entry.split(" ", 1) for entry in text.split("; ") if entry]
    return [(f"{prefix}:{code}", name) for code, name in split]


def _drug_names(drug: str) -> list[str]:
    generic, brand, strengths, forms = drug.split("|")
    amounts, unit = strengths.rsplit(" ", 1)
    labels = [(generic, ""), (f"{brand} ({generic})", "")]
    labels += [(generic, f", {maker}") for maker in _MAKERS]
    return [
        f"{label} {amount} {unit} {form}{maker}"
        for label, maker in labels
        for amount in amounts.split(",")
        for form in forms.split(",")
    ]


def _record(conditions: np.ndarray, kind: str, rng) -> tuple[np.ndarray, np.ndarray]:
    visits = conditions.shape[0]
    known = vocabulary(kind)
    visit, owner = np.nonzero(conditions)
    owners = [np.full(rng.poisson(_COMMON_MARKS[kind] * visits), _COMMON)]
    owners.append(rng.integers(0, _COMMON, rng.poisson(_FALSE_MARKS[kind] * visits)))
    places = [rng.integers(0, visits, part.size) for part in owners]
    for chance in _MARKS[kind]:
        kept = rng.random(visit.size) < chance
        places.append(visit[kept])
        owners.append(owner[kept])
    place, marked = np.concatenate(places), np.concatenate(owners)
    able = np.isin(marked, known.owner)
    place, marked = place[able], marked[able]
    code = np.searchsorted(known.reach, marked + rng.random(marked.size), side="right")
    # An owner's last reach is owner + 1 up to rounding; stay inside the owner.
    code = np.minimum(code, np.searchsorted(known.owner, marked, side="right") - 1)
    pairs = np.unique(place * known.code.size + code)
    pairs = pairs[np.argsort(pairs // known.code.size + rng.random(pairs.size))]  # any order inside
    return pairs // known.code.size, pairs % known.code.size
