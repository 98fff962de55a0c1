"""Exclusions by name: which visits a task leaves out, and the words for it."""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from ehr_jax import plugins
from ehr_jax.cohorts import settings
from ehr_jax.cohorts import spec as specs

ADULT = 18  # years
DIED = pl.col("disposition").fill_null("unknown") == "died"  # in hospital, as the source states it


class Rule(NamedTuple):
    """Leaves out the visits for which `holds(spec)`, an expression over `draft.visits`, is true.

    Such a visit is no sample, but may still be another's next visit, unless it is `unseen`.
    """

    reason: Callable[[specs.Spec], str]
    holds: Callable[[specs.Spec], pl.Expr]
    unseen: bool = False


def _rule(reason: str, holds: pl.Expr, unseen: bool = False) -> Rule:
    return Rule(lambda spec: reason, lambda spec: holds, unseen)


# The discharge of the dead is often written hours after their death.
_DEAD_BEFORE = DIED & (pl.col("death_time") <= pl.col("prediction_time")).fill_null(False)

RULES = {
    "undated": _rule(
        "no admission date",
        pl.col("start").is_null() & pl.col("readmitted_30d").is_null(),
        unseen=True,
    ),
    "uncoded": _rule("no ICD-9-CM diagnosis code", ~pl.col("coded"), unseen=True),
    "died": _rule("died in hospital", DIED),
    "unknown_outcome": _rule("outcome of the visit unknown", pl.col("disposition") == "unknown"),
    "hospice": _rule("discharged to hospice", pl.col("disposition") == "hospice"),
    "no_stay": _rule("no ICU stay", pl.col("index_start").is_null()),
    "several_stays": _rule("more than one ICU stay", pl.col("stays") > 1),
    "under_18": _rule("under 18", pl.col("age") < ADULT),
    "under_18_or_unknown": _rule(
        "under 18 or of unknown age", (pl.col("age") < ADULT).fill_null(True)
    ),
    "short_stay": Rule(
        lambda spec: f"first ICU stay shorter than {spec.after_hours:g} h or of unknown length",
        lambda spec: (
            (pl.col("index_end") < pl.col("prediction_time")) | pl.col("index_end").is_null()
        ),
    ),
    "no_end": _rule("no discharge date", pl.col("end").is_null() & pl.col("start").is_not_null()),
    "gone": _rule(
        "left the hospital or died before the prediction time",
        (pl.col("end") <= pl.col("prediction_time")) | _DEAD_BEFORE,
    ),
    "planned": _rule("planned admission", pl.col("planned")),
}


NAMES = plugins.Names(settings.RULES.group, RULES)


def find(name: str) -> Rule:
    """Returns a rule by its name; ConfigError where there is none (see `plugins.find`)."""
    return plugins.find("config.task.exclude", NAMES, name, Rule)
