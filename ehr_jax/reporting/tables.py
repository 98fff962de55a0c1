"""Results as tables, for the terminal and as Markdown."""

from collections.abc import Mapping, Sequence

from ehr_jax import disclosure, terminal

METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "min_p_se": "min(+P, Se)",
    "f1": "F1",
    "accuracy": "Accuracy",
    "brier": "Brier ↓",
}
# The deviation of an entry, and what it is between.
SPREADS = {"seed_std": "seeds", "fold_std": "folds", "std": "splits"}
NONE = disclosure.NONE  # where a metric is undefined, not computed or not to be shown

Rows = list[list[str]]
metrics_of = disclosure.metrics_of


def headline(results: Mapping) -> str:
    """One line: the headline metrics of results.json on the test split."""
    test = disclosure.publishable(results.get("test", {}))
    return ", ".join(f"{metric_name(name)} {interval(test[name])}" for name in metrics_of(test))


def results_table(results: Mapping, markdown: bool = False) -> str:
    """The metrics of results.json on the test split, a row each, with their intervals."""
    return render(*results_rows(results), markdown)


def comparison_table(results: Mapping, markdown: bool = False) -> str:
    """The methods of a benchmark's results.json, a row each, and below them the differences."""
    results = disclosure.comparison(results)
    parts = [render(*comparison_rows(results), markdown)]
    header, rows = paired_rows(results)
    if rows:
        parts.append(f"{paired_title(results)}\n\n{render(header, rows, markdown)}")
    return "\n\n".join(parts)


def results_rows(results: Mapping) -> tuple[list[str], Rows]:
    """Header and rows of `results_table`, with macro and micro beside a headline that differs."""
    test = disclosure.publishable(results.get("test", {}))
    names = metrics_of(test)
    beside = [group for group in ("macro", "micro") if _differs(test, test.get(group), names)]
    rows = []
    for name in names:
        spread = next((test[name][key] for key in SPREADS if key in test[name]), None)
        row = [metric_name(name), interval(test[name]), number(spread)]
        rows.append(row + [interval(test[group].get(name, {})) for group in beside])
    return ["Metric", "Test [95 % interval]", "SD", *(name.capitalize() for name in beside)], rows


def spread_over(test: Mapping) -> str:
    """What the deviations of `results_rows` are between, in a word."""
    keys = [SPREADS[key] for name in metrics_of(test) for key in SPREADS if key in test[name]]
    return keys[0] if keys else "seeds"


def comparison_rows(results: Mapping) -> tuple[list[str], Rows]:
    """Header and rows of the methods of a benchmark, in their order.

    A method that scores fewer samples than others says how many.
    """
    methods = disclosure.comparison(results)["methods"]
    most = max((one.get("samples", 0) for one in methods), default=0)
    names = list(dict.fromkeys(name for one in methods for name in metrics_of(one["test"])))
    rows = []
    for one in methods:
        values = [interval(one["test"].get(name, {})) for name in names]
        label, scored = method_label(one), one.get("samples", most)
        if scored < most:
            told = disclosure.is_few(scored) or disclosure.is_few(most - scored)
            label += " (not all samples)" if told else f" ({scored:,} of {most:,} samples)"
        rows.append([label, *values, seconds(one.get("seconds"))])
    return ["Method", *(metric_name(name) for name in names), "Time"], rows


def paired_rows(results: Mapping) -> tuple[list[str], Rows]:
    """Header and rows of results["paired"]: the reference method minus each other."""
    differences = disclosure.comparison(results)["paired"]["reference_minus"]
    labels = {one["name"]: method_label(one) for one in results.get("methods", [])}
    names = list(dict.fromkeys(name for one in differences.values() for name in metrics_of(one)))
    rows = [
        [labels.get(method, method), *(interval(one.get(n, {}), signed=True) for n in names)]
        for method, one in differences.items()
    ]
    return ["Method", *(f"Δ {metric_name(name)}" for name in names)], rows


def paired_title(results: Mapping) -> str:
    """What the differences of `paired_rows` are, in a sentence."""
    name = results["paired"].get("reference", "the reference")
    labels = {one["name"]: method_label(one) for one in results.get("methods", [])}
    within = " of each fold, the mean of folds" if (results.get("folds") or 1) > 1 else ""
    return f"{labels.get(name, name)} minus each method, on the same resamples of patients{within}:"


def metric_name(name: str) -> str:
    """A metric's name as print gives it."""
    return METRIC_NAMES.get(name, name)


def method_label(method: Mapping) -> str:
    """A method's display name."""
    return str(method.get("label") or method.get("name", "?"))


def interval(entry: Mapping, digits: int = 3, signed: bool = False) -> str:
    """ "0.812 [0.790, 0.833]"; without the bracket where there is no interval."""
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    if value is None:
        return NONE
    said = number(value, digits, signed)
    if low is None or high is None:
        return said
    return f"{said} [{number(low, digits, signed)}, {number(high, digits, signed)}]"


def number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """A figure with a fixed number of decimals, or a dash for none."""
    return NONE if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def seconds(value: float | None) -> str:
    """A duration in the unit that reads best."""
    if value is None:
        return NONE
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def render(header: Sequence[str], rows: Rows, markdown: bool = False) -> str:
    """A table as aligned text, or as Markdown; a cell is one line."""
    header, rows = (
        [terminal.line(cell) for cell in header],
        [[*map(terminal.line, row)] for row in rows],
    )
    if markdown:
        cells = [[cell.replace("|", "\\|") for cell in row] for row in [list(header), *rows]]
        cells.insert(1, ["---"] + ["---:"] * (len(header) - 1))
        return "\n".join(f"| {' | '.join(row)} |" for row in cells)
    table = [list(header), *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _differs(test: Mapping, group: Mapping | None, names: list[str]) -> bool:
    return bool(group) and any(
        test[name]["value"] != group.get(name, {}).get("value") for name in names
    )
