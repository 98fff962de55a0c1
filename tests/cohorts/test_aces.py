"""Queries of ACES, with the package es-aces where it is there: launch/test.sh installs it."""

import json
import sys

import hospital
import polars as pl
import pytest

from ehr_jax import config as base
from ehr_jax import errors, main
from ehr_jax.cohorts import aces, given, tasks
from ehr_jax.experiment import stages
from ehr_jax.records.meds import reader as meds
from ehr_jax.records.meds import writer
from ehr_jax.records.mimic import mimic4
from ehr_jax.synthetic import hospital as synthetic

visit, day = hospital.visit, hospital.day

# In intensive care for 48 hours: will the patient leave the hospital dead?
QUERY = """
description: death in hospital of patients who have been in intensive care for two days
predicates:
  unit_entry: {code: {regex: "^ICU_ADMISSION//"}}
  unit_exit: {code: {regex: "^ICU_DISCHARGE"}}
  discharge: {code: {regex: "^HOSPITAL_DISCHARGE//"}}
  discharged_dead: {code: {regex: "^HOSPITAL_DISCHARGE//(DIED|died)$"}}
  death: {code: {regex: "^MEDS_DEATH"}}
  gone: {expr: "or(unit_exit, discharge, death)"}
trigger: unit_entry
windows:
  observed:
    start: trigger
    end: start + 48 hours
    start_inclusive: false
    end_inclusive: true
    has: {gone: "(None, 0)"}
    index_timestamp: end
  rest:
    start: observed.end
    end: start -> discharge
    start_inclusive: false
    end_inclusive: true
    label: discharged_dead
"""
WARD = (
    visit(1, 0, 5),
    visit(2, 0, 5, disposition="died"),
    visit(3, 0, 5),
    visit(4, 0, 7),
    visit(5, 0, 3, disposition="died"),
    visit(5, 10, 15),
)
# Of the fourth visit only the second stay, of the fifth none, is as long as is asked.
STAYS = ((0, 1, 4), (1, 1, 5), (2, 1, 2), (3, 0.5, 1), (3, 2, 6), (4, 1, 3), (5, 11, 14))
DEATHS = {2: day(5)}
FOUND = [(1, day(3), False), (2, day(3), True), (4, day(4), False), (5, day(13), False)]


@pytest.fixture
def package():
    return pytest.importorskip("aces", reason="es-aces is not installed here")


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """Five patients, two a shard."""
    records = hospital.records(list(WARD), stays=STAYS, deaths=DEATHS)
    return writer.write(records, tmp_path_factory.mktemp("meds") / "ward", subjects_a_shard=2)


