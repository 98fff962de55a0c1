"""Counts of what is left out of tables that are read when collected."""

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records.common import repeats, tally

SCHEMA = {"key": pl.Int64, "value": pl.Int64}


def positive(batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    kept = batch.filter(pl.col("value") > 0)
    return kept, {"not positive": batch.height - kept.height}


def test_rows_are_counted_when_the_table_is_collected_and_once():
    oddities = tally.Ledger()
    oddities |= {"nothing": 0, "of a file": 2}
    rows = pl.LazyFrame({"key": [1, 1, 2, 3], "value": [5, -1, -2, 7]})
    found = tally.streamed(rows, SCHEMA, positive, oddities, "t")
    seen = tally.standing(oddities)
    assert seen == {"of a file": 2}
    assert found.filter(pl.col("key") == 1).select("value").collect()["value"].to_list() == [5]
    assert seen == {"of a file": 2, "not positive": 1}
    for _ in range(2):
        assert found.collect()["value"].to_list() == [5, 7]
        assert seen == {"of a file": 2, "not positive": 2}
    assert found.head(1).collect().rows() == [(1, 5)]
    assert oddities.tables == {"t": {"read": 4, "kept": 2, "not positive": 2}}


def test_table_of_which_nothing_matches_is_refused():
    def judge(batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        return batch.clear(), {"unknown": batch.height}

    rows = pl.LazyFrame({"key": [1, 2], "value": [1, 2]})
    oddities = tally.Ledger()
    found = tally.streamed(rows, SCHEMA, judge, oddities, "T", "unknown")
    assert found.filter(pl.col("key") == 1).collect().height == 0  # one row of an item tells little
    with pytest.raises(errors.RecordsError, match="^T: none of its 2 row"):
        found.collect()


def test_filter_is_asked_of_the_table_itself():
    asked = []

    def judge(batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        asked.append(batch.height)
        return batch, {}

    rows = pl.LazyFrame({"key": range(100), "value": range(100)})
    found = tally.streamed(rows, SCHEMA, judge, tally.Ledger(), "t").filter(
        pl.col("key").is_in([3, 4])
    )
    assert found.collect().height == sum(asked) == 2


def test_a_row_that_stands_three_times_stands_twice_too_often():
    ledger = tally.Ledger()
    kept = repeats.once(pl.DataFrame({"id": [7, 7, 7]}), "id", "people", ledger)
    assert kept["id"].to_list() == [7]
    assert ledger == {"people rows standing more than once, taken once": 2}


@pytest.mark.parametrize("size", range(1, 8))
def test_rows_that_belong_together_come_in_one_batch(size):
    rows = pl.DataFrame({"key": [None, None, 1, 1, 1, 2, 3], "row": range(7)})
    batches = list(tally._whole(rows.iter_slices(size), ("key",)))
    assert pl.concat(batches).equals(rows)
    assert sum(batch["key"].n_unique() for batch in batches) == 4
