"""The codes of MIMIC-III and MIMIC-IV, which both write alike."""

import pathlib
from collections.abc import Callable, Mapping

import polars as pl

from ehr_jax.records.common import icd9, reading, tables, tally, when


def prescribed(
    path: pathlib.Path, stem: str, start: str, visits: pl.DataFrame, oddities: dict
) -> pl.DataFrame:
    """Returns the drugs of `visits` as codes, each known at the end of the day it starts.

    Left out and counted are rows that start far outside their visit.
    """
    raw = reading.read(path, {"hadm_id": pl.Int64, start: tables.TIME, "drug": pl.String})
    raw = of_visits(raw, "drug", stem, visits, oddities)
    raw = raw.join(
        visits.select("visit_id", "start", "end"), on="visit_id", how="left", maintain_order="left"
    )
    raw = when.near(raw, f"{stem} rows", oddities, start)
    oddities[f"{stem} starting after the day of discharge, taken as known at discharge"] = int(
        raw.select(pl.col(start) > pl.col("end")).to_series().sum()
    )
    # A start date is known at the end of that day, and nothing is ordered after discharge.
    time = pl.when(pl.col(start).is_not_null()).then(
        pl.min_horizontal(when.end_of_day(pl.col(start)), "end")
    )
    position = pl.lit(None, pl.Int64)
    return raw.select("visit_id", code="DRUG:" + pl.col("drug"), time=time, position=position)


def of_visits(
    raw: pl.DataFrame, column: str, stem: str, visits: pl.DataFrame, oddities: dict
) -> pl.DataFrame:
    """Returns the rows of table `stem` with a value in `column` that belong to `visits`."""
    raw = raw.rename({"hadm_id": "visit_id"})
    known = raw["visit_id"].is_in(visits["visit_id"].implode()).fill_null(False)
    nobody, codeless = raw["visit_id"].is_null(), raw[column].is_null()
    sound = raw.filter(known & ~codeless)
    left_out = {
        f"{stem} rows without a hadm_id, left out": int(nobody.sum()),
        f"{stem} rows without a code, left out": int((codeless & ~nobody).sum()),
        f"{stem} rows of unknown visits, left out": int((~known & ~nobody & ~codeless).sum()),
    }
    oddities.begin(stem, raw.height)
    for rule, rows in left_out.items():
        oddities.leave_out(stem, rule, rows)
    if visits.height:
        tally.require_match(stem, int(known.sum()), int((~known & ~nobody).sum()))
    return sound


def icd9_spelling(
    codes: pl.Series, titles: Mapping[str, str], longest: int, stem: str, oddities: dict
) -> pl.Series:
    """Returns a column of ICD-9 codes in capitals, undotted, with zeros that a writer took away.

    A column that somewhere became one of numbers has lost the zeros before its codes, and has ".0"
    behind them where the numbers were floating. What may be two codes stands as it is, counted and
    named. `longest` is the number of characters of the longest code, 5 or 4 of procedures.
    """
    plain = icd9.without_point(codes.str.strip_chars().str.to_uppercase(), before=longest - 2)
    plain = plain.str.replace(".", "", literal=True)
    spelling = icd9.with_zeros(plain, titles, longest)
    restored = plain.is_in([old for old, new in spelling.items() if old != new]).sum()
    rule = f"{stem} codes that had lost leading zeros, restored"
    oddities[rule] = oddities.get(rule, 0) + restored
    if unsure := icd9.unsure(plain, titles, longest):
        named = ", ".join(unsure[:5]) + ", ..." * (len(unsure) > 5)
        rule = f"{stem} codes that are ambiguous, as a leading zero may be lost ({named}), kept"
        oddities[rule] = plain.is_in(unsure).sum()
    numeric = plain.filter(plain.str.contains(r"^\d+$"))
    written = codes.str.contains(r"\.0+$").any() or (numeric.str.len_chars() < 3).any()
    if not titles and written and not icd9.kept_zeros(numeric):
        rule = f"{stem} codes that may have lost a leading zero, without a dictionary to tell, kept"
        oddities[rule] = numeric.str.len_chars().is_between(3, longest - 1).sum()
    return plain.replace_strict(spelling, return_dtype=pl.String)


def name_codes(
    codes: pl.DataFrame, systems: Mapping[str, tuple[str, Callable[[str], str]]]
) -> pl.DataFrame:
    """Returns `tables.CODE_NAMES`; `systems` gives the kind and the namer of "ICD9CM" and so on."""
    rows = []
    for code in codes["code"].unique().sort():
        system, rest = code.split(":", 1)
        kind, name = systems[system]
        rows.append((code, kind, name(rest)))
    return pl.DataFrame(rows, schema=tables.CODE_NAMES, orient="row")
