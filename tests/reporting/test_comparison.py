"""Tables and the report of a benchmark, and the curves behind the plots."""

import copy
import json

import fabricate
import numpy as np
import pytest
import sklearn.metrics

from ehr_jax import errors
from ehr_jax.reporting import curves, report, tables


@pytest.fixture
def benchmark(tmp_path):
    """(folder, results) of a fabricated comparison of two methods."""
    test = fabricate.write(tmp_path / "one", labels=("readmitted",), samples=200)["test"]
    other = copy.deepcopy(test)
    other["auroc"] = {"value": 0.5125, "low": 0.4515, "high": 0.5735, "seed_std": None}
    results = {
        "task": "readmission30",
        "protocol": "strict",
        "seeds": [0, 1],
        "methods": [
            {"name": "mingle", "label": "MINGLE", "test": test, "seconds": 300.0},
            {"name": "logistic", "label": "Logistic | regression", "test": other, "seconds": 2.0},
        ],
        "paired": {
            "reference": "mingle",
            "reference_minus": {"logistic": {"auroc": {"value": 0.25, "low": -0.1, "high": 0.3}}},
        },
    }
    folder = tmp_path / "benchmark"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    return folder, results


def test_the_comparison_writes_table_report_and_plot(benchmark):
    folder, results = benchmark
    text = report.write_comparison(folder).read_text()
    table = (folder / "table.md").read_text()
    assert "0.512 [0.452, 0.574]" in table or "0.513 [0.452, 0.574]" in table
    assert tables.interval(results["methods"][0]["test"]["auprc"]) in table
    assert "| Logistic \\| regression | +0.250 [-0.100, +0.300] |" in table
    assert "MINGLE minus each method" in table and "MINGLE minus each method" in text
    assert (folder / "plots" / "comparison.png").stat().st_size > 1000
    assert "data.json is not there" in text


def test_a_comparison_without_methods_is_refused(benchmark):
    folder, results = benchmark
    (folder / "results.json").write_text(json.dumps({**results, "methods": []}))
    with pytest.raises(errors.RunFolderError, match="no 'methods'"):
        report.write_comparison(folder)


def test_a_method_that_scores_fewer_samples_says_how_many(benchmark):
    _, results = benchmark
    results["methods"][0]["samples"], results["methods"][1]["samples"] = 1443, 1207
    labels = [row[0] for row in tables.comparison_rows(results)[1]]
    assert labels == ["MINGLE", "Logistic | regression (1,207 of 1,443 samples)"]


def test_every_row_of_the_markdown_has_as_many_cells_as_its_header(benchmark):
    _, results = benchmark
    for block in tables.comparison_table(results, markdown=True).split("\n\n"):
        if block.startswith("|"):
            rows = [row.replace("\\|", "").count("|") for row in block.splitlines()]
            assert len(set(rows)) == 1


def test_the_headline_is_one_line_and_the_table_is_aligned(benchmark):
    _, results = benchmark
    one = results["methods"][0]
    assert "\n" not in tables.headline(one) and tables.headline(one).startswith("AUROC 0.")
    lines = tables.results_table(one).splitlines()
    assert len(lines) == 8 and len({line.find("0.") for line in lines[2:]}) == 1


def test_a_figure_without_interval_or_value_is_still_a_cell():
    assert tables.interval({"value": None, "low": None, "high": None}) == tables.NONE
    assert tables.interval({"value": 0.25, "low": None, "high": None}) == "0.250"
    assert tables.interval({"value": 0.1, "low": -0.1, "high": 0.2}, 2, True) == (
        "+0.10 [-0.10, +0.20]"
    )


@pytest.mark.parametrize(
    "seconds,said", [(None, "–"), (3.21, "3.2 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_read_well(seconds, said):
    assert tables.seconds(seconds) == said


def test_the_area_under_the_drawn_roc_is_the_mean_auroc():
    rng = np.random.default_rng(0)
    labels = (rng.random(800) < 0.3).astype(float)
    scores = np.round(rng.normal(size=(3, 800)) + labels, 1)  # with ties
    drawn = curves.roc("model", scores, labels, np.arange(labels.size))
    wanted = np.mean([sklearn.metrics.roc_auc_score(labels, one) for one in scores])
    assert np.trapezoid(drawn.values, curves.GRID) == pytest.approx(wanted, abs=2e-3)


def test_the_drawn_precision_is_that_of_the_first_threshold_reaching_the_recall():
    rng = np.random.default_rng(1)
    labels = (rng.random(300) < 0.2).astype(float)
    scores = rng.normal(size=300) + labels
    drawn = curves.precision_recall("model", scores[None], labels, np.arange(300))
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels, scores)
    for k in (20, 100, 180):
        assert drawn.values[k] == precision[recall >= curves.GRID[k]][-1]
    assert drawn.prevalence == labels.mean()


def test_curves_of_few_positives_or_negatives_are_not_drawn():
    scores, labels = np.random.default_rng(2).random((1, 100)), np.zeros(100)
    labels[:9] = 1
    assert curves.roc("model", scores, labels, np.arange(labels.size)) is None
    assert curves.precision_recall("model", scores, 1 - labels, np.arange(100)) is None
    labels[9] = 1
    assert curves.roc("model", scores, labels, np.arange(100)) is not None
    # Ten rows of nine patients are few.
    assert curves.roc("model", scores, labels, np.maximum(np.arange(100), 1)) is None


def test_bins_of_few_patients_are_left_out_and_one_more_where_they_would_be_told():
    scores = np.r_[np.full(9, 0.95), np.full(24, 0.55), np.full(20, 0.25), np.full(30, 0.05)]
    labels = np.r_[np.ones(9), np.ones(12), np.zeros(12 + 20 + 30)]
    drawn = curves.reliability(scores[None], labels, np.arange(83))
    assert np.isnan(drawn.observed[9]) and drawn.counts[9] == 0
    assert np.isnan(drawn.observed[2]) and drawn.counts[2] == 0  # else all others tell the 9
    assert drawn.observed[5] == 0.5 and drawn.counts[5] == 24
    assert drawn.predicted[0] == pytest.approx(0.05) and drawn.counts[0] == 30
    few_people = curves.reliability(scores[None], labels, np.arange(83) // 8)
    assert not few_people.counts.any()


def test_a_prediction_of_one_is_in_the_last_bin():
    labels = np.arange(40) % 2.0
    drawn = curves.reliability(np.ones((1, 40)), labels, np.arange(40))
    assert drawn.counts.tolist() == [0] * 9 + [40]
    assert drawn.predicted[9] == 1 and drawn.observed[9] == 0.5
