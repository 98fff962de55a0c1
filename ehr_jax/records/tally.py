"""Counts of rows that are left out of a table, kept also for tables that are read when collected.

`Records.oddities` counts what a reader left out. A lazy table is read later: its counts join the
same mapping when a pass over it ends.
"""

import types
from collections.abc import Callable, Iterator, Mapping

import polars as pl
from polars.io import plugins

from ehr_jax import errors

ENOUGH = 100  # rows asked for of a table that tell whether anything in it matches


class Ledger(dict[str, int]):
    """Counts of what a reader mended or left out, by rule, and an account of each table's rows.

    `tables` has for each table how many rows were read and kept, and how many were left out, by
    rule: read = kept + left out. A table that is read when collected joins when a pass over it
    ends; of several passes the one that read most stands. Such a pass reads the rows asked for.
    """

    def __init__(self):
        super().__init__()
        self.tables: dict[str, dict[str, int]] = {}

    def account(self, table: str, read: int, kept: int, left_out: Mapping[str, int]) -> None:
        """Notes the rows of one pass over a table, and `left_out` among the counts by rule."""
        for rule, rows in left_out.items():
            if rows:
                self[rule] = max(rows, self.get(rule, 0))
        if read >= self.tables.get(table, {"read": 0})["read"]:
            counted = {rule: rows for rule, rows in left_out.items() if rows}
            self.tables[table] = {"read": read, "kept": kept, **counted}


def require_match(table: str, kept: int, unknown: int) -> None:
    """Raises RecordsError for a table with rows, of which none is of a visit that is known."""
    if unknown and not kept:
        raise errors.RecordsError(
            f"{table}: none of its {unknown} row(s) with an identifier is of a known visit. Are "
            "two identifier columns exchanged, or is the table of other records?"
        )


def standing(oddities: dict[str, int]) -> Mapping[str, int]:
    """Returns a view of `oddities` without its zeros, which later counts of lazy tables join."""
    for rule in [rule for rule, rows in oddities.items() if not rows]:
        del oddities[rule]
    return types.MappingProxyType(oddities)


def streamed(
    rows: pl.LazyFrame,
    schema: Mapping[str, pl.DataType],
    judge: Callable[[pl.DataFrame], tuple[pl.DataFrame, Mapping[str, int]]],
    oddities: Ledger,
    table: str,
    unknown: str = "",
) -> pl.LazyFrame:
    """Returns what `judge` keeps of `rows`, batch by batch, in the columns of `schema`.

    `judge` also says how many rows of a batch it left out, by rule. A filter on the result is asked
    of `rows`, so that a large table is still read in part; a count is then of what was asked for.
    Of several passes the largest count stands, so a second one does not count twice.

    Args:
      rows: holds at least the columns of `schema`.
      table: the name under which its rows are accounted for.
      unknown: the rule that counts rows of unknown visits. A table of nothing else is refused when
        all of it is read, or `ENOUGH` of its rows.
    """

    def source(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        asked = rows if predicate is None else rows.filter(predicate)
        counts: dict[str, int] = {}
        left, read, kept = n_rows, 0, 0
        for batch in asked.collect_batches(maintain_order=True, engine="streaming"):
            sound, faults = judge(batch)
            read, kept = read + batch.height, kept + sound.height
            for rule, number in faults.items():
                counts[rule] = counts.get(rule, 0) + number
            sound = sound.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
            if left is not None:
                sound = sound.head(left)
                left -= sound.height
            yield sound if with_columns is None else sound.select(with_columns)
            if left == 0:
                return
        oddities.account(table, read, kept, counts)
        lost = counts.get(unknown, 0)
        nameless = sum(rows for rule, rows in counts.items() if " without a " in rule)
        if lost and lost + nameless == read and (predicate is None or lost >= ENOUGH):
            require_match(table, kept, lost)

    return plugins.register_io_source(source, schema=dict(schema))
