import dataclasses
import datetime
import json
import pathlib

import hospital
import hypothesis
import polars as pl
import pytest
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.features import known, vocabulary
from ehr_jax.records import sources
from ehr_jax.records.common import tables
from ehr_jax.records.diabetes130 import reader as diabetes130
from ehr_jax.records.meds import admissions as meds_admissions
from ehr_jax.records.meds import files, layout, patterns, writer
from ehr_jax.records.meds import reader as meds
from ehr_jax.records.mimic import mimic3, mimic4
from ehr_jax.synthetic import hospital as synthetic
from tests.left_behind import dead_temporary

EAGER = ("patients", "visits", "stays", "codes", "code_names", "attributes", "given_split")
EVENT_TYPES = [("subject_id", pl.Int64), ("time", pl.Datetime("us")), ("code", pl.String),
               ("numeric_value", pl.Float32), ("text_value", pl.String)]  # fmt: skip


def assert_equal(found: tables.Records, records: tables.Records) -> None:
    """Every table, number and text, whatever the order of rows."""
    for name in (*EAGER, "measurements", "notes"):
        one, other = (getattr(each, name).lazy().collect() for each in (found, records))
        one, other = (frame.sort(frame.columns, nulls_last=True) for frame in (one, other))
        assert one.equals(other), name
    for name in ("source", "terms", "dated"):
        assert getattr(found, name) == getattr(records, name)
    assert dict(found.oddities) == dict(records.oddities)


def assert_valid(folder: pathlib.Path) -> pl.DataFrame:
    """Checks the files by our own reading of the MEDS 0.4 schema; returns the events."""
    shards = sorted((folder / "data").rglob("*.parquet"))
    seen = set()
    for path in shards:
        frame = pl.read_parquet(path)
        assert list(frame.schema.items())[:5] == EVENT_TYPES
        assert frame["subject_id"].null_count() == frame["code"].null_count() == 0
        ordered = frame.sort("subject_id", "time", maintain_order=True)
        assert ordered.equals(frame)
        subjects = set(frame["subject_id"])
        assert not subjects & seen
        seen |= subjects
    events = pl.concat([pl.read_parquet(path) for path in shards])
    codes = pl.read_parquet(folder / "metadata" / "codes.parquet")
    kinds = {"code": pl.String, "description": pl.String, "parent_codes": pl.List(pl.String)}
    assert {name: codes.schema[name] for name in kinds} == kinds
    assert set(events["code"]) <= set(codes["code"])
    assert codes["code"].is_unique().all()
    split = pl.read_parquet(folder / "metadata" / "subject_splits.parquet")
    assert dict(split.schema) == {"subject_id": pl.Int64, "split": pl.String}
    assert json.loads((folder / "metadata" / "dataset.json").read_text())["meds_version"]
    return events


@pytest.fixture(scope="session")
def demo(data_root):
    return mimic3.read(data_root / "mimic_iii_demo_1.4")


@pytest.fixture(scope="session")
def demo_folder(demo, tmp_path_factory):
    return writer.write(demo, tmp_path_factory.mktemp("meds") / "demo", subjects_a_shard=30)


@pytest.fixture(scope="session")
def small():
    """40 patients with notes, and a split of the source's own."""
    made = synthetic.generate(40, seed=1)
    split = made.patients.select("subject_id").with_columns(
        split=pl.Series(["train"] * 28 + ["validation"] * 6 + ["test"] * 6)
    )
    return dataclasses.replace(made, given_split=split, dated=False, oddities={"odd": 3})


def test_round_trip_of_the_demo_keeps_every_table(demo, demo_folder):
    found = meds.read(demo_folder)
    assert_equal(found, demo)
    assert sources.fingerprint(found) == sources.fingerprint(demo)
    assert len(list((demo_folder / "data").iterdir())) == 4
    assert_valid(demo_folder)


@pytest.mark.parametrize("task", ["phenotype_next", "readmission30", "mortality"])
def test_round_trip_of_the_demo_keeps_cohorts_and_features(demo, demo_folder, task):
    found = meds.read(demo_folder)
    cohorts = [tasks.build(records, task) for records in (demo, found)]
    assert cohorts[0].samples.equals(cohorts[1].samples)
    assert cohorts[0].excluded == cohorts[1].excluded
    fitted, nodes = [], []
    for records, cohort in zip((demo, found), cohorts, strict=True):
        codes = known.codes(records, cohort)
        facts = known.attributes(records, cohort)
        if task == "mortality":
            facts = pl.concat([facts, known.last_measurements(records, cohort)])
        training = cohort.samples.filter(split="train")["sample_id"]
        bins = vocabulary.fit_bins(facts, training, 5)
        extra, names = vocabulary.attribute_nodes(facts, bins)
        pairs = pl.concat([codes.select("sample_id", "code"), extra]).unique()
        names = pl.concat([records.code_names, names])
        fitted.append(vocabulary.fit(pairs, names, training, 2))
        nodes.append((pairs.sort("sample_id", "code"), codes.sort(codes.columns)))
    assert len(fitted[0].codes) > 20 and fitted[0] == fitted[1]
    assert all(one.equals(other) for one, other in zip(*nodes, strict=True))


def test_round_trip_of_a_small_hospital_with_notes(small, tmp_path):
    folder = writer.write(small, tmp_path / "out", subjects_a_shard=7)
    assert small.notes.collect().height > 100
    assert_equal(meds.read(folder), small)
    events = assert_valid(folder)
    split = pl.read_parquet(folder / "metadata" / "subject_splits.parquet")
    assert dict(split["split"].value_counts().rows()) == {"train": 28, "tuning": 6, "held_out": 6}
    assert events.filter(pl.col("code").str.starts_with("NOTE//"))["text_value"].null_count() == 0


