"""From notes to entities: which conditions of the graph each note names, and how it means them.

`extract` is the one function a pipeline calls, whatever the extractor: the gazetteer alone, or a
language model with the gazetteer to fall back on. Both pass the same rules and the same filter.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

import polars as pl

from ehr_jax import errors
from ehr_jax.knowledge import (
    context,
    filtering,
    language_model,
    mentions,
    normalise,
    sentences,
)
from ehr_jax.progress import progress

# Beside these, `time` is as in the notes. No column holds text.
ENTITIES = {
    "sample_id": pl.Int64,
    "note": pl.Int64,  # row of the notes
    "start": pl.Int64,  # characters of the note's text
    "end": pl.Int64,
    "node": pl.Int64,
    "score": pl.Float64,  # of the link: 1 for a node's own name
} | dict.fromkeys(context.Flags._fields, pl.Boolean)

_BATCH = 256  # notes
# Characters that no written note holds, and how many of a thousand make it none.
_ODD = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
_ODD_PER_MILLE = 20

# Returns (node or filtering.NO_NODE, score) of each name.
Link = Callable[[Sequence[str]], Sequence[tuple[int, float]]]


@dataclasses.dataclass(frozen=True)
class Extracted:
    """What was found.

    entities: ENTITIES and `time`, by note and place; a node once a note.
    counts: what the filter did.
    notes: how many were read, were empty, or unreadable (binary).
    answers: what became of the language model's questions; None for the gazetteer alone.
    """

    entities: pl.DataFrame
    counts: filtering.Counts
    notes: dict[str, int]
    answers: language_model.Answers | None


def extract(
    notes: pl.DataFrame,
    gazetteer: mentions.Gazetteer,
    model: language_model.LanguageModel | None = None,
    link: Link | None = None,
    rules: bool = True,
) -> Extracted:
    """Finds the conditions that notes name.

    Args:
      notes: sample_id (integer), time (any type), text; one row a note, in any order.
      gazetteer: the names of the graph's diseases.
      model: names entities in place of the gazetteer, which takes over where it fails.
      link: finds the nodes of the names a model gives; None asks the gazetteer for the same name.
      rules: tell how mentions are meant, and drop what is negated or of the family; without, all
        mentions count as the patient's own.

    Raises:
      KnowledgeError: a column is missing or of another type.
    """
    _check(notes)
    link = link or (lambda names: [_looked_up(gazetteer, name) for name in names])
    seen = {"read": 0, "empty": 0, "unreadable": 0}
    counts, tables = filtering.Counts(), [_table([], notes)]
    with progress("extract entities", notes.height) as bar:
        for first in range(0, notes.height, _BATCH):
            texts = notes["text"][first : first + _BATCH].to_list()
            read = {}
            for row, text in enumerate(texts, first):
                kind = _kind(text)
                seen[kind] += 1
                if kind == "read":
                    read[row] = sentences.read(text)
            found = _found(list(read.values()), gazetteer, model, link)
            rows = []
            for (row, note), candidates in zip(read.items(), found, strict=True):
                kept, of_note = filtering.keep(_flagged(note, candidates) if rules else candidates)
                counts += of_note
                rows += [(row, *candidate[:4], *candidate.flags) for candidate in kept]
            tables.append(_table(rows, notes))
            bar.advance(len(texts), f"{counts.kept} kept")
    answers = None if model is None else model.answers
    return Extracted(pl.concat(tables), counts, seen, answers)


def _check(notes: pl.DataFrame) -> None:
    found = {name: str(dtype) for name, dtype in notes.schema.items()}
    good = {"sample_id", "time", "text"} <= set(found)
    if not (good and notes["sample_id"].dtype.is_integer() and notes["text"].dtype == pl.String):
        raise errors.KnowledgeError(
            f"notes to extract from: columns {found}; expected sample_id (an integer), time and "
            "text (String)"
        )


def _kind(text: str | None) -> str:
    """Returns what a text is, a key of `Extracted.notes`."""
    if text is None or not text.strip():
        return "empty"
    odd = len(_ODD.findall(text[:20_000]))
    return "unreadable" if 1000 * odd > _ODD_PER_MILLE * len(text[:20_000]) else "read"


def _found(notes: list[sentences.Note], gazetteer, model, link) -> list[list[filtering.Candidate]]:
    """Returns the candidates of each note, without flags."""
    if model is None:
        return [_of_gazetteer(note, gazetteer, [(0, len(note.text))]) for note in notes]
    cut = [language_model.pieces(note) for note in notes]
    asked = [
        note.text[start:end] if number < language_model.MOST_PIECES else None
        for note, spans in zip(notes, cut, strict=True)
        for number, (start, end) in enumerate(spans)
    ]
    answers = iter(model.diseases(asked))
    told: list[list[str]] = []
    left: list[list[tuple[int, int]]] = []
    for spans in cut:
        named, lost = {}, []
        for span in spans:
            answer = next(answers)
            if answer is None:
                lost.append(span)
            for name in answer or ():
                key = " ".join(token.word for token in normalise.tokens(name))
                named.setdefault(key, name)
        told.append(list(named.values()))
        left.append(lost)
    distinct = list(dict.fromkeys(name for names in told for name in names))
    nodes = dict(zip(distinct, link(distinct), strict=True)) if distinct else {}
    return [
        _of_model(note, names, nodes) + _of_gazetteer(note, gazetteer, lost)
        for note, names, lost in zip(notes, told, left, strict=True)
    ]


def _of_gazetteer(note, gazetteer, spans) -> list[filtering.Candidate]:
    """Returns what the gazetteer finds in some spans of a note."""
    return [
        filtering.Candidate(*mention)
        for mention in (mentions.find(gazetteer, note) if spans else ())
        if any(start <= mention.start < end for start, end in spans)
    ]


def _of_model(note, names, nodes) -> list[filtering.Candidate]:
    """Returns where a note names what a model listed."""
    found = []
    for name, places in zip(names, filtering.occurrences(note, names), strict=True):
        if not places:
            lost = (filtering.NOWHERE, filtering.NOWHERE, filtering.NO_NODE, 0.0)
            found.append(filtering.Candidate(*lost))
        found += [filtering.Candidate(*place, *nodes[name]) for place in places]
    return found


def _flagged(note, candidates: list[filtering.Candidate]) -> list[filtering.Candidate]:
    there = [at for at, candidate in enumerate(candidates) if candidate.start >= 0]
    meant = context.flags(note, [candidates[at][:2] for at in there])
    flagged = list(candidates)
    for at, flags in zip(there, meant, strict=True):
        flagged[at] = candidates[at]._replace(flags=flags)
    return flagged


def _looked_up(gazetteer: mentions.Gazetteer, name: str) -> tuple[int, float]:
    node = mentions.lookup(gazetteer, name)
    return (node, mentions.EXACT) if node >= 0 else (filtering.NO_NODE, 0.0)


def _table(rows: list[tuple], notes: pl.DataFrame) -> pl.DataFrame:
    """Returns rows (note, start, end, node, score, flags) as a table, with sample and time."""
    columns = {name: dtype for name, dtype in ENTITIES.items() if name != "sample_id"}
    table = pl.DataFrame(rows, schema=columns, orient="row")
    sample_id = notes["sample_id"].gather(table["note"]).cast(pl.Int64)
    return table.select(
        sample_id.alias("sample_id"), notes["time"].gather(table["note"]).alias("time"), *columns
    )
