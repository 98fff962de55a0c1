"""Rows of a table that stand more than once though each should stand once."""

import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tally


def once(
    raw: pl.DataFrame, key: str, table: str, oddities: tally.Ledger, file: str = ""
) -> pl.DataFrame:
    """Returns `raw` without exact repeats of a row, which are counted.

    `file` is the name of the file, if it is another than that of the table.

    Raises RecordsError where two rows of one `key` contradict each other: no table of a data model
    says which of them is newer.
    """
    distinct = raw.unique(maintain_order=True)
    rule = f"{table} rows standing more than once, taken once"
    oddities.leave_out(table, rule, raw.height - distinct.height)
    if contrary := distinct.height - distinct[key].n_unique():
        again = raw.join(distinct.filter(pl.col(key).is_duplicated()), on=key, how="semi")
        columns = [
            name
            for name in raw.columns
            if name != key and again.group_by(key).agg(pl.col(name).n_unique())[name].max() > 1
        ]
        row = distinct[key].is_first_distinct().not_().arg_true()[0]
        row = raw.with_row_index("_row").join(distinct[[row]], on=raw.columns, nulls_equal=True)
        raise errors.RecordsError(
            f"{file or table}: {contrary} row(s) repeat a '{key}' with another value, first in row "
            f"{row['_row'][0] + 1}, as in column '{columns[0]}'; every '{key}' may stand once. "
            "Were two exports joined? Keep the newer rows"
        )
    return distinct
