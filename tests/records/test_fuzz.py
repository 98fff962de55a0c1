"""Every reader, given damaged files, reads them or says in words what is wrong.

The default run tries a few inputs of every source and container, always the same ones;
`pytest tests/records/test_fuzz.py --fuzz=150` tries 150 new ones of each and prints what became of
them. A read that never returns ends the process after two minutes (`-s` shows where it stood).
"""

import collections
import faulthandler
import functools
import json
import pathlib
import re
import resource
import shutil
import tempfile

import hypothesis
import mutations
import numpy as np
import polars as pl
import pytest
import tiny_sources

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.features import hypergraph_file
from ehr_jax.records import sources
from ehr_jax.records.common import reading
from ehr_jax.records.diabetes130 import reader as diabetes130
from ehr_jax.records.fhir import reader as fhir
from ehr_jax.records.meds import reader as meds
from ehr_jax.records.mimic import mimic3
from ehr_jax.records.omop import reader as omop
from ehr_jax.records.physionet2012 import reader as physionet2012

DEFAULT = 6  # inputs of each source and container
HANG_SECONDS = 120
MOST_MEMORY = 1 << 20  # KiB by which one tiny input may raise the peak of the process
LONGEST_MESSAGE = 1_200
IDENTIFIER = re.compile(
    "|".join(f"{n // 10}[0-9]" for n in (tiny_sources.SUBJECT, tiny_sources.VISIT,
                                         tiny_sources.STAY))
)  # fmt: skip

_totals = collections.Counter()


@functools.cache
def files_of(name: str) -> mutations.Files:
    return tiny_sources.files(tiny_sources.FORMS[name])


@pytest.fixture(autouse=True)
def no_titles(monkeypatch):
    # The tables of code names take longer than a tiny hospital.
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)


def use(form: tiny_sources.Form, folder: pathlib.Path) -> str:
    """Reads everything of an input and builds its cohort; returns what became of it."""
    records = form.read(folder)
    if form.task is None:
        return "read"
    records.measurements.collect(engine="streaming")
    records.notes.collect(engine="streaming")
    sources.fingerprint(records)
    assert_discreet(" ".join(records.oddities))
    try:
        tasks.build(records, form.task)
    except errors.CohortError as error:
        assert_discreet(str(error))
        return "read, too little for a cohort"
    return "read"


def assert_discreet(said: str) -> None:
    assert tiny_sources.SECRET not in said
    assert not IDENTIFIER.search(said)


def assert_clear(error: errors.UserError, damaged: mutations.Files, name: str, folder) -> None:
    """The message is one line, tells which file or source, and nothing of what is in it."""
    said = str(error).replace(str(folder), "the folder")
    assert_discreet(said)
    assert len(said) <= LONGEST_MESSAGE and "\n" not in said, said[:LONGEST_MESSAGE]
    held = {part.lower() for file in (*files_of(name), *damaged) for part in file.split("/")}
    named = "the folder" in said or any(file in said.lower() for file in held)
    assert named or re.match(r"\w{1,40}: ", said), said


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def outcome(name: str, damaged: mutations.Damaged, folder: pathlib.Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    mutations.write(damaged.files, folder)
    peak = peak_memory()
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=2)
    try:
        return use(tiny_sources.FORMS[name], folder)
    except errors.UserError as error:
        assert_clear(error, damaged.files, name, folder)
        return "refused"
    finally:
        faulthandler.cancel_dump_traceback_later()
        assert peak_memory() - peak < MOST_MEMORY


