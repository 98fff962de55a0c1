"""When a row of the records becomes known, told anew from the contract of the tables.

Nothing of `features/known.py`, which decides what a sample is given, is used here: the audit would
otherwise repeat its faults.
"""

import polars as pl

from ehr_jax.records.common import tables

CLOCKED = ("codes", "attributes", "measurements", "notes", "scores")


def known_at(table: str, at_discharge: bool) -> pl.Expr:
    """When rows of a table of `CLOCKED` are known, null for never.

    The rows have the column visit_end beside those of the table. A code or attribute without a time
    is known at the visit's end. A note that carries a date alone is known at the end of that day;
    at discharge the notes of the day of discharge count as known. A discharge summary is never
    known inside a stay.
    """
    if table in ("codes", "attributes"):
        return pl.coalesce("time", "visit_end")
    if table != "notes":
        return pl.col("time")
    if at_discharge:
        return pl.col("time")  # of a date alone: the midnight that begins the day
    summary = pl.col("category").fill_null("").str.to_lowercase().str.contains("discharge")
    end_of_day = pl.col("time") + pl.duration(days=1)
    return pl.when(~summary).then(pl.when("date_only").then(end_of_day).otherwise("time"))


def late(
    table: str, rows: pl.DataFrame, records: tables.Records, focal: pl.DataFrame, at_discharge
):
    """[row] bool: is a row of `table` unknown at the prediction time of its patient's sample?

    Of the sample's own visit and of earlier ones that is what became known after the prediction
    time; of later visits, and of patients without a sample, it is everything. Where times of
    different visits do not compare, earlier visits are known whole.

    Args:
      focal: one sample a patient, with subject_id, visit_id and prediction_time.
    """
    placed = rows.with_row_index("row").join(
        of_visits(records, focal), on="visit_id", how="left", maintain_order="left"
    )
    return placed.select(_late(table, records.dated, at_discharge)).to_series()


def of_visits(records: tables.Records, focal: pl.DataFrame) -> pl.DataFrame:
    """(visit_id, visit_end, prediction_time, after): each visit, with its patient's sample.

    `after` is 0 for the sample's own visit, negative before it, positive after it, null without.
    """
    visits = records.visits.select("visit_id", "subject_id", "order", visit_end="end")
    own = focal.select("subject_id", "visit_id", "prediction_time").join(
        visits.select("visit_id", own_order="order"), on="visit_id"
    )
    joined = visits.join(own.drop("visit_id"), on="subject_id", how="left")
    return joined.select(
        "visit_id", "visit_end", "prediction_time", after=pl.col("order") - pl.col("own_order")
    )


def _late(table: str, dated: bool, at_discharge: bool) -> pl.Expr:
    time = pl.col("prediction_time")
    unknown = ~(known_at(table, at_discharge) <= time).fill_null(False)
    unknown = pl.when(time.is_null()).then(pl.lit(not at_discharge)).otherwise(unknown)
    earlier = unknown & pl.lit(dated) & time.is_not_null()
    return (
        pl.when(pl.col("after") == 0)
        .then(unknown)
        .when(pl.col("after") < 0)
        .then(earlier)
        .otherwise(pl.lit(True))
        .alias("late")
    )
