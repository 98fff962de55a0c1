import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.records import sources
from ehr_jax.records.diabetes130 import ids
from ehr_jax.records.diabetes130 import reader as diabetes130


@pytest.fixture(scope="session")
def real(data_root):
    return diabetes130.read(data_root / "diabetes_130")


def table(rows: list[dict]) -> str:
    """A small diabetic_data.csv: defaults overwritten by each row's values."""
    names = ["encounter_id", "patient_nbr", "readmitted", "diag_1", "diag_2", "diag_3"]
    names += [*ids.COLUMNS, *diabetes130.NUMBERS, *diabetes130.DRUGS]
    names += [n for n in diabetes130.TEXTS if n not in names]
    spelled = {"a1cresult": "A1Cresult", "diabetesmed": "diabetesMed"}
    default = dict.fromkeys(diabetes130.DRUGS, "No") | dict.fromkeys(diabetes130.NUMBERS, "1")
    default |= dict.fromkeys(ids.COLUMNS, "1")
    default |= {"readmitted": "NO", "age": "[70-80)", "gender": "Female", "a1cresult": "None"}
    lines = [",".join(spelled.get(name, name) for name in names)]
    for number, row in enumerate(rows):
        values = default | {"encounter_id": str(number), "patient_nbr": "7"} | row
        lines.append(",".join(values.get(name, "?") for name in names))
    return "\n".join(lines) + "\n"


def read(folder, rows):
    (folder / "diabetic_data.csv").write_text(table(rows))
    return diabetes130.read(folder)


def test_published_counts(real):
    assert real.visits.height == 101_766
    assert real.patients.height == 71_518
    assert real.visits["readmitted_30d"].sum() == 11_357
    ended = real.visits["disposition"].is_in(["died", "hospice"])
    assert real.visits.height - ended.sum() == 99_343
    repeated = real.visits.group_by("subject_id").len().filter(pl.col("len") > 1)
    assert (repeated.height, repeated["len"].max()) == (16_773, 40)


def test_published_counts_of_consecutive_pairs_with_cardiovascular_codes(real):
    number = pl.col("code").str.extract(r"^ICD9CM:(\d{3})").cast(pl.Int32)
    cvd = real.codes.group_by("visit_id").agg(number.is_between(390, 459).any().alias("cvd"))
    visits = real.visits.join(cvd, on="visit_id", how="left").sort("subject_id", "order")
    pairs = visits.select(
        pl.col("cvd").fill_null(False),
        pl.col("cvd").fill_null(False).shift(-1).over("subject_id").alias("next"),
    ).drop_nulls()
    assert (pairs.height, pairs["next"].sum()) == (30_248, 17_427)
    free = pairs.filter(~pl.col("cvd"))
    assert (free.height, free["next"].sum()) == (12_523, 4_304)


def test_outcome_and_identifiers_are_no_attribute(real):
    names = set(real.attributes["name"].unique())
    assert len(names) == len(diabetes130.TEXTS) + len(diabetes130.NUMBERS) == 21
    assert not [name for name in names if "readmi" in name or "encounter" in name]
    assert not set(real.attributes["text"].drop_nulls().unique()) & {"<30", ">30", "NO", "?"}


def test_every_code_is_named_and_zero_padded(real):
    assert real.code_names["name"].str.len_chars().min() > 3
    numeric = real.code_names["code"].str.extract(r"^ICD9CM:(\d+)$").drop_nulls()
    assert numeric.str.len_chars().min() == 3
    assert real.code_names.filter(code="ICD9CM:008").height == 1


def test_ids_mapping_file_equals_the_built_in_table(data_root, tmp_path):
    assert ids.decoding(data_root / "diabetes_130") == ids.decoding(tmp_path)


def test_upper_case_header_and_parquet_give_equal_records(data_root, tmp_path):
    name, columns = "diabetic_data", {"infer_schema": False, "n_rows": 3_000}
    rows = pl.read_csv(data_root / "diabetes_130" / f"{name}.csv.gz", **columns)
    for folder in ("lower", "upper", "parquet"):
        (tmp_path / folder).mkdir()
    rows.write_csv(tmp_path / "lower" / f"{name}.csv")
    rows.rename(str.upper).write_csv(tmp_path / "upper" / f"{name.upper()}.csv")
    rows.write_parquet(tmp_path / "parquet" / f"{name}.parquet")
    found = [sources.read("diabetes130", tmp_path / f) for f in ("lower", "upper", "parquet")]
    assert found[0].visits.height == 3_000
    assert len({sources.fingerprint(records) for records in found}) == 1


