"""What was measured and written within encounters, from Observations and DocumentReferences.

An observation is known when it was made and issued, a document when it was written; one that is
stamped with the encounter's start, its day alone or earlier is taken as known at the visit's end. A
date without a clock time is a day by the clock of its encounter.
"""

import base64
import binascii
import pathlib
import re
from collections.abc import Iterator

import polars as pl

from ehr_jax.records.common import tables, tally, when
from ehr_jax.records.fhir import admissions, coding, resources, versions

_QUANTITY = pl.Struct(
    {"value": pl.Float64, "comparator": pl.String, "unit": pl.String, "code": pl.String}
)
_TAKEN = tables.MEASUREMENTS | {"taken": tables.TIME}
_MEASURED = {"code": resources.CONCEPT, "valueQuantity": _QUANTITY, "valueInteger": pl.Float64}
_OBSERVATION = (
    {"status": pl.String, "encounter": resources.REFERENCE}
    | _MEASURED
    | {
        "contained": pl.List(pl.Struct({"id": pl.String, "status": pl.String} | _MEASURED)),
        "component": pl.List(pl.Struct(_MEASURED)),
        "effectiveDateTime": pl.String,
        "effectiveInstant": pl.String,
        "effectivePeriod": resources.PERIOD,
        "issued": pl.String,
    }
)
_NOT_MEASURED = ("cancelled", "entered-in-error")
_ATTACHMENT = {"contentType": pl.String, "data": pl.String, "url": pl.String}
_BINARY = {"id": pl.String, "contentType": pl.String, "data": pl.String}
_DOCUMENT = {
    "contained": pl.List(pl.Struct(_BINARY)),
    "status": pl.String,
    "type": resources.CONCEPT,
    "date": pl.String,
    "content": pl.List(pl.Struct({"attachment": pl.Struct(_ATTACHMENT)})),
    "context": pl.Struct({"encounter": pl.List(resources.REFERENCE), "period": resources.PERIOD}),
}


def measurements(
    paths: list[pathlib.Path], places: pl.DataFrame, oddities: tally.Ledger
) -> pl.LazyFrame:
    """Returns the numeric Observations of visits as `tables.MEASUREMENTS`, with their components
    and the members that stand inside them.

    `variable` is the code ("LOINC:8867-4"). The time is the later of that of the observation (the
    end of a period or of a day given alone) and that at which it was issued. Left out: rows without
    a number, code, time or encounter, those cancelled or entered in error, and, counted when the
    frame is collected, older versions, values that are only said to be below or above a number,
    and rows far outside their visit.
    """
    part = places.filter("part")
    visits = places.select("encounter", "visit_id", "stay_id", "ahead", "part")
    bounds = part.select("visit_id", "start", "end").unique("visit_id", maintain_order=True)

    def produce() -> Iterator[pl.DataFrame]:
        old = versions.outdated(paths, "Observation", oddities)
        for batch in versions.batches(paths, "Observation", _OBSERVATION, old):
            yield _measured(batch, visits, oddities)
        admissions.require_match("Observation", oddities)

    rows = resources.lazy(_TAKEN, produce)
    lacking = pl.any_horizontal(pl.col("time", "variable", "value").is_null())
    faults = {"without a number, time or code": lacking}
    what = "Observation values"
    return when.within(rows, tables.MEASUREMENTS, bounds, what, oddities, faults)


def _measured(batch: pl.DataFrame, visits: pl.DataFrame, oddities: tally.Ledger) -> pl.DataFrame:
    period = pl.col("effectivePeriod").struct
    ended = pl.coalesce(period.field("end"), period.field("start"))
    at = pl.coalesce("effectiveDateTime", "effectiveInstant", ended)
    taken = resources.times(batch, at, "effective")
    issued = resources.times(batch, pl.col("issued"), "issued")["high"]
    rows = batch.with_columns(
        resources.referred(pl.col("encounter").struct.field("reference")).alias("encounter"),
        taken["low"].alias("first"),
        taken["high"].alias("taken"),
        issued.alias("issued"),
    )
    rows = rows.join(visits, on="encounter", how="left", maintain_order="left")
    reasons = {
        "cancelled or entered in error": pl.col("status").is_in(_NOT_MEASURED).fill_null(False),
        "without an encounter": pl.col("encounter").is_null(),
        "of unknown encounters": pl.col("visit_id").is_null(),
        "of encounters that take no part": ~pl.col("part").fill_null(False),
    }
    for reason, out in reasons.items():
        rows = oddities.sift("Observation", rows, ~out, f"Observation resources {reason}, left out")
    rows = rows.with_columns(admissions.by_clock("first", "taken"))
    rows = rows.with_columns(
        time=pl.max_horizontal("taken", "issued"), taken=pl.coalesce("taken", "issued")
    )
    key = ("visit_id", "stay_id", "time", "taken")
    parts = rows.select(*key, "component").explode("component").drop_nulls("component")
    inside = resources.inside(rows).filter(~pl.col("status").is_in(_NOT_MEASURED).fill_null(False))
    inside = rows.select(*key).with_row_index("row").join(inside, on="row", maintain_order="left")
    held = (rows, parts.unnest("component"), inside)
    both = pl.concat([frame.select(*key, *_MEASURED) for frame in held])
    quantity = pl.col("valueQuantity").struct
    found = both.select(
        *key,
        coding.coded(both["code"])["code"].alias("variable"),
        pl.when(quantity.field("comparator").is_null())
        .then(pl.coalesce(quantity.field("value"), "valueInteger"))
        .otherwise(float("nan"))
        .alias("value"),
        pl.coalesce(quantity.field("unit"), quantity.field("code")).alias("unit"),
    )
    return tables.conform(found, _TAKEN)


