"""What a set of PhysioNet 2012 says of each stay: its descriptors, and what became of it."""

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import reading, repeats, tally
from ehr_jax.records.physionet2012 import files

OBSERVED_HOURS = 48
SHORTEST_DAYS = OBSERVED_HOURS / 24  # in hospital
LONGEST_DAYS = 3_650  # in hospital; a length beyond is an error
LONGEST_LIFE = 36_500  # days after the start

# The time series, as the files call them. Weight is a descriptor too: its first row at 00:00.
PARAMETERS = (
    "ALP ALT AST Albumin BUN Bilirubin Cholesterol Creatinine DiasABP FiO2 GCS Glucose HCO3 HCT HR "
    "K Lactate MAP MechVent Mg NIDiasABP NIMAP NISysABP Na PaCO2 PaO2 Platelets RespRate SaO2 "
    "SysABP Temp TroponinI TroponinT Urine WBC Weight pH"
).split()
DESCRIPTORS = ("RecordID", "Age", "Gender", "Height", "ICUType")

UNKNOWN = -1  # the challenge's mark for no value, in any column of any file


def descriptors(found: files.Set, oddities: tally.Ledger) -> pl.DataFrame:
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
        "rows after the first 48 h, left out": late(),
        "values of -1, unknown, left out": ~known() & ~pl.col("parameter").is_in(DESCRIPTORS),
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
        .filter(pl.col("parameter") == name, known() & (pl.col("value") >= 0))
        .first()
        .alias(name)
        for name in names
    )
    return stays.join(wide, on="record_id", how="left").select(
        pl.lit(found.letter).alias("letter"), "record_id", "rows", *names
    )


def outcomes(found: files.Set, oddities: tally.Ledger) -> pl.DataFrame:
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


def leave_out_unpaired(
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


def _rows_of(found: files.Set) -> str:
    return f"set-{found.letter}"


def _outcomes_of(found: files.Set) -> str:
    return f"Outcomes-{found.letter}"


def late() -> pl.Expr:
    return pl.col("minutes") > OBSERVED_HOURS * 60


def known() -> pl.Expr:
    """Says whether a row has a value: -1 is the challenge's mark for none, in any parameter."""
    return pl.col("value") != UNKNOWN


def _is_weight_at_start() -> pl.Expr:
    return (pl.col("parameter") == "Weight") & (pl.col("minutes") == 0)