def test_one_encounter_reads_as_described(tmp_path):
    first = {"diag_1": "8", "diag_2": "250.83", "diag_3": "V1", "insulin": "Up", "race": "Asian"}
    first |= {"admission_type_id": "3", "admission_source_id": "4", "readmitted": "<30"}
    last = {"discharge_disposition_id": "11", "diag_1": "428", "diag_2": "428", "metformin": "Down"}
    records = read(tmp_path, [first, last | {"admission_source_id": "17"}])
    assert records.codes.select("visit_id", "code", "position").rows() == [
        (0, "DRUG:insulin up", None),
        (0, "ICD9CM:008", 1),
        (0, "ICD9CM:25083", 2),
        (0, "ICD9CM:V01", 3),
        (1, "DRUG:metformin down", None),
        (1, "ICD9CM:428", 1),
    ]
    names = dict(records.code_names.select("code", "name").rows())
    assert names["DRUG:insulin up"] == "insulin, dose increased"
    visit = records.visits.row(0, named=True)
    assert (visit["planned"], visit["transferred_in"], visit["readmitted_30d"]) == (True,) * 3
    assert (visit["age"], visit["disposition"], visit["start"]) == (75.0, "home", None)
    second = records.visits.row(1, named=True)
    assert (second["order"], second["disposition"], second["transferred_in"]) == (1, "died", None)
    assert records.oddities == {"diagnoses entered twice for one encounter, one kept": 1}
    facts = records.attributes.filter(visit_id=0)
    assert facts.filter(name="race")["text"].to_list() == ["Asian"]
    assert facts.filter(name="hemoglobin A1c in percent")["text"].to_list() == ["not measured"]
    assert facts.filter(name="payer").height == 0


def test_a_return_after_30_days_is_none_within_them(tmp_path):
    records = read(tmp_path, [{"readmitted": told} for told in ("<30", ">30", "NO")])
    assert records.visits.sort("visit_id")["readmitted_30d"].to_list() == [True, False, False]


@pytest.mark.parametrize(
    "rows, said",
    [
        (
            [{"encounter_id": "123454321", "race": race} for race in "ab"],
            "repeat a 'encounter_id'.*row 2",
        ),
        ([{"encounter_id": ""}], "row 1 has no value in column 'encounter_id'"),
        ([{"readmitted": "maybe"}], "'readmitted' holds 'maybe'; expected one of <30"),
        ([{"insulin": "Sometimes"}], "'insulin' holds 'Sometimes'; expected one of No, Up"),
        ([{"age": "seventy"}], "'age' holds 'seventy'; expected a ten-year band"),
        ([{"number_inpatient": "many"}], "row 1 .*'number_inpatient'.*number"),
        ([{"discharge_disposition_id": "home"}], "row 1 .*'discharge_disposition_id'.*number"),
        ([], "no visit was read"),
    ],
)
def test_bad_table_is_explained(tmp_path, rows, said):
    with pytest.raises(errors.RecordsError, match=said) as caught:
        read(tmp_path, rows)
    assert "123454321" not in str(caught.value)


def test_renamed_column_is_explained(tmp_path):
    text = table([{}]).replace("time_in_hospital", "hospital_time")
    (tmp_path / "diabetic_data.csv").write_text(text)
    with pytest.raises(errors.RecordsError, match="'time_in_hospital' is missing"):
        diabetes130.read(tmp_path)


@pytest.mark.parametrize("text, said", [("admission_type_id,description\n1,a\n", "no table for"),
                                        ("a,b,c\n", "line 1 is neither")])  # fmt: skip
def test_broken_ids_mapping_is_explained(tmp_path, text, said):
    (tmp_path / "IDs_mapping.csv").write_text(text)
    with pytest.raises(errors.RecordsError, match=said):
        read(tmp_path, [{}])


def test_question_mark_is_no_value_in_any_column_whatever_the_blanks(tmp_path):
    marked = {"race": "? ", "diag_1": " ?", "weight": "?", "num_procedures": " ? ", "insulin": "No"}
    marked |= {"admission_type_id": "?", "time_in_hospital": "?"}
    records = read(tmp_path, [marked])
    names = records.attributes["name"].to_list()
    assert not {"race", "number of procedures other than laboratory tests"} & set(names)
    assert not {"days in hospital", "admission type"} & set(names)
    assert records.codes.is_empty()
    texts = records.attributes["text"].drop_nulls()
    assert not texts.str.contains("?", literal=True).any()
