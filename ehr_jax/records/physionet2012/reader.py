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
from ehr_jax.records.common import attributes, reading, repeats, tables, tally, when
from ehr_jax.records.physionet2012 import files

TERMS = (
    "PhysioNet/Computing in Cardiology Challenge 2012 v1.0.0, Open Data Commons Attribution "
    "License v1.0. Cite Silva et al., Computing in Cardiology 2012; 39:245-248."
)

START = datetime.datetime(2000, 1, 1)  # of every stay: arbitrary
OBSERVED_HOURS = 48
SHORTEST_DAYS = OBSERVED_HOURS / 24  # in hospital
LONGEST_DAYS = 3_650  # in hospital; a length beyond is an error
LONGEST_LIFE = 36_500  # days after the start

UNITS = {1: "coronary care", 2: "cardiac surgery recovery", 3: "medical", 4: "surgical"}

# The time series, as the files call them. Weight is a descriptor too: its first row at 00:00.
PARAMETERS = (
    "ALP ALT AST Albumin BUN Bilirubin Cholesterol Creatinine DiasABP FiO2 GCS Glucose HCO3 HCT HR "
    "K Lactate MAP MechVent Mg NIDiasABP NIMAP NISysABP Na PaCO2 PaO2 Platelets RespRate SaO2 "
    "SysABP Temp TroponinI TroponinT Urine WBC Weight pH"
).split()
DESCRIPTORS = ("RecordID", "Age", "Gender", "Height", "ICUType")

UNKNOWN = -1  # the challenge's mark for no value, in any column of any file
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
    general = pl.concat([_survey(found, oddities) for found in sets])
    if sets[0].outcomes is None:  # new stays, to be scored
        outcomes = general.select(
            "letter",
            "record_id",
            died=pl.lit(None, pl.Boolean),
            days=_NO_NUMBER,
            lived=_NO_NUMBER,
        )
    else:
        outcomes = pl.concat([_outcomes(found, oddities) for found in sets])
    for frame, what in ((outcomes, "Outcomes files"), (general, "sets")):
        if repeated := frame.height - frame["record_id"].n_unique():
            raise errors.RecordsError(
                f"{root}: {repeated} RecordID(s) stand in two of the {what}; is a set there twice "
                "under two letters?"
            )
    visits = _visits(root, general, outcomes, oddities)
    for found in sets:
        _leave_out_unpaired(found, general, outcomes, visits, oddities)
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


def _leave_out_unpaired(
    found: files.Set,
    general: pl.DataFrame,
    outcomes: pl.DataFrame,
    visits: pl.DataFrame,
    oddities: tally.Ledger,
) -> None:
    """Accounts for rows of stays without an outcome, and for outcomes without a stay."""
    alone = general.filter(letter=found.letter).join(visits, on="record_id", how="anti")
    rows = int(alone["rows"].sum())
    table = _rows_of(found)
    oddities.leave_out(table, "rows of stays without an outcome, left out", rows)
    if found.outcomes:
        table = _outcomes_of(found)
        lost = outcomes.filter(letter=found.letter).join(visits, on="record_id", how="anti").height
        oddities.leave_out(table, "outcomes without a stay, left out", lost)


def _outcomes(found: files.Set, oddities: tally.Ledger) -> pl.DataFrame:
    """Returns record_id, died, days (in hospital; null where unknown) and lived (days until a death
    after the hospital; null where none is told), one row a stay."""
    path = found.outcomes
    columns = dict.fromkeys(("recordid", "in-hospital_death"), pl.Int64)
    numbers = dict.fromkeys(("length_of_stay", "survival"), pl.Float64)
    raw = reading.read(path, columns | numbers, optional=("survival",))
    reading.check_filled(path, raw, columns)
    if not (known := raw["in-hospital_death"].is_in([0, 1, UNKNOWN])).all():
        row = (~known).arg_true()[0] + 1
        value = raw["in-hospital_death"][row - 1]
        found = value if abs(value) < 100 else "another number"
        raise errors.RecordsError(
            f"{path.name}: row {row}, column 'in-hospital_death' is {found}, expected 0 "
            "(survived), 1 (died) or -1 (unknown)"
        )
    table = _outcomes_of(found)
    oddities.begin(table, raw.height)
    raw = repeats.once(raw, "recordid", table, oddities, path.name)
    unknown = int((raw["in-hospital_death"] == UNKNOWN).sum())
    oddities.leave_out("", "outcomes of -1, unknown", unknown)
    days, lived = pl.col("length_of_stay"), pl.col("survival")
    outcome = pl.col("in-hospital_death")
    died = pl.when(outcome != UNKNOWN).then(outcome == 1)
    after = (lived > days.clip(SHORTEST_DAYS)) & (lived <= LONGEST_LIFE)
    # -1 is of who is not known to have died.
    rule = "survivors' days until death within the stay, or impossible, left out"
    oddities.leave_out("", rule, raw.filter(~died & (lived >= 0) & ~after).height)
    return raw.select(
        pl.lit(found.letter).alias("letter"),
        pl.col("recordid").alias("record_id"),
        died.alias("died"),
        pl.when(days.is_between(0, LONGEST_DAYS)).then(days).alias("days"),
        pl.when(~died & after).then(lived).alias("lived"),
    )


