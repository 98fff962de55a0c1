"""The grid of a cohort from MIMIC-III files in pandas, in chunks: what a careful user would write.

Rows of other items go first, before their times are parsed; each chunk is reduced to the last row
of each cell at once, so that memory stays small.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl

from ehr_jax import progress
from ehr_jax.features import units
from ehr_jax.records.mimic import mimic3_events

CHUNK_ROWS = 1_000_000
STEPS = 48  # of an hour
_HOUR = 3_600_000_000  # microseconds
_COLUMNS = {"HADM_ID": "Int64", "ITEMID": "int64", "CHARTTIME": str, "VALUENUM": float}
_COLUMNS |= {"VALUEUOM": str}
_CHART_COLUMNS = _COLUMNS | {"VALUE": str, "ERROR": float}


class Plan(NamedTuple):
    """What is given: whose measurements, and what the variables are."""

    cohort: pd.DataFrame  # HADM_ID, sample, prediction_time
    items: pd.DataFrame  # table, ITEMID, index, assumed, least, low, high, most, category, rule
    conversions: pd.DataFrame  # index, spelling, scale, offset
    num_variables: int


def plan(samples: pl.DataFrame, wanted) -> Plan:
    """Returns the plan for a cohort's samples and a tuple of `variable.Variable`."""
    cohort = pd.DataFrame(
        {
            "HADM_ID": samples["visit_id"].to_numpy(),
            "sample": np.arange(samples.height),
            "prediction_time": samples["prediction_time"].to_numpy(),
        }
    )
    items = []
    for index, v in enumerate(wanted):
        limits = (v.least, v.low, v.high, v.most, v.category, v.rule)
        for item in v.items:
            table, _, itemid = item.name.partition(":")
            if itemid.isdigit():
                (assumed,) = _spelt([item.unit])
                items.append((table, int(itemid), index, assumed, *limits))
    names = ("table", "ITEMID", "index", "assumed", "least", "low", "high", "most")
    conversions = []
    for index, v in enumerate(wanted):
        known = units.CONVERSIONS[v.unit] | {name: (scale, 0.0) for name, scale in v.other_units}
        conversions += [(index, spelling, *how) for spelling, how in known.items()]
    return Plan(
        cohort,
        pd.DataFrame(items, columns=[*names, "category", "rule"]),
        pd.DataFrame(conversions, columns=["index", "spelling", "scale", "offset"]),
        len(wanted),
    )


def grid(paths, given: Plan, chart_rows: int):
    """Returns values (NaN where unseen so far), observed and hours_since, [sample, step, variable].

    Args:
      paths: of CHARTEVENTS and LABEVENTS.
      chart_rows: how many CHARTEVENTS has, for the bar.
    """
    kept = []
    for stem, table in (("CHARTEVENTS", "CHART"), ("LABEVENTS", "LAB")):
        charted = stem == "CHARTEVENTS"
        columns = _CHART_COLUMNS if charted else _COLUMNS
        chunks = pd.read_csv(
            paths[stem], usecols=list(columns), dtype=columns, chunksize=CHUNK_ROWS
        )
        with progress.progress(f"pandas {stem}", chart_rows if charted else 1) as bar:
            for chunk in chunks:
                kept.append(_last(_cells(chunk, table, given)))
                bar.advance(len(chunk))
    found = _last(pd.concat(kept))
    shape = (len(given.cohort), STEPS + 1, given.num_variables)
    values, seen = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    values.reshape(-1)[found["cell"]] = found["value"]
    seen.reshape(-1)[found["cell"]] = found["elapsed"] / _HOUR
    observed = ~np.isnan(values[:, 1:])
    for t in range(1, STEPS + 1):
        unseen = np.isnan(values[:, t])
        values[:, t] = np.where(unseen, values[:, t - 1], values[:, t])
        seen[:, t] = np.where(unseen, seen[:, t - 1], seen[:, t])
    ends = np.arange(1, STEPS + 1, dtype=np.float32)[None, :, None]
    return values[:, 1:], observed, ends - np.nan_to_num(seen[:, 1:], nan=0.0)


def _cells(chunk: pd.DataFrame, table: str, given: Plan) -> pd.DataFrame:
    """Returns the cell of each row that counts, when it was seen, and its value."""
    items = given.items[given.items["table"] == table].drop(columns="table")
    chunk = chunk[chunk["ITEMID"].isin(items["ITEMID"])]
    if "ERROR" in chunk:
        chunk = chunk[chunk["ERROR"] != 1]
        told = chunk["VALUE"].map(mimic3_events.WORDS).astype(float)
        chunk = chunk.assign(VALUENUM=chunk["VALUENUM"].fillna(told))
    chunk = chunk.dropna(subset=["VALUENUM"]).merge(given.cohort, on="HADM_ID")
    chunk["time"] = pd.to_datetime(chunk["CHARTTIME"], format="%Y-%m-%d %H:%M:%S")
    chunk = chunk[chunk["time"] <= chunk["prediction_time"]].merge(items, on="ITEMID")

    spellings = list(chunk["VALUEUOM"].dropna().unique())
    spelt = dict(zip(spellings, _spelt(spellings), strict=True))
    chunk["spelling"] = chunk["VALUEUOM"].map(spelt).fillna(chunk["assumed"])
    chunk = chunk.merge(given.conversions, on=["index", "spelling"])
    value = chunk["VALUENUM"] * chunk["scale"] + chunk["offset"]
    value = value.mask((chunk["rule"] == "fraction") & (value > 1), value / 100)
    value = value.mask((chunk["rule"] == "percent") & (value <= 1), value * 100)
    good = value.between(chunk["least"], chunk["most"])
    good &= ~chunk["category"] | (value == value.round())
    value = value.clip(chunk["low"], chunk["high"])

    elapsed = (chunk["time"] - chunk["prediction_time"]) // pd.Timedelta(microseconds=1)
    elapsed = elapsed + STEPS * _HOUR
    step = ((elapsed - 1) // _HOUR).where(elapsed != 0, 0).clip(lower=-1)
    cell = (chunk["sample"] * (STEPS + 1) + step + 1) * given.num_variables + chunk["index"]
    return pd.DataFrame({"cell": cell, "elapsed": elapsed, "value": value})[good]


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.sort_values(["cell", "elapsed", "value"])
    return ordered.drop_duplicates("cell", keep="last")


def _spelt(names: list[str]) -> list[str | None]:
    frame = pl.DataFrame({"unit": pl.Series(names, dtype=pl.String)})
    return frame.select(units.spelling(pl.col("unit")).replace("", None))["unit"].to_list()
