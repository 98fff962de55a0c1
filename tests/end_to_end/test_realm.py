"""REALM through the main command: a generated hospital with a small graph, real open stays."""

import json
import pathlib
import shutil

import numpy as np
import polars as pl
import pytest

from ehr_jax import main
from ehr_jax.knowledge import disk, graph
from ehr_jax.synthetic import conditions as synthetic_conditions
from ehr_jax.synthetic import rare as synthetic_rare

pytestmark = pytest.mark.slow

TINY = pathlib.Path(__file__).parent.parent / "text" / "golden" / "tiny_mean"
SMALL = (
    "--config.train.seeds=(0,)",
    "--config.train.steps=20",
    "--config.train.eval_every=10",
    "--config.evaluation.resamples=50",
    "--config.realm.width=8",
    "--config.realm.heads=2",
    "--config.realm.feed_forward=8",
)


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory) -> pathlib.Path:
    """A graph of what the generated hospital's notes name."""
    grave = set(synthetic_rare.GRAVE)
    names = [*(c.name for c in synthetic_conditions.CONDITIONS), *grave, *synthetic_rare.MILD]
    nodes = [
        (f"D:{at}", "disease", name, "One dies of it." if name in grave else "It is mild.", None)
        for at, name in enumerate(names)
    ]
    none = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean})
    edges = {"head": pl.String, "relation": pl.Int64, "tail": pl.String}
    parts = graph.Parts(
        "made up", "none", pl.DataFrame(nodes, schema=graph.NODES, orient="row"), none,
        pl.DataFrame([("D:0", 0, "D:1")], schema=edges, orient="row"),
        [graph.Relation("linked to", "linked to")],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("knowledge") / "graph"
    disk.write(graph.build(parts), folder)
    return folder


@pytest.fixture(scope="module")
def synthetic(knowledge, tmp_path_factory) -> tuple[str, ...]:
    cache = tmp_path_factory.mktemp("cache")
    return (
        "ehr_jax.main",
        "--config=configs/realm.py:synthetic_mortality",
        "--config.synthetic.patients=150",
        "--config.synthetic.knowledge_signal=2.0",
        f"--config.text.encoder={TINY}",
        f"--config.text.cache={cache}",
        f"--config.knowledge.graph={knowledge}",
        *SMALL,
    )


@pytest.fixture(scope="module")
def finished(synthetic, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EHR_JAX_CACHE", str(folder.parent / "links"))
        assert main.main([*synthetic, f"--workdir={folder}"]) == 0
    return folder


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_series_notes_and_knowledge_are_all_in_a_run(finished):
    features = read(finished / "data.json")["features"]
    assert features["series"]["variables"] > 17 and features["series"]["steps"] == 48
    knowledge = features["knowledge"]
    assert knowledge["graph"]["source"] == "made up"
    filtered = knowledge["filter"]
    assert filtered["found"] == sum(n for name, n in filtered.items() if name != "found")
    assert filtered["kept"] > 0 and knowledge["samples_with_entities"] > 50
    assert read(finished / "data.json")["notes"]["pieces"] > 50
    results = read(finished / "results.json")
    assert (results["model"], results["task"]) == ("realm", "mortality")
    assert (finished / "report.html").stat().st_size > 0


def test_evidence_tells_what_weighed_and_no_words_of_notes(finished):
    lines = [json.loads(line) for line in (finished / "evidence.jsonl").read_text().splitlines()]
    data = read(finished / "data.json")
    assert len(lines) == data["cohort"]["splits"]["test"]["samples"]
    assert (finished / "evidence.jsonl").stat().st_mode & 0o777 == 0o600
    for line in lines:
        assert set(line["modalities"]) == {"series", "text"}
        assert sum(line["modalities"].values()) == pytest.approx(1, abs=1e-4)
        assert all(entity["id"].startswith("D:") for entity in line["entities"])
    named = [entity for line in lines for entity in line["entities"]]
    assert named and {"One dies of it.", "It is mild."} <= {e["definition"] for e in named}
    assert sum(0 < entity["weight"] <= 1 for entity in named) > 10
    assert "What weighed in the predictions" in (finished / "report.html").read_text()


def test_a_finished_run_predicts_its_own_samples_the_same(finished, synthetic, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EHR_JAX_CACHE", str(finished.parent / "links"))
        asked = ["ehr_jax.main", "--mode=predict", f"--config.run={finished}"]
        assert main.main([*asked, f"--workdir={tmp_path / 'out'}"]) == 0
    again = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    before = pl.read_parquet(finished / "predictions.parquet")
    both = before.join(again, on=["sample_id", "subject_id", "seed"], suffix="_again")
    assert both.height == before.height > 10
    np.testing.assert_allclose(
        both["probability.mortality"], both["probability.mortality_again"], atol=1e-6
    )
    # The patients that it learned from are scored, and in no result.
    results, of_run = (read(at / "results.json") for at in (tmp_path / "out", finished))
    for key in ("samples", "patients", "auroc", "f1"):
        assert results["test"][key] == of_run["test"][key]
    splits = read(finished / "data.json")["cohort"]["splits"]
    assert results["patients"] == {
        "new": 0,
        "tested_by_the_run": splits["test"]["patients"],
        "trained_on_and_left_out": splits["train"]["patients"],
        "validated_on_and_left_out": splits["validation"]["patients"],
    }
    assert set(again["split"].unique()) == {"train", "validation", "test"}


def test_what_is_no_finished_run_of_stays_is_refused(tmp_path, capsys):
    asked = ["ehr_jax.main", "--mode=predict", f"--workdir={tmp_path / 'out'}"]
    assert main.main([*asked, f"--config.run={tmp_path}"]) == 2
    assert "expected the folder of a finished run" in capsys.readouterr().err


def test_methods_of_another_kind_of_input_are_not_compared(synthetic, tmp_path, capsys):
    methods = "--config.benchmark.methods=('realm', 'mingle')"
    flags = [*synthetic, "--mode=benchmark", methods, f"--workdir={tmp_path}"]
    assert main.main(flags) == 2
    assert "'mingle', which is given visits" in capsys.readouterr().err


@pytest.fixture(scope="module")
def few_stays(data_root, tmp_path_factory) -> pathlib.Path:
    """240 real stays of the challenge, sixty of them deaths."""
    source = data_root / "physionet_2012"
    outcomes = pl.read_csv(source / "Outcomes-a.txt").sort("RecordID")
    kept = pl.concat(
        [
            outcomes.filter(pl.col("In-hospital_death") == died).head(count)
            for died, count in ((1, 60), (0, 180))
        ]
    )
    folder = tmp_path_factory.mktemp("stays")
    kept.write_csv(folder / "Outcomes-a.txt")
    rows = pl.read_csv(next(source.glob("set-a.csv*")), infer_schema=False)
    wanted = kept["RecordID"].cast(pl.String).implode()
    rows.filter(pl.col("RecordID").is_in(wanted)).write_csv(folder / "set-a.csv")
    return folder


def test_folds_test_every_stay_once_and_new_stays_are_scored(few_stays, tmp_path):
    flags = [
        "ehr_jax.main", "--config=configs/realm.py:physionet2012_mortality",
        f"--config.data.root={few_stays}", *SMALL,
    ]  # fmt: skip
    folds = [
        "--mode=benchmark", "--config.cohort.folds=3",
        "--config.benchmark.methods=('realm','lightgbm_windows')",
    ]  # fmt: skip
    assert main.main([*flags, *folds, f"--workdir={tmp_path / 'folds'}"]) == 0
    frame = pl.read_parquet(tmp_path / "folds" / "methods" / "realm" / "predictions.parquet")
    assert frame.height == frame["sample_id"].n_unique() == 240
    results = read(tmp_path / "folds" / "results.json")
    label = "REALM, taught by LightGBM on window statistics"
    assert [method["label"] for method in results["methods"]] == [label, label[17:]]
    assert (tmp_path / "folds" / "methods" / "realm" / "fold_2" / "teacher.npy").exists()
    found, other = (method["test"]["auroc"] for method in results["methods"])
    assert [method["name"] for method in results["methods"]] == ["realm", "lightgbm_windows"]
    difference = results["paired"]["reference_minus"]["lightgbm_windows"]
    assert difference["auroc"]["value"] == pytest.approx(found["value"] - other["value"])
    assert difference["auroc"]["low"] < difference["auroc"]["value"]
    assert difference["samples"] == 240
    each = [
        read(tmp_path / "folds" / "methods" / "realm" / f"fold_{k}" / "results.json")
        for k in range(3)
    ]
    assert found["value"] == pytest.approx(np.mean([one["test"]["auroc"]["value"] for one in each]))
    assert found["low"] < found["value"] < found["high"]

    assert main.main([*flags, f"--workdir={tmp_path / 'run'}"]) == 0
    unknown = tmp_path / "new"
    unknown.mkdir()
    shutil.copy(few_stays / "set-a.csv", unknown / "set-c.csv")
    asked = ["ehr_jax.main", "--mode=predict", f"--config.run={tmp_path / 'run'}"]
    root = f"--config.data.root={unknown}"
    assert main.main([*asked, root, f"--workdir={tmp_path / 'out'}"]) == 0
    scored = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert scored.height == 240 and scored["probability.mortality"].is_between(0, 1).all()
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_seed_of_members_is_the_mean_of_its_members(few_stays, tmp_path):
    flags = [
        "ehr_jax.main", "--config=configs/realm.py:physionet2012_mortality",
        f"--config.data.root={few_stays}", *SMALL, "--config.realm.variant=concat",
    ]  # fmt: skip
    joined, single, again = (tmp_path / name for name in ("joined", "single", "again"))
    assert main.main([*flags, "--config.train.members=2", f"--workdir={joined}"]) == 0
    members = ["--config.train.members=1", "--config.train.seeds=(0, 1000000)"]
    flags.remove("--config.train.seeds=(0,)")
    assert main.main([*flags, *members, f"--workdir={single}"]) == 0
    predict = ["ehr_jax.main", "--mode=predict", f"--config.run={joined}"]
    assert main.main([*predict, f"--workdir={again}"]) == 0
    mean, each, later = (
        pl.read_parquet(at / "predictions.parquet") for at in (joined, single, again)
    )
    of_each = each.group_by("sample_id").agg(single=pl.col("probability.mortality").mean())
    both = mean.join(of_each, on="sample_id").join(later, on="sample_id", suffix="_again")
    assert both.height == mean.height and each.height == 2 * mean.height
    for name in ("single", "probability.mortality_again"):
        np.testing.assert_allclose(both["probability.mortality"], both[name], atol=1e-6)


def test_fewer_than_one_member_is_refused(few_stays, tmp_path, capsys):
    flags = ["--config.train.members=0", f"--config.data.root={few_stays}"]
    at = ["--config=configs/realm.py:physionet2012_mortality", f"--workdir={tmp_path}"]
    assert main.main(["ehr_jax.main", *at, *flags]) == 2
    assert "config.train.members is 0" in capsys.readouterr().err
