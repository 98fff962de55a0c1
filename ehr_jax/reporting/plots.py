"""Plots of a run: training curves, ROC, precision-recall, reliability, dots with intervals.

Each returns a matplotlib Figure of its own (no global state); `save` writes the PNG and gives the
SVG for the report, whose colours are CSS variables so that one drawing suits light and dark.
"""

import io
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from ehr_jax import storage, terminal
from ehr_jax.reporting import curves, tables

INK, MUTED, GRID = "#22303c", "#7b8794", "#d8dee5"
# Okabe and Ito's palette, told apart by readers with any colour vision.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
CSS_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--series-{k}" for k, colour in enumerate(SERIES)
}
STYLE = {
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "ehr_jax",
}


@matplotlib.rc_context(STYLE)
def training(rows: Sequence[Mapping]) -> matplotlib.figure.Figure:
    """Training loss, and each validation metric, by step; one line a seed.

    Args:
        rows: of metrics.jsonl: {"seed", "step", "loss", "validation": {name: value}}.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.get("validation") or {}))
    names.sort(key=lambda name: name == "loss")
    panels = [("loss", lambda row: row.get("loss"))]
    for name in names:
        said = f"validation {tables.metric_name(name)}"
        panels.append((said, lambda row, name=name: (row.get("validation") or {}).get(name)))
    seeds = sorted({row.get("seed", 0) for row in rows})
    figure, axes = _figure(3.1 * len(panels), 2.9, len(panels))
    for axis, (title, value) in zip(axes, panels, strict=True):
        for k, seed in enumerate(seeds):
            points = [(r["step"], value(r)) for r in rows if r.get("seed", 0) == seed]
            points = [(step, found) for step, found in points if found is not None]
            if points:
                colour, alpha = _seed_look(k, len(seeds))
                axis.plot(*zip(*points, strict=True), color=colour, alpha=alpha, lw=1.4,
                          label=f"seed {seed}")  # fmt: skip
        axis.set(title=title, xlabel="step")
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
    if 1 < len(seeds) <= len(SERIES):
        axes[0].legend()
    return figure


@matplotlib.rc_context(STYLE)
def roc(main: curves.Curve, others: Sequence[curves.Curve] = ()) -> matplotlib.figure.Figure:
    """ROC curve, with one thin line a label behind it."""
    figure, (axis,) = _figure(3.4, 3.5)
    axis.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), label="chance")
    _lines(axis, main, others)
    axis.set(title="ROC", xlabel="1 − specificity", ylabel="sensitivity")
    _unit_square(axis, "lower right")
    return figure


@matplotlib.rc_context(STYLE)
def precision_recall(
    main: curves.Curve, others: Sequence[curves.Curve] = ()
) -> matplotlib.figure.Figure:
    """Precision-recall curve, with the prevalence a method without skill would reach."""
    figure, (axis,) = _figure(3.4, 3.5)
    axis.axhline(main.prevalence, color=MUTED, lw=1, ls=(0, (4, 3)),
                 label=f"prevalence {main.prevalence:.3f}")  # fmt: skip
    _lines(axis, main, others)
    axis.set(title="Precision-recall", xlabel="recall (sensitivity)", ylabel="precision")
    _unit_square(axis, "best")
    return figure


@matplotlib.rc_context(STYLE)
def reliability(found: curves.Reliability) -> matplotlib.figure.Figure:
    """Observed against predicted risk, and below it how many cells each bin holds."""
    figure = matplotlib.figure.Figure(figsize=(3.4, 3.5), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), label="perfect")
    kept = ~np.isnan(found.predicted)
    top.plot(found.predicted[kept], found.observed[kept], color=SERIES[0], marker="o", ms=4.5,
             label="observed")  # fmt: skip
    top.set(title="Reliability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))
    top.legend(loc="upper left")
    left = np.arange(len(found.counts)) / len(found.counts)
    below.bar(left, found.counts, width=0.9 / len(left), align="edge", color=SERIES[5])
    below.set(xlabel="predicted probability", ylabel="count")
    below.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(2, integer=True))
    below.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    return figure


@matplotlib.rc_context(STYLE)
def dots(
    names: Sequence[str],
    entries: Mapping[str, Sequence[Mapping]],
    marks: Mapping[str, Sequence[float | None]] | None = None,
) -> matplotlib.figure.Figure:
    """One row a name (label or method) and one panel a metric: a dot with its interval.

    Args:
        names: rows, from the top.
        entries: {metric: one {"value", "low", "high"} a name}; null values leave a row empty.
        marks: {metric: one baseline a name}, drawn as a short upright line; None draws nothing.
    """
    figure, axes = _figure(2.0 + 2.8 * len(entries), 1.0 + 0.27 * len(names), len(entries), True)
    for k, (axis, (metric, row)) in enumerate(zip(axes, entries.items(), strict=True)):
        for y, entry in enumerate(row):
            value, low, high = (entry.get(key) for key in ("value", "low", "high"))
            if value is None:
                continue
            if low is not None and high is not None:
                axis.plot([low, high], [y, y], color=SERIES[k], lw=2, alpha=0.55,
                          solid_capstyle="round")  # fmt: skip
            axis.plot([value], [y], color=SERIES[k], marker="o", ms=5)
        for y, mark in enumerate((marks or {}).get(metric, ())):
            if mark is not None:
                axis.plot([mark], [y], color=MUTED, marker="|", ms=9, mew=1.6)
        axis.set(title=tables.metric_name(metric), ylim=(len(names) - 0.4, -0.6))
        axis.set_yticks(range(len(names)), [_short(name) for name in names])
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    return figure


def save(figure: matplotlib.figure.Figure, path: str | os.PathLike) -> str:
    """Writes `path` (PNG, white ground) and returns the drawing as SVG for a page."""
    path = pathlib.Path(path)
    storage.make_folder(path.parent)
    with matplotlib.rc_context(STYLE):
        storage.write_file(
            path, lambda to: figure.savefig(to, format="png", dpi=160, facecolor="white")
        )
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    drawing = text.getvalue()
    for colour, variable in CSS_VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable})")
    # One page holds several drawings, and each numbers its parts from 1.
    drawing = re.sub(r'id="([A-Za-z][\w.]*_\d+)"', rf'id="{path.stem}-\1"', drawing)
    return drawing[drawing.index("<svg") :]


def _figure(width: float, height: float, panels: int = 1, share_y: bool = False):
    figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, panels, squeeze=False, sharey=share_y)[0]


def _lines(axis, main: curves.Curve, others: Sequence[curves.Curve]) -> None:
    for k, one in enumerate(others):
        axis.plot(curves.GRID, one.values, color=MUTED, lw=0.8, alpha=0.5,
                  label="one label" if k == 0 else None)  # fmt: skip
    axis.plot(curves.GRID, main.values, color=SERIES[0], lw=2.2, label=main.name)


def _unit_square(axis, legend: str) -> None:
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axis.set_aspect("equal")
    axis.legend(loc=legend)


def _seed_look(k: int, seeds: int) -> tuple[str, float]:
    return (SERIES[k], 0.9) if seeds <= len(SERIES) else (SERIES[0], 0.35)


def _short(name: str, longest: int = 44) -> str:
    name = terminal.line(name)
    # A dollar would begin a formula.
    return (name if len(name) <= longest else f"{name[: longest - 1]}…").replace("$", r"\$")
