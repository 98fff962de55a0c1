"""What MIMIC-III and MIMIC-IV share: both write the same hospital's visits, codes and facts alike.

Each reader finds its tables and names its columns; what follows from them is decided here, once.
Rules that mend or leave out rows count them in `oddities`, by a short description.
"""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import (
    attributes,
    deaths,
    reading,
    repeats,
    tables,
    tally,
    when,
)


def check_admissions(
    path: pathlib.Path, stem: str, raw: pl.DataFrame, oddities: tally.Ledger
) -> pl.DataFrame:
    """Returns admissions, each once.

    The texts that are compared with the words of the source are in capitals, without blanks around.

    Raises RecordsError for one without a hadm_id or subject_id, told in two ways, or with a
    hospital_expire_flag that is neither 0 nor 1.
    """
    reading.check_filled(path, raw, ("hadm_id", "subject_id"))
    flag = raw["hospital_expire_flag"]
    if len(rows := (~flag.is_in([0, 1])).arg_true()):
        raise errors.RecordsError(
            f"{path.name}: row {rows[0] + 1} (the header not counted), column "
            f"'hospital_expire_flag': {flag[rows[0]]}; expected 0, 1 or no value"
        )
    oddities.begin(stem, raw.height)
    raw = repeats.once(raw, "hadm_id", stem, oddities, path.name)
    words = ("admission_type", "admission_location", "discharge_location")
    return raw.with_columns(pl.col(words).str.strip_chars().str.to_uppercase())


def mend_admissions(
    stem: str,
    raw: pl.DataFrame,
    stays: pl.DataFrame,
    places: Mapping[str, str],
    oddities: tally.Ledger,
) -> pl.DataFrame:
    """Returns admissions with `visit_id`, `start`, `end` (null where the discharge is not known),
    `stated` (the disposition) and `survived`, as `deaths.settle` has them.

    Args:
      raw: hadm_id, admittime, dischtime, deathtime, edregtime, hospital_expire_flag,
        discharge_location and whatever else is to be kept.
      stays: `tables.STAYS`, for visits without a start of their own.
      places: discharge location to disposition.
    """
    unit = stays.group_by("visit_id").agg(pl.col("start").min().alias("unit_start"))
    raw = raw.rename({"hadm_id": "visit_id"}).join(unit, on="visit_id", how="left")
    place, flag = pl.col("discharge_location"), pl.col("hospital_expire_flag")
    left_dead = _left_dead(places).fill_null(False)
    died = pl.col("deathtime").is_not_null() | (flag == 1).fill_null(False) | left_dead
    raw = raw.with_columns(
        pl.coalesce("admittime", "edregtime", "unit_start").alias("start"),
        when.last_moment(pl.col("admittime"), pl.col("dischtime")).alias("end"),
        stated=pl.when(died)
        .then(pl.lit("died"))
        .when(place.is_not_null())
        .then(place.replace_strict(places, default="other", return_dtype=pl.String))
        .when(flag == 0)
        .then(pl.lit("other"))  # where to is unknown, but that the patient lived is stated
        .otherwise(pl.lit("unknown")),
        survived=~died & (flag == 0).fill_null(False),
    )
    mended = {
        "missing admission times, taken from the emergency or ICU entry": raw.select(
            pl.col("admittime").is_null() & pl.col("start").is_not_null()
        ),
        "discharges before admission, set to the admission": raw.select(
            pl.col("end") < pl.col("start")
        ),
        "hospital deaths told by one column and not by another, taken as deaths": raw.select(
            died & ~left_dead
        ),
        "visits of dates without clock times, ending with their last day": raw.select(
            pl.col("end") > pl.col("dischtime")
        ),
    }
    oddities |= {rule: int(found.to_series().sum()) for rule, found in mended.items()}
    end = pl.when(pl.col("end").is_not_null()).then(pl.max_horizontal("start", "end"))
    dated = pl.col("start").is_not_null()
    raw = oddities.sift(stem, raw, dated, "visits without any admission time, left out")
    return when.believed_visits(raw.with_columns(end=end), stem, "visits", oddities)


