"""Labels by name: from the visits of a task to one Boolean column a label, null where unknown.

Each takes `draft.visits` with prediction times and gives the frame with its label columns.
"""

import datetime
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from ehr_jax import errors, plugins
from ehr_jax.cohorts import phenotypes, rules
from ehr_jax.cohorts import spec as specs
from ehr_jax.records.common import tables


class Label(NamedTuple):
    """How a label is made.

    Attributes:
      make: (records, visits, spec) -> visits with the columns `names(spec)`.
      names: of the label columns.
      says: what is predicted, in words.
      lacks: (records, spec) -> what the records lack for it, "" where nothing.
      words: in lower case, which state the outcome where they name an input or stand in a note.
    """

    make: Callable[[tables.Records, pl.DataFrame, specs.Spec], pl.DataFrame]
    names: Callable[[specs.Spec], tuple[str, ...]]
    says: Callable[[specs.Spec], str]
    lacks: Callable[[tables.Records, specs.Spec], str]
    words: tuple[str, ...] = ()


CODES = "codes"  # the name of the label that asks for codes, unless the task has one
DEATH_WORDS = (
    "death", "dead", "died", "deceased", "expired", "passed away", "comfort measures",
    "comfort care", "cmo", "hospice", "palliative", "dnr", "dni", "do not resuscitate",
    "do not intubate", "withdrawal of care", "brain death", "asystole", "autopsy", "morgue",
)  # fmt: skip
_STAY_WORDS = ("length of stay", "prolonged stay", "discharged to", "discharge date")
_RETURN_WORDS = ("readmitted", "readmission", "will return", "planned admission")


def next_of_patient(column: str) -> pl.Expr:
    """Returns the value of `column` at the patient's next visit in the frame, null at the last."""
    return pl.col(column).shift(-1).over("subject_id", order_by="order")


def matches(codes: tuple[str, ...]) -> pl.Expr:
    """Is "code" one of `codes` ("SYSTEM:prefix", or "SYSTEM:low-high" over 3-character categories)?

    Raises CohortError for a code that is neither.
    """
    found = pl.lit(False)
    for wanted in codes:
        system, _, rest = wanted.partition(":")
        low, dash, high = rest.partition("-")
        if not rest or (dash and not len(low) == len(high) == 3):
            raise errors.CohortError(
                f"config.task.codes holds '{wanted}'; expected 'SYSTEM:prefix' (ICD9CM:428) or "
                "'SYSTEM:low-high' over three-character categories (ICD9CM:390-459)"
            )
        if dash:
            category = pl.col("code").str.slice(len(system) + 1, 3)
            of_system = pl.col("code").str.starts_with(f"{system}:")
            found = found | (of_system & category.is_between(pl.lit(low), pl.lit(high)))
        else:
            found = found | pl.col("code").str.starts_with(wanted)
    return found


def _readmission(records, visits, spec):
    """Does the patient's next visit begin within the horizon?"""
    gap = pl.col("gap")
    soon = gap >= datetime.timedelta(hours=spec.gap_hours)
    if spec.gap_hours == 0:
        soon = pl.lit(True)  # a next visit may begin before this one is written to have ended
    if spec.horizon_days is not None:
        soon = soon & (gap <= datetime.timedelta(days=spec.horizon_days))
    stated = pl.col("readmitted_30d")
    if spec.horizon_days != 30 or spec.gap_hours:
        stated = pl.lit(None, pl.Boolean)
    again = pl.coalesce(stated, soon & gap.is_not_null()).fill_null(False)
    unknown = pl.col("goes_on") | (pl.col("end").is_null() & stated.is_null())
    return visits.with_columns(readmission=pl.when(~unknown).then(again))


def _readmission_or_death(records, visits, spec):
    # The published code reads a date of death as the midnight that begins the day.
    within = datetime.timedelta(days=spec.horizon_days or 36_500)
    died_soon = (pl.col("death_time").dt.truncate("1d") - pl.col("end") <= within).fill_null(False)
    again = _readmission(records, visits, spec)
    return again.with_columns(
        pl.when(pl.col("readmission").is_not_null() | rules.DIED).then(
            pl.col("readmission").fill_null(False) | rules.DIED | died_soon
        )
    )


def _death(records, visits, spec):
    died = rules.DIED
    if spec.horizon_days is not None:
        last = pl.col("prediction_time") + datetime.timedelta(days=spec.horizon_days)
        died = died & (pl.coalesce("death_time", "end") <= last).fill_null(False)
    if spec.gap_hours:
        first = pl.col("prediction_time") + datetime.timedelta(hours=spec.gap_hours)
        died = died & (pl.coalesce("death_time", "end") >= first).fill_null(False)
    return visits.with_columns(mortality=pl.when(_has(records, "disposition")).then(died))


def _death_by_date(records, visits, spec):
    """The rule of the MIMIC-III benchmark: death, or the midnight before it, within the visit."""
    death = pl.col("death_time")
    within = (time.is_between("start", "end") for time in (death, death.dt.truncate("1d")))
    by_date = pl.any_horizontal(within).fill_null(False)
    told = _has(records, "disposition") or records.patients["death_time"].is_not_null().any()
    unknown = pl.col("end").is_null() & (pl.col("disposition") == "unknown")
    firm = ~unknown.fill_null(True) & pl.lit(told)
    return visits.with_columns(mortality=pl.when(firm).then(rules.DIED | by_date))


def _long_stay(records, visits, spec):
    length = pl.col("end") - pl.col("start")
    return visits.with_columns(long_stay=length > datetime.timedelta(days=spec.more_than_days))


