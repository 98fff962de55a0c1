"""Readmission within 30 days of discharge, predicted at discharge."""

import datetime

import polars as pl

from ehr_jax.cohorts import draft
from ehr_jax.records import tables

WINDOW = datetime.timedelta(days=30)
TRANSFER_GAP = datetime.timedelta(hours=24)

UNDATED = "no admission or discharge date"
JOINED = "not the last part of an episode joined over transfers (structure only)"

STRICT = (
    "At discharge, whether the patient is admitted again, for any reason, at most 30 days after. "
    "Visits that ended in death or hospice are left out. Visits joined by a transfer are one "
    "episode, and its discharge is that of the last part: the next visit starts at most 24 h after "
    "this one ended, and this one ended in a transfer, or the next began with one and the patient "
    "had not gone home; visits that overlap are joined as well. Where the source itself states "
    "readmission, its statement is used. A death after discharge without readmission is a negative."
)
PAPER = (
    "At discharge, whether the patient is admitted again or dead at most 30 days after; a death in "
    "hospital counts. Nothing is left out but visits without dates, and transfers are not joined."
)
FAULTS = (
    "Deaths count as readmissions, deaths in hospital too, so that the score is in part one of "
    "mortality; at discharge such a death is already known.",
    "A transfer to another hospital and back counts as a readmission.",
    "The split is random over visits, so test patients may have trained the model.",
)


def readmission30(records: tables.Records, protocol: str) -> draft.Draft:
    """Drafts the task; `paper` follows the label of the code released with EMERGE (REALM)."""
    visits = records.visits.join(
        records.patients.select("subject_id", "death_time"), on="subject_id", how="left"
    )
    dated = pl.col("start").is_not_null() & pl.col("end").is_not_null()
    undated = ~dated & pl.col("readmitted_30d").is_null()
    visits, excluded = draft.drop(visits, {UNDATED: undated})
    # An earlier visit that ended later than this one (they overlap) keeps the patient in hospital.
    latest_end = pl.col("end").cum_max().over("subject_id", order_by="order")
    visits = visits.with_columns(gap=draft.next_of_patient("start") - latest_end)
    again = pl.coalesce("readmitted_30d", pl.col("gap") <= WINDOW).fill_null(False)
    if protocol == "paper":
        # The published code reads a date of death as the midnight that begins the day.
        died_soon = pl.col("death_time").dt.truncate("1d") - pl.col("end") <= WINDOW
        label = again | draft.DIED | died_soon.fill_null(False)
    else:
        visits = visits.with_columns(goes_on=_goes_on())
        reasons = {
            "died in hospital": draft.DIED,
            "discharged to hospice": pl.col("disposition") == "hospice",
        }
        visits, left_out = draft.drop(visits, reasons)
        excluded |= left_out | {JOINED: visits["goes_on"].sum()}
        label = pl.when(~pl.col("goes_on")).then(again)
    return draft.Draft(
        rows=visits.select("visit_id", prediction_time="end", readmission=label),
        labels=("readmission",),
        at_discharge=True,
        description=PAPER if protocol == "paper" else STRICT,
        published_split="by_sample",
        excluded=excluded,
        faults=FAULTS if protocol == "paper" else (),
    )


def lacks(records: tables.Records) -> str:
    """Says what the records lack for the task, "" when nothing."""
    dated = records.dated and draft.has(records, "visits", "start", "end")
    stated = draft.has(records, "visits", "readmitted_30d")
    return (
        ""
        if dated or stated
        else "dates that compare across a patient's visits, or stated readmissions"
    )


def _goes_on() -> pl.Expr:
    """Is the patient's next visit a part of the same episode?"""
    came_by_transfer = draft.next_of_patient("transferred_in").fill_null(False)
    disposition = pl.col("disposition").fill_null("unknown")
    transfer = (disposition == "transfer") | (came_by_transfer & (disposition != "home"))
    gap = pl.col("gap")
    joined = (gap < datetime.timedelta(0)) | ((gap <= TRANSFER_GAP) & transfer)
    return joined.fill_null(False) & pl.col("readmitted_30d").is_null()
