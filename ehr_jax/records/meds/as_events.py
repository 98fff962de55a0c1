"""Rows of the canonical tables as MEDS events, in the columns of `layout`."""

import polars as pl

from ehr_jax.records.common import tables, when
from ehr_jax.records.meds import layout


def small(records: tables.Records, names: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    people = records.patients
    sex = pl.coalesce("sex", pl.lit("UNKNOWN"))
    found = [
        people.select("subject_id", code="GENDER//" + sex, ehr_jax_name="sex", **_of("patients")),
        _at(people, "birth_time").with_columns(code=pl.lit("MEDS_BIRTH"), **_of("births")),
        _at(people, "death_time").with_columns(code=pl.lit("MEDS_DEATH"), **_of("deaths")),
        _admissions(records.visits),
        _discharges(records.visits),
        *_stays(records.stays, visits),
        _codes(records.codes, names, visits),
        _attributes(records.attributes, visits),
    ]
    return pl.concat(found, how="diagonal")


def _of(table: str) -> dict[str, pl.Expr]:
    return {"ehr_jax_table": pl.lit(table)}


def _at(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    return frame.select("subject_id", time=column, ehr_jax_time=column).drop_nulls("time")


def _admissions(visits: pl.DataFrame) -> pl.DataFrame:
    open_end = pl.col("end").is_null()
    words = (_word(pl.col(name), of) for name, of in layout.ADMISSION.items())
    return visits.select(
        "subject_id",
        "visit_id",
        time=pl.coalesce("start", "end"),
        code=pl.concat_str(pl.lit("HOSPITAL_ADMISSION"), *words, separator="//"),
        numeric_value="age",
        ehr_jax_time="start",
        ehr_jax_position="order",
        ehr_jax_name=pl.when(open_end).then("disposition"),
        ehr_jax_flag=pl.when(open_end).then("readmitted_30d"),
        **_of("visits"),
    )


def _discharges(visits: pl.DataFrame) -> pl.DataFrame:
    place = pl.coalesce("disposition", pl.lit("unknown")).str.to_uppercase()
    return visits.drop_nulls("end").select(
        "subject_id",
        "visit_id",
        time="end",
        code="HOSPITAL_DISCHARGE//" + place,
        ehr_jax_time="end",
        ehr_jax_name="disposition",
        ehr_jax_flag="readmitted_30d",
        **_of("ends"),
    )


def _word(flag: pl.Expr, words: dict[bool | None, str]) -> pl.Expr:
    said = pl.when(flag).then(pl.lit(words[True])).otherwise(pl.lit(words[False]))
    return pl.when(flag.is_null()).then(pl.lit(words[None])).otherwise(said)


def _stays(stays: pl.DataFrame, visits: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    stays = stays.join(
        visits.select("visit_id", "closing"), on="visit_id", how="left", maintain_order="left"
    )
    unit = pl.coalesce("unit", pl.lit("UNKNOWN"))
    ids = ("subject_id", "visit_id", "stay_id")
    began = stays.select(
        *ids,
        time=pl.coalesce("start", "closing"),
        code="ICU_ADMISSION//" + unit,
        ehr_jax_time="start",
        ehr_jax_name="unit",
        **_of("stays"),
    )
    ended = stays.drop_nulls("end").select(
        *ids, time="end", code="ICU_DISCHARGE//" + unit, ehr_jax_time="end", **_of("stay ends")
    )
    return began, ended


def _codes(codes: pl.DataFrame, names: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    joined = _of_visits(codes, visits).join(
        names.select("code", "spelling"), on="code", how="left", maintain_order="left"
    )
    return joined.select(
        "subject_id",
        "visit_id",
        time=pl.coalesce("time", "closing"),
        code="spelling",
        ehr_jax_time="time",
        ehr_jax_position="position",
        **_of("codes"),
    )


def _attributes(attributes: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    head = pl.concat_str(pl.lit("ATTRIBUTE"), "name", separator="//", ignore_nulls=True)
    return _of_visits(attributes, visits).select(
        "subject_id",
        "visit_id",
        time=pl.coalesce("time", "closing"),
        code=pl.concat_str(head, "text", separator="//", ignore_nulls=True),
        text_value="text",
        ehr_jax_time="time",
        ehr_jax_name="name",
        **_number("number"),
        **_of("attributes"),
    )


def measured(measurements: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    # "LAB:50868" is an item of MIMIC, whose spelling in MEDS is LAB//50868//mEq/L.
    item = pl.col("variable").str.replace(r"^(LAB|CHART):", "${1}//")
    own = pl.concat_str(pl.lit("MEASUREMENT"), "variable", separator="//", ignore_nulls=True)
    named = pl.when(item != pl.col("variable")).then(item).otherwise(own)
    return _of_visits(measurements, visits).select(
        "subject_id",
        "visit_id",
        "stay_id",
        "unit",
        time=pl.coalesce("time", "closing"),
        code=pl.concat_str(named, pl.coalesce("unit", pl.lit("UNK")), separator="//"),
        ehr_jax_time="time",
        ehr_jax_name="variable",
        **_number("value"),
        **_of("measurements"),
    )


def written(notes: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    known = pl.when("date_only").then(when.end_of_day(pl.col("time"))).otherwise("time")
    return _of_visits(notes, visits).select(
        "subject_id",
        "visit_id",
        time=pl.coalesce(known, "closing"),
        code="NOTE//" + pl.coalesce("category", pl.lit("UNKNOWN")),
        text_value="text",
        ehr_jax_time="time",
        ehr_jax_name="category",
        ehr_jax_flag="date_only",
        **_of("notes"),
    )


def _of_visits(frame: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    return frame.join(visits, on="visit_id", how="left", maintain_order="left")


def _number(column: str) -> dict[str, pl.Expr]:
    """A number as MEDS wants it and, where that is not exact, as it is."""
    short = pl.col(column).cast(pl.Float32, strict=False)
    exact = pl.when(short.cast(pl.Float64) != pl.col(column)).then(column)
    return {"numeric_value": short, "ehr_jax_value": exact}