def test_written_files_pass_the_meds_package(small, tmp_path):
    schemas = pytest.importorskip("meds")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = writer.write(small, tmp_path / "out", subjects_a_shard=20)
    for path in (folder / "data").iterdir():
        schemas.DataSchema.validate(parquet.read_table(path))
    metadata = folder / "metadata"
    schemas.CodeMetadataSchema.validate(parquet.read_table(metadata / "codes.parquet"))
    schemas.SubjectSplitSchema.validate(parquet.read_table(metadata / "subject_splits.parquet"))
    schemas.DatasetMetadataSchema.validate(json.loads((metadata / "dataset.json").read_text()))


def test_undated_visits_keep_their_order_and_show_no_outcome_as_an_event(tmp_path):
    visits = [
        hospital.visit(1, None, None, "4280", readmitted_30d=True, disposition="died"),
        hospital.visit(1, None, None, "25000", readmitted_30d=False, planned=None),
        hospital.visit(2, None, None, "4280", "4019", age=None, transferred_in=True),
    ]
    records = dataclasses.replace(hospital.records(visits), dated=False)
    folder = writer.write(records, tmp_path / "out")
    assert_equal(meds.read(folder), records)
    events = assert_valid(folder)
    assert events["time"].null_count() == events.height
    assert not events["code"].str.contains("DISCHARGE|DIED|(?i)readmi").any()


def test_no_event_is_known_before_the_records_say(tmp_path):
    visit = hospital.visit(1, 0, 5, "4280")
    records = hospital.records([visit, hospital.visit(1, 9, None, "4019")])
    note = {"visit_id": 0, "time": hospital.day(3), "date_only": True, "category": None, "text": ""}
    records = dataclasses.replace(
        records, notes=pl.DataFrame([note], schema=tables.NOTES, orient="row").lazy()
    )
    folder = writer.write(records, tmp_path / "out")
    assert_equal(meds.read(folder), records)
    times = dict(assert_valid(folder).select("code", "time").rows())
    assert times["DIAGNOSIS//ICD//9//4280"] == hospital.day(5)
    assert times["NOTE//UNKNOWN"] == hospital.day(4) - datetime.timedelta(seconds=1)
    assert times["DIAGNOSIS//ICD//9//4019"] == hospital.day(9)


def test_numbers_texts_and_codes_of_any_kind_come_back(tmp_path):
    records = hospital.records([hospital.visit(1, 0, 5, "4280")], stays=[(0, 1, None)])
    odd = ["DRUG:a//b", "DRUG:START", "SNOMED:1//2", "nosystem", "ICD9CM:D//x:y", "RXNORM:UNK"]
    kinds = ["drug", "procedure", "diagnosis", "drug", "drug", "drug"]
    names = pl.DataFrame({"code": odd, "kind": kinds, "name": [None, *odd[1:]]})
    times = [None, hospital.day(1), None, None, None, None]
    codes = {"visit_id": [0] * 6, "code": odd, "time": times, "position": [None, 1, 2, 3, 4, 5]}
    attributes = {"visit_id": [0, 0], "name": ["x//y", "z"], "text": ["", None],
                  "number": [None, 0.1], "time": [None, hospital.day(7)]}  # fmt: skip
    values = [0.1, 1e300, float("nan"), float("inf"), -0.0, 3.0]
    units = ["a//b", None, "", "UNK", " ", "mg"]
    times = [None, *[hospital.day(2)] * 5]
    measured = {"visit_id": [0] * 6, "stay_id": [0, None] * 3, "time": times,
                "variable": ["LAB:1", "CHART:2", "LAB:x//y", "a b", "LAB", ":"],
                "value": values, "unit": units}  # fmt: skip
    records = dataclasses.replace(
        records,
        codes=pl.concat([records.codes, pl.DataFrame(codes, schema=tables.CODES)]),
        code_names=pl.concat([records.code_names, names.cast(tables.CODE_NAMES)]),
        attributes=pl.DataFrame(attributes, schema=tables.ATTRIBUTES),
        measurements=pl.DataFrame(measured, schema=tables.MEASUREMENTS).lazy(),
    )
    assert_equal(meds.read(writer.write(records, tmp_path / "out")), records)


def test_events_of_our_own_layout_have_an_account(small, tmp_path):
    folder = writer.write(small, tmp_path / "out")
    events = pl.concat([pl.read_parquet(path) for path in (folder / "data").rglob("*.parquet")])
    assert meds.read(folder).accounts == {"events": {"read": events.height, "kept": events.height}}
    shard = next((folder / "data").rglob("*.parquet"))
    table, notes = pl.col("ehr_jax_table"), events.filter(ehr_jax_table="notes").height
    other = pl.when(table == "notes").then(pl.lit("letters")).otherwise(table)
    pl.read_parquet(shard).with_columns(ehr_jax_table=other).write_parquet(shard)
    (account,) = meds.read(folder).accounts.values()
    (rule,) = account.keys() - {"read", "kept"}
    assert account[rule] == account["read"] - account["kept"] == notes > 0
    assert meds.read(folder).oddities[rule] == notes


def test_a_folder_of_records_is_private_and_a_killed_start_is_cleared(small, tmp_path):
    left = tmp_path / dead_temporary("out") / "data"
    left.mkdir(parents=True)
    (left / "half.parquet").touch()
    folder = writer.write(small, tmp_path / "out")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (folder / "data" / "half.parquet").exists()


