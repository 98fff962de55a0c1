"""Checks of the times in the records: inside the visit, and not those of a later billing."""

import datetime

import polars as pl

from ehr_jax import disclosure
from ehr_jax.audit import evidence, moments

ROOM = datetime.timedelta(days=1)  # before a visit's start and after its end
FEW, MANY = 0.01, 0.2  # of a table's rows outside their visits: a warning, a failure
BILLED = ("diagnosis", "procedure")
HALF = 0.5  # of the timed codes of visits at the start itself: a failure


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file."""
    return [times_inside_the_visit(given), billed_at_admission(given)]


def times_inside_the_visit(given: evidence.Evidence) -> evidence.Finding:
    """What is recorded of a visit lies in it, or within a day of it.

    Times that are moved against the visit, by a wrong zone or offset, bring what came later before
    the prediction time, and no comparison with that time shows it.
    """
    rows, visits = [], given.some.visits.select("visit_id", "subject_id", "start", "end")
    for name in moments.CLOCKED:
        table = getattr(given.some, name).lazy().drop_nulls("time").select("visit_id", "time")
        joined = table.join(visits.lazy(), on="visit_id").drop_nulls("start")
        time = pl.col("time")
        outside = (time < pl.col("start") - ROOM) | (time > pl.col("end") + ROOM).fill_null(False)
        patients = pl.col("subject_id").filter(outside).n_unique()
        share, patients = joined.select(outside.mean(), patients).collect().row(0)
        if patients >= disclosure.SMALLEST and share > FEW:
            rows.append((name, round(share, 4)))
    frame = pl.DataFrame(rows, schema=("table", "share_outside"), orient="row")
    return evidence.found(
        "times inside the visit",
        frame,
        "{count} table(s) have more than a hundredth of their rows over a day outside the visit",
        f"no table has more than {FEW:.0%} of its rows over a day outside the visit",
        "fail" if any(share > MANY for _, share in rows) else "warn",
    )


def billed_at_admission(given: evidence.Evidence) -> evidence.Finding:
    """Diagnoses and procedures do not carry the time of the visit's start.

    Billing codes are written after discharge. A source that stamps them with the admission makes
    the course of the visit an input from its first minute on.
    """
    check = "billed codes stamped at the admission"
    records = given.records
    if given.cohort.at_discharge:
        return evidence.Finding(check, "skip", "at discharge every code of the visit is known")
    kinds = records.code_names.filter(pl.col("kind").is_in(BILLED)).select("code", "kind")
    visits = records.visits.select("visit_id", "subject_id", "start").drop_nulls()
    codes = records.codes.join(kinds, on="code").join(visits, on="visit_id").drop_nulls("time")
    at_start = (pl.col("time") == pl.col("start")) | (
        pl.col("time") == pl.col("start").dt.truncate("1d")
    )
    shares = codes.group_by("kind").agg(
        share=at_start.mean(), patients=pl.col("subject_id").filter(at_start).n_unique()
    )
    rows = shares.filter(pl.col("patients") >= disclosure.SMALLEST, pl.col("share") > FEW)
    return evidence.found(
        check,
        rows.select("kind", pl.col("share").round(4)).sort("kind"),
        "{count} kind(s) of codes carry the time of the visit's start, as billing codes do in "
        "sources that stamp them so",
        "no kind of code carries the time of the visit's start",
        "fail" if (rows["share"] > HALF).any() else "warn",
    )
