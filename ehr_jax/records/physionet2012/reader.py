"""PhysioNet/Computing in Cardiology Challenge 2012: the first 48 h of intensive care stays.

Sets a, b and c of 4,000 adults' stays of 48 h or more, drawn from MIMIC-II; no codes, no notes and
no dates. Times count from the start of the stay and are put on an arbitrary day. The outcome file's
SAPS-I and SOFA, scores, are never read; its Survival says when a patient died after the hospital,
an outcome and no input.

The challenge counts patients as adults from 15. A task that leaves out who is "under_18" has 3,994
of the 4,000 stays of set a (all 554 deaths are among them).
"""

import datetime
import pathlib
from collections.abc import Iterator

import polars as pl
from polars.io import plugins

from ehr_jax import errors
from ehr_jax.records.common import attributes, tables, tally, when
from ehr_jax.records.physionet2012 import files, survey

TERMS = (
    "PhysioNet/Computing in Cardiology Challenge 2012 v1.0.0, Open Data Commons Attribution "
    "License v1.0. Cite Silva et al., Computing in Cardiology 2012; 39:245-248."
)

START = datetime.datetime(2000, 1, 1)  # of every stay: arbitrary
UNITS = {1: "coronary care", 2: "cardiac surgery recovery", 3: "medical", 4: "surgical"}

_NO_NUMBER = pl.lit(None, pl.Float64)
SPLITS = {"a": "train", "b": "test", "c": "test"}  # the challenge trained on set a


def read(root: str | pathlib.Path) -> tables.Records:
    """Reads every set of the folder `root`: set-a (and b, c) with Outcomes-a.txt beside it.

    A set may be the official folder of one text file a stay, that folder as .tar.gz or .zip (read
    without unpacking), or one table (set-a.csv.gz, .csv, .parquet) with a leading RecordID column.
    A RecordID is patient, visit and stay in one. Measurements are "P12:HR" and so on, without unit.
    Where no set has outcomes, what became of the stays is null: they can be scored, not trained on.
    A stay's record ends after 48 h, the visit with the last of its Length_of_stay days. A death is
    at the end of the visit, or after it with the last of the Survival days. Where set a stands
    beside another, `given_split` makes it the training set and the others the test set.

    Raises RecordsError for a missing outcome file where others are there, a damaged, unsafe or
    oversized archive, and a field that does not parse.
    """
    sets = files.find_sets(root)
    oddities = tally.Ledger()
    general = pl.concat([survey.descriptors(found, oddities) for found in sets])
    if sets[0].outcomes is None:  # new stays, to be scored
        outcomes = general.select(
            "letter",
            "record_id",
            died=pl.lit(None, pl.Boolean),
            days=_NO_NUMBER,
            lived=_NO_NUMBER,
        )
    else:
        outcomes = pl.concat([survey.outcomes(found, oddities) for found in sets])
    for frame, what in ((outcomes, "Outcomes files"), (general, "sets")):
        if repeated := frame.height - frame["record_id"].n_unique():
            raise errors.RecordsError(
                f"{root}: {repeated} RecordID(s) stand in two of the {what}; is a set there twice "
                "under two letters?"
            )
    visits = _visits(root, general, outcomes, oddities)
    for found in sets:
        survey.leave_out_unpaired(found, general, outcomes, visits, oddities)
    return tables.check(
        tables.Records(
            source="physionet2012",
            patients=_patients(visits, oddities),
            visits=tables.conform(visits, tables.VISITS),
            stays=_stays(visits),
            codes=tables.empty(tables.CODES),
            code_names=tables.empty(tables.CODE_NAMES),
            attributes=_attributes(visits),
            measurements=_measurements(sets, visits),
            notes=tables.empty(tables.NOTES).lazy(),
            terms=TERMS,
            oddities=tally.standing(oddities),
            accounts=oddities.tables,
            given_split=_given_split(sets, visits),
            dated=False,
        )
    )


