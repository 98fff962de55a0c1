"""Visits, stays made of moves, and codes once a visit, whatever source they come from."""

import datetime

import polars as pl
import pytest

from ehr_jax.records.common import encounters, tables


def hour(number: float) -> datetime.datetime:
    return datetime.datetime(2100, 1, 1) + datetime.timedelta(hours=number)


def joined(*moves: tuple[float, float]) -> list[int]:
    """The stay of each move (start, end in hours), all of one visit, in order of their starts."""
    frame = pl.DataFrame(
        [(number, 1, hour(start), hour(end), "MICU") for number, (start, end) in enumerate(moves)],
        schema={"move_id": pl.Int64, "visit_id": pl.Int64, "start": tables.TIME,
                "end": tables.TIME, "unit": pl.String},
        orient="row",
    )  # fmt: skip
    return encounters.join_moves(frame)["stay_id"].to_list()


def test_short_moves_inside_a_long_one_are_of_its_stay():
    assert joined((0, 48), (10, 12), (20, 22)) == [0, 0, 0]


def test_a_move_after_a_gap_is_another_stay():
    assert joined((0, 10), (10, 20), (21, 30)) == [0, 0, 2]


def test_a_code_is_known_from_the_first_row_that_tells_it():
    rows = pl.DataFrame(
        {"kind": ["diagnosis"] * 3, "visit_id": [1, 1, 2], "code": ["X:1"] * 3,
         "name": ["one"] * 3, "said": ["one"] * 3, "time": [hour(5), hour(2), hour(9)],
         "n": [1, 1, 1]},
        schema_overrides={"time": tables.TIME},
    )  # fmt: skip
    codes, names = encounters.codes(rows, {})
    assert codes.select("visit_id", "time").rows() == [(1, hour(2)), (2, hour(9))]
    assert names.rows() == [("X:1", "diagnosis", "one")]


@pytest.mark.parametrize("text, still", [
    ("Still patient", True), ("STILL A PATIENT", True), ("still in hospital", True),
    ("Home", False), ("Stillwater nursing home", False), (None, False),
])  # fmt: skip
def test_who_has_not_left_is_told_by_the_text(text, still):
    frame = pl.DataFrame({"place": [text]}, schema={"place": pl.String})
    assert frame.select(encounters.still_there(pl.col("place"))).item() == still
