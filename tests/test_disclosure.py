"""No figure that rests on fewer than ten patients is shown, or told by those that are."""

import re

import fabricate
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from ehr_jax import config as configs
from ehr_jax import disclosure
from ehr_jax.evaluation import evaluate
from ehr_jax.reporting import data_page, knowledge_page, report, tables
from ehr_jax.sweeps import results as sweep_results

NAMES = ("often", "common", "rare")


def scored(positives: dict[str, int], patients: int = 60, rows_each: int = 1) -> dict:
    """Metrics of labels that so many patients have."""
    subjects = np.repeat(np.arange(patients), rows_each)
    labels = np.stack([subjects < count for count in positives.values()], axis=1)
    scores = np.random.default_rng(0).random((1, *labels.shape))
    return evaluate.evaluate(scores, labels, subjects, tuple(positives), 0.4, resamples=10)


def values(entries) -> set:
    return {entries[name]["value"] for name in tables.metrics_of(entries)}


def test_a_split_of_seven_patients_shows_no_metric_whatever_its_rows():
    test = scored({"died": 3}, patients=7, rows_each=20)
    assert None not in values(test)
    shown = disclosure.publishable(test)
    for entries in (shown, shown["macro"], shown["micro"], shown["per_label"]["died"]):
        assert values(entries) == {None}
    assert not re.search(r"\d\.\d", tables.results_table({"test": test}))
    assert not re.search(r"\d\.\d", tables.headline({"test": test}))


@pytest.mark.parametrize(
    ("positives", "is_shown"), [(9, False), (10, True), (50, True), (51, False)]
)
def test_a_label_needs_ten_patients_of_either_class(positives, is_shown):
    shown = disclosure.publishable(scored({"died": positives}, rows_each=3))
    assert (None not in values(shown["per_label"]["died"])) is is_shown


def test_a_single_hidden_label_takes_a_second_with_it_as_the_mean_would_tell_it():
    test = scored(dict(zip(NAMES, (30, 20, 4), strict=True)))
    shown = disclosure.publishable(test)
    assert values(shown["per_label"]["rare"]) == values(shown["per_label"]["common"]) == {None}
    assert shown["per_label"]["often"]["auroc"] == test["per_label"]["often"]["auroc"]
    assert shown["macro"] == test["macro"]
    two = disclosure.publishable(scored(dict(zip(NAMES, (30, 5, 4), strict=True))))
    assert None not in values(two["per_label"]["often"])
    assert disclosure.publishable(shown) is shown


def test_a_label_without_a_value_is_none_to_hide_behind():
    """A label that nobody has is in no mean: the other few would be told by it all the same."""
    shown = disclosure.publishable(scored({"often": 30, "common": 20, "rare": 4, "never": 0}))
    assert shown["per_label"]["common"]["auroc"]["value"] is None


def test_a_comparison_shows_no_difference_of_what_it_hides():
    test = scored({"died": 4})
    entry = {"value": 0.123, "low": 0.1, "high": 0.2}
    methods = [{"name": name, "test": test, "samples": 60} for name in ("a", "b")]
    paired = {"reference": "a", "reference_minus": {"b": {"auroc": entry, "auprc": entry}}}
    results = {"methods": methods, "paired": paired}
    assert not re.search(r"\d\.\d", tables.comparison_table(results))
    methods = [{**one, "test": scored({"died": 20})} for one in methods]
    assert "+0.123" in tables.comparison_table({"methods": methods, "paired": paired})


def test_accuracies_of_nodes_are_shown():
    test = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}
    assert disclosure.publishable(test) == test


