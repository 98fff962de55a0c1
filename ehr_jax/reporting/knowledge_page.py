"""The part of a report that tells of retrieved knowledge: the graph, what was found, how linked."""

from collections.abc import Mapping

from ehr_jax import disclosure
from ehr_jax.reporting import data_page, page, tables

_FILTER = {
    "found": "Names of conditions found",
    "not_in_note": "left out: not in the note",
    "not_disease": "left out: no condition of the graph",
    "negated": "left out: denied",
    "family": "left out: of the family",
    "merged": "left out: named before in the same note",
    "kept": "Kept",
}
_HOW = {
    "exact": "by the same name",
    "normalised": "by the name otherwise written",
    "dense": "by meaning",
    "none": "refused",
}


def section(data: Mapping) -> str:
    """`data["features"]["knowledge"]` of data.json as a section; "" for a run that had none."""
    known = (data.get("features") or {}).get("knowledge")
    if not known:
        return ""
    chosen = data_page.fewest(data, known)
    return page.section(
        "Knowledge",
        *_graph(known.get("graph") or {}),
        page.columns(
            page.heading("Conditions in notes") + _notes(known, chosen),
            page.heading("Conditions of series") + _series(known.get("series") or {}, chosen),
            page.heading("Given to the model") + _given(data, known),
        ),
        _linking(known),
    )


def _graph(graph: Mapping) -> list[str]:
    if not graph:
        return [page.text("No graph was recorded.", "missing")]
    said = (
        f"Graph '{graph.get('source')}': {graph.get('nodes', 0):,} nodes, "
        f"{graph.get('edges', 0):,} edges (each told in both directions), "
        f"{graph.get('synonyms', 0):,} synonyms."
    )
    types = [
        [
            kind,
            f"{of['nodes']:,}",
            *(_share(of.get(f"with_{what}", 0), of["nodes"]) for what in _TOLD),
        ]
        for kind, of in (graph.get("by_type") or {}).items()
    ]
    edges = [[name, f"{count:,}"] for name, count in (graph.get("by_relation") or {}).items()]
    dropped = [[what, f"{count:,}"] for what, count in (graph.get("dropped") or {}).items()]
    return [
        page.text(said),
        page.table(["Type of node", "Nodes", *(f"With a {what}" for what in _TOLD)], types),
        page.folded("Edges by type", page.table(["Type of edge", "Edges"], edges)),
        page.folded("Left out or mended while reading", page.table(["What", "Rows"], dropped))
        if dropped
        else "",
        page.text(f"Terms of the graph: {graph.get('licence') or 'not recorded'}.", "note"),
    ]


_TOLD = ("definition", "description")


def _share(count: int, of: int) -> str:
    return f"{count:,} ({100 * count / of:.0f} %)" if of else tables.NONE


def _notes(known: Mapping, patients: int | None) -> str:
    counted = known.get("filter") or {}
    counted = {_FILTER[key]: counted[key] for key in _FILTER if key in counted}
    facts = disclosure.block(counted, patients)
    facts |= {f"Notes {kind}": count for kind, count in (known.get("notes") or {}).items()}
    facts |= {
        f"Language model, {what.replace('_', ' ')}": count
        for what, count in (known.get("language_model") or {}).items()
    }
    return page.facts(facts, True, patients)


def _series(series: Mapping, patients: int | None) -> str:
    if not series:
        return page.text("No series was looked at.", "missing")
    facts = {
        "Values far from the usual": series.get("values_beyond"),
        "Entities, once a sample": series.get("entities"),
    }
    # How many kinds there are counts no people.
    kinds = {
        "kinds of entity": f"{series.get('distinct', 0)}",
        "kinds that the graph knows": f"{series.get('distinct_linked', 0)}",
        "kinds it does not know": ", ".join(series.get("not_linked") or ()) or tables.NONE,
    }
    return page.facts(facts | kinds, True, patients)


def _given(data: Mapping, known: Mapping) -> str:
    patients = data_page.fewest(data, known, "patients_with_entities", "samples_with_entities")
    facts = {
        "Entities": known.get("entities"),
        "Samples with an entity": data_page.part(
            data, known.get("samples_with_entities"), patients
        ),
        "Distinct nodes": f"{known.get('distinct_nodes', 0):,}",
    }
    for key in ("extractor", "rendering", "form"):
        facts[key.capitalize()] = known.get(key)
    return page.facts(facts, True, patients)


def _linking(known: Mapping) -> str:
    """How names were linked, and what is accepted by meaning."""
    rows = []
    for what, counted in (
        ("kinds of entity in series", (known.get("series") or {}).get("links")),
        ("names given by a language model", known.get("language_model_links")),
    ):
        if counted:
            rows.append([what, *(f"{counted.get(how, 0):,}" for how in _HOW)])
    said = "The gazetteer finds names and synonyms of the graph, so what it finds is linked."
    if accepted := known.get("linking"):
        said += (
            f" By meaning is accepted from a cosine of {accepted['threshold']:.3f} with a lead of "
            f"{accepted['margin']:.2f}"
        )
        if accepted.get("queries"):
            said += (
                f": precision {accepted['precision']:.3f} and recall {accepted['recall']:.3f} on "
                f"{accepted['queries']:,} known synonyms"
            )
        said += "."
    shown = page.table(["Linking", *_HOW.values()], rows) if rows else ""
    return shown + page.text(said, "note")