def _visits(root, general: pl.DataFrame, outcomes: pl.DataFrame, oddities) -> pl.DataFrame:
    """Returns tables.VISITS with letter, Gender, Height, ICUType and Weight beside its columns."""
    joined = general.join(outcomes.drop("letter"), on="record_id").sort("record_id")
    oddities["stays without an outcome, left out"] = general.height - joined.height
    if joined.is_empty():
        raise errors.RecordsError(
            f"{root}: none of the {general.height} stays has an outcome; do the Outcomes files "
            "belong to these sets?"
        )
    days = pl.col("days")
    oddities["lengths of stay unknown, end of the visit unknown"] = joined["days"].null_count()
    oddities["lengths of stay under 2 days, taken as 2 days"] = int(
        (joined["days"] < survey.SHORTEST_DAYS).sum()
    )
    # A length is a length. The challenge admits stays of 48 h or more, so that one of 2 days or
    # less ends after those hours.
    after_hours = pl.duration(hours=survey.OBSERVED_HOURS, minutes=1)
    length = pl.when(days > survey.SHORTEST_DAYS).then(pl.duration(minutes=days * 1440))
    length = pl.when(days.is_not_null()).then(length.otherwise(after_hours))
    return joined.with_columns(
        pl.col("record_id").alias("visit_id"),
        pl.col("record_id").alias("subject_id"),
        pl.lit(0).alias("order"),
        pl.lit(START).alias("start"),
        (pl.lit(START) + length).alias("end"),
        pl.col("Age").alias("age"),
        pl.when("died")
        .then(pl.lit("died"))
        .when(~pl.col("died"))
        .then(pl.lit("home"))
        .alias("disposition"),
        pl.lit(None).alias("planned"),
        pl.lit(None).alias("transferred_in"),
        pl.lit(False).alias("emergency"),
        pl.lit(None).alias("readmitted_30d"),
    )


def _patients(visits: pl.DataFrame, oddities: tally.Ledger) -> pl.DataFrame:
    sex = pl.col("Gender").replace_strict({0.0: "F", 1.0: "M"}, default=None)
    lived = pl.lit(START) + pl.duration(days=pl.col("lived").cast(pl.Int64))
    patients = visits.select(
        "subject_id",
        sex.alias("sex"),
        pl.lit(None).alias("birth_time"),
        pl.when("died").then("end").otherwise(when.end_of_day(lived)).alias("death_time"),
    )
    oddities["patients of unknown sex"] = patients["sex"].null_count()
    oddities["patients of unknown age"] = visits["age"].null_count()
    return tables.conform(patients, tables.PATIENTS)


def _unit() -> pl.Expr:
    return pl.col("ICUType").replace_strict(
        {float(number): name for number, name in UNITS.items()}, default=None
    )


def _stays(visits: pl.DataFrame) -> pl.DataFrame:
    # When the patient left the unit is not said; every stay covers these hours.
    end = pl.col("start") + pl.duration(hours=survey.OBSERVED_HOURS)
    return tables.conform(
        visits.select(
            pl.col("visit_id").alias("stay_id"),
            "visit_id",
            "subject_id",
            "start",
            end.alias("end"),
            _unit().alias("unit"),
        ),
        tables.STAYS,
    )


def _attributes(visits: pl.DataFrame) -> pl.DataFrame:
    sex = pl.col("Gender").replace_strict({0.0: "female", 1.0: "male"}, default=None)
    texts = attributes.texts(visits, {"sex": sex, "intensive care unit": _unit()})
    numbers = {"age": "Age", "height in cm": "Height", "weight in kg": "Weight"}
    return attributes.table([texts], visits, numbers)


def _measurements(sets: list[files.Set], visits: pl.DataFrame) -> pl.LazyFrame:
    def batches(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        left = n_rows
        for found in sets:
            for rows in files.batches(found):
                batch = _numbers(rows)
                if left is not None:
                    batch = batch.head(left)
                    left -= batch.height
                batch = batch if with_columns is None else batch.select(with_columns)
                yield batch if predicate is None else batch.filter(predicate)
                if left == 0:
                    return

    lazy = plugins.register_io_source(batches, schema=tables.MEASUREMENTS)
    return lazy.join(visits.lazy().select("visit_id"), on="visit_id", how="semi")


def _numbers(rows: pl.DataFrame) -> pl.DataFrame:
    series = pl.col("parameter").is_in(survey.PARAMETERS) & pl.col("value").is_not_null()
    return tables.conform(
        rows.filter(series, ~survey.late(), survey.known()).select(
            pl.col("record_id").alias("visit_id"),
            pl.col("record_id").alias("stay_id"),
            (pl.lit(START) + pl.duration(minutes="minutes")).alias("time"),
            ("P12:" + pl.col("parameter")).alias("variable"),
            "value",
            pl.lit(None).alias("unit"),  # the files state none
        ),
        tables.MEASUREMENTS,
    )


def _given_split(sets: list[files.Set], visits: pl.DataFrame) -> pl.DataFrame:
    letters = {found.letter for found in sets}
    if "a" not in letters or len(letters) == 1:
        return tables.empty(tables.GIVEN_SPLIT)
    split = pl.col("letter").replace_strict(SPLITS, return_dtype=pl.String)
    return tables.conform(visits.select("subject_id", split.alias("split")), tables.GIVEN_SPLIT)
