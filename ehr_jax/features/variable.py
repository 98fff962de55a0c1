"""What a variable of a time series is, and how recorded numbers become its values.

One description serves every source: its unit and range, and what each source calls it. The rule for
outliers is that of the MIMIC-III benchmark (Harutyunyan et al. 2019): a number below `least` or
above `most` is an error of recording and removed; one between `least` and `low`, or `high` and
`most`, is set to `low` or `high`. REALM leaves this rule out; here it always holds.
"""

from typing import NamedTuple

import polars as pl

from ehr_jax.features import units


class Item(NamedTuple):
    """A name that `records.measurements` gives a variable, and the unit of rows that state none."""

    name: str  # "CHART:678", "LAB:50931", "P12:HR", "YAIB:hr"
    unit: str


class Variable(NamedTuple):
    name: str
    unit: str  # a key of units.CONVERSIONS
    least: float
    low: float
    high: float
    most: float
    items: tuple[Item, ...]
    category: bool = False  # its values are the whole numbers from `low` to `high`
    # "fraction": above 1 it is a percentage. "percent": 1 or less it is a fraction.
    rule: str = ""
    other_units: tuple[tuple[str, float], ...] = ()  # (spelling, scale), of this substance alone


# What `in_common_units` says of a row.
FAULTS = ("none", "unknown unit", "out of range", "between the levels of a category")


def in_common_units(rows: pl.LazyFrame, variables: tuple[Variable, ...]) -> pl.LazyFrame:
    """Returns the rows of `variables` among measurements, each in its variable's unit.

    Adds `index` (which of `variables`), `fault` (one of FAULTS; such a row is to be left out),
    `clipped` (its value was set to `low` or `high`) and `spelling` (the unit as `units.spelling`
    writes it); `value` is converted and in range. Measurements of an item that two variables share
    come once for each. The rows are gone through twice: they should be in memory.
    """
    items = [
        (item.name, index, item.unit, v.least, v.low, v.high, v.most, v.category, v.rule)
        for index, v in enumerate(variables)
        for item in v.items
    ]
    limits = dict.fromkeys(("least", "low", "high", "most"), pl.Float64)
    schema = {"variable": pl.String, "index": pl.Int32, "assumed": pl.String} | limits
    schema |= {"category": pl.Boolean, "rule": pl.String}
    items = pl.LazyFrame(items, schema, orient="row")
    conversions = [
        (index, spelling, *how)
        for index, v in enumerate(variables)
        for spelling, how in _conversions(v).items()
    ]
    schema = {"index": pl.Int32, "spelling": pl.String, "scale": pl.Float64, "offset": pl.Float64}
    conversions = pl.LazyFrame(conversions, schema, orient="row")

    spelling = pl.coalesce(units.spelling(pl.col("unit")).replace("", None), "assumed")
    outside = (pl.col("value") < pl.col("least")) | (pl.col("value") > pl.col("most"))
    between = pl.col("category") & (pl.col("value") != pl.col("value").round())
    fault = pl.when(pl.col("scale").is_null()).then(1).when(outside).then(2).when(between).then(3)
    limited = pl.col("value").clip(pl.col("low"), pl.col("high"))
    # Of many rows few differ in item and unit.
    written = (
        rows.select("variable", "unit")
        .unique()
        .join(items.with_columns(units.spelling(pl.col("assumed"))), on="variable")
        .with_columns(spelling=spelling)
        .join(conversions, on=["index", "spelling"], how="left")
    )
    return (
        rows.join(written, on=["variable", "unit"], nulls_equal=True)
        .with_columns(value=_mended(pl.col("value") * pl.col("scale") + pl.col("offset")))
        .with_columns(
            fault=fault.otherwise(0).cast(pl.Int8),
            clipped=limited != pl.col("value"),
            value=limited,
        )
        .drop("assumed", *limits, "category", "rule", "scale", "offset")
    )


def levels(v: Variable) -> tuple[int, ...]:
    """Returns the values of a category; none for a number."""
    return tuple(range(int(v.low), int(v.high) + 1)) if v.category else ()


def _conversions(v: Variable) -> dict[str, tuple[float, float]]:
    return units.CONVERSIONS[v.unit] | {spelling: (scale, 0.0) for spelling, scale in v.other_units}


def _mended(value: pl.Expr) -> pl.Expr:
    """Applies the rules of variables whose unit is told by the size of the number alone."""
    percentage = (pl.col("rule") == "fraction") & (value > 1)
    fraction = (pl.col("rule") == "percent") & (value <= 1)
    return pl.when(percentage).then(value / 100).when(fraction).then(value * 100).otherwise(value)
