import csv
import gzip
import io
import os
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.records.common import damage, reading, tables

COLUMNS = {"hadm_id": pl.Int64, "admittime": tables.TIME, "value": pl.Float64, "drug": pl.String}
GOOD = (
    "HADM_ID,AdmitTime,value,drug\n"
    "1,2164-10-23 21:09:00,1.5,heparin \n"
    '2,2164-10-24,,"a, ""b""\nc"\n'
    "3.0,2164-10-24 08:30,nan,\n"
)


def write(folder, name, content):
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder / name


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_values_are_typed_whatever_the_container(tmp_path, name, newline, mark):
    path = write(tmp_path, name, mark + GOOD.replace("\n", newline).encode())
    frame = reading.read(path, COLUMNS)
    assert frame.schema == COLUMNS
    assert frame["hadm_id"].to_list() == [1, 2, 3]
    assert frame["value"].to_list() == [1.5, None, None]
    assert frame["drug"].to_list() == ["heparin ", f'a, "b"{newline}c', None]
    times = frame["admittime"].dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
    assert times == ["2164-10-23 21:09:00", "2164-10-24 00:00:00", "2164-10-24 08:30:00"]


def test_parquet_of_texts_and_of_typed_columns_equals_the_csv(tmp_path):
    wanted = reading.read(write(tmp_path, "t.csv", GOOD), COLUMNS)
    wanted.write_parquet(tmp_path / "typed.parquet")
    pl.read_csv(tmp_path / "t.csv", infer_schema=False).write_parquet(tmp_path / "text.parquet")
    assert reading.read(tmp_path / "typed.parquet", COLUMNS).equals(wanted)
    assert reading.read(tmp_path / "text.parquet", COLUMNS).equals(wanted)


def test_lazy_frame_reads_only_what_is_asked(tmp_path):
    lazy = reading.scan(write(tmp_path, "t.csv", GOOD), COLUMNS)
    assert lazy.select("drug").head(1).collect().rows() == [("heparin ",)]
    assert lazy.filter(pl.col("hadm_id") > 1).select("value").collect().height == 2
    assert lazy.select(pl.len()).collect().item() == 3


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write(tmp_path, "t.csv", GOOD)
    lazy = reading.scan(path, COLUMNS)
    assert lazy.collect().height == 3
    write(tmp_path, "t.csv", GOOD + "4,2164-10-25,2,x\n")
    with pytest.raises(errors.RecordsError, match="t.csv: the file changed while it was read"):
        lazy.collect()