def settle(raw: pl.DataFrame, admissions: pl.DataFrame, oddities: dict) -> pl.DataFrame:
    """Returns mended `admissions` with what `deaths.settle` says of them.

    A death in hospital has a clock time, else that of the patient's date in `raw` (subject_id,
    dod). A clock time of exactly midnight is a date alone.
    """
    dod = raw.drop_nulls("subject_id").unique("subject_id", keep="first", maintain_order=True)
    told = admissions.join(
        dod.select("subject_id", "dod"), on="subject_id", how="left", maintain_order="left"
    )
    death = pl.coalesce("deathtime", pl.col("dod").dt.truncate("1d"))
    day_only = death.dt.time() == pl.time(0)
    told = told.with_columns(
        death_first=death,
        death_time=pl.when(day_only).then(when.end_of_day(death)).otherwise(death),
    )
    return deaths.settle(told.drop("dod"), oddities)


def mend_patients(
    stem: str, raw: pl.DataFrame, admissions: pl.DataFrame, oddities: dict
) -> pl.DataFrame:
    """Returns each patient of `raw` (subject_id, gender, dod, ...) once, with what follows.

    Added are `sex`, `death_time` as settled, and `first`, the start of the first of `admissions`.
    Of who has no admission the day of death alone is known and counts as its end.
    """
    oddities.begin(stem, raw.height)
    named = pl.col("subject_id").is_not_null()
    raw = oddities.sift(stem, raw, named, f"{stem} rows without a subject_id, left out")
    distinct = repeats.once(raw, "subject_id", stem, oddities)
    own = admissions.group_by("subject_id").agg(
        pl.col("death").last(), pl.col("start").min().alias("first")
    )
    sex = pl.col("gender").str.strip_chars().str.to_uppercase()
    joined = distinct.join(own, on="subject_id", how="left", maintain_order="left")
    without = pl.col("first").is_null()
    return joined.with_columns(
        pl.when(sex.is_in(["F", "M"])).then(sex).alias("sex"),
        pl.when(without)
        .then(when.end_of_day(pl.col("dod")))
        .otherwise("death")
        .alias("death_time"),
    )


def visits(
    joined: pl.DataFrame,
    age: pl.Expr,
    planned: Iterable[str],
    emergency: Iterable[str],
) -> pl.DataFrame:
    """Returns the rows of `tables.VISITS`, sorted, ages as exact as given.

    Args:
      joined: settled admissions joined with their patients.
      age: in years, of the columns of `joined`.
      planned: the admission types of planned visits.
      emergency: those of visits that may lead to an admission of their own.
    """
    joined = joined.sort("subject_id", "start", "visit_id")
    kind, source = pl.col("admission_type"), pl.col("admission_location")
    return joined.select(
        "visit_id",
        "subject_id",
        pl.int_range(pl.len()).over("subject_id").alias("order"),
        "start",
        "end",
        age.alias("age"),
        pl.when("died")
        .then(pl.lit("died"))
        .when(pl.col("end").is_null())
        .then(pl.lit("unknown"))
        .otherwise("stated")
        .alias("disposition"),
        kind.is_in(list(planned)).alias("planned"),
        pl.when(~source.str.contains(attributes.NO_VALUE))
        .then(source.str.starts_with("TRANSFER FROM HOSP"))
        .alias("transferred_in"),
        kind.is_in(list(emergency)).fill_null(False).alias("emergency"),
        pl.lit(None).alias("readmitted_30d"),
    )


