"""A self-contained HTML page: sections, tables, drawings. No script and nothing fetched.

Small counts are suppressed here, in `facts`, so that no caller can forget it (`disclosure`).
"""

import html
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ehr_jax import disclosure, terminal
from ehr_jax.reporting import tables

# Keys whose values could point at single patients; they never reach a page.
IDENTIFIERS = ("subject_id", "sample_id", "visit_id", "stay_id", "hadm_id", "patient_id")
# Keys of counts of what is no patient, such as codes and their kinds, and of settings.
WITHOUT_PATIENTS = ("distinct_codes", "kinds", "nodes", "spec", "edges", "distinct_nodes", "steps")
LONGEST_LIST = 12
_OTHERS_HOME = re.compile(r"(?<![\w.~…])/(?:home|Users)/[^/\s'\",;]+")
_WHOLE_PATH = re.compile(r"/(?:[^/\n]+/)+([^/\n]*)")
_PATH = re.compile(r"(?<![\w.~…/<])/(?:[^/\s'\",;()]+/)+([^/\s'\",;()]*)")
# In an address: a name without a dot, or a number, that is not this machine's own.
_HOST = re.compile(
    r"(?<=://)(?!localhost\b|127\.)(?:[\w-]+|\d+(?:\.\d+){3}|\[[\da-fA-F:]+\])(?=[:/\s]|$)"
)

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --panel: #f5f7f9; --ink: #22303c;
  --muted: #667380; --grid: #d8dee5; --accent: #0072b2; --warn: #fdf3e1; --warn-edge: #d98c00;
  --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73; --series-3: #b8578e;
  --series-4: #c98a00; --series-5: #56b4e9; }