def test_a_folder_that_holds_something_is_refused_and_a_failure_leaves_nothing(small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(errors.RecordsError, match="already exists and is not empty"):
        writer.write(small, tmp_path / "out")
    lost = small.notes.with_columns(visit_id=pl.lit(-1, pl.Int64))
    with pytest.raises(errors.RecordsError, match="row.s. of notes are of a visit or patient"):
        writer.write(dataclasses.replace(small, notes=lost), tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_two_codes_of_one_spelling_are_refused(tmp_path):
    records = hospital.records([hospital.visit(1, 0, 5, "4280")])
    other = pl.DataFrame(
        [("ICD:9//4280", "diagnosis", "x")], schema=tables.CODE_NAMES, orient="row"
    )
    records = dataclasses.replace(records, code_names=pl.concat([records.code_names, other]))
    with pytest.raises(errors.RecordsError, match="ICD9CM:4280, ICD:9//4280 would both be"):
        writer.write(records, tmp_path / "out")


def test_a_dropped_column_of_our_own_layout_is_explained(small, tmp_path):
    folder = writer.write(small, tmp_path / "out")
    path = folder / "data" / "0.parquet"
    pl.read_parquet(path).drop("ehr_jax_time").write_parquet(path)
    with pytest.raises(errors.RecordsError, match="0.parquet: column 'ehr_jax_time' is missing"):
        meds.read(folder)
    # Without the promise the data set reads by the conventions of others.
    (folder / "metadata" / layout.ABOUT).unlink()
    found = meds.read(folder)
    shown = ["visit_id", "subject_id", "order", "start", "end", "disposition", "planned"]
    assert found.visits.select(shown).equals(small.visits.select(shown))
    assert found.stays.sort("stay_id").equals(small.stays.sort("stay_id"))
    keys = ["visit_id", "code"]
    assert found.codes.select(keys).sort(keys).equals(small.codes.select(keys).sort(keys))
    assert found.measurements.collect().height == small.measurements.collect().height


# A patient of two visits as the MIMIC-IV ETL writes one: (time, code, hadm_id, number, text).
DAY = "2150-01-{:02} 10:00:00".format
EXTERNAL = [
    (None, "GENDER//F", None, None, None),
    ("2100-01-01 00:00:00", "MEDS_BIRTH", None, None, None),
    (DAY(2), "HOSPITAL_ADMISSION//EW EMER.//TRANSFER FROM HOSPITAL", 10, None, None),
    (DAY(2), "LAB//50868//mEq/L", None, 20.5, "20.5"),
    (DAY(3), "ICU_ADMISSION//MICU", 10, None, None),
    (DAY(3), "LAB//220045//bpm", 10, 88.0, "88"),
    (DAY(3), "LAB//51000//UNK", 10, None, "see comment"),
    (DAY(3), "MEDICATION//START//Heparin", None, None, None),
    (DAY(3), "MEDICATION//Aspirin//Administered", 10, None, None),
    (DAY(3), "MEDICATION//Insulin//Not Given", 10, None, None),
    (DAY(3), "INFUSION_START//221906", 10, 0.1, None),
    (DAY(4), "MEDICATION//Heparin//Administered", 10, None, None),
    (DAY(4), "MEDICATION//UNK//Administered", 10, None, None),
    (DAY(4), "Weight (Lbs)", 10, 150.0, "150"),
    (DAY(4), "NOTE//Nursing", 10, None, "Doing well."),
    (DAY(5), "ICU_DISCHARGE//MICU", 10, None, None),
    (DAY(4), "PROCEDURE//ICD//10//5A1221Z", 10, None, None),
    (DAY(6), "DIAGNOSIS//ICD//10//I50.9", 10, None, None),
    (DAY(6), "DIAGNOSIS//ICD//9//4280", 10, None, None),
    (DAY(6), "HOSPITAL_DISCHARGE//SKILLED NURSING FACILITY", 10, None, None),
    (DAY(8), "LAB//50868//mEq/L", None, 21.0, "21"),
    (DAY(8), "MEDICATION//START//Outpatient", None, None, None),
    (DAY(9), "HOSPITAL_ADMISSION//ELECTIVE//UNK", 11, None, None),
    (DAY(9), "DRG//HCFA//291", 11, None, None),
    (DAY(12), "HOSPITAL_DISCHARGE//DIED", 11, None, None),
    (DAY(12), "DIAGNOSIS//SNOMED//84114007", 11, None, None),
    ("2150-01-12 00:00:00", "MEDS_DEATH", None, None, None),
]


def external(folder: pathlib.Path, rows=EXTERNAL, ids=True, subject=1, **columns) -> pathlib.Path:
    """Writes `rows` as the one shard of a data set."""
    frame = pl.DataFrame(
        rows, schema=["time", "code", "hadm_id", "numeric_value", "text_value"], orient="row",
        infer_schema_length=None,
    ).select(
        pl.lit(subject, pl.Int64).alias("subject_id"),
        pl.col("time").str.to_datetime(time_unit="us"),
        "code",
        pl.col("numeric_value").cast(pl.Float32),
        "text_value",
        pl.col("hadm_id").cast(pl.Int64),
        race=pl.when(pl.col("code").str.starts_with("HOSPITAL_ADM")).then(pl.lit("WHITE")),
        **columns,
    ).sort("time", maintain_order=True)  # fmt: skip
    path = folder / "data" / "train" / "0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    (frame if ids else frame.drop("hadm_id")).write_parquet(path)
    return folder


def write_metadata(folder: pathlib.Path, splits=((1, "train"),)) -> pathlib.Path:
    metadata = folder / "metadata"
    metadata.mkdir()
    pl.DataFrame(
        {"code": ["DIAGNOSIS//ICD//10//I50.9"], "description": ["Heart failure, unspecified"],
         "parent_codes": [["ICD10CM/I50.9"]]}
    ).write_parquet(metadata / "codes.parquet")  # fmt: skip
    split = pl.DataFrame(splits, schema=tables.GIVEN_SPLIT, orient="row")
    split.write_parquet(metadata / "subject_splits.parquet")
    about = {"dataset_name": "MIMIC-IV", "dataset_version": "3.1", "license": "credentialed"}
    (metadata / "dataset.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("ids", [True, False])
def test_external_data_set_reads_by_id_and_by_time_alike(tmp_path, ids):
    records = meds.read(write_metadata(external(tmp_path, ids=ids)))
    first, second = records.visits.rows(named=True)
    visit = first["visit_id"]
    assert visit == (10 if ids else 0)
    assert (str(first["start"]), str(first["end"])) == (DAY(2), DAY(6))
    shown = ("order", "disposition", "planned", "transferred_in")
    assert [first[name] for name in shown] == [0, "facility", False, True]
    assert [second[name] for name in shown] == [1, "died", True, None]
    assert first["age"] == pytest.approx(50, abs=0.01)
    patient = records.patients.row(0, named=True)
    assert (patient["sex"], str(patient["death_time"])) == ("F", DAY(12))
    codes = {row[1]: row for row in records.codes.sort("code").rows()}
    times = {code: row[2] and str(row[2]) for code, row in codes.items()}
    assert times == {
        "DRUG:Aspirin": DAY(3),
        "DRUG:Heparin": DAY(3),
        "ICD10CM:I509": None,
        "ICD10PCS:5A1221Z": None,
        "ICD9CM:4280": None,
        "ITEM:221906": DAY(3),
        "SNOMED:84114007": DAY(12),
    }
    assert {row[0] for code, row in codes.items() if code != "SNOMED:84114007"} == {visit}
    names = dict(records.code_names.select("code", "name").rows())
    assert names["ICD10CM:I509"] == "Heart failure, unspecified"
    assert names["DRUG:Heparin"] == "Heparin"
    stay = records.stays.row(0, named=True)
    assert (stay["visit_id"], stay["unit"], str(stay["end"])) == (visit, "MICU", DAY(5))
    measured = records.measurements.collect().sort("time", "variable")
    assert measured.select("visit_id", "variable", "value", "unit").rows() == [
        (visit, "LAB:50868", 20.5, "mEq/L"),
        (visit, "CHART:220045", 88.0, "bpm"),
        (visit, "Weight (Lbs)", 150.0, None),
    ]
    note = records.notes.collect().row(0, named=True)
    assert (note["category"], note["text"], note["date_only"]) == ("Nursing", "Doing well.", False)
    facts = records.attributes.filter(visit_id=visit).select("name", "text").rows()
    assert dict(facts) == {"admission type": "ew emer.", "race": "white", "sex": "female",
                           "admission location": "transfer from hospital", "age": None}  # fmt: skip
    assert records.given_split.rows() == [(1, "train")]
    assert records.terms == "MEDS copy of MIMIC-IV 3.1: credentialed"
    assert (records.source, records.dated) == ("meds", True)


def test_of_several_discharges_of_a_visit_the_last_counts(tmp_path):
    again = (DAY(7), "HOSPITAL_DISCHARGE//HOME", 10, None, None)
    visits = meds.read(external(tmp_path, [*EXTERNAL, again])).visits.filter(visit_id=10)
    assert visits["end"].to_list() == [datetime.datetime(2150, 1, 7, 10)]
    assert visits["disposition"].to_list() == ["home"]


def test_data_set_without_metadata_reads_with_the_strictest_terms(tmp_path):
    records = meds.read(external(tmp_path))
    assert "treat it as credentialed" in records.terms
    assert records.given_split.is_empty()


def with_rows(*rows):
    return [*EXTERNAL, *((*row, *[None] * (5 - len(row))) for row in rows)]


def without(*codes):
    return [row for row in EXTERNAL if not row[1].startswith(codes)]


ODD = {
    "events before the patient's birth": with_rows(("2090-01-01 00:00:00", "LAB//1//g", 10, 1.0)),
    "events after the day of the patient's death": with_rows((DAY(20), "LAB//1//g", 11, 1.0)),
    "coded events of no visit": with_rows((DAY(8), "MEDICATION//START//B"))[:-1]
    + [(DAY(8), "MEDICATION//START//B", 99, None, None)],
    "coded events after the discharge": with_rows((DAY(11), "INFUSION_START//9", 10)),
    "visits without an end, outcome unknown": without("HOSPITAL_DISCHARGE//SKILLED"),
    "deaths told more than a day outside the visit": without("MEDS_DEATH")
    + [("2150-01-04 01:00:00", "MEDS_DEATH", None, None, None)],
    "deaths before the last visit": without("MEDS_DEATH", "HOSPITAL_DISCHARGE//DIED")
    + [
        ("2150-01-04 01:00:00", "MEDS_DEATH", None, None, None),
        (DAY(12), "HOSPITAL_DISCHARGE//HOME", 11, None, None),
    ],
    "births after admission": without("MEDS_BIRTH")
    + [("2150-01-07 00:00:00", "MEDS_BIRTH", None, None, None)],
    "ages over 130 at admission": without("MEDS_BIRTH")
    + [("1950-01-01 00:00:00", "MEDS_BIRTH", None, None, None)],
    "patients given two sexes": with_rows((None, "GENDER//M")),
    "events of admission without a time": with_rows((None, "HOSPITAL_ADMISSION//X//Y", 12)),
    "events of admission repeating a visit_id": with_rows((DAY(3), "HOSPITAL_ADMISSION//X", 10)),
    "events of admission without a visit_id": with_rows((DAY(8), "HOSPITAL_ADMISSION//X")),
    "discharges before admission": without("HOSPITAL_DISCHARGE//SKILLED")
    + [(DAY(1), "HOSPITAL_DISCHARGE//HOME", 10, None, None)],
    "ICU stays of no visit": with_rows(
        (DAY(20), "ICU_ADMISSION//X"), (DAY(21), "ICU_DISCHARGE//X")
    ),
    "visits that begin before 1900": with_rows(
        ("0001-01-01 00:00:00", "HOSPITAL_ADMISSION//X", 12)
    ),
    "visits that last longer than ten years": without("HOSPITAL_DISCHARGE//SKILLED")
    + [("2510-01-06 10:00:00", "HOSPITAL_DISCHARGE//HOME", 10, None, None)],
    "codes standing more than once": with_rows((DAY(5), "MEDICATION//START//Aspirin", 10)),
}


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return meds.read(external(tmp_path_factory.mktemp("usual"))).oddities


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_counted(tmp_path, usual, rule):
    records = meds.read(external(tmp_path / "odd", ODD[rule]))
    counted = {r: n - usual.get(r, 0) for r, n in records.oddities.items() if n != usual.get(r, 0)}
    assert [n for r, n in counted.items() if r.startswith(rule)] and min(counted.values()) >= 1
    visits = records.visits.drop_nulls(["age", "end"])
    assert (visits["start"] <= visits["end"]).all() and (visits["age"] >= 0).all()


def test_of_several_discharges_of_a_visit_the_last_ends_it(tmp_path):
    early = [(DAY(4), "HOSPITAL_DISCHARGE//HOME", 10, None, None)]
    for name, rows in (("after", EXTERNAL + early), ("before", early + EXTERNAL)):
        folder = external(tmp_path / name, rows)
        visit = meds.read(folder).visits.filter(visit_id=10).row(0, named=True)
        assert (str(visit["end"]), visit["disposition"]) == (DAY(6), "facility")


def test_visits_that_touch_share_their_moment_by_the_one_that_ends(tmp_path):
    rows = [
        (DAY(2), "HOSPITAL_ADMISSION//X//Y", None, None, None),
        (DAY(2), "MEDICATION//START//At start", None, None, None),
        (DAY(4), "DIAGNOSIS//X//At the moment", None, None, None),
        (DAY(4), "HOSPITAL_DISCHARGE//HOME", None, None, None),
        (DAY(4), "HOSPITAL_ADMISSION//X//Y", None, None, None),
        (DAY(5), "DIAGNOSIS//X//Later", None, None, None),
        (DAY(6), "HOSPITAL_DISCHARGE//HOME", None, None, None),
        (DAY(7), "HOSPITAL_ADMISSION//X//Y", None, None, None),
        (DAY(8), "HOSPITAL_ADMISSION//X//Y", None, None, None),
        (DAY(9), "HOSPITAL_DISCHARGE//HOME", None, None, None),
    ]
    records = meds.read(external(tmp_path, rows, ids=False))
    ends = [str(time) for time in records.visits["end"]]
    assert ends == [DAY(4), DAY(6), "None", DAY(9)]
    codes = records.codes.join(records.visits, on="visit_id").select("code", "order").sort("code")
    assert codes.rows() == [("DRUG:At start", 0), ("X:At the moment", 0), ("X:Later", 1)]
    assert records.oddities["visits without an end, outcome unknown"] == 1


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    gaps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=5),
    minutes=st.lists(st.integers(0, 25), min_size=1, max_size=8),
)
def test_event_is_of_the_visit_open_at_its_time(gaps, minutes):
    ends, at = [], 0
    for gap, length in gaps:
        ends.append((at + gap, at + gap + length))
        at += gap + length
    at = pl.from_epoch(pl.Series(range(30)) * 60, "s").cast(tables.TIME)
    visits = pl.DataFrame({"visit_id": range(len(ends)), "subject_id": [1] * len(ends)})
    visits = visits.with_columns(start=at[[s for s, _ in ends]], end=at[[e for _, e in ends]])
    events = pl.DataFrame({"subject_id": 1, "time": at[minutes]}).with_columns(
        visit_id=pl.lit(None, pl.Int64), row=pl.int_range(pl.len())
    )
    found = meds_admissions.linked(events.lazy(), meds_admissions.spans(visits)).collect()
    for row, minute in enumerate(minutes):
        held = found.filter(row=row)["visit_id"].to_list()
        within = [k for k, (start, end) in enumerate(ends) if start <= minute <= end]
        # Several only where they touch; then the first that had begun before.
        begun = [k for k in within if ends[k][0] < minute]
        assert len(held) == bool(within)
        assert not held or held[0] in (begun[:1] or within)


def test_shards_of_different_further_columns_read_together(tmp_path):
    external(tmp_path)
    external(tmp_path / "b", ids=False, subject=2, other=pl.lit("x"))
    (tmp_path / "b/data/train/0.parquet").rename(tmp_path / "data/1.parquet")
    records = meds.read(tmp_path)
    assert records.visits.select("subject_id").to_series().to_list() == [1, 1]
    assert records.oddities["events of admission without a visit_id, left out"] == 2


def change(folder: pathlib.Path, *expressions, drop=()) -> None:
    path = folder / "data" / "train" / "0.parquet"
    pl.read_parquet(path).with_columns(*expressions).drop(drop).write_parquet(path)


BAD = {
    "data/train/0.parquet: column 'time' is of type String, expected timestamp": lambda f: change(
        f, pl.col("time").cast(pl.String)
    ),
    "data/train/0.parquet: column 'numeric_value' is of type Float64, expected float32": (
        lambda f: change(f, pl.col("numeric_value").cast(pl.Float64))
    ),
    "data/train/0.parquet: column 'subject_id' is of type Int32, expected int64": lambda f: change(
        f, pl.col("subject_id").cast(pl.Int32)
    ),
    "data/train/0.parquet: column 'code' is missing": lambda f: change(f, drop="code"),
    "'hadm_id' is of type String and 4 of its values are not whole numbers": lambda f: change(
        f, pl.when(pl.col("hadm_id") == 11).then(pl.lit("x")).otherwise("hadm_id").alias("hadm_id")
    ),
    "data/train/0.parquet: is not a readable parquet file": lambda f: (
        f / "data/train/0.parquet"
    ).write_bytes(b"PAR1 torn"),
    "has an empty 'data'": lambda f: (f / "data/train/0.parquet").unlink(),
    "no HOSPITAL_ADMISSION// event.*begin LAB": lambda f: external(
        f, [row for row in EXTERNAL if row[1].startswith("LAB")]
    ),
    "subject_splits.parquet: 1 subject.* in two splits": lambda f: pl.DataFrame(
        {"subject_id": [1, 1], "split": ["train", "held_out"]}
    ).write_parquet(f / "metadata/subject_splits.parquet"),
    "subject_splits.parquet: column 'split' is missing": lambda f: pl.DataFrame(
        {"subject_id": [1]}
    ).write_parquet(f / "metadata/subject_splits.parquet"),
    "metadata/dataset.json: is not readable JSON": lambda f: (
        f / "metadata/dataset.json"
    ).write_text("{"),
    "metadata/codes.parquet: is not a readable parquet": lambda f: (
        f / "metadata/codes.parquet"
    ).write_bytes(b"x"),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_file_is_explained(tmp_path, said):
    folder = write_metadata(external(tmp_path))
    BAD[said](folder)
    with pytest.raises(errors.RecordsError, match=said):
        meds.read(folder)


def test_missing_folder_and_missing_data_are_explained(tmp_path):
    with pytest.raises(errors.RecordsError, match="does not exist"):
        meds.read(tmp_path / "none")
    with pytest.raises(errors.RecordsError, match="has no 'data' folder"):
        meds.read(tmp_path)


def test_a_shard_torn_in_its_middle_is_explained(tmp_path):
    path = external(tmp_path) / "data" / "train" / "0.parquet"
    tear(path)
    with pytest.raises(errors.RecordsError, match="data/train/0.parquet: is not a readable"):
        meds.read(tmp_path).measurements.collect(engine="streaming")


def test_a_shard_that_changes_after_it_was_found_is_refused_when_it_is_read(tmp_path):
    measurements = meds.read(external(tmp_path)).measurements
    tear(tmp_path / "data" / "train" / "0.parquet")
    with pytest.raises(errors.RecordsError, match="0.parquet: the file changed while it was read"):
        measurements.collect(engine="streaming")


def tear(path: pathlib.Path) -> None:
    """Overwrites half of a file and leaves its ends."""
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])


