"""Counts of rows that are left out of a table, kept also for tables that are read when collected.

`Records.oddities` counts what a reader left out. A lazy table is read later: its counts join the
same mapping when a pass over it ends.
"""

import types
from collections.abc import Callable, Iterable, Iterator, Mapping

import polars as pl
from polars.io import plugins

from ehr_jax import errors

N = "_rows"  # the column that says for how many rows of the table a row stands
ENOUGH = 100  # so many rows of unknown visits alone say that nothing in a table matches


class Ledger(dict[str, int]):
    """Counts of what a reader mended or left out, by rule, and an account of each table's rows.

    `tables` has for each table how many rows were read and kept, and how many were left out, by
    rule: read = kept + left out. A table that is read when collected joins when a pass over it
    ends; of several passes the one that read most stands. A pass with a filter reads fewer rows.
    """

    def __init__(self):
        super().__init__()
        self.tables: dict[str, dict[str, int]] = {}

    def begin(self, table: str, rows: int) -> None:
        """Opens the account of a table, of which `rows` were read and all are kept so far."""
        self.tables[table] = {"read": rows, "kept": rows}

    def leave_out(self, table: str, rule: str, rows: int) -> None:
        """Notes that `rule` leaves out so many more rows of a table.

        A table without an account, as one that is made of several, is counted by rule alone.
        """
        if table not in self.tables:
            self[rule] = self.get(rule, 0) + rows
        elif rows:
            account = self.tables[table]
            account["kept"] -= rows
            account[rule] = account.get(rule, 0) + rows
            everywhere = sum(account.get(rule, 0) for account in self.tables.values())
            self[rule] = max(everywhere, self.get(rule, 0))

    def sift(self, table: str, rows: pl.DataFrame, holds: pl.Expr, rule: str) -> pl.DataFrame:
        """Returns the rows of a table for which `holds` is true; `rule` counts the others."""
        sound = rows.filter(holds)
        self.leave_out(table, rule, rows.height - sound.height)
        return sound

    def account(self, table: str, read: int, kept: int, left_out: Mapping[str, int]) -> None:
        """Notes the rows of one pass over a table, and `left_out` among the counts by rule."""
        for rule, rows in left_out.items():
            if rows:
                self[rule] = max(rows, self.get(rule, 0))
        if read >= self.tables.get(table, {"read": 0})["read"]:
            counted = {rule: rows for rule, rows in left_out.items() if rows}
            self.tables[table] = {"read": read, "kept": kept, **counted}


def require_match(table: str, kept: int, unknown: int, of: str = "visit") -> None:
    """Raises RecordsError if a table has rows and all of them are of unknown visits, or of what
    else they are `of`."""
    if unknown and not kept:
        raise errors.RecordsError(
            f"{table}: none of its {unknown} row(s) with an identifier is of a known {of}. Are "
            "two identifier columns exchanged, or is the table of other records?"
        )


def standing(oddities: dict[str, int]) -> Mapping[str, int]:
    """Returns a view of `oddities` without its zeros, which later counts of lazy tables join."""
    for rule in [rule for rule, rows in oddities.items() if not rows]:
        del oddities[rule]
    return types.MappingProxyType(oddities)


def count(rows: pl.DataFrame) -> int:
    """Returns how many rows of a table `rows` stand for: by their column `N`, else one each."""
    return int(rows[N].sum()) if N in rows.columns else rows.height


def streamed(
    rows: pl.LazyFrame,
    schema: Mapping[str, pl.DataType],
    judge: Callable[[pl.DataFrame], tuple[pl.DataFrame, Mapping[str, int]]],
    oddities: Ledger,
    table: str,
    unknown: str = "",
    total: int | None = None,
    together: tuple[str, ...] = (),
) -> pl.LazyFrame:
    """Returns what `judge` keeps of `rows`, batch by batch, in the columns of `schema`.

    `judge` also says how many rows of a batch it left out, by rule. A filter on the result goes
    to `rows`, so that a large table is still read in part; a count then covers that part.
    Of several passes the largest count stands, so a second one does not count twice.

    Args:
      rows: holds at least the columns of `schema`.
      table: the name under which its rows are accounted for.
      unknown: the rule that counts rows of unknown visits. A table of nothing else is refused when
        all of it is read, or `ENOUGH` of its rows.
      total: how many rows the table has, if `rows` lack those of unknown visits.
      together: columns; rows that follow each other and are equal in them come in one batch.
    """

    def source(with_columns, predicate, n_rows, batch_size) -> Iterator[pl.DataFrame]:
        del batch_size
        asked = rows if predicate is None else rows.filter(predicate)
        counts: dict[str, int] = {}
        left, read, kept = n_rows, 0, 0
        batches = asked.collect_batches(maintain_order=True, engine="streaming")
        for batch in _whole(batches, together) if together else batches:
            sound, faults = judge(batch)
            read, kept = read + count(batch), kept + count(sound)
            for rule, number in faults.items():
                counts[rule] = counts.get(rule, 0) + number
            sound = sound.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
            if left is not None:
                sound = sound.head(left)
                left -= sound.height
            yield sound if with_columns is None else sound.select(with_columns)
            if left == 0:
                return
        if total is not None and predicate is None:
            counts[unknown] = counts.get(unknown, 0) + total - read
            read = total
        oddities.account(table, read, kept, counts)
        lost = counts.get(unknown, 0)
        without_key = sum(rows for rule, rows in counts.items() if " without a " in rule)
        if lost and lost + without_key == read and (predicate is None or lost >= ENOUGH):
            require_match(table, kept, lost)

    return plugins.register_io_source(source, schema=dict(schema))


def _whole(batches: Iterable[pl.DataFrame], together: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """Moves the last rows of a batch, equal in the columns `together`, to the batch after it."""
    rest = None
    for batch in batches:
        batch = batch if rest is None else pl.concat([rest, batch])
        key = pl.struct(together)
        of_last = batch.select(key.eq_missing(key.last())).to_series()
        yield batch.filter(~of_last)
        rest = batch.filter(of_last)
    if rest is not None:
        yield rest