def test_a_file_that_is_cut_while_it_is_read_is_said_to_change_not_to_be_damaged(tmp_path):
    path = write(tmp_path, "t.csv.gz", GOOD)
    lazy = reading.scan(path, COLUMNS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(errors.RecordsError, match="changed while it was read"):
        lazy.collect()


def test_absent_optional_column_is_null(tmp_path):
    path = write(tmp_path, "t.csv", "a\n1\n2\n")
    frame = reading.read(path, {"a": pl.Int64, "b": pl.String}, optional=("b",))
    assert frame["b"].to_list() == [None, None]


@pytest.mark.parametrize("name", ["Admissions.CSV", "ADMISSIONS.csv.gz", "admissions.parquet"])
def test_table_is_found_in_any_letter_case(tmp_path, name):
    (tmp_path / name).touch()
    assert reading.find_table(tmp_path, "ADMISSIONS").name == name


def test_parquet_is_taken_before_csv(tmp_path):
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        (tmp_path / name).touch()
    assert reading.find_table(tmp_path, "t").name == "t.parquet"


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(errors.RecordsError, match="nowhere.*does not exist"):
        reading.find_table(tmp_path / "nowhere", "ADMISSIONS")


def test_missing_table_lists_the_folder_and_the_near_miss(tmp_path):
    (tmp_path / "ADMISSION.csv").touch()
    with pytest.raises(errors.RecordsError, match="'ADMISSIONS' is missing.*mean 'ADMISSION.csv'"):
        reading.find_table(tmp_path, "ADMISSIONS")
    assert reading.find_table(tmp_path, "ADMISSIONS", required=False) is None


BAD = {
    "an empty file": ("", "empty"),
    "a renamed column": (GOOD.replace("AdmitTime", "admit_time"), "'admittime'.*'admit_time'"),
    "a long row": (GOOD + "4,2164-10-24,1,x,y\n", "row 4 .*5 field.*header has 4"),
    "a short row": (GOOD + "4,2164-10-24\n5,2164-10-24,1,x\n", "row 4 .*2 field.*header has 4"),
    "a cut last row": (GOOD + "4,2164-10", "2 field.*header has 4"),
    "a last row of one field": (GOOD + "4", "1 field.*header has 4"),
    "a bad date": (GOOD + "4,2164-02-30,1,x\n", "row 4 .*'admittime'.*'2164-02-30'.*YYYY-MM-DD"),
    "a bad number": (GOOD + "4,2164-10-24,1..5,x\n", "row 4 .*'value'.*'1..5'.*number"),
    "a bad identifier": (GOOD + "77x77,2164-10-24,1,x\n", "row 4 .*'hadm_id'.*5 character"),
    "words for a date": (GOOD + "4,Jane Doe,1,x\n", "row 4 .*'admittime'.*8 character"),
    "another encoding": (GOOD.encode() + "4,,1,é\n".encode("latin-1"), "line 6 .*UTF-8"),
    "an open quotation mark": (GOOD + '4,,1,"x\n5,,1,y\n', "CSV|field"),
    "UTF-16": (GOOD.encode("utf-16"), "is UTF-16 text; convert"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "is UTF-16 text; convert"),
    "lines of an old Mac": (GOOD.replace("\n", "\r"), "carriage return alone; convert"),
    "semicolons": (GOOD.replace(",", ";"), "parted by semicolons; export it with commas"),
    "a column twice": (GOOD.replace("drug", "Value"), "'value' twice"),
}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("what", BAD)
def test_bad_file_is_explained(tmp_path, what, name):
    content, said = BAD[what]
    with pytest.raises(errors.RecordsError, match=f"(?s)t.csv.*{said}") as caught:
        reading.read(write(tmp_path, name, content), COLUMNS)
    assert "77x77" not in str(caught.value) and "Jane" not in str(caught.value)


def test_damage_found_while_a_lazy_frame_is_collected_is_explained_too(tmp_path):
    rows = "".join(f"{n},2164-10-24,{n * 7919 % 1013},drug {n}\n" for n in range(50_000))
    path = write(tmp_path, "t.csv.gz", "hadm_id,admittime,value,drug\n" + rows)
    path.write_bytes(path.read_bytes()[:-50_000])
    lazy = reading.scan(path, COLUMNS)
    with pytest.raises(errors.RecordsError, match="t.csv.gz.*gzip.*cut short"):
        lazy.select(pl.col("value").sum()).collect(engine="streaming")


@given(
    st.lists(st.lists(st.text('a",\n', max_size=3), min_size=3, max_size=3), max_size=20),
    st.integers(0, 2),
    st.integers(1, 40),
)
def test_ragged_rows_are_found_whatever_is_quoted_and_wherever_a_chunk_ends(rows, cut, chunk):
    def written(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
        return text.getvalue().encode()

    def uneven(data):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(damage, "_CHUNK_BYTES", chunk)
            return damage._has_uneven_rows(io.BytesIO(data))

    sound = [["x", "y", "z"], *rows]
    assert not uneven(written(sound)) and not uneven(written(sound)[:-1])
    assert uneven(written([*sound, ["a"] * cut]) if cut else written(sound) + b"\n")


def test_truncated_gzip_is_explained(tmp_path):
    path = write(tmp_path, "t.csv.gz", GOOD)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(errors.RecordsError, match="gzip.*cut short"):
        reading.read(path, COLUMNS)


def test_file_that_is_not_parquet_is_explained(tmp_path):
    with pytest.raises(errors.RecordsError, match="t.parquet.*not a readable parquet"):
        reading.read(write(tmp_path, "t.parquet", GOOD), COLUMNS)


ITEMS = (
    "itemid,charttime,value\n"
    "211,2164-10-23 21:09:00,80\n"
    "618,no time at all,18\n"
    " 211 ,2164-10-23 21:10:00,81\n"
    "211.0,2164-10-23 21:11:00,82\n"
    ",2164-10-23 21:12:00,83\n"
    '"211",2164-10-23 21:13:00,84\n'
)
ITEM_COLUMNS = {"itemid": pl.Int64, "charttime": tables.TIME, "value": pl.Float64}
MADE = {"variable": ("CHART:", "itemid")}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize(
    "asked",
    [
        pl.col("variable").is_in(["CHART:211", "LAB:618", "CHART:x"]),
        pl.col("variable") == "CHART:211",
        pl.lit("CHART:211") == pl.col("variable"),
        pl.col("variable").is_in(["CHART:211"]) & (pl.col("value") > 0),
    ],
)
def test_rows_of_items_not_asked_for_are_not_parsed(tmp_path, name, asked):
    path = write(tmp_path, name, ITEMS)
    if name == "t.parquet":
        pl.read_csv(ITEMS.encode(), infer_schema=False).write_parquet(path)
    lazy = reading.scan(path, ITEM_COLUMNS, made=MADE)
    assert lazy.filter(asked).collect()["value"].to_list() == [80, 81, 82, 84]
    with pytest.raises(errors.RecordsError, match="row 2 .*'charttime'"):
        lazy.collect()


def test_made_column_is_text_of_prefix_and_number_and_null_where_the_number_is(tmp_path):
    path = write(tmp_path, "t.csv", ITEMS.replace("no time at all", "2164-10-23"))
    lazy = reading.scan(path, ITEM_COLUMNS, made=MADE)
    found = lazy.select("variable", "value").collect()
    assert found.schema == {"variable": pl.String, "value": pl.Float64}
    items = [211, 618, 211, 211, None, 211]
    assert found["variable"].to_list() == [item and f"CHART:{item}" for item in items]
    assert lazy.filter(pl.col("variable").is_null()).collect()["value"].to_list() == [83]
    assert lazy.filter(pl.col("variable") != "CHART:211").select("value").collect().height == 1


PEAK = """
import sys
import polars as pl
from ehr_jax.records.common import reading

columns = {"itemid": pl.Int64, "value": pl.Float64, "text": pl.String}
lazy = reading.scan(sys.argv[1], columns, made={"variable": ("CHART:", "itemid")})
few = lazy.filter(pl.col("variable").is_in(["CHART:7", "CHART:8"]))
rows = few.select(pl.len()).collect(engine="streaming").item()
with open("/proc/self/status") as status:
    (peak,) = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
print(rows, peak)
"""


def test_memory_does_not_grow_with_a_gzip_file(tmp_path):
    if not os.path.exists("/proc/self/status"):
        pytest.skip("the system does not tell a process's own peak of memory")
    rows = [f"{n},{n % 900},{n % 77},some words\n" for n in range(150_000)]
    member, path = gzip.compress("".join(rows).encode(), 1), tmp_path / "t.csv.gz"
    peaks = []
    for copies in (5, 80):  # 18 and 290 MB when inflated
        path.write_bytes(gzip.compress(b"row,itemid,value,text\n") + copies * member)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
        )
        found, peak = map(int, done.stdout.split()[-2:])
        assert found == copies * sum(n % 900 in (7, 8) for n in range(150_000))
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 150_000  # kB
