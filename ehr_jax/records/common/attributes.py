"""What is known of a visit beside its codes, as `tables.ATTRIBUTES`: texts, sex and age."""

import types
from collections.abc import Iterable, Mapping

import polars as pl

from ehr_jax.records.common import parsing, tables

# How the sources write that a text has no value.
NO_VALUE = (
    r"(?i)^(unknown.*|other/unknown|unable to obtain|patient declined.*|not asked|"
    r"asked but unknown|not specified|information not available|null|\*\*.*\*\*|\?|)$"
)
SEX = pl.col("sex").replace_strict({"F": "female", "M": "male"}, default=None)


def texts(visits: pl.DataFrame, named: Mapping[str, pl.Expr], time: str = "start") -> pl.DataFrame:
    """Returns visit_id, time, name and text of each text of `visits`, known from column `time` on.

    Args:
      named: the name of an attribute to its text.
    """
    return pl.concat(
        visits.select("visit_id", time=time, name=pl.lit(name), text=text.cast(pl.String))
        for name, text in named.items()
    )


def table(
    parts: Iterable[pl.DataFrame],
    visits: pl.DataFrame,
    numbers: Mapping[str, str] = types.MappingProxyType({"age": "age"}),
) -> pl.DataFrame:
    """Returns `tables.ATTRIBUTES` of what `texts` returned and of the `numbers` of `visits`.

    Texts are in small letters; one that says that it has no value is left out.

    Args:
      numbers: the name of an attribute to its column, known at the start of the visit.
    """
    facts = pl.concat(parts).with_columns(parsing.tidy(pl.col("text")))
    facts = facts.filter(~pl.col("text").str.contains(NO_VALUE))
    counted = [
        visits.select(
            "visit_id", time="start", name=pl.lit(name), number=pl.col(column).cast(pl.Float64)
        ).drop_nulls("number")
        for name, column in numbers.items()
    ]
    both = pl.concat([facts, *counted], how="diagonal")
    return tables.conform(both.sort("visit_id", maintain_order=True), tables.ATTRIBUTES)
