"""Death in hospital, predicted 48 hours into intensive care."""

import datetime

import polars as pl

from ehr_jax.cohorts import draft
from ehr_jax.records import tables

OBSERVED = datetime.timedelta(hours=48)
ADULT = 18  # years

STRICT = (
    "Death in hospital, predicted 48 h after the start of the visit's first ICU stay; where a "
    "source has no ICU stays, 48 h after admission. One sample a visit, for patients not known to "
    "be under 18, whose first stay lasts 48 h or more and who are alive and in hospital at that "
    "time. A visit that the source does not state to have ended in death counts as survived."
)
PAPER = (
    "Death in hospital, predicted 48 h after the start of the ICU stay, by the rules of the "
    "MIMIC-III benchmark as REALM takes them over: visits with exactly one ICU stay, of 48 h or "
    "more, of patients of 18 years or more; positive when the source states death in hospital or "
    "the date of death lies between admission and discharge. Moves between units within a stay are "
    "not seen in the canonical tables and leave nothing out."
)
FAULTS = (
    "Visits with a second ICU stay are left out, which at the prediction time nobody knows yet.",
    "A date of death without a clock time counts as midnight, so a patient who went home and died "
    "on that day counts as dead in hospital.",
    "The split is random over stays, so test patients may have trained the model.",
)


def mortality(records: tables.Records, protocol: str) -> draft.Draft:
    """Drafts the task; `paper` follows Harutyunyan et al. (2019) as used by REALM."""
    visits = _with_first_stay(records).join(
        records.patients.select("subject_id", "death_time"), on="subject_id", how="left"
    )
    visits = visits.with_columns(prediction_time=pl.col("icu_start") + OBSERVED)
    not_adult = pl.col("age") < ADULT
    short = "first ICU stay shorter than 48 h or of unknown length"
    too_short = (pl.col("icu_end") < pl.col("prediction_time")) | pl.col("icu_end").is_null()
    if protocol == "paper":
        reasons = {
            "no ICU stay": pl.col("icu_start").is_null(),
            "more than one ICU stay": pl.col("stays") > 1,
            "under 18 or of unknown age": not_adult.fill_null(True),
            short: too_short,
        }
        label = draft.DIED | _dead_between_dates()
    else:
        reasons = {
            "no ICU stay": pl.col("icu_start").is_null(),
            "under 18": not_adult,
            short: too_short,
            "no discharge date": pl.col("end").is_null(),
            "left the hospital or died before the prediction time": _gone(),
        }
        label = draft.DIED
    visits, excluded = draft.drop(visits, reasons)
    return draft.Draft(
        rows=visits.select("visit_id", "prediction_time", mortality=label),
        labels=("mortality",),
        at_discharge=False,
        description=PAPER if protocol == "paper" else STRICT,
        published_split="by_sample",
        excluded=excluded,
        faults=FAULTS if protocol == "paper" else (),
    )


def lacks(records: tables.Records) -> str:
    """Says what the records lack for the task, "" when nothing."""
    return "" if draft.has(records, "visits", "start", "end") else "admission and discharge dates"


def _with_first_stay(records: tables.Records) -> pl.DataFrame:
    """Returns the visits with icu_start, icu_end (of the first stay) and stays (their count)."""
    if records.stays.is_empty():
        return records.visits.with_columns(
            icu_start=pl.col("start"), icu_end=pl.col("end"), stays=pl.lit(1, pl.UInt32)
        )
    stays = records.stays.sort("visit_id", "start", "stay_id", nulls_last=True)
    first = stays.group_by("visit_id").agg(
        icu_start=pl.col("start").first(), icu_end=pl.col("end").first(), stays=pl.len()
    )
    return records.visits.join(first, on="visit_id", how="left")


def _gone() -> pl.Expr:
    """Had the visit ended, by discharge or death, by the prediction time?"""
    # The discharge of the dead is often written hours after their death.
    dead = draft.DIED & (pl.col("death_time") <= pl.col("prediction_time")).fill_null(False)
    return (pl.col("end") <= pl.col("prediction_time")) | dead


def _dead_between_dates() -> pl.Expr:
    """The benchmark's rule: death, or the midnight before it, falls within the visit."""
    death = pl.col("death_time")
    within = (time.is_between("start", "end") for time in (death, death.dt.truncate("1d")))
    return pl.any_horizontal(within).fill_null(False)
