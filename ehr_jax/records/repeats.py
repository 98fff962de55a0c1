"""Rows of a table that stand more than once though each should stand once."""

import polars as pl

from ehr_jax import errors


def once(raw: pl.DataFrame, key: str, table: str, oddities: dict[str, int]) -> pl.DataFrame:
    """Returns `raw` without exact repeats of a row, which are counted.

    Raises RecordsError where two rows of one `key` contradict each other: no table of a data model
    says which of them is newer.
    """
    distinct = raw.unique(maintain_order=True)
    oddities[f"{table} rows standing more than once, taken once"] = raw.height - distinct.height
    if contrary := distinct.height - distinct[key].n_unique():
        again = raw.join(distinct.filter(pl.col(key).is_duplicated()), on=key, how="semi")
        columns = [
            name
            for name in raw.columns
            if name != key and again.group_by(key).agg(pl.col(name).n_unique())[name].max() > 1
        ]
        raise errors.RecordsError(
            f"{table}: {contrary} row(s) repeat a '{key}' with another value, as in column "
            f"'{columns[0]}'; every '{key}' may stand once. Were two exports joined? Keep the "
            "newer rows"
        )
    return distinct
