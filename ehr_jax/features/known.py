"""What is known of each sample's visit at its prediction time, and nothing later.

A code or attribute whose time is null becomes known at the end of the visit (billing codes, length
of stay); one with a time is known from then on. Everything a model sees passes through here.
"""

import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.records.common import tables


def codes(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, code, position): codes of each sample's visit known in time."""
    return _known(records.codes, cohort).select("sample_id", "code", "position")


def earlier_codes(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, code): codes of the patient's earlier visits, over by the prediction."""
    coded = records.codes.select("visit_id", "code")
    earlier = earlier_visits(records, cohort)
    return earlier.join(coded, on="visit_id").select("sample_id", "code").unique()


def earlier_visits(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, visit_id, order, end): the patient's visits over by the prediction.

    Earlier is what comes before in `visits.order`; that a visit was over by the prediction time is
    asked where the records' dates tell it.
    """
    visits = records.visits.select("visit_id", "subject_id", "order", "end")
    samples = cohort.samples.select("sample_id", "visit_id", "prediction_time").join(
        visits.drop("end"), on="visit_id"
    )
    pairs = samples.drop("visit_id").join(visits, on="subject_id", suffix="_earlier")
    pairs = pairs.filter(pl.col("order_earlier") < pl.col("order"))
    if records.dated:
        over = pl.col("end") <= pl.col("prediction_time")
        pairs = pairs.filter(over.fill_null(pl.col("prediction_time").is_null()))
    return pairs.select("sample_id", "visit_id", order="order_earlier", end="end")


def attributes(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, name, text, number): attributes of each sample's visit known in time."""
    return _known(records.attributes, cohort).select("sample_id", "name", "text", "number")


def last_measurements(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, name, text, number): each variable's last value before the prediction.

    In the form of `attributes`, so that values become nodes by the same train-fitted bins.
    """
    return as_facts(last_values(records.measurements, cohort))


def last_values(rows: pl.LazyFrame, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, variable, time, value): of measurements, each variable's last in time."""
    samples = cohort.samples.lazy().select("sample_id", "visit_id", "prediction_time")
    in_time = (
        rows.join(samples, on="visit_id")
        .filter(pl.col("time") <= pl.col("prediction_time"), pl.col("value").is_finite())
        .select("sample_id", "variable", "time", "value")
    )
    return latest(in_time).collect()


def latest(values: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
    """Returns the last of the `last_values` of each sample and variable, the largest of a time."""
    last = pl.col("value").sort_by("time", "value").last()
    return values.group_by("sample_id", "variable").agg(pl.col("time").max(), last)


def as_facts(last: pl.DataFrame) -> pl.DataFrame:
    """Returns `last_values` as `last_measurements`."""
    return last.select(
        "sample_id",
        pl.format("last {}", "variable").alias("name"),
        pl.lit(None, pl.String).alias("text"),
        pl.col("value").alias("number"),
    )


def scores(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, name, probability): what the source itself predicted, known in time.

    To compare a model with, never to give to one.
    """
    samples = cohort.samples.select("sample_id", "visit_id", "prediction_time")
    in_time = pl.col("time") <= pl.col("prediction_time")
    joined = records.scores.join(samples, on="visit_id").filter(in_time)
    return joined.select("sample_id", "name", "probability")


def notes(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, text): the notes a sample may use, joined in order of time."""
    return as_texts(note_rows(records, cohort))


def as_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns `note_rows` as `notes`."""
    grouped = rows.group_by("sample_id", maintain_order=True)
    return grouped.agg(pl.col("text").str.join("\n\n"))


def note_rows(records: tables.Records, cohort: cohorts.Cohort) -> pl.DataFrame:
    """Returns (sample_id, time, text): each note a sample may use once, in order of time.

    At discharge, `strict` takes what is dated no later than the day of discharge, `paper` every
    note of the visit. For outcomes inside the stay both take what was charted by the prediction
    time: a note with a date alone counts from the end of its day, and a discharge summary never.
    """
    samples = cohort.samples.lazy().select("sample_id", "visit_id", "prediction_time")
    joined = records.notes.join(samples, on="visit_id").filter(pl.col("text").is_not_null())
    if not cohort.at_discharge:
        charted = pl.col("time") + pl.when("date_only").then(pl.duration(days=1)).otherwise(
            pl.duration(days=0)
        )
        is_summary = pl.col("category").fill_null("").str.to_lowercase().str.contains("discharge")
        joined = joined.filter(charted <= pl.col("prediction_time"), ~is_summary)
    elif cohort.protocol == "strict":
        day = pl.col("prediction_time").dt.truncate("1d")
        in_time = (
            pl.when("date_only")
            .then(pl.col("time") <= day)
            .otherwise(pl.col("time") <= pl.col("prediction_time"))
        )
        joined = joined.filter(in_time.fill_null(True) & pl.col("time").is_not_null())
    # A row that stands twice in a source's table is one note.
    note = ("sample_id", "time", "category", "text")
    return joined.unique(note).sort(note).select("sample_id", "time", "text").collect()


def _known(table: pl.DataFrame, cohort: cohorts.Cohort) -> pl.DataFrame:
    samples = cohort.samples.select("sample_id", "visit_id", "prediction_time")
    joined = table.join(samples, on="visit_id", maintain_order="left")
    in_time = pl.col("time") <= pl.col("prediction_time")
    if cohort.at_discharge:
        return joined.filter(pl.col("time").is_null() | in_time.fill_null(True))
    return joined.filter(pl.col("time").is_not_null() & in_time)
