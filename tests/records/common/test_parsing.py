"""Values that a type cannot hold are refused by file, column and reason, never changed."""

import datetime

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records.common import reading, tables


def read(folder, values, dtype, wanted):
    path = folder / "t.parquet"
    pl.DataFrame({"x_id": pl.Series(values, dtype=dtype, strict=False)}).write_parquet(path)
    return reading.read(path, {"x_id": wanted})["x_id"].to_list()


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int128, pl.Decimal(38, 0), pl.String])
def test_identifier_beyond_64_bits_is_told_as_that(tmp_path, dtype):
    assert read(tmp_path, [2**63 - 1], dtype, pl.Int64) == [2**63 - 1]
    with pytest.raises(errors.RecordsError, match="t.parquet: row 2 .*'x_id'.*beyond") as told:
        read(tmp_path, [1, 2**63], dtype, pl.Int64)
    assert str(2**63) not in str(told.value)


@pytest.mark.parametrize("dtype, most", [(pl.Float64, 2**53), (pl.Float32, 2**24)])
def test_identifier_that_a_float_rounds_is_refused(tmp_path, dtype, most):
    assert read(tmp_path, [most, None], dtype, pl.Int64) == [most, None]
    with pytest.raises(errors.RecordsError, match="row 2 .*'x_id'.*last digits are lost"):
        read(tmp_path, [1, most + 2], dtype, pl.Int64)
    with pytest.raises(errors.RecordsError, match="row 1 .*'x_id'.*not a whole number"):
        read(tmp_path, [1.5], dtype, pl.Int64)


def test_text_identifier_is_told_as_that_and_not_repeated(tmp_path):
    with pytest.raises(errors.RecordsError, match="'x_id'.*not a whole number") as told:
        read(tmp_path, ["00013D2EFD8E45D1"], pl.String, pl.Int64)
    assert "00013" not in str(told.value)


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64), pl.Struct({"y": pl.Int64}), pl.Binary])
@pytest.mark.parametrize("wanted", [pl.Int64, pl.String, tables.TIME])
def test_column_of_another_type_is_no_damaged_file(tmp_path, dtype, wanted):
    value = {pl.Binary: b"\xff"}.get(dtype, [1] if dtype == pl.List(pl.Int64) else {"y": 1})
    try:
        read(tmp_path, [value], dtype, wanted)
    except errors.RecordsError as told:
        assert "x_id" in str(told) and "readable" not in str(told)


TEN = datetime.datetime(2150, 1, 1, 10)


@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_without_a_zone_and_in_utc_are_clock_times(tmp_path, zone, unit):
    values = pl.Series([TEN]).dt.replace_time_zone(zone).dt.cast_time_unit(unit)
    assert read(tmp_path, values, values.dtype, tables.TIME) == [TEN]


def test_times_of_another_zone_are_refused(tmp_path):
    values = pl.Series([TEN]).dt.replace_time_zone("America/New_York")
    with pytest.raises(errors.RecordsError, match="'x_id'.*America/New_York"):
        read(tmp_path, values, values.dtype, tables.TIME)


@pytest.mark.parametrize(
    "text", ["2150-01-01 10:00:00 UTC", "2150-01-01 10:00:00+00", "2150-01-01T10:00:00-05:00"]
)
def test_zone_in_the_text_of_a_time_is_never_another_time(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"x\n2150-01-01 10:00:00\n{text}\n")
    with pytest.raises(errors.RecordsError, match="t.csv: row 2 .*'x'.*not a date or time"):
        reading.read(tmp_path / "t.csv", {"x": tables.TIME})