def _phenotypes(records, visits, spec):
    groups = phenotypes.table(records.codes["code"].unique()).rename({"phenotype": "label"})
    return _next_has(records, visits, groups, phenotypes.LABELS, spec)


def _codes(records, visits, spec):
    codes = pl.DataFrame({"code": records.codes["code"].unique().sort()})
    groups = codes.filter(matches(spec.codes)).with_columns(label=pl.lit(CODES))
    labelled = _next_has(records, visits, groups, (CODES,), spec)
    has_now = records.codes.join(groups, on="code")["visit_id"].unique().implode()
    free = ~pl.col("visit_id").is_in(has_now)
    return labelled.with_columns(pl.when(free).then(pl.col(CODES)).alias(CODES))


def _next_has(records, visits, groups: pl.DataFrame, labels, spec) -> pl.DataFrame:
    """Does the next visit have a code of each label? `groups`: one row (code, label) a code."""
    episodes = visits.select("visit_id", "episode")
    here = (
        records.codes.join(groups, on="code")
        .join(episodes, on="visit_id")
        .group_by("episode")
        .agg((pl.col("label") == name).any().alias(name) for name in labels)
    )
    joined = visits.join(
        here, left_on="next_episode", right_on="episode", how="left", maintain_order="left"
    )
    over = pl.col("end").is_not_null() | pl.col("start").is_null()  # or the source has no dates
    exists = pl.col("next_episode").is_not_null() & over & ~pl.col("goes_on") & ~rules.DIED
    soon = pl.lit(True)
    if spec.horizon_days is not None:
        soon = soon & (pl.col("gap") <= datetime.timedelta(days=spec.horizon_days))
    if spec.gap_hours:
        soon = soon & (pl.col("gap") >= datetime.timedelta(hours=spec.gap_hours))
    return joined.with_columns(
        pl.when(exists & soon.fill_null(False)).then(pl.col(name).fill_null(False)).alias(name)
        for name in labels
    )


def _says_readmission(spec):
    return "whether the patient is admitted again, for any reason"


def _says_codes(spec):
    return (
        f"whether the patient's next visit has a code of {', '.join(spec.codes)}; asked of visits "
        "without one, the others give structure only"
    )


def _lacks_times(records: tables.Records, spec) -> str:
    return "" if _has(records, "start", "end") else "admission and discharge dates"


def _lacks_start(records: tables.Records, spec) -> str:
    return "" if _has(records, "start") else "admission and discharge dates"


def _lacks_readmission(records: tables.Records, spec) -> str:
    dated = records.dated and _has(records, "start", "end")
    stated = _has(records, "readmitted_30d") and spec.horizon_days == 30
    if dated or stated:
        return ""
    return "dates that compare across a patient's visits, or stated readmissions"


def _lacks_codes(records: tables.Records, spec) -> str:
    systems = tuple(dict.fromkeys(code.partition(":")[0] for code in spec.codes))
    held = records.codes["code"].str.extract(r"^([^:]*):").is_in(systems).any()
    return "" if held else f"{' or '.join(systems)} codes"


def _lacks_phenotypes(records: tables.Records, spec) -> str:
    held = records.codes["code"].str.starts_with(phenotypes.SYSTEM).any()
    return "" if held else "ICD-9-CM diagnosis codes"


def _has(records: tables.Records, *columns: str) -> bool:
    return not records.visits.drop_nulls(list(columns)).is_empty()


def _named(*names: str) -> Callable[[specs.Spec], tuple[str, ...]]:
    return lambda spec: names


LABELS = {
    "readmission": Label(
        _readmission, _named("readmission"), _says_readmission, _lacks_readmission, _RETURN_WORDS
    ),
    "readmission_or_death": Label(
        _readmission_or_death,
        _named("readmission"),
        lambda spec: "whether the patient is admitted again, or dead, in hospital or after",
        _lacks_readmission,
        _RETURN_WORDS,
    ),
    "death_in_hospital": Label(
        _death,
        _named("mortality"),
        lambda spec: "whether the patient dies in hospital",
        _lacks_start,
        DEATH_WORDS,
    ),
    "death_in_hospital_by_date": Label(
        _death_by_date,
        _named("mortality"),
        lambda spec: (
            "whether the patient dies in hospital, or a date of death lies within the visit"
        ),
        _lacks_start,
        DEATH_WORDS,
    ),
    "long_stay": Label(
        _long_stay,
        _named("long_stay"),
        lambda spec: f"whether the hospital visit lasts more than {spec.more_than_days:g} days",
        _lacks_times,
        _STAY_WORDS,
    ),
    "phenotypes_of_next_visit": Label(
        _phenotypes,
        _named(*phenotypes.LABELS),
        lambda spec: (
            "which of the 25 phenotypes of the MIMIC-III benchmark the patient's next "
            "visit will be coded with"
        ),
        _lacks_phenotypes,
    ),
    "codes_of_next_visit": Label(_codes, _named(CODES), _says_codes, _lacks_codes),
}


NAMES = plugins.Names("ehr_jax.labels", LABELS)


def find(name: str) -> Label:
    """Returns a label by its name; ConfigError where there is none (see `plugins.find`)."""
    return plugins.find("Spec.label", NAMES, name, Label)


def names_of(spec: specs.Spec) -> tuple[str, ...]:
    """Returns the names of a task's label columns; CohortError where its own do not fit."""
    names = find(spec.label).names(spec)
    chosen = spec.label_names or names
    if len(set(chosen)) < len(names) or len(chosen) > len(names):
        raise errors.CohortError(
            f"config.task.label_names is {chosen}; expected a name for each of the {len(names)} "
            f"label(s) of '{spec.label}', no two the same"
        )
    return chosen