@hypothesis.given(st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_hidden_counts_cannot_be_told_from_their_sum_and_the_others(counts):
    few = [disclosure.is_few(count) for count in counts]
    concealed = disclosure.hidden(few, counts)
    secret = [count for count, is_hidden in zip(counts, concealed, strict=True) if is_hidden]
    assert all(is_hidden for is_hidden, is_few in zip(concealed, few, strict=True) if is_few)
    assert bool(secret) == any(few)
    everything = len(secret) == sum(count > 0 for count in counts)
    assert not secret or everything or (len(secret) > 1 and sum(secret) >= disclosure.SMALLEST)


def test_the_sum_of_a_tables_rows_is_hidden_where_a_part_of_it_is_small():
    data = {"tables": {"labevents": {"read": 500, "kept": 493, "no time": 7}}}
    text = data_page.section(data)
    assert "493" in text and "500" not in text
    data["tables"]["labevents"] = {"read": 500, "kept": 450, "no time": 50}
    assert "500" in data_page.section(data)


def test_counts_of_what_is_no_patient_are_shown():
    data = {
        "records": {"patients": 3, "distinct_codes": {"drug": 4}},
        "features": {"nodes": 5, "kinds": {"drug": 6}},
        "cohort": {"spec": {"horizon_days": 7}},
    }
    text = re.sub(r"<[^>]*>", " ", data_page.section(data))
    for count in (4, 5, 6, 7):
        assert re.search(rf"\b{count}\b", text)
    assert not re.search(r"\b3\b", text)


def told(page: str) -> str:
    return re.sub(r"<[^>]*>", " ", page)


@pytest.mark.parametrize(("patients", "is_shown"), [(9, False), (10, True), (None, True)])
def test_what_few_patients_have_is_not_counted_whatever_the_count(patients, is_shown):
    known = {"entities": 31, "samples_with_entities": 32, "graph": {}}
    notes = {"source": "own", "samples_with_text": 21, "pieces": 41}
    if patients is not None:
        known["patients_with_entities"] = notes["patients_with_text"] = patients
    data = {"notes": notes, "features": {"knowledge": known}, "cohort": {"samples": 99}}
    text = told(data_page.notes_section({}, data) + knowledge_page.section(data))
    for count in (21, 31, 32, 41):
        assert bool(re.search(rf"\b{count}\b", text)) is is_shown
    assert not re.search(r"\b9\b|with text +9", text)


@pytest.mark.parametrize(("patients", "is_shown"), [(9, False), (10, True)])
def test_no_count_of_the_records_of_few_patients_is_shown(patients, is_shown):
    data = {
        "records": {"patients": patients, "visits": 71, "distinct_codes": {"drug": 4}},
        "oddities": {"rows left out": 72},
        "tables": {"labevents": {"read": 173, "kept": 93, "no time": 80}},
        "cohort": {"patients": patients, "samples": 74, "excluded": {"too young": 75}},
        "features": {"incidences": 76, "nodes": 4},
        "notes": {"source": "own", "samples_with_text": 40, "pieces": 77},
    }
    text = told(data_page.section(data) + data_page.notes_section({}, data))
    for count in (71, 72, 173, 93, 74, 75, 76, 77):
        assert bool(re.search(rf"\b{count}\b", text)) is is_shown, count
    assert re.search(r"\b4\b", text)  # codes are no patients


def test_how_many_have_text_does_not_tell_that_few_have_none():
    data = {"cohort": {"patients": 90, "samples": 100}, "notes": {"samples_with_text": 97}}
    text = told(data_page.notes_section({"notes": "own"}, data))
    assert "97" not in text and "all but" in text


@pytest.mark.parametrize(("positives", "is_shown"), [(9, False), (10, True)])
def test_a_mean_over_labels_needs_one_of_enough_patients(positives, is_shown):
    labels = np.full((2 * 40, 2), np.nan)
    labels[:, 0] = np.repeat(np.arange(40) < positives, 2)
    labels[:5, 1] = 1
    assert disclosure.enough_of_any(labels, np.repeat(np.arange(40), 2)) is is_shown
    assert not disclosure.enough_of_any(labels, np.repeat(np.arange(8), 10))


def test_a_sweep_tells_no_validation_of_few_patients():
    trials, scores = {0: {"train.learning_rate": 0.1}}, {0: 0.7654}
    shown = [sweep_results._shown(configs.defaults(), trials, scores, told) for told in (1, 0)]
    assert ["0.7654" in text for text in shown] == [True, False]


@pytest.mark.parametrize("positives", [0, 3, 5])
def test_that_all_or_none_of_a_few_patients_are_positive_is_not_told(positives):
    for samples, patients in ((5, (positives, 5 - positives)), (25, (positives, 5 - positives))):
        shown = data_page.prevalence(positives, samples, patients)
        assert shown == (tables.NONE, tables.NONE)


def test_sentences_hide_small_numbers_of_patients():
    said = "3 patient(s) have samples in two splits, 12 visits and 5 columns; AUROC 0.5 samples"
    assert disclosure.words(said) == said.replace("3 patient", "<10 patient")
    assert disclosure.words("line 2 is not UTF-8 text") == "line 2 is not UTF-8 text"


def test_the_report_of_twelve_patients_shows_no_figure_of_any(tmp_path):
    results = fabricate.write(tmp_path, labels=("died",), seeds=(0,), samples=12, rare=0.3)
    results["thresholds"] = [[0.123456]]
    results["validation"], results["positive_weight"] = results["test"], [7.77]
    fabricate.rewrite(tmp_path, "results", lambda _: results)
    few = {"patients": 4, "samples": 25, "labelled": 21, "positives": {"died": 11},
           "positive_patients": {"died": 2}, "negative_patients": {"died": 2}}  # fmt: skip

    def shrink(data):
        data["records"] = {"patients": 12, "visits": 75, "distinct_codes": {}}
        data["cohort"]["excluded"] = {"died in the visit": 2}
        data["oddities"], data["notes"] = {}, {"source": "record"}
        data["cohort"]["splits"] = dict.fromkeys(("train", "validation", "test"), few)
        return data

    fabricate.rewrite(tmp_path, "data", shrink)
    text = report.write_report(tmp_path).read_text()
    words = re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]*>", " ", text, flags=re.S)
    for entries in (results["test"], results["test"]["per_label"]["died"]):
        for metric in tables.metrics_of(entries):
            assert tables.number(entries[metric]["value"]) not in words
    for figure in ("0.123456", "7.77", "25", "21", "11"):
        assert not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", words), figure
    assert not (tmp_path / "plots").exists()
    assert "Fewer than 10 patients are trained on" in text
