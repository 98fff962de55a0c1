"""The report of a fabricated run tells the numbers, hides the people, survives missing files."""

import json
import re
import xml.etree.ElementTree

import fabricate
import polars as pl
import pytest

from ehr_jax import disclosure, errors
from ehr_jax.reporting import data_page, page, predictions, report, tables


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder, results, report text) of one fabricated run with its report."""
    folder = tmp_path_factory.mktemp("report") / "run"
    results = fabricate.write(folder)
    return folder, results, report.write_report(folder).read_text()


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def test_the_report_holds_every_metric_with_its_interval(run):
    _, results, text = run
    for name in tables.metrics_of(results["test"]):
        assert tables.interval(results["test"][name]) in plain(text).replace(" [", " [")
    for name in results["test"]["per_label"]:
        assert name in text


def test_the_report_holds_no_identifier(run):
    folder, _, text = run
    found = predictions.read(folder / "predictions.parquet", "test")
    assert found.subjects.min() >= fabricate.SUBJECT_BASE
    assert not [subject for subject in found.subjects if str(subject) in text]
    assert "subject_id" not in text and "sample_id" not in text


def test_an_identifier_that_strayed_into_data_json_is_not_shown(tmp_path):
    fabricate.write(tmp_path)
    data = json.loads((tmp_path / "data.json").read_text())
    data["records"]["subject_id"] = 771234567
    (tmp_path / "data.json").write_text(json.dumps(data))
    assert "771234567" not in re.sub(r"\D", "", plain(report.write_report(tmp_path).read_text()))


def test_counts_under_ten_are_suppressed_and_others_are_not(run):
    _, results, text = run
    words = plain(text).replace("&lt;", "<")
    # The other reason, as visits less samples would tell the few.
    assert "died in the visit <10" in words and "last visit of the patient –" in words
    assert "discharge before admission <10" in words and "age above 110 27" in words
    rare = results["test"]["per_label"]["rare"]["positives"]
    assert 0 < rare < 10
    assert "Positive: rare <10 <10 <10" in words
    assert f"{100 * rare / 400:.1f} %" not in words


def test_few_negatives_are_suppressed_as_few_positives_are():
    assert data_page.prevalence(395, 400, (300, 5)) == ("all but <10", tables.NONE)
    assert data_page.prevalence(5, 400, (5, 300)) == ("<10", tables.NONE)
    assert data_page.prevalence(40, 400, (30, 300)) == ("40", "10.0 %")
    assert data_page.prevalence(0, 400, (0, 300)) == ("0", "0.0 %")
    for patients in ((9, 300), (300, 9), (None, None)):
        assert data_page.prevalence(40, 400, patients) == (tables.NONE, tables.NONE)
    assert [disclosure.shown(n) for n in (0, 1, 9, 10, 12345)] == [
        "0",
        "<10",
        "<10",
        "10",
        "12,345",
    ]


def test_the_report_needs_nothing_from_the_network(run):
    _, _, text = run
    assert not re.search(r'(src|href)="(?!#)', text) and "@import" not in text
    assert "<script" not in text
    outside = set(re.findall(r"https?://[^\"'\s<]+", text))
    assert all(address.startswith("http://www.w3.org/") for address in outside)  # XML name spaces


def test_the_page_is_well_formed_and_its_identifiers_are_distinct(run):
    _, _, text = run
    drawings = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(drawings) == 5
    for drawing in drawings:
        xml.etree.ElementTree.fromstring(drawing)
    numbered = re.findall(r'id="(\w+-[\w.]+_\d+)"', text)
    assert numbered and len(numbered) == len(set(numbered))
    for tag in ("table", "details", "figure", "div"):
        assert text.count(f"<{tag}>") + text.count(f"<{tag} ") == text.count(f"</{tag}>")


def test_plots_are_written_beside_the_report(run):
    folder, _, _ = run
    names = sorted(path.name for path in (folder / "plots").iterdir())
    assert names == [
        "per_label.png",
        "precision_recall.png",
        "reliability.png",
        "roc.png",
        "training.png",
    ]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (folder / "plots").iterdir())


def test_drawings_take_their_colours_from_the_page(run):
    _, _, text = run
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.S))
    assert "var(--series-0)" in drawings and "var(--ink)" in drawings
    assert set(re.findall(r"var\(--[\w-]+\)", drawings)) <= {
        f"var({name})" for name in re.findall(r"(--[\w-]+):", page.STYLE)
    }
    assert "prefers-color-scheme: dark" in text


def test_the_same_folder_gives_the_same_report(run):
    folder, _, text = run
    assert report.write_report(folder).read_text() == text


@pytest.mark.parametrize(
    "name,said",
    [
        ("results.json", "results.json is not there"),
        ("data.json", "data.json is not there"),
        ("config.json", "config.json is not there"),
        ("environment.json", "environment.json is not there"),
        ("metrics.jsonl", "metrics.jsonl is not there"),
        ("predictions.parquet", "predictions.parquet is not there"),
    ],
)
def test_a_missing_file_leaves_a_section_that_says_so(tmp_path, name, said):
    fabricate.write(tmp_path, labels=("readmitted",), samples=60)
    for gone in {name, "predictions.parquet", "metrics.jsonl"}:  # fewer plots to draw
        (tmp_path / gone).unlink()
    assert said in plain(report.write_report(tmp_path).read_text())


def test_an_empty_folder_gets_a_report(tmp_path):
    assert "no results yet" in report.write_report(tmp_path).read_text()


def test_undefined_metrics_are_dashes(tmp_path):
    results = fabricate.write(tmp_path, rare=0.0)
    assert results["test"]["per_label"]["rare"]["auroc"]["value"] is None
    words = plain(report.write_report(tmp_path).read_text())
    assert "rare 0 0.0 % – – – –" in words and "nan" not in words.lower()


def test_a_split_too_small_for_curves_says_so(tmp_path):
    fabricate.write(tmp_path, labels=("rare",), samples=12)
    text = report.write_report(tmp_path).read_text()
    assert "ROC and precision-recall need 10 patients of either class" in text
    assert not (tmp_path / "plots" / "roc.png").exists()


def test_one_label_needs_no_table_per_label(tmp_path):
    fabricate.write(tmp_path, labels=("readmitted",), seeds=(0,), samples=200)
    text = report.write_report(tmp_path).read_text()
    assert "Per label" not in text and "1 seed" in text and "Positive: readmitted" in text


def test_faults_of_the_protocol_stand_in_the_report(tmp_path):
    fabricate.write(tmp_path, labels=("readmitted",), samples=60)
    (tmp_path / "predictions.parquet").unlink()
    data = json.loads((tmp_path / "data.json").read_text())
    data["cohort"]["faults"] = ["deaths count as <readmissions>"]
    (tmp_path / "data.json").write_text(json.dumps(data))
    text = report.write_report(tmp_path).read_text()
    assert "gets wrong" in text and "deaths count as &lt;readmissions&gt;" in text


def test_a_line_cut_by_a_kill_is_left_out_of_the_curves(tmp_path):
    fabricate.write(tmp_path, labels=("readmitted",), samples=60)
    (tmp_path / "predictions.parquet").unlink()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"seed": 0, "step": 100, "lo')
    assert "<h2>Training</h2>" in report.write_report(tmp_path).read_text()


def test_damaged_files_are_refused_by_name(tmp_path):
    fabricate.write(tmp_path, samples=60)
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(errors.RunFolderError, match="data.json is not JSON"):
        report.write_report(tmp_path)
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(errors.RunFolderError, match="predictions.parquet: not readable"):
        predictions.read(tmp_path / "predictions.parquet", "test")


def test_predictions_that_miss_a_sample_of_a_seed_are_refused(tmp_path):
    fabricate.write(tmp_path, samples=60)
    path = tmp_path / "predictions.parquet"
    pl.read_parquet(path).head(119).write_parquet(path)
    with pytest.raises(errors.RunFolderError, match="one row a sample and seed"):
        predictions.read(path, "test")


def test_predictions_come_back_in_order_with_masked_cells(tmp_path):
    fabricate.write(tmp_path, samples=50)
    path = tmp_path / "predictions.parquet"
    kept = pl.when(pl.col("sample_id") != 3).then(pl.col("label.sepsis"))
    frame = pl.read_parquet(path).with_columns(kept.alias("label.sepsis"))
    frame.write_parquet(path)
    found = predictions.read(path, "test")
    assert found.probabilities.shape == (2, 50, 3) and found.seeds == (0, 1)
    assert found.labels[3, 1] != found.labels[3, 1]
    for seed in (0, 1):
        row = frame.filter(seed=seed, sample_id=17)
        assert found.probabilities[seed, 17, 2] == row["probability.rare"].item()
        assert found.subjects[17] == row["subject_id"].item()


AUDIT = {
    "status": "fail",
    "checks": [
        {"check": "patients across splits", "status": "fail", "stops": True, "count": 3,
         "message": "3 patient(s) have samples in more than one split",
         "rows": [{"subject": "0badc0ffee", "splits": "test+train"}]},
        {"check": "inputs together", "status": "warn", "stops": False, "count": 1,
         "message": "1 label(s) are told nearly perfectly", "rows": []},
        {"check": "prediction time", "status": "pass", "stops": True, "count": 0,
         "message": "every sample is predicted 48 h after", "rows": []},
    ],
}  # fmt: skip


def test_the_audit_is_told_in_sentences_without_its_rows(tmp_path):
    fabricate.write(tmp_path)
    assert "audit.json is not there" in report.write_report(tmp_path).read_text()
    (tmp_path / "audit.json").write_text(json.dumps(AUDIT))
    text = report.write_report(tmp_path).read_text()
    words = plain(text).replace("&lt;", "<")
    assert "Of 3 checks: 1 failed, 1 warning, 1 passed" in words
    assert "failed patients across splits <10 patient(s) have samples" in words
    assert "0badc0ffee" not in text and "test+train" not in text
    box = plain(re.search(r'<div class="warning">.*?</div>', text, re.S)[0])
    assert "patients across splits" in box and "inputs together" not in box


def test_the_audit_of_each_fold_is_told(tmp_path):
    folder = tmp_path / "comparison"
    folder.mkdir()
    audit_of = {k: {**AUDIT, "checks": AUDIT["checks"][2 * k :]} for k in range(2)}
    results = {
        "task": "phenotype_next",
        "folds": 2,
        "methods": [{"name": "mlp", "label": "MLP", "test": {"auroc": {"value": 0.7}}}],
    }
    (folder / "results.json").write_text(json.dumps(results))
    for k, told in audit_of.items():
        (folder / f"fold_{k}").mkdir()
        (folder / f"fold_{k}" / "audit.json").write_text(json.dumps(told))
    words = plain(report.write_comparison(folder).read_text())
    assert "Audit, fold 0" in words and "Of 3 checks" in words
    assert "Audit, fold 1" in words and "Of 1 check:" in words


def test_the_page_is_titled_by_the_task(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"task": "cvd_next", "label": "MINGLE"}))
    for cohort, title in (({}, "cvd_next"), ({"title": "Heart failure"}, "Heart failure")):
        (tmp_path / "data.json").write_text(json.dumps({"cohort": cohort}))
        text = report.write_report(tmp_path).read_text()
        assert f"<h1>MINGLE · {title}</h1>" in text