@media (prefers-color-scheme: dark) { :root { --paper: #14191f; --panel: #1c232b; --ink: #e4e9ee;
  --muted: #98a4b0; --grid: #35404b; --accent: #5bb4ee; --warn: #2e2616; --warn-edge: #e0a030;
  --series-0: #4dacec; --series-1: #f58a4b; --series-2: #2fc79d; --series-3: #e29bc4;
  --series-4: #f2bd42; --series-5: #3f7fab; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.2rem 1.4rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .7rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead, .note, figcaption { color: var(--muted); }
.note, figcaption { font-size: .87rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.3rem 0 .6rem; }
.tile { background: var(--panel); border-radius: 8px; padding: .75rem 1rem; min-width: 9.5rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: .85rem; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums;
  margin: .3rem 0 1rem; }
th, td { padding: .32rem .9rem .32rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
td small { color: var(--muted); font-size: .84em; }
table.stacked small { display: block; line-height: 1.1; }
.columns { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.columns > div { max-width: 100%; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.facts td:first-child { color: var(--muted); }
table.words th, table.words td { text-align: left; white-space: normal; vertical-align: top;
  min-width: 5rem; }
.figures { display: flex; flex-wrap: wrap; gap: .6rem; align-items: flex-start; }
figure { margin: .4rem 0; max-width: 100%; }
figure svg { max-width: 100%; height: auto; display: block; }
figure svg text { fill: var(--ink); }
.warning { background: var(--warn); border-left: 4px solid var(--warn-edge); border-radius: 4px;
  padding: .7rem 1rem; margin: 1rem 0; }
.warning ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.missing { color: var(--muted); font-style: italic; }
summary { cursor: pointer; color: var(--accent); margin: .5rem 0; }
@media print { body { max-width: none; } details > * { display: block; } }
"""


def document(title: str, lead: str, body: Sequence[str]) -> str:
    """The whole page."""
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="lead">{escape(lead)}</p>\n' + "\n".join(body) + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it."""
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(part for part in parts if part)


def heading(title: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(title)}</h3>"


def text(words: str, kind: str = "") -> str:
    """A paragraph; `kind` is "note" for small print or "missing" for what is not there."""
    return f'<p class="{kind}">{escape(words)}</p>' if kind else f"<p>{escape(words)}</p>"


def warning(words: str, items: Sequence[str]) -> str:
    """A box that stands out."""
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<div class="warning">{escape(words)}<ul>{listed}</ul></div>'


def tiles(figures: Sequence[tuple[str, str, str]]) -> str:
    """Large figures: (name, value, small print)."""
    made = [
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b>'
        f"<span>{escape(small)}</span></div>"
        for name, value, small in figures
    ]
    return f'<div class="tiles">{"".join(made)}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], stacked: bool = False) -> str:
    """A table of ready cells; the first column is text, the others are figures.

    `stacked` sets intervals below their value, for tables of many columns.
    """
    top = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["".join(f"<td>{_interval(escape(cell))}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    kind = ' class="stacked"' if stacked else ""
    return f'<div class="wide"><table{kind}><tr>{top}</tr>\n{body}</table></div>'


def words(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of sentences, which may be as long as the page is wide."""
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f'<table class="words">{chr(10).join(lines)}</table>'


def columns(*parts: str) -> str:
    """Small parts side by side, as many as the page is wide."""
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def figures(drawings: Sequence[tuple[str, str]]) -> str:
    """Drawings (SVG text, caption) side by side."""
    made = [
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for svg, caption in drawings
    ]
    return f'<div class="figures">{"".join(made)}</div>'


def folded(summary: str, inner: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>"


def facts(values: Mapping[str, Any], counts: bool, patients: int | None = None) -> str:
    """Any mapping as a table of two columns, nested keys joined by a dot.

    With `counts`, every whole number is a count of people or events and is suppressed when small,
    or where it is of few `patients`.
    """
    rows = list(_flatten(values, counts, patients))
    if not rows:
        return text("Nothing recorded.", "missing")
    lines = "\n".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in rows)
    return f'<table class="facts">{lines}</table>'


def escape(words: Any) -> str:
    """Text for HTML, without control characters and without places of this machine."""
    return html.escape(without_places(terminal.clean(str(words))))


def without_places(text: str) -> str:
    """Returns `text` with "~" for a home folder, "…" for what stands before a file's own name in
    other whole paths, and "…" for the names of this machine and of others in its network."""
    home = str(pathlib.Path.home())
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?![^/\s'\",;])", "~", text)
    text = _OTHERS_HOME.sub("~", text)
    text = _WHOLE_PATH.sub(r"…/\1", text) if _WHOLE_PATH.fullmatch(text) else text
    text = _PATH.sub(r"…/\1", text)
    if len(platform.node()) > 3:
        text = re.sub(rf"\b{re.escape(platform.node())}\b", "…", text)
    return _HOST.sub("…", text)


def _interval(cell: str) -> str:
    value, bracket, rest = cell.partition(" [")
    return f"{value} <small>[{rest}</small>" if bracket and rest.endswith("]") else cell


def _flatten(
    values: Mapping[str, Any], counts: bool, patients: int | None, prefix="", as_words=False
):
    as_words = as_words or counts
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ") if as_words else f"{prefix}{key}"
        if key in IDENTIFIERS:
            continue
        of_patients = counts and key not in WITHOUT_PATIENTS
        if isinstance(value, Mapping) and value:
            joint = " · " if as_words else "."
            yield from _flatten(value, of_patients, patients, f"{prefix}{key}{joint}", as_words)
        elif isinstance(value, list | tuple):
            shown = ", ".join(_scalar(item, of_patients, patients) for item in value[:LONGEST_LIST])
            more = len(value) - LONGEST_LIST
            yield name, shown + (f", and {more} more" if more > 0 else "")
        else:
            yield name, _scalar(value, of_patients, patients)


def _scalar(value: Any, counts: bool, patients: int | None) -> str:
    if value is None or value == {}:
        return tables.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return disclosure.shown(value, patients) if counts else f"{value}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping | list | tuple):
        return f"{len(value)} entries"
    return str(value)