@pytest.mark.parametrize("name", tiny_sources.FORMS)
def test_tiny_input_is_read_and_gives_a_cohort(name, tmp_path):
    mutations.write(files_of(name), tmp_path / "input")
    assert use(tiny_sources.FORMS[name], tmp_path / "input") == "read"


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile, on what the test writes
@pytest.mark.parametrize("name", tiny_sources.FORMS)
def test_damaged_input_is_read_or_refused_in_words(name, request, capsys):
    wanted = request.config.getoption("--fuzz")
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:

        @hypothesis.settings(
            max_examples=wanted or DEFAULT,
            derandomize=not wanted,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(mutations.of(files_of(name)))
        def damage(damaged):
            # A folder may be called as it likes: no name is a pattern.
            counts[outcome(name, damaged, pathlib.Path(folder) / "in[0-9] *?{put}")] += 1

        damage()
    assert sum(counts.values()) >= (wanted or DEFAULT)
    if wanted:
        _totals.update(counts)
        with capsys.disabled():
            print(f"\n{name}: {_told(counts)}; so far {_told(_totals)}")


def _told(counts: collections.Counter) -> str:
    parts = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    return f"{counts.total()} inputs ({parts})"


# What such runs found, each as small as it can be.


def written(name: str, folder: pathlib.Path, **changed: bytes) -> pathlib.Path:
    return mutations.write(files_of(name) | changed, folder / "input")


def test_first_row_in_place_of_a_lost_header_is_not_repeated(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"8840202,2150-01-01,{tiny_sources.SECRET}\n8840203,2150-01-02,x\n")
    with pytest.raises(errors.RecordsError, match="'hadm_id' is missing.*3 column.*header") as told:
        reading.read(path, {"hadm_id": pl.Int64})
    assert_discreet(str(told.value))
    path.write_text("8840202,8840202\n1,2\n")
    with pytest.raises(errors.RecordsError, match="names one column twice"):
        reading.read(path, {"hadm_id": pl.Int64})


@pytest.mark.parametrize("cell", ["8840202", "8840202.0", "-8840202"])
def test_identifier_in_a_column_of_times_is_not_repeated(tmp_path, cell):
    path = tmp_path / "t.csv"
    path.write_text(f"charttime\n{cell}\n")
    with pytest.raises(errors.RecordsError, match="a text of .* is not a date") as told:
        reading.read(path, {"charttime": pl.Datetime("us")})
    assert_discreet(str(told.value))


def test_identifier_in_a_column_of_flags_is_not_repeated(tmp_path):
    outcomes = files_of("physionet2012 folder")["Outcomes-a.txt"]
    odd = outcomes.replace(b",1\n", b",7730101\n", 1)
    with pytest.raises(errors.RecordsError, match="is another number, expected 0"):
        physionet2012.read(written("physionet2012 folder", tmp_path, **{"Outcomes-a.txt": odd}))


def test_parquet_pages_that_make_polars_panic_are_explained(tmp_path, monkeypatch):
    def panic(*args, **kwargs):
        raise pl.exceptions.PanicException("assertion failed: offset + length <= self.length")

    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    frame = reading.scan(tmp_path / "t.parquet", {"a": pl.Int64})
    monkeypatch.setattr(pl.LazyFrame, "collect_batches", panic)
    with pytest.raises(errors.RecordsError, match="t.parquet: is not a readable parquet file"):
        frame.collect()


def test_resource_nested_without_end_is_explained(tmp_path):
    deep = b'{"resourceType": "Patient", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    folder = written("fhir", tmp_path, **{"Patient.ndjson": deep})
    with pytest.raises(errors.RecordsError, match="Patient.ndjson: line 1 is nested too deeply"):
        fhir.read(folder)


def test_class_of_an_encounter_is_told_only_where_it_is_a_code(tmp_path):
    encounters = files_of("fhir")["Encounter.ndjson"]
    odd = encounters.replace(b'"IMP"', f'"Mr {tiny_sources.SECRET}"'.encode(), 1)
    records = fhir.read(written("fhir", tmp_path, **{"Encounter.ndjson": odd}))
    assert [n for rule, n in records.oddities.items() if "of odd spelling" in rule] == [1]
    assert_discreet(" ".join(records.oddities))


@pytest.mark.parametrize("value", [None, 1.5, ["x"], ""])
@pytest.mark.parametrize("key", ["source", "terms", "dated", "oddities"])
def test_tampered_description_of_our_own_layout_is_explained(tmp_path, key, value):
    about = json.loads(files_of("meds, our own layout")["metadata/ehr_jax.json"]) | {key: value}
    changed = {"metadata/ehr_jax.json": json.dumps(about).encode()}
    with pytest.raises(errors.RecordsError, match=f"ehr_jax.json: '{key}' is missing or not what"):
        meds.read(written("meds, our own layout", tmp_path, **changed))


def test_structures_in_a_further_column_of_a_shard_are_explained(tmp_path):
    folder = written("meds, our own layout", tmp_path)
    path = folder / "data" / "0.parquet"
    column = pl.struct("ehr_jax_position").alias("ehr_jax_position")
    pl.read_parquet(path).with_columns(column).write_parquet(path)
    with pytest.raises(errors.RecordsError, match="0.parquet: column 'ehr_jax_position' holds"):
        meds.read(folder)


def test_admission_of_another_code_in_our_own_layout_is_explained(tmp_path):
    folder = written("meds, our own layout", tmp_path)
    path = folder / "data" / "0.parquet"
    code = pl.col("code").str.replace("^HOSPITAL_ADMISSION.*", "HOSPITAL_ADMISSION")
    pl.read_parquet(path).with_columns(code).write_parquet(path)
    with pytest.raises(errors.RecordsError, match="3 admission.s. have another code"):
        meds.read(folder)


def test_rank_of_a_code_beyond_32_bits_is_unknown_and_counted(tmp_path):
    table = files_of("mimic3 csv")["DIAGNOSES_ICD.csv"]
    rank = table.splitlines()[0].split(b",").index(b"seq_num")
    rows = [line.split(b",") for line in table.splitlines()]
    rows[1][rank] = str(2**63 - 1).encode()
    odd = b"".join(b",".join(row) + b"\n" for row in rows)
    records = mimic3.read(written("mimic3 csv", tmp_path, **{"DIAGNOSES_ICD.csv": odd}))
    assert records.oddities["codes at a position beyond 2147483647, position unknown"] == 1
    assert records.codes["position"].drop_nulls().max() == 1


def test_length_of_stay_beyond_ten_years_is_unknown(tmp_path):
    outcomes = files_of("physionet2012 folder")["Outcomes-a.txt"]
    odd = outcomes.replace(b"6,1,5,5,", b"6,1,1e300,5,", 1)
    records = physionet2012.read(
        written("physionet2012 folder", tmp_path, **{"Outcomes-a.txt": odd})
    )
    rule = "lengths of stay unknown, end of the visit unknown"
    assert records.oddities[rule] == 1


def test_diagnosis_of_endless_length_is_named(tmp_path):
    table = files_of("diabetes130 csv")["diabetic_data.csv"].replace(b"250.83", b"9" * 200_000)
    records = diabetes130.read(written("diabetes130 csv", tmp_path, **{"diabetic_data.csv": table}))
    assert records.code_names["name"].str.len_chars().min() > 0


@pytest.mark.parametrize("number", ["9223372036854775808", "²", "x" * 200_000])
def test_number_of_the_ids_mapping_that_is_none_is_explained(tmp_path, number):
    mapping = f"admission_type_id,description\n{number},Emergency\n".encode()
    folder = written("diabetes130 csv", tmp_path, **{"IDs_mapping.csv": mapping})
    with pytest.raises(errors.RecordsError, match="IDs_mapping.csv: (line 2 is|cannot be read)"):
        diabetes130.read(folder)


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("labels", np.array([0, 1, 2**31, 1]), "'labels' holds 2147483648 at position 2"),
        ("features_shape", np.array([4, 2**40]), "'features_shape' is .* expected at most"),
    ],
)
def test_numbers_that_would_ask_for_all_memory_are_refused(tmp_path, name, value, said):
    with np.load(written("hypergraph npz", tmp_path) / "hypergraph.npz") as file:
        arrays = dict(file) | {name: value}
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(errors.RecordsError, match=said):
        hypergraph_file.read(tmp_path / "odd.npz")


def test_a_single_array_before_the_archive_is_refused(tmp_path):
    path = written("hypergraph npz", tmp_path) / "hypergraph.npz"
    np.save(tmp_path / "one.npy", np.zeros(3))
    path.write_bytes((tmp_path / "one.npy").read_bytes() + path.read_bytes())
    with pytest.raises(errors.RecordsError, match="it is no zip archive"):
        hypergraph_file.read(path)


def test_an_npz_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = written("hypergraph npz", tmp_path) / "hypergraph.npz"
    short, long = b"'shape': (4,), }" + b" " * 15, b"'shape': (400000000000000,), }"
    content = path.read_bytes().replace(short[:30], long[:30])
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(errors.RecordsError, match="cannot be read as an npz"):
        hypergraph_file.read(path)


def test_data_set_without_a_person_is_refused(tmp_path):
    table = files_of("omop csv")["person.csv"]
    folder = written("omop csv", tmp_path, **{"person.csv": table.splitlines(True)[0]})
    with pytest.raises(errors.RecordsError, match="6 row.s. .* is of a known person"):
        omop.read(folder)
