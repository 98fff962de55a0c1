"""REALM's filter: what an extractor found in a note, down to conditions the patient has.

The same for every extractor, a gazetteer or a language model: what does not stand in the note goes,
what is no disease goes, what is denied or another's goes, and of the same condition one stays. Each
count is kept. (REALM and EMERGE ask the language model whether an entity is a disease; here a
disease is what is linked to a disease node of the graph.)
"""

import dataclasses
import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ehr_jax.knowledge import context, normalise, phrases, sentences

NOWHERE = -1  # the start and end of what does not stand in the note
NO_NODE = -1  # the node of what no disease of the graph was found for

DROPPED = ("negated", "family")  # the policy: the rest stays, with its flags


class Candidate(NamedTuple):
    """What an extractor found: `text[start:end]` of a note, or NOWHERE."""

    start: int
    end: int
    node: int  # or NO_NODE
    score: float  # of the link to the node
    flags: context.Flags = context.Flags()


@dataclasses.dataclass(frozen=True)
class Counts:
    """What became of candidates: `found` is the sum of the others. Counts can be added."""

    found: int = 0
    not_in_note: int = 0
    not_disease: int = 0
    negated: int = 0
    family: int = 0
    merged: int = 0  # into an earlier one of the same note and node
    kept: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(operator.add, vars(self).values(), vars(other).values()))


def keep(
    candidates: Iterable[Candidate], dropped: Sequence[str] = DROPPED
) -> tuple[list[Candidate], Counts]:
    """Filters the candidates of one note; a candidate counts at the first rule that it breaks.

    Of a node's mentions the one with the fewest flags stays, of those the first.

    Args:
      candidates: of one note, in any order.
      dropped: which of "negated" and "family" go.

    Returns:
      What is kept, by its place in the note, and the counts.
    """
    found = sorted(candidates)
    counts = dict.fromkeys(("not_in_note", "not_disease", "negated", "family", "merged"), 0)
    best: dict[int, Candidate] = {}
    for candidate in found:
        broken = _broken(candidate, dropped)
        if broken:
            counts[broken] += 1
            continue
        there = best.setdefault(candidate.node, candidate)
        if there is not candidate:
            counts["merged"] += 1
            if sum(candidate.flags) < sum(there.flags):
                best[candidate.node] = candidate
    return sorted(best.values()), Counts(found=len(found), kept=len(best), **counts)


def occurrences(note: sentences.Note, entities: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Returns where each of the entities stands in the note, as (start, end); empty where nowhere.

    Words are compared in their one spelling (`normalise`), whole, and within a sentence.
    """
    rows = [tuple(token.word for token in normalise.tokens(entity)) for entity in entities]
    index = phrases.index(rows, accelerate=False)
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {row: [] for row in rows}
    for first, last, number in phrases.occurrences(index, [word.word for word in note.words]):
        start, end = note.words[first].start, note.words[last - 1].end
        if sentences.sentence_of(note.sentences, start, end) >= 0:
            places[rows[number]].append((start, end))
    return [places[row] for row in rows]


def _broken(candidate: Candidate, dropped: Sequence[str]) -> str:
    """Returns the first rule that a candidate breaks, or ""."""
    if candidate.start == NOWHERE:
        return "not_in_note"
    if candidate.node == NO_NODE:
        return "not_disease"
    for rule in ("negated", "family"):
        if rule in dropped and getattr(candidate.flags, rule):
            return rule
    return ""
