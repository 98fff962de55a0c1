"""The report of a run: reads the files of the run folder alone, writes report.html and plots/."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ehr_jax import disclosure, errors, storage, stored
from ehr_jax.reporting import (
    audit_page,
    curves,
    data_page,
    forms,
    knowledge_page,
    page,
    plots,
    predictions,
    tables,
)

# Keys of results.json that have a place of their own on the page, or none: thresholds are scores of
# single patients, the weight of positives tells how many there are, and a path is of the machine.
PLACED = (
    "thresholds", "fold_thresholds", "positive_weight", "fold_positive_weight", "patients", "run",
    "test", "validation", "fits", "methods", "paired", "per_split", "data", "internal",
)  # fmt: skip


def write_report(run_folder: str | os.PathLike) -> pathlib.Path:
    """Writes RUN/report.html and RUN/plots/*.png from the other files of the folder.

    A file that is not there leaves a section that says so.

    Returns:
        The path of the report.

    Raises:
        RunFolderError: a file of the folder is damaged, or the report cannot be written.
    """
    folder = pathlib.Path(run_folder)
    results, data = _json(folder, "results.json"), _json(folder, "data.json")
    if "test" in results:
        results = {**results, "test": disclosure.publishable(results["test"] or {})}
    found, trouble = _predictions(folder)
    audit = _json(folder, "audit.json")
    body = [
        audit_page.warning(audit),
        _protocol(results, data),
        _headline(results),
        _curves(folder, results, found, trouble),
        _per_label(folder, results),
        _training(folder, results, data),
        _evidence(folder, results),
        audit_page.section(audit),
        data_page.section(data),
        data_page.notes_section(results, data),
        knowledge_page.section(data),
        _model(results),
        _setting(folder, data),
    ]
    return _write(folder, page.document(_title(results, data), _lead(results, data), body))


def write_comparison(run_folder: str | os.PathLike) -> pathlib.Path:
    """Writes RUN/table.md, RUN/report.html and RUN/plots/ of a benchmark from its results.json.

    Returns:
        The path of the report.

    Raises:
        RunFolderError: as `write_report`, or where results.json holds no methods.
    """
    folder = pathlib.Path(run_folder)
    results, data = _json(folder, "results.json"), _json(folder, "data.json")
    methods = results.get("methods")
    if not methods:
        raise errors.RunFolderError(
            f"{folder / 'results.json'}: no 'methods' to compare; is this the folder of a "
            "--mode=benchmark run?"
        )
    results = disclosure.comparison(results)
    methods = results["methods"]
    storage.write_text(folder / "table.md", tables.comparison_table(results, markdown=True) + "\n")
    names = [tables.method_label(one) for one in methods]
    metrics = [name for name in ("auroc", "auprc") if name in methods[0]["test"]]
    metrics = metrics or tables.metrics_of(methods[0]["test"])[:2]
    entries = {name: [one["test"].get(name, {}) for one in methods] for name in metrics}
    drawing = plots.save(plots.dots(names, entries), folder / "plots" / "comparison.png")
    header, differences = tables.paired_rows(results)
    paired = [page.heading("Paired differences"), page.text(tables.paired_title(results)),
              page.table(header, differences)] if differences else []  # fmt: skip
    audits = _audits(folder, results.get("folds") or 1)
    body = [
        *(audit_page.warning(told) for told in audits.values()),
        _protocol(results, data),
        page.section(
            "Methods on the test split",
            page.table(*tables.comparison_rows(results), stacked=True),
            _interval_note(methods[0]["test"]),
            page.figures([(drawing, "Dot: mean over seeds. Line: 95 % interval over patients.")]),
            *paired,
        ),
        *(audit_page.section(told, title) for title, told in audits.items()),
        data_page.section(data),
        data_page.notes_section(results, data),
        knowledge_page.section(data),
        _model(results),
        _setting(folder, data),
    ]
    title = f"{len(methods)} methods · {_task(results, data)}"
    return _write(folder, page.document(title, _lead(results, data), body))


def _audits(folder: pathlib.Path, folds: int) -> dict[str, dict]:
    """What audit.json says, by the title of its section: one, or one a fold."""
    if folds == 1:
        return {"Audit": _json(folder, "audit.json")}
    return {f"Audit, fold {k}": _json(folder / f"fold_{k}", "audit.json") for k in range(folds)}


def _title(results: Mapping, data: Mapping) -> str:
    model = results.get("label") or results.get("model") or "Run"
    return f"{model} · {_task(results, data)}" if "task" in results else f"{model}: no results yet"


def _task(results: Mapping, data: Mapping) -> str:
    """The task's title, or its name where it has none."""
    return (data.get("cohort") or {}).get("title") or results.get("task") or "task not recorded"


def _lead(results: Mapping, data: Mapping) -> str:
    seeds = results.get("seeds")
    parts = [
        results.get("source") or data.get("source"),
        (data.get("cohort") or {}).get("description"),
        f"protocol: {results['protocol']}" if "protocol" in results else None,
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}" if seeds else None,
    ]
    return " · ".join(part.rstrip(".") for part in parts if part)


def _protocol(results: Mapping, data: Mapping) -> str:
    faults = (data.get("cohort") or {}).get("faults")
    name = results.get("protocol") or (data.get("cohort") or {}).get("protocol") or "unknown"
    return page.warning(f"What the protocol '{name}' gets wrong:", faults) if faults else ""


def _headline(results: Mapping) -> str:
    test = results.get("test") or {}
    names = tables.metrics_of(test)
    if not names:
        return page.section("Results", page.text("results.json holds no test metrics.", "missing"))
    tiles = []
    for name in names[:3]:
        entry = test[name]
        low, high = tables.number(entry.get("low")), tables.number(entry.get("high"))
        said = (tables.metric_name(name), tables.number(entry["value"]), f"95 % [{low}, {high}]")
        tiles.append(said)
    conventions = test.get("conventions") or {}
    said = [f"{tables.metric_name(name)}: {words}" for name, words in conventions.items()]
    if len(set(conventions.values())) == 1:
        said = [f"All metrics are {next(iter(conventions.values()))}"]
    return page.section(
        "Results on the test split",
        page.tiles(tiles),
        page.table(*tables.results_rows(results)),
        page.text(". ".join(said) + ".", "note") if said else "",
        _interval_note(test),
        _splits_of_nodes(results),
    )


def _interval_note(test: Mapping) -> str:
    if "resamples" not in test:
        return ""
    over = tables.spread_over(test)
    patients = test.get("patients")
    words = (
        f"Test samples: {disclosure.shown(test.get('samples'), patients)} of "
        f"{disclosure.shown(patients)} patients. Values are means over seeds"
        f"{' and folds' if over == 'folds' else ''}. "
        f"Intervals: {test['resamples']:,} bootstrap resamples of patients, the same for all "
        f"seeds. SD: standard deviation over {over}. ↓: lower is better. F1 and accuracy take "
        "thresholds fitted on validation predictions, or 0.5 where the protocol says so. What "
        f"rests on fewer than {disclosure.SMALLEST} patients with or without the outcome is "
        f"{tables.NONE}."
    )
    return page.text(words, "note")


def _splits_of_nodes(results: Mapping) -> str:
    rows = results.get("per_split")
    return page.folded("Every split", _records(rows)) if rows else ""


def _curves(folder: pathlib.Path, results: Mapping, found, trouble: str) -> str:
    title = "Curves on the test split"
    if found is None:
        return page.section(title, page.text(trouble, "missing"))
    roc = _label_curves(curves.roc, found, results)
    recall = _label_curves(curves.precision_recall, found, results)
    drawings = []
    if roc:
        for name, draw, (main, others) in (
            ("roc", plots.roc, roc),
            ("precision_recall", plots.precision_recall, recall),
        ):
            drawings.append((plots.save(draw(main, others), folder / "plots" / f"{name}.png"), ""))
    flat = found.probabilities.reshape(len(found.seeds), -1)
    subjects = np.repeat(found.subjects, len(found.label_names))
    bins = curves.reliability(flat, found.labels.ravel(), subjects)
    if bins.counts.any():
        drawn = plots.save(plots.reliability(bins), folder / "plots" / "reliability.png")
        drawings.append((drawn, ""))
    lost = (
        ""
        if roc
        else f"ROC and precision-recall need {disclosure.SMALLEST} patients of either class."
    )
    note = (
        "Curves are means over seeds at each point of the horizontal axis. Labels, and bins, with "
        f"fewer than {disclosure.SMALLEST} patients of a class are not drawn."
    )
    return page.section(
        title, page.figures(drawings), page.text(lost, "missing") if lost else "",
        page.text(note, "note"),
    )  # fmt: skip


def _label_curves(make, found: predictions.Predictions, results: Mapping):
    """(main curve, one curve a label), or None where no label has enough of both classes."""
    each = [
        make(name, found.probabilities[:, :, k], found.labels[:, k], found.subjects)
        for k, name in enumerate(found.label_names)
    ]
    each = [one for one in each if one is not None]
    if not each:
        return None
    if len(found.label_names) == 1:
        return each[0]._replace(name="model"), []
    if results.get("protocol") == "paper":
        flat = found.probabilities.reshape(len(found.seeds), -1)
        subjects = np.repeat(found.subjects, len(found.label_names))
        micro = make("all cells (micro)", flat, found.labels.ravel(), subjects)
        return None if micro is None else (micro, each)
    return curves.mean("mean over labels (macro)", each), each


def _per_label(folder: pathlib.Path, results: Mapping) -> str:
    labels = (results.get("test") or {}).get("per_label") or {}
    if len(labels) < 2:
        return ""
    names = list(dict.fromkeys(name for one in labels.values() for name in tables.metrics_of(one)))
    rows, marks = [], []
    for label, one in labels.items():
        behind = (one.get("positive_patients"), one.get("negative_patients"))
        count, share = data_page.prevalence(one.get("positives"), one.get("samples"), behind)
        values = [tables.interval(one.get(name, {})) for name in names]
        rows.append([label, count, share, *values])
        marks.append(None if share == tables.NONE else one["positives"] / one["samples"])
    header = ["Label", "Positives", "Prevalence", *(tables.metric_name(name) for name in names)]
    order = sorted(labels, key=lambda name: -((labels[name].get("auroc") or {}).get("value") or 0))
    entries = {m: [labels[n].get(m) or {} for n in order] for m in ("auroc", "auprc")}
    of_label = dict(zip(labels, marks, strict=True))
    figure = plots.dots(order, entries, {"auprc": [of_label[name] for name in order]})
    drawing = plots.save(figure, folder / "plots" / "per_label.png")
    return page.section(
        "Per label",
        page.figures([(drawing, "Dot and line: value and 95 % interval. Grey mark: prevalence.")]),
        page.folded("All metrics per label", page.table(header, rows, stacked=True)),
    )


def _training(folder: pathlib.Path, results: Mapping, data: Mapping) -> str:
    path = folder / "metrics.jsonl"
    if not path.exists():
        words = "metrics.jsonl is not there: the method has no training steps, or none was logged."
        return page.section("Training", page.text(words, "missing"))
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            continue  # a killed run may leave its last line unfinished
    rows = [row for row in rows if not stored.misfit(row, forms.LOGGED)]
    if not rows:
        return page.section("Training", page.text("metrics.jsonl holds no step.", "missing"))
    train = ((data.get("cohort") or {}).get("splits") or {}).get("train") or {}
    if disclosure.is_few(train.get("patients")):
        words = f"Fewer than {disclosure.SMALLEST} patients are trained on: no loss is shown."
        return page.section("Training", page.text(words, "missing"))
    note = ""
    validation = disclosure.publishable(results.get("validation") or {"patients": 0})
    if not any(validation[name]["value"] is not None for name in tables.metrics_of(validation)):
        rows = [{**row, "validation": {}} for row in rows]
        note = "Validation has too few patients of a class for its metrics to be shown."
    drawing = plots.save(plots.training(rows), folder / "plots" / "training.png")
    return page.section(
        "Training", page.figures([(drawing, "")]), page.text(note, "note") if note else ""
    )


def _evidence(folder: pathlib.Path, results: Mapping) -> str:
    """What weighed in predictions over stays, over all test samples; "" for other methods."""
    found = _json(folder, "evidence.json")
    patients = (results.get("test") or {}).get("patients") or 0
    if not found or patients < disclosure.SMALLEST:
        return ""
    shown = [
        {"modality": name, "mean weight": f"{weight:.3f}"}
        for name, weight in (found.get("modalities") or {}).items()
    ]
    entities = [
        {"entity": row["name"], "samples": row["samples"], "mean weight": f"{row['weight']:.3f}"}
        for row in found.get("entities") or []
        if (row.get("patients") or 0) >= disclosure.SMALLEST
    ]
    return page.section(
        "What weighed in the predictions",
        _records(shown) if shown else "",
        _records(entities) if entities else "",
        page.text("Test samples, first seed; each sample's own are in evidence.jsonl.", "note"),
    )


def _model(results: Mapping) -> str:
    if not results:
        return page.section("Model and time", page.text("results.json is not there.", "missing"))
    rest = {key: value for key, value in results.items() if key not in PLACED}
    if "seconds" in rest:
        rest["seconds"] = tables.seconds(rest["seconds"])
    fits = [one for one in results.get("fits") or [] if one]
    return page.section(
        "Model and time",
        page.facts(rest, counts=False),
        _records(fits) if fits else "",
    )


def _records(rows: list[Mapping]) -> str:
    header = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in page.IDENTIFIERS]
    return page.table(
        [name.replace("_", " ") for name in header],
        [[_cell(row.get(name)) for name in header] for row in rows],
    )


def _cell(value: Any) -> str:
    if value is None:
        return tables.NONE
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _setting(folder: pathlib.Path, data: Mapping) -> str:
    parts = []
    for title, name in (("Config", "config.json"), ("Environment", "environment.json")):
        values = _json(folder, name)
        known = page.facts(values, counts=False) if values else None
        parts.append(page.folded(title, known or page.text(f"{name} is not there.", "missing")))
    terms = data.get("terms")
    said = f"Data terms: {terms}" if terms else "Data terms: not recorded in data.json."
    return page.section("Setting and terms", page.text(said), *parts)


def _predictions(folder: pathlib.Path) -> tuple[predictions.Predictions | None, str]:
    path = folder / "predictions.parquet"
    if not path.exists():
        return None, "predictions.parquet is not there, so there is nothing to draw."
    found = predictions.read(path, "test")
    if not found.seeds or np.isnan(found.labels).all():
        return None, "predictions.parquet holds no labelled test sample."
    return found, ""


def _json(folder: pathlib.Path, name: str) -> dict[str, Any]:
    """The object in folder/name; empty where the file is not there."""
    path = folder / name
    return stored.read_object(path, forms.OF.get(name, {})) if path.exists() else {}


def _write(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / "report.html"
    storage.write_text(path, text)
    return path