def test_unknown_splits_and_unknown_subjects_are_counted(tmp_path):
    splits = [(1, "tuning"), (2, "train"), (3, "my_split")]
    records = meds.read(write_metadata(external(tmp_path), splits))
    assert records.given_split.rows() == [(1, "validation")]
    assert records.oddities["subjects with a split and without events, left out"] == 1
    assert sum(n for rule, n in records.oddities.items() if "other than train" in rule) == 1


@pytest.mark.parametrize("rows", [0, 1, 5, 10_000])
def test_scan_gives_as_many_rows_as_asked(tmp_path, rows):
    external(tmp_path)
    external(tmp_path / "b", subject=2)
    (tmp_path / "b/data/train/0.parquet").rename(tmp_path / "data/1.parquet")
    lazy = files.scan(tmp_path, files.find(tmp_path), files.EVENTS)
    whole = lazy.collect()
    assert lazy.head(rows).collect().equals(whole.head(rows))
    picked = lazy.filter(pl.col("subject_id") == 2).select("code").head(rows).collect()
    assert picked.equals(whole.filter(subject_id=2).select("code").head(rows))


def as_the_etl_does(root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Writes the small tables of MIMIC-IV as its MEDS ETL turns them into events."""

    def table(name):
        return pl.read_csv(root / f"{name}.csv.gz", infer_schema_length=None)

    def code(*parts):
        return pl.concat_str([pl.col(p).cast(pl.String).fill_null("UNK") if p.islower() else
                              pl.lit(p) for p in parts], separator="//")  # fmt: skip

    def events(frame, code, time, *further, form="%Y-%m-%d %H:%M:%S"):
        at = pl.lit(None, pl.Datetime("us"))
        if time:
            at = pl.col(time).cast(pl.String).str.to_datetime(form, time_unit="us")
        frame = frame.select("subject_id", *further, time=at, code=code)
        return frame if time is None else frame.drop_nulls("time")

    admissions, people = table("hosp/admissions"), table("hosp/patients")
    stays = table("icu/icustays").rename({"stay_id": "icustay_id"})
    left = admissions.select("hadm_id", "dischtime")
    diagnoses = table("hosp/diagnoses_icd").join(left, on="hadm_id")
    drugs = table("hosp/prescriptions")
    born = people.with_columns(year=pl.col("anchor_year") - pl.col("anchor_age"))
    deaths = admissions.group_by("subject_id").agg(pl.col("deathtime").drop_nulls().max())
    dead = people.join(deaths, on="subject_id", how="left").with_columns(
        died=pl.coalesce("deathtime", pl.col("dod") + " 00:00:00")
    )
    texts = ("insurance", "marital_status", "race")
    parts = [
        events(people, code("GENDER", "gender"), None),
        events(born, pl.lit("MEDS_BIRTH"), "year", form="%Y"),
        events(dead, pl.lit("MEDS_DEATH"), "died"),
        events(admissions, code("HOSPITAL_ADMISSION", "admission_type", "admission_location"),
               "admittime", "hadm_id", *texts),
        events(admissions, code("HOSPITAL_DISCHARGE", "discharge_location"), "dischtime",
               "hadm_id"),
        events(diagnoses, code("DIAGNOSIS", "ICD", "icd_version", "icd_code"), "dischtime",
               "hadm_id", "seq_num"),
        events(table("hosp/procedures_icd"), code("PROCEDURE", "ICD", "icd_version", "icd_code"),
               "chartdate", "hadm_id", "seq_num", form="%Y-%m-%d"),
        events(drugs, code("MEDICATION", "START", "drug"), "starttime", "hadm_id"),
        events(stays, code("ICU_ADMISSION", "first_careunit"), "intime", "hadm_id", "icustay_id"),
        events(stays, code("ICU_DISCHARGE", "last_careunit"), "outtime", "hadm_id", "icustay_id"),
    ]  # fmt: skip
    joined = pl.concat(parts, how="diagonal_relaxed").sort("subject_id", "time")
    (folder / "data").mkdir()
    late = joined["subject_id"] >= 10_015_000
    joined.filter(late).write_parquet(folder / "data" / "0.parquet")
    joined.filter(~late).write_parquet(folder / "data" / "1.parquet")
    return folder


@pytest.fixture(scope="session")
def twins(data_root, tmp_path_factory):
    """The MIMIC-IV demo, read from its own files and from a MEDS copy."""
    root = data_root / "mimic_iv_demo_2.2"
    return mimic4.read(root), meds.read(as_the_etl_does(root, tmp_path_factory.mktemp("mimic4")))


def test_meds_copy_of_mimic4_has_the_same_visits_stays_codes_and_facts(twins):
    own, copy = twins
    assert copy.visits.equals(own.visits)
    assert copy.stays.equals(own.stays)
    shown = ["subject_id", "sex", "death_time"]
    assert copy.patients.select(shown).equals(own.patients.select(shown))
    keys = ["visit_id", "code"]
    ours, theirs = (each.codes.sort(keys) for each in twins)
    assert theirs.select(keys).equals(ours.select(keys))
    billed = pl.col("code").str.starts_with("ICD")
    assert theirs.filter(billed).equals(ours.filter(billed))
    # The one reader takes the clock time of an order, the other the end of its day.
    later = ours["time"] - theirs["time"]
    assert later.drop_nulls().is_between(pl.duration(days=0), pl.duration(days=1)).all()
    facts = ["visit_id", "name", "text", "number", "time"]
    ours, theirs = (each.attributes.select(facts).sort(facts) for each in twins)
    assert theirs.equals(ours)


@pytest.mark.parametrize("task", ["mortality", "readmission30"])
def test_meds_copy_of_mimic4_has_the_same_cohort(twins, task):
    ours, theirs = (tasks.build(records, task) for records in twins)
    assert theirs.samples.equals(ours.samples)
    assert theirs.excluded == ours.excluded


def test_undated_real_set_comes_back(data_root, tmp_path):
    root = tmp_path / "part"
    root.mkdir()
    name = next((data_root / "diabetes_130").glob("diabetic_data*"))
    pl.read_csv(name, infer_schema=False, n_rows=2000).write_csv(root / "diabetic_data.csv")
    records = diabetes130.read(root)
    assert records.visits["order"].max() > 0
    assert_equal(meds.read(writer.write(records, tmp_path / "out")), records)


SPELLED = {
    # code: role, our spelling, kind
    "DIAGNOSIS//ICD//9//4280": ("billed", "ICD9CM:4280", "diagnosis"),
    "DIAGNOSIS//ICD9//428.0": ("billed", "ICD9CM:428.0", "diagnosis"),
    "DIAGNOSIS//ICD-9-CM//428.0": ("billed", "ICD9CM:428.0", "diagnosis"),
    "DIAGNOSIS//ICD10//I50.9": ("billed", "ICD10CM:I50.9", "diagnosis"),
    "ICD9CM//428.0": ("billed", "ICD9CM:428.0", "diagnosis"),
    "ICD9CM/4280": ("billed", "ICD9CM:4280", "diagnosis"),
    "ICD9CM:4280": ("billed", "ICD9CM:4280", "diagnosis"),
    "icd10cm//I50.9": ("billed", "ICD10CM:I50.9", "diagnosis"),
    "ICD10/I50.9": ("billed", "ICD10:I50.9", "diagnosis"),
    "PROCEDURE//ICD//10//02HV33Z": ("billed", "ICD10PCS:02HV33Z", "procedure"),
    "PROCEDURE//ICD9CM//39.61": ("billed", "ICD9PROC:39.61", "procedure"),
    "ICD9Proc/39.61": ("billed", "ICD9PROC:39.61", "procedure"),
    "ICD10PCS//02HV33Z": ("billed", "ICD10PCS:02HV33Z", "procedure"),
    "CPT4/93000": ("billed", "CPT4:93000", "procedure"),
    "SNOMED/84114007": ("code", "SNOMED:84114007", "diagnosis"),
    "PROCEDURE//SNOMED//232717009": ("code", "SNOMED:232717009", "procedure"),
    "RxNorm/5224": ("code", "RXNORM:5224", "drug"),
    "MEDICATION//NDC//00338": ("code", "NDC:00338", "drug"),
    "MEDICATION//Heparin//Administered": ("code", "DRUG:Heparin", "drug"),
    "LOINC//8867-4": ("none", "LOINC:8867-4", None),
    "LAB//50868//mEq/L": ("measurement", "LAB:50868", None),
    "MEASUREMENT//LOINC:8867-4//bpm": ("measurement", "LOINC:8867-4", None),
    "DIAGNOSIS//ICD//9//UNK": ("none", "ICD9CM:", "diagnosis"),
    "ICD9CM//UNK": ("none", "ICD9CM//UNK", None),
    "Blood pressure/lying": ("none", "Blood pressure/lying", None),
}


def test_codes_of_a_system_are_known_by_any_spelling():
    inventory = pl.DataFrame({"code": list(SPELLED), "numbers": [0] * len(SPELLED)})
    meant = patterns.meanings(inventory)
    assert {code: rest for code, *rest in meant.select("code", "role", "to", "kind").rows()} == {
        code: list(meaning) for code, meaning in SPELLED.items()
    }


def test_codes_with_numbers_measure_and_keep_their_system():
    codes = ["LOINC//8867-4", "SNOMED/364075005", "DIAGNOSIS//SNOMED//1", "ICD9CM//4280"]
    meant = patterns.meanings(pl.DataFrame({"code": codes, "numbers": [3] * 4}))
    assert meant.select("role", "to").rows() == [
        ("measurement", "LOINC:8867-4"),
        ("measurement", "SNOMED:364075005"),
        ("code", "SNOMED:1"),
        ("billed", "ICD9CM:4280"),
    ]


def test_billing_code_is_known_at_the_end_whatever_its_stamp_and_dropped_ones_are_told(tmp_path):
    stay = [
        (DAY(2), "HOSPITAL_ADMISSION//EW EMER.//UNK", 10, None, None),
        (DAY(6), "HOSPITAL_DISCHARGE//HOME", 10, None, None),
    ]
    stamps = {"ICD9CM//428.0": None, "ICD10CM//I50.9": DAY(2), "ICD9CM/4019": DAY(4),
              "DIAGNOSIS//ICD9//5849": DAY(6), "CPT4/93000": DAY(3), "SNOMED/1": DAY(2),
              "SNOMED/2": DAY(2)[:10] + " 00:00:00", "SNOMED/3": DAY(3)[:10] + " 00:00:00",
              "SNOMED/4": DAY(3), "SNOMED/5": DAY(9), "RxNorm/6": DAY(2)}  # fmt: skip
    rows = [(time, code, 10, None, None) for code, time in stamps.items()]
    rows += [(DAY(3), "DRG//HCFA//291", 10, None, None), (DAY(3), "Mrs Smith fell", 10, None, None)]
    records = meds.read(external(tmp_path, stay + rows))
    at = {code: str(time) for code, time in records.codes.select("code", "time").rows()}
    billed = ("ICD9CM:4280", "ICD10CM:I509", "ICD9CM:4019", "ICD9CM:5849", "CPT4:93000")
    assert at == dict.fromkeys((*billed, "SNOMED:1", "SNOMED:2"), "None") | {
        "SNOMED:3": DAY(3)[:10] + " 23:59:59",
        "SNOMED:4": DAY(3),
        "SNOMED:5": DAY(6),
        "RXNORM:6": DAY(2),
    }
    told = "events of codes that mean nothing here, the most frequent DRG, left out"
    assert records.oddities[told] == 2


def test_events_a_year_off_are_left_out_and_counted(tmp_path):
    slip = f"{int(EXTERNAL[2][0][:4]) - 1}-01-04 06:00:00"
    far = [
        (slip, "LAB//50868//mEq/L", 10, 99.0, "99"),
        (slip, "NOTE//Nursing", 10, None, "Of another year."),
        (slip, "MEDICATION//START//Aspirin", 10, None, None),
    ]
    records = meds.read(external(tmp_path, sorted([*EXTERNAL, *far], key=lambda row: row[0] or "")))
    assert 99.0 not in records.measurements.collect()["value"]
    assert "Of another year." not in records.notes.collect()["text"]
    counted = [n for rule, n in records.oddities.items() if "30 days outside" in rule]
    assert counted == [1, 1, 1]


def test_a_measurement_that_stands_twice_is_taken_once_and_counted(tmp_path):
    once = meds.read(external(tmp_path / "once"))
    twice = meds.read(external(tmp_path / "twice", with_rows(*EXTERNAL[5:6], *EXTERNAL[5:6])))
    assert twice.measurements.collect().equals(once.measurements.collect())
    rule = "measured events standing more than once, taken once"
    assert twice.oddities[rule] == 2 and rule not in once.oddities
    account = twice.accounts["measured events"]
    assert account["read"] == account["kept"] + sum(
        rows for rule, rows in account.items() if rule.endswith(("out", "once"))
    )


def test_codes_written_as_numbers_are_the_codes_they_were(tmp_path):
    plain = [row for row in EXTERNAL if not row[1].startswith("DIAGNOSIS")]
    at = next(row for row in EXTERNAL if row[1].startswith("DIAGNOSIS"))
    rows = plain + [(at[0], f"ICD9CM//{code}", *at[2:]) for code in ("4280.0", "486.0", "25000.0")]
    records = meds.read(external(tmp_path, rows))
    codes = records.codes["code"].to_list()
    assert {code for code in codes if code.startswith("ICD9CM")} >= {
        "ICD9CM:4280", "ICD9CM:486", "ICD9CM:25000",
    }  # fmt: skip
