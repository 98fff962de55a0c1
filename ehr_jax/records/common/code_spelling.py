"""One spelling of each code, and each code of a visit once.

Texts that differ by case or blanks alone are one code.
"""

from collections.abc import Iterable

import polars as pl

from ehr_jax.records.common import tables

# Systems whose codes tell capitals from small letters.
_CASED = ("READ:",)


def joined(rows: pl.DataFrame, oddities: dict[str, int], count: str | None = None) -> pl.DataFrame:
    """Returns `rows` with the column `code` ("DRUG:Heparin") in one spelling a code.

    Blanks around a code are dropped and those within are single. Of the spellings that differ by
    case or blanks alone the most frequent stands, of equals the first by sort.

    Args:
      rows: holds `code`.
      oddities: is told how many rows were of another spelling.
      count: the column of how often a row stands in the source; None for once.
    """
    spellings = rows.group_by("code").agg(
        (pl.len() if count is None else pl.col(count).sum()).alias("rows")
    )
    tidy = (
        pl.col("code")
        .str.strip_chars()
        .str.replace_all(r"\s+", " ")
        .str.replace(r"^([^:]+):\s+", "${1}:")
    )
    cased = pl.any_horizontal(pl.col("code").str.starts_with(system) for system in _CASED)
    same = pl.when(cased).then("tidy").otherwise(pl.col("tidy").str.to_lowercase())
    spellings = spellings.with_columns(tidy=tidy).with_columns(same=same)
    total = spellings.group_by("same", "tidy").agg(pl.col("rows").sum())
    total = total.sort("same", "rows", "tidy", descending=[False, True, False])
    shown = total.group_by("same", maintain_order=True).agg(shown=pl.col("tidy").first())
    spellings = spellings.join(shown, on="same", how="left")
    other = spellings.filter(pl.col("code") != pl.col("shown"))
    rule = "code rows spelled with other blanks or capitals than their code, taken as that code"
    oddities[rule] = oddities.get(rule, 0) + int(other["rows"].sum())
    if other.is_empty():
        return rows
    shown_as = pl.col("code").replace(other["code"], other["shown"])
    return rows.with_columns(shown_as.alias("code"))


def once(rows: pl.DataFrame, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns the earliest row of each code of a visit; a known time is earlier than none."""
    distinct = rows.sort(
        "visit_id", "code", "time", "position", nulls_last=True, maintain_order=True
    ).unique(["visit_id", "code"], keep="first", maintain_order=True)
    oddities["codes standing more than once in a visit, the earliest kept"] = (
        rows.height - distinct.height
    )
    return distinct


def table(parts: Iterable[pl.DataFrame], oddities: dict[str, int]) -> pl.DataFrame:
    """Returns `tables.CODES` of rows in its columns, each code of a visit once."""
    codes = joined(pl.concat(parts, how="vertical"), oddities)
    rank = pl.col("position").cast(pl.Int32, strict=False)
    oddities["codes at a position beyond 2147483647, position unknown"] = int(
        codes.select((pl.col("position").is_not_null() & rank.is_null()).sum()).item()
    )
    return tables.conform(once(codes.with_columns(position=rank), oddities), tables.CODES)