def file(folder, text: str = QUERY, name: str = "task.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def settings(root, query, **changes):
    made = base.defaults()
    made.data.source, made.data.root, made.cohort.aces = "meds", str(root), str(query)
    made.update_from_flattened_dict(changes)
    return made


# What the package finds.


def test_the_query_finds_what_a_reader_of_the_hospital_finds(package, ward, tmp_path):
    found = aces.find(ward, file(tmp_path))
    assert sorted(found.rows.rows()) == FOUND
    assert (found.task, found.label) == ("aces:task", "discharged_dead")
    assert found.query.text == QUERY and found.excluded == {aces.AT_ONCE: 0}


@pytest.mark.parametrize("subjects", [1, 3, 100])
def test_shards_of_any_size_give_the_same_samples(package, ward, tmp_path, subjects):
    records = meds.read(ward)
    folder = writer.write(records, tmp_path / "other", subjects_a_shard=subjects)
    assert sorted(aces.find(folder, file(tmp_path)).rows.rows()) == FOUND


def test_an_outcome_of_the_prediction_time_itself_is_left_out(package, ward, tmp_path):
    loose = QUERY.replace('    has: {gone: "(None, 0)"}\n', "")
    rest = loose.index("  rest:")
    loose = loose[:rest] + loose[rest:].replace("start_inclusive: false", "start_inclusive: true")
    found = aces.find(ward, file(tmp_path, loose))
    assert found.excluded == {aces.AT_ONCE: 1}
    assert not found.rows.filter(subject_id=5, prediction_time=day(3)).height
    assert (2, day(3), True) in found.rows.rows()


def test_a_label_that_begins_before_the_prediction_time_is_refused(package, ward, tmp_path):
    early = QUERY.replace("start: observed.end", "start: trigger")
    with pytest.raises(errors.CohortError, match="'rest' of the label begins before.* 4 of 4"):
        aces.find(ward, file(tmp_path, early))


@pytest.mark.parametrize("length", ["0d", "0h"])
def test_a_window_without_a_length_is_refused_by_its_name(package, ward, tmp_path, length):
    instant = f"""
  instant:
    start: observed.end
    end: start + {length}
    start_inclusive: false
    end_inclusive: true
"""
    path = file(tmp_path, QUERY.rstrip() + instant)
    with pytest.raises(errors.ConfigError, match="window 'instant' begins where it ends"):
        aces.find(ward, path)


def test_a_query_that_nothing_meets_is_explained(package, ward, tmp_path):
    nothing = QUERY.replace("^ICU_ADMISSION//", "^Elsewhere//")
    found = aces.find(ward, file(tmp_path, nothing))
    assert found.rows.is_empty()
    with pytest.raises(errors.CohortError, match="of 0 found .*Is the query meant for this"):
        given.build(meds.read(ward), found)


@pytest.fixture(scope="session")
def demo(data_root, tmp_path_factory):
    records = mimic4.read(data_root / "mimic_iv_demo_2.2")
    return records, writer.write(records, tmp_path_factory.mktemp("meds") / "demo", 40)


def by_hand(folder) -> set:
    """(subject, prediction time, label) of QUERY, counted from the events."""
    events = pl.read_parquet(folder / "data" / "*.parquet").drop_nulls("time")
    code, hours = pl.col("code"), pl.duration(hours=48)
    entries = events.filter(code.str.starts_with("ICU_ADMISSION//"))
    entries = entries.select("subject_id", entry="time", at=pl.col("time") + hours).unique()
    ends = events.filter(code.str.contains("^(ICU_DISCHARGE|HOSPITAL_DISCHARGE//|MEDS_DEATH)"))
    gone = entries.join(ends, on="subject_id").filter(
        pl.col("time") > pl.col("entry"), pl.col("time") <= pl.col("at")
    )
    kept = entries.join(gone, on=["subject_id", "entry"], how="anti")
    left = events.filter(code.str.starts_with("HOSPITAL_DISCHARGE//"))
    after = kept.join(left, on="subject_id").filter(pl.col("time") > pl.col("at"))
    last = after.sort("time").group_by("subject_id", "at").agg(code.first())
    return set(last.select("subject_id", "at", code.str.ends_with("//DIED")).rows())


def test_the_demo_agrees_with_a_count_by_hand_and_with_our_mortality(package, demo, tmp_path):
    records, folder = demo
    found = aces.find(folder, file(tmp_path))
    assert found.rows.height == 74 and found.rows["label"].sum() == 12
    assert set(found.rows.rows()) == by_hand(folder)
    cohort = given.build(meds.read(folder), found)
    assert {reason: n for reason, n in cohort.excluded.items() if n} == {given.LATER: 6}
    ours = tasks.build(records, "mortality").samples
    keys = ["subject_id", "visit_id", "prediction_time"]
    both = ours.join(cohort.samples, on=keys)
    assert both.height == ours.height == 66 and ours["label.mortality"].sum() == 11
    assert both["label.mortality"].equals(both["label.discharged_dead"], check_names=False)
    # What ours has not: visits whose first stay is short and a later one long.
    more = cohort.samples.join(ours, on=keys, how="anti")
    assert more.height == 2 and not set(more["visit_id"]) & set(ours["visit_id"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pytest.importorskip("aces", reason="es-aces is not installed here")
    folder = tmp_path_factory.mktemp("run")
    root = writer.write(synthetic.generate(100, seed=0), folder / "meds", subjects_a_shard=60)
    command = [
        "ehr_jax.main", "--config=configs/mingle.py:synthetic_mortality", "--mode=benchmark",
        "--config.data.source=meds", f"--config.data.root={root}",
        f"--config.cohort.aces={file(folder)}", "--config.notes.source=none",
        "--config.benchmark.methods=('logistic_regression',)",
        "--config.benchmark.reference=logistic_regression", "--config.train.seeds=(0,)",
        "--config.evaluation.resamples=20", f"--workdir={folder / 'run'}",
    ]  # fmt: skip
    assert main.main(command) == 0
    return folder, command


@pytest.mark.slow
def test_a_method_trains_on_the_samples_of_a_query(trained):
    folder, _ = trained
    data = json.loads((folder / "run" / "data.json").read_text())
    assert data["cohort"]["spec"] == {"file": "task.yaml", "text": QUERY}
    assert data["cohort"]["patients_in_several_splits"] == 0
    results = json.loads((folder / "run" / "results.json").read_text())
    assert results["task"] == "aces:task" and results["methods"][0]["name"] == "logistic_regression"
    audited = json.loads((folder / "run" / "audit.json").read_text())
    assert audited["status"] == "pass"


@pytest.mark.slow
def test_a_run_does_not_go_on_with_a_changed_query(trained, capsys):
    folder, command = trained
    file(folder, QUERY.replace("48 hours", "24 hours"))
    try:
        assert main.main(command) == 2
        assert "another query of config.cohort.aces" in capsys.readouterr().err
    finally:
        file(folder)


# What is refused.


BAD = [
    ("", "AttributeError"),
    ("predicates: {a: {code: A}}\nwindows: {}\n", "KeyError: trigger"),
    (QUERY.replace("trigger: unit_entry", "trigger: [unit"), "Error"),
    (QUERY.replace("    label: disch", "    lable: disch"), "argument 'lable'"),
    (QUERY.replace("label: discharged_dead", "label: dead"), "'dead' that wasn't defined"),
    (QUERY.replace("observed.end", "seen.end"), "undefined window 'seen'"),
    (QUERY.replace("48 hours", "48 moons"), "parse timedelta"),
    (QUERY + "extra: 1\n", "Unrecognized keys.*extra"),
]


@pytest.mark.parametrize("text, said", BAD)
def test_a_file_with_an_error_is_named_with_what_aces_said(package, ward, tmp_path, text, said):
    with pytest.raises(errors.ConfigError, match=rf"task.yaml: ACES cannot read.*{said}"):
        aces.find(ward, file(tmp_path, text))


@pytest.mark.parametrize("key", ["label", "index_timestamp"])
def test_a_task_without_a_label_or_a_prediction_time_is_refused(package, ward, tmp_path, key):
    lines = [line for line in QUERY.splitlines() if not line.strip().startswith(f"{key}:")]
    with pytest.raises(errors.ConfigError, match=rf"has no {key}; .*observed, rest.* '{key}: "):
        aces.find(ward, file(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    "wrong, said",
    [
        (QUERY.replace('{code: {regex: "^MEDS_DEATH"}}', '{code: {regex: "(("}}'), "regex"),
        (QUERY.replace('regex: "^MEDS_DEATH"', "like: MEDS_DEATH"), "regex', 'any'"),
        (QUERY.replace('"^MEDS_DEATH"}', '"^MEDS_DEATH"}, wing: east'), "wing"),
    ],
)
def test_a_predicate_that_does_not_fit_the_events_is_refused(package, ward, tmp_path, wrong, said):
    with pytest.raises(errors.CohortError, match=f"(?s)task.yaml: ACES cannot ask.*{said}"):
        aces.find(ward, file(tmp_path, wrong))


def test_a_subject_in_two_shards_is_refused(package, ward, tmp_path):
    folder = tmp_path / "torn" / "data"
    folder.mkdir(parents=True)
    events = pl.concat([pl.read_parquet(path) for path in sorted((ward / "data").iterdir())])
    events.head(10).write_parquet(folder / "0.parquet")
    events.tail(-10).write_parquet(folder / "1.parquet")
    with pytest.raises(errors.RecordsError, match="1 subject.s. have events in more than one"):
        aces.find(folder.parent, file(tmp_path))


def test_without_the_package_the_error_says_how_to_install_it(ward, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aces", None)
    with pytest.raises(errors.ConfigError, match="pip install --no-deps es-aces==0.7.3"):
        aces.find(ward, file(tmp_path))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00bad"])
def test_a_file_that_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "task.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.ConfigError, match="task.yaml is no text to be read"):
        aces.read(path)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"data.source": "synthetic"}, "config.data.source is 'synthetic'"),
        ({"cohort.protocol": "paper"}, "set 'strict'"),
        ({"task.after_hours": 24.0}, "config.task.after_hours changes a task of this package"),
    ],
)
def test_what_a_query_cannot_serve_is_refused(ward, tmp_path, changes, said):
    made = settings(ward, file(tmp_path), **changes)
    with pytest.raises(errors.ConfigError, match=f"config.cohort.aces: .*{said}"):
        base.check(made)


def test_the_fingerprint_changes_with_the_query(ward, tmp_path):
    records = meds.read(ward)
    one = stages.fingerprint(records, settings(ward, file(tmp_path)))
    assert one == stages.fingerprint(records, settings(ward, file(tmp_path)))
    assert one != stages.fingerprint(records, settings(ward, file(tmp_path, QUERY + "# x\n")))
    assert one != stages.fingerprint(records, settings(ward, ""))
