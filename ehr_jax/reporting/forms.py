"""What a report takes from the JSON files of a run folder, as forms of `stored`."""

from ehr_jax.stored import NUMBER

_FIGURE = (*NUMBER, None)
_WORDS = (str, None)
_COUNTS = ({...: _FIGURE}, None)
_OBJECT = (dict, None)

_METRIC = {"value": _FIGURE, "low": _FIGURE, "high": _FIGURE, ...: object}
_SPREAD = {"std": _FIGURE, "seed_std": _FIGURE, "fold_std": _FIGURE}
# A metric, or a fact that is shown nowhere or as it is: no other object has a "value".
_ENTRIES = {
    **dict.fromkeys(("patients", "positive_patients", "negative_patients"), _FIGURE),
    **dict.fromkeys(("samples", "positives"), _FIGURE),
    ...: (_METRIC | _SPREAD, str, *NUMBER, list, None),
}
TEST = _ENTRIES | {
    "resamples": _FIGURE,
    "conventions": ({...: str}, None),
    "per_label": ({...: _ENTRIES}, None),
    "macro": (_ENTRIES, None),
    "micro": (_ENTRIES, None),
}
_METHOD = {"name": str, "label": _WORDS, "test": TEST, "seconds": _FIGURE, "samples": (int, None)}
RESULTS = {
    **dict.fromkeys(("task", "model", "label", "protocol", "source", "notes"), _WORDS),
    "seeds": (list, None),
    "folds": (int, None),
    "seconds": _FIGURE,
    "test": (TEST, None),
    "validation": (TEST, None),
    "fits": ([(dict, None)], None),
    "per_split": ([dict], None),
    "methods": ([_METHOD], None),
    "paired": ({"reference": _WORDS, "reference_minus": ({...: _ENTRIES}, None)}, None),
}

_SPLIT = {
    **dict.fromkeys(("patients", "samples", "labelled"), (int, None)),
    **dict.fromkeys(("positives", "positive_patients", "negative_patients"), _COUNTS),
}
_KNOWLEDGE = {
    "graph": (
        {
            **dict.fromkeys(("nodes", "edges", "synonyms"), (int, None)),
            "by_type": ({...: {"nodes": int, ...: _FIGURE}}, None),
            "by_relation": _COUNTS,
            "dropped": _COUNTS,
        },
        None,
    ),
    **dict.fromkeys(("filter", "language_model_links"), _COUNTS),
    **dict.fromkeys(("notes", "language_model"), _OBJECT),
    "series": ({"not_linked": ([str], None), "links": _COUNTS}, None),
    "distinct_nodes": (int, None),
    "linking": ({"threshold": NUMBER, "margin": NUMBER, ...: object}, None),
}
DATA = {
    **dict.fromkeys(("source", "terms"), _WORDS),
    "cohort": (
        {
            **dict.fromkeys(("title", "description", "protocol"), _WORDS),
            "faults": ([str], None),
            "excluded": _COUNTS,
            "splits": ({...: _SPLIT}, None),
        },
        None,
    ),
    "folds": ({...: {"splits": {"test": _SPLIT}}}, None),
    "tables": ({...: {...: (int, None)}}, None),
    "features": ({"knowledge": (_KNOWLEDGE, None)}, None),
    "notes": ({"source": _WORDS}, None),
    **dict.fromkeys(("records", "oddities", "encoder"), _OBJECT),
}

_WEIGHED = {"name": str, "samples": int, "patients": (int, None), "weight": NUMBER}
EVIDENCE = {"modalities": _COUNTS, "entities": ([_WEIGHED], None)}

AUDIT = {"checks": ([{"status": str, "check": str, "message": str}], None)}

OF = {
    "results.json": RESULTS, "data.json": DATA, "evidence.json": EVIDENCE, "audit.json": AUDIT,
}  # fmt: skip

# A line of metrics.jsonl.
LOGGED = {
    "step": NUMBER,
    "seed": (int, None),
    "loss": _FIGURE,
    "validation": _COUNTS,
}
