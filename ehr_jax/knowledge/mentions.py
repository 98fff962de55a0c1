"""The gazetteer: where a note names a node of the graph, by any of its names and synonyms.

No model is needed. Names and text meet in the one spelling of `normalise`; the longest name wins.
Short names are words too often ("all", "mi", "pe"), so they count only as known abbreviations, in
capitals.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from ehr_jax import errors, packaged
from ehr_jax.knowledge import aliases, normalise, phrases, sentences

TERMS = {"node": pl.Int64, "term": pl.String, "exact": pl.Boolean}

SHORT = 4  # letters and digits; a name of fewer counts only where it is a known abbreviation
EXACT, RELATED = 1.0, 0.8  # scores of a name or exact synonym, and of a wider one (inferred)

# To the names it stands for, of which the first that the graph has counts; a synonym of the graph
# that reads the same comes before, as do those of `aliases`.
ABBREVIATIONS: dict[str, tuple[str, ...]] = {}
for _row in packaged.rows("ehr_jax.knowledge", "data/abbreviations.csv"):
    ABBREVIATIONS[_row["short"]] = (*ABBREVIATIONS.get(_row["short"], ()), _row["name"])

# Names of so wide a sense that they tell nothing of a patient.
GENERIC = frozenset(
    normalise.normalise(name)
    for name in "disease; syndrome; disorder; illness; condition; infection; symptom; sign; lesion;"
    "abnormality; injury; deficiency; finding; diagnosis; genetic disease; medical condition;"
    "physical disorder; clinical finding".split(";")
)

_CAPITALS = re.compile(r"(?<![A-Za-z0-9])[A-Z][A-Z0-9]{1,7}(?=s?(?![A-Za-z0-9]))")
_ACROSS = re.compile(r"[;:|\t]")  # what no name reaches across


class Mention(NamedTuple):
    """`text[start:end]` of a note names a node of the graph."""

    start: int
    end: int
    node: int
    score: float  # EXACT or RELATED


class Gazetteer(NamedTuple):
    """The names of a graph's nodes, ready to be found."""

    names: phrases.Phrases
    meanings: list[tuple[int, float]]  # [name] node, score
    abbreviations: Mapping[str, tuple[int, float]]


def build(terms: pl.DataFrame, accelerate: bool | None = None) -> Gazetteer:
    """Returns the gazetteer of a graph's names (`Graph.terms`).

    A name of several nodes is that of the one it is exact for, then of the first node.

    Args:
      terms: columns TERMS; `exact` is False for synonyms of a wider or near sense.
      accelerate: use pyahocorasick; None where it is installed.

    Raises:
      KnowledgeError: a column is missing, or no name is left.
    """
    if lacking := [name for name in TERMS if name not in terms.columns]:
        raise errors.KnowledgeError(
            f"terms of the graph: no column {', '.join(lacking)}; found "
            f"{', '.join(terms.columns)}, expected {', '.join(TERMS)}"
        )
    rows = (
        terms.select(*TERMS)
        .drop_nulls()
        .cast(TERMS)
        .sort("exact", "node", descending=[True, False])
    )
    names: dict[str, tuple[int, float]] = {}
    capitals: dict[str, tuple[int, float]] = {}
    for node, term, exact in rows.iter_rows():
        meaning = (node, EXACT if exact else RELATED)
        if _CAPITALS.fullmatch(term := term.strip()):
            capitals.setdefault(term, meaning)
            continue
        for name in {normalise.normalise(term), _in_order(term)} - GENERIC:
            if len(name.replace(" ", "")) >= SHORT:
                names.setdefault(name, meaning)
    if not names and not capitals:
        raise errors.KnowledgeError(
            f"terms of the graph: none of {terms.height} names can be looked for; is it the right "
            "graph, and are its disease nodes of the expected type?"
        )
    index = phrases.index((name.split() for name in names), accelerate)
    return Gazetteer(index, list(names.values()), _abbreviations(names, capitals))


def find(gazetteer: Gazetteer, note: sentences.Note) -> list[Mention]:
    """Returns what a note names, sorted, none overlapping; no name reaches across sentences."""
    words = note.words
    spans = []
    for first, last, name in phrases.occurrences(gazetteer.names, [word.word for word in words]):
        start, end = words[first].start, words[last - 1].end
        if last - first == 1 or not _ACROSS.search(note.text, start, end):
            spans.append((start, end, *gazetteer.meanings[name]))
    for match in _CAPITALS.finditer(note.text):
        if meaning := gazetteer.abbreviations.get(match[0]):
            spans.append((*match.span(), *meaning))
    mentions = []
    for start, end, node, score in phrases.longest(spans):
        at = sentences.sentence_of(note.sentences, start, end)
        if at >= 0 and not (end - start < 3 and _shouted(note, at)):
            mentions.append(Mention(start, end, node, score))
    return mentions


def lookup(gazetteer: Gazetteer, name: str) -> int:
    """Returns the node that a name on its own stands for, or -1."""
    if meaning := gazetteer.abbreviations.get(name.strip()):
        return meaning[0]
    for words in (normalise.normalise(name), _in_order(name)):
        key = tuple(gazetteer.names.words.get(word, phrases.UNKNOWN) for word in words.split())
        if key in gazetteer.names.numbers:
            return gazetteer.meanings[gazetteer.names.numbers[key]][0]
    return -1


def _in_order(term: str) -> str:
    """Returns a term normalised, but in the order of its words."""
    return " ".join(token.word for token in normalise.tokens(term))


def _abbreviations(names: Mapping, capitals: Mapping) -> dict[str, tuple[int, float]]:
    """Returns what each abbreviation means: a graph's own, or by the name it stands for."""
    found = {
        term: meaning
        for term, meaning in capitals.items()
        if len(term) >= SHORT or term in ABBREVIATIONS or term in aliases.SHORT
    }
    for short, meanings in ABBREVIATIONS.items():
        known = (names.get(normalise.normalise(name)) for name in meanings)
        if meaning := next(filter(None, known), None):
            found.setdefault(short, meaning)
    return found


def _shouted(note: sentences.Note, at: int) -> bool:
    """Is a sentence written in capitals, so that they mark no abbreviation?"""
    text = note.text[note.sentences[at].start : note.sentences[at].end]
    letters = sum(map(str.isalpha, text))
    return letters > 20 and sum(map(str.isupper, text)) > 0.8 * letters
