"""Tables as folders of parts, as clusters write them."""

import gzip

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records.common import reading

COLUMNS = {"a": pl.Int64, "b": pl.String}


def bigquery(folder, *texts):
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number:012d}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def spark(folder):
    folder.mkdir()
    for number in (0, 1):
        frame = pl.DataFrame({"A": [2 * number, 2 * number + 1], "b": ["x", "y"]})
        frame.write_parquet(folder / f"part-0000{number}-a.snappy.parquet")
        (folder / f".part-0000{number}-a.snappy.parquet.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").touch()
    (folder / ".DS_Store").write_bytes(b"\x00")
    (folder / "._part-00000-a.snappy.parquet").write_bytes(b"\x00")
    (folder / "part-00000-a.snappy.parquet.crc").write_bytes(b"crc")
    return folder


@pytest.mark.parametrize("name", ["T.parquet", "t", "t.csv"])
def test_all_parts_are_read_in_order_and_what_lies_beside_them_is_not(tmp_path, name):
    spark(tmp_path / name)
    path = reading.find_table(tmp_path, "T")
    assert path.name == name
    assert reading.read(path, COLUMNS)["a"].to_list() == [0, 1, 2, 3]
    assert reading.scan(path, COLUMNS).head(3).collect()["a"].to_list() == [0, 1, 2]
    assert reading.scan(path, COLUMNS).filter(pl.col("a") == 2).collect().height == 1
    assert reading.columns(path) == ("a", "b")


def test_numbered_parts_each_with_a_header(tmp_path):
    bigquery(tmp_path / "t", "a,b\n1,x\n", "b,a\ny,2\n")
    path = reading.find_table(tmp_path, "t")
    assert reading.read(path, COLUMNS).rows() == [(1, "x"), (2, "y")]


def test_fault_in_a_part_names_folder_part_and_row(tmp_path):
    bigquery(tmp_path / "t", "a,b\n1,x\n", "a,b\nx,y\n")
    with pytest.raises(errors.RecordsError, match=r"^t/000000000001.csv.gz: row 1 .*'a'"):
        reading.read(tmp_path / "t", COLUMNS)
    bigquery(tmp_path / "u", "a,b\n1,x\n", "a,b\n1,y,z\n")
    with pytest.raises(errors.RecordsError, match=r"^u/000000000001.csv.gz: row 1 .*3 field"):
        reading.read(tmp_path / "u", COLUMNS)


@pytest.mark.parametrize("second", ["a,c\n2,y\n", "2,y\n"])
def test_parts_of_other_headers_are_refused(tmp_path, second):
    bigquery(tmp_path / "t", "a,b\n1,x\n", second)
    with pytest.raises(errors.RecordsError, match=r"^t.*000000000001.csv.gz"):
        reading.read(tmp_path / "t", {"a": pl.Int64})


def test_folder_whose_rows_would_be_lost_in_part_is_refused(tmp_path):
    folder = bigquery(tmp_path / "t", "a,b\n1,x\n")
    (folder / "year=2020").mkdir()
    with pytest.raises(errors.RecordsError, match="^t: .* 1 of the files or folders"):
        reading.scan(folder, COLUMNS)
    (folder / "year=2020").rmdir()
    (folder / "000000000001.csv.bz2").write_bytes(b"")
    with pytest.raises(errors.RecordsError, match="^t: .* 1 of the files or folders"):
        reading.scan(folder, COLUMNS)
    (folder / "000000000001.csv.bz2").rename(folder / "000000000000.csv")
    with pytest.raises(errors.RecordsError, match="^t: .* 2 kinds"):
        reading.scan(folder, COLUMNS)


def test_folder_without_parts_is_no_table_unless_it_is_called_one(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "1.txt").touch()
    assert reading.find_table(tmp_path, "t", required=False) is None
    (tmp_path / "u.parquet").mkdir()
    with pytest.raises(errors.RecordsError, match="u.parquet: .*without a part"):
        reading.read(reading.find_table(tmp_path, "u"), COLUMNS)