def notes(paths: list[pathlib.Path], places: pl.DataFrame, oddities: tally.Ledger) -> pl.LazyFrame:
    """Returns the plain-text attachments of DocumentReferences as `tables.NOTES`.

    The files are gone through once at once, to count what is left out, and again when collected.
    """
    visits = places.filter("part").select("encounter", "visit_id", "start", "end", "ahead")
    old = versions.outdated(paths, "DocumentReference", oddities)
    faults = [
        _noted(batch, visits)["fault"]
        for batch in versions.batches(paths, "DocumentReference", _DOCUMENT, old)
    ]
    table = "attachments of DocumentReference"
    oddities.begin(table, sum(map(len, faults)))
    for fault, n in pl.concat(faults).drop_nulls().value_counts().rows() if faults else ():
        oddities.leave_out(table, f"{table} {fault}, left out", n)

    def produce() -> Iterator[pl.DataFrame]:
        for batch in versions.batches(paths, "DocumentReference", _DOCUMENT, old):
            sound = _noted(batch, visits).filter(pl.col("fault").is_null())
            yield tables.conform(sound, tables.NOTES)

    return resources.lazy(tables.NOTES, produce)


def _noted(batch: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Returns one row an attachment: `tables.NOTES` and `fault`, why it is left out or null."""
    context = pl.col("context").struct
    first = context.field("encounter").list.get(0, null_on_oob=True)
    period = context.field("period").struct
    written = resources.times(batch, pl.col("date"), "date")
    served = resources.times(
        batch, pl.coalesce(period.field("end"), period.field("start")), "context.period"
    )
    inside = resources.inside(batch).select(
        "row", url="reference", form_inside="contentType", data_inside="data"
    )
    rows = batch.with_row_index("row").select(
        "row",
        resources.referred(first.struct.field("reference")).alias("encounter"),
        pl.coalesce(written["low"], served["low"]).alias("first"),
        pl.coalesce(written["high"], served["high"]).alias("written"),
        coding.said(pl.col("type")).fill_null("Document").alias("category"),
        "status",
        "content",
    )
    rows = rows.explode("content").with_columns(
        pl.col("content").struct.field("attachment").struct.unnest()
    )
    rows = rows.join(inside, on=["row", "url"], how="left", maintain_order="left").with_columns(
        contentType=pl.coalesce("contentType", "form_inside"),
        data=pl.coalesce("data", "data_inside"),
    )
    rows = rows.join(visits, on="encounter", how="left", maintain_order="left")
    plain = pl.col("contentType").str.to_lowercase().str.starts_with("text/plain")
    rows = rows.with_columns(admissions.by_clock("first", "written"))
    late = ~when.sums_up(pl.col("first"), pl.col("start"))
    far = when.is_far(pl.col("written"), pl.col("start"), pl.col("end"))
    rows = rows.with_columns(
        time=pl.when(late).then(pl.min_horizontal("written", "end")).otherwise("end"),
        date_only=pl.lit(False),
        fault=pl.when(pl.col("status") == "entered-in-error")
        .then(pl.lit("entered in error"))
        .when(pl.col("encounter").is_null())
        .then(pl.lit("without an encounter"))
        .when(pl.col("visit_id").is_null())
        .then(pl.lit("of encounters that take no part or are unknown"))
        .when(~plain.fill_null(False))
        .then(pl.lit("that are not plain text"))
        .when(pl.col("data").is_null())
        .then(pl.lit("stored elsewhere"))
        .when(far)
        .then(pl.lit(f"more than {when.EVENT_DAYS} days outside their visit")),
    )
    wanted = rows.select(pl.when(pl.col("fault").is_null()).then("data")).to_series()
    read = [_decoded(data, form) for data, form in zip(wanted, rows["contentType"], strict=True)]
    text = pl.Series("text", [text for text, _ in read], pl.String)
    fault = pl.Series("fault", [fault for _, fault in read], pl.String)
    return rows.with_columns(text, pl.coalesce("fault", fault).alias("fault"))


def _decoded(data: str | None, form: str | None) -> tuple[str | None, str | None]:
    """Returns the text of a base64 attachment, or what is wrong with it."""
    if data is None:
        return None, None
    charset = re.search(r"charset\s*=\s*\"?([\w.:-]+)", form or "", re.IGNORECASE)
    try:
        raw = base64.b64decode(re.sub(r"\s+", "", data), validate=True)
        text = raw.decode(charset[1] if charset else "utf-8")
    except binascii.Error:
        return None, "that are not valid base64"
    except (UnicodeDecodeError, LookupError):
        return None, "that are not text of their character set"
    return (text, None) if text.strip() else (None, "without text")