def _survey(found: files.Set, oddities: tally.Ledger) -> pl.DataFrame:
    """Reads a set once: its stays' descriptors, null where unknown; counts what is odd.

    Columns: letter, record_id, rows (how many sound ones the stay has), Age, Gender, Height,
    ICUType, Weight.
    """
    general, seen = [], []
    blank = pl.any_horizontal(pl.col("parameter", "value").is_null())
    rules = {
        "rows without a parameter or a value, left out": blank,
        "rows of an unknown parameter, left out": ~pl.col("parameter").is_in(
            [*PARAMETERS, *DESCRIPTORS]
        ),
        "rows after the first 48 h, left out": _late(),
        "values of -1, unknown, left out": ~_known() & ~pl.col("parameter").is_in(DESCRIPTORS),
    }
    fault = pl.coalesce(pl.when(holds).then(pl.lit(rule)) for rule, holds in rules.items())
    for rows in files.batches(found):
        seen.append(rows.group_by("record_id", fault.alias("fault"), maintain_order=True).len())
        at_start = pl.col("parameter").is_in(DESCRIPTORS) | _is_weight_at_start()
        general.append(rows.filter(~blank, at_start))
    if not seen:
        raise errors.RecordsError(
            f"{found.path.name}: holds no file of a stay (such as 132539.txt); is it empty?"
        )
    counts = pl.concat(seen)
    oddities.begin(_rows_of(found), int(counts["len"].sum()))
    for rule in rules:
        lost = int(counts.filter(pl.col("fault") == rule)["len"].sum())
        oddities.leave_out(_rows_of(found), rule, lost)
    sound = pl.col("len").filter(pl.col("fault").is_null()).sum()
    stays = counts.group_by("record_id", maintain_order=True).agg(sound.alias("rows"))
    general = pl.concat(general)
    named = general.filter(pl.col("parameter") == "RecordID")
    if not (same := named["value"] == named["record_id"]).all():
        raise errors.RecordsError(
            f"{found.path.name}: {(~same).sum()} stay(s) hold a row 'RecordID' that is not the "
            "identifier they stand under; were files renamed or joined?"
        )
    names = ("Age", "Gender", "Height", "ICUType", "Weight")
    wide = general.group_by("record_id").agg(
        pl.col("value")
        .filter(pl.col("parameter") == name, _known() & (pl.col("value") >= 0))
        .first()
        .alias(name)
        for name in names
    )
    return stays.join(wide, on="record_id", how="left").select(
        pl.lit(found.letter).alias("letter"), "record_id", "rows", *names
    )


def _rows_of(found: files.Set) -> str:
    return f"set-{found.letter}"


def _outcomes_of(found: files.Set) -> str:
    return f"Outcomes-{found.letter}"


def _late() -> pl.Expr:
    return pl.col("minutes") > OBSERVED_HOURS * 60


def _known() -> pl.Expr:
    """Says whether a row has a value: -1 is the challenge's mark for none, in any parameter."""
    return pl.col("value") != UNKNOWN


def _is_weight_at_start() -> pl.Expr:
    return (pl.col("parameter") == "Weight") & (pl.col("minutes") == 0)


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
        (joined["days"] < SHORTEST_DAYS).sum()
    )
    # A length is a length. The challenge admits stays of 48 h or more, so that one of 2 days or
    # less ends after those hours.
    after_hours = pl.duration(hours=OBSERVED_HOURS, minutes=1)
    length = pl.when(days > SHORTEST_DAYS).then(pl.duration(minutes=days * 1440))
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
    end = pl.col("start") + pl.duration(hours=OBSERVED_HOURS)
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
    series = pl.col("parameter").is_in(PARAMETERS) & pl.col("value").is_not_null()
    return tables.conform(
        rows.filter(series, ~_late(), _known()).select(
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