def keep_known(
    stem: str, frame: pl.DataFrame, known: pl.DataFrame, key: str, what: str, oddities: tally.Ledger
) -> pl.DataFrame:
    """Returns the rows of table `stem` whose `key` stands in `known`; the others are of unknown
    `what`.

    Raises RecordsError where all of them are, though some are known.
    """
    held = pl.col(key).is_in(known[key].implode()).fill_null(False)
    rows = oddities.sift(stem, frame, held, f"{stem} rows of unknown {what}, left out")
    if known.height:
        tally.require_match(stem, rows.height, frame.height - rows.height, what.removesuffix("s"))
    return rows


def _left_dead(places: Mapping[str, str]) -> pl.Expr:
    dead = [place for place, disposition in places.items() if disposition == "died"]
    return pl.col("discharge_location").is_in(dead)


def stays(path: pathlib.Path | None, stem: str, key: str, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns the stays of table `stem` as `tables.STAYS`; none where the table is not there.

    `key` is the column of a stay's number.
    """
    if path is None:
        return tables.empty(tables.STAYS)
    ids = dict.fromkeys((key, "hadm_id", "subject_id"), pl.Int64)
    times = {"intime": tables.TIME, "outtime": tables.TIME}
    raw = reading.read(path, ids | times | {"first_careunit": pl.String})
    oddities.begin(stem, raw.height)
    named = pl.col(key).is_not_null()
    raw = oddities.sift(stem, raw, named, f"{stem} rows without a {key}, left out")
    first = pl.struct(raw.columns).is_first_distinct()
    raw = oddities.sift(stem, raw, first, f"{stem} rows standing more than once, taken once")
    names = {"hadm_id": "visit_id", "intime": "start", "outtime": "end", "first_careunit": "unit"}
    return tables.conform(raw.rename({key: "stay_id"} | names), tables.STAYS)


def admitted(
    admissions: pl.DataFrame,
    patients: pl.DataFrame,
    stays: pl.DataFrame,
    stems: tuple[str, str],
    age: pl.Expr,
    kinds: tuple[Iterable[str], Iterable[str]],
    oddities: tally.Ledger,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Returns settled admissions of known patients, the rows of `tables.VISITS`, and their stays.

    Args:
      stems: the names of the tables of admissions and of stays.
      age: in years, of the columns of admissions and patients.
      kinds: the admission types of planned visits, and of visits that may lead to an admission of
        their own.
    """
    held = keep_known(stems[0], admissions, patients, "subject_id", "patients", oddities)
    own = visits(held.join(patients, on="subject_id"), age, *kinds)
    stays = keep_known(stems[1], stays, own, "visit_id", "visits", oddities)
    owner = pl.col("visit_id").replace_strict(own["visit_id"], own["subject_id"], default=None)
    rule = f"{stems[1]} rows of another patient than their visit's, the visit's believed"
    oddities[rule] = int(stays.select((pl.col("subject_id") != owner).sum()).item())
    stays = stays.with_columns(subject_id=owner)
    return held, own, when.stays(stays, own, "ICU stays", oddities, stems[1])


def records(
    admissions: pl.DataFrame,
    patients: pl.DataFrame,
    visits: pl.DataFrame,
    stays: pl.DataFrame,
    columns: Mapping[str, str],
    oddities: tally.Ledger,
    **others: Any,
) -> tables.Records:
    """Returns checked Records of what `admitted` returned and of their `others` by name.

    Args:
      columns: of admissions to the attributes' names. All are known at admission.
    """
    joined = admissions.join(visits.select("visit_id", "age"), on="visit_id").join(
        patients.select("subject_id", "sex"), on="subject_id"
    )
    named = {name: pl.col(column) for column, name in columns.items()} | {"sex": attributes.SEX}
    return tables.check(
        tables.Records(
            patients=tables.conform(patients.sort("subject_id"), tables.PATIENTS),
            visits=tables.conform(visits, tables.VISITS),
            stays=tables.sorted_stays(stays.sort("stay_id")),
            attributes=attributes.table([attributes.texts(joined, named)], joined),
            oddities=tally.standing(oddities),
            accounts=oddities.tables,
            **others,
        )
    )
