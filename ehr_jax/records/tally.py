"""Counts of rows that are left out of a table, kept also for tables that are read when collected.

`Records.oddities` counts what a reader left out. A lazy table is read later: its counts join the
same mapping when a pass over it ends.
"""

import types
from collections.abc import Callable, Iterator, Mapping

import polars as pl
from polars.io import plugins


def standing(oddities: dict[str, int]) -> Mapping[str, int]:
    """Returns a view of `oddities` without its zeros, which later counts of lazy tables join."""
    for rule in [rule for rule, rows in oddities.items() if not rows]:
        del oddities[rule]
    return types.MappingProxyType(oddities)


def streamed(
    rows: pl.LazyFrame,
    schema: Mapping[str, pl.DataType],
    judge: Callable[[pl.DataFrame], tuple[pl.DataFrame, Mapping[str, int]]],
    oddities: dict[str, int],
) -> pl.LazyFrame:
    """Returns what `judge` keeps of `rows`, batch by batch, in the columns of `schema`.

    `judge` also says how many rows of a batch it left out, by rule. A filter on the result is asked
    of `rows`, so that a large table is still read in part; a count is then of what was asked for.
    Of several passes the largest count stands, so a second one does not count twice.

    Args:
      rows: holds at least the columns of `schema`.
    """

    def source(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        asked = rows if predicate is None else rows.filter(predicate)
        counts: dict[str, int] = {}
        left = n_rows
        for batch in asked.collect_batches(maintain_order=True, engine="streaming"):
            sound, faults = judge(batch)
            for rule, number in faults.items():
                counts[rule] = counts.get(rule, 0) + number
            sound = sound.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
            if left is not None:
                sound = sound.head(left)
                left -= sound.height
            yield sound if with_columns is None else sound.select(with_columns)
            if left == 0:
                return
        for rule, number in counts.items():
            if number:
                oddities[rule] = max(number, oddities.get(rule, 0))

    return plugins.register_io_source(source, schema=dict(schema))
