"""How a note means what it names: negated, possible, historical, of the family, hypothetical.

Rules in the manner of ConText (Harkema et al. 2009): a cue speaks of the mentions before or behind
it, up to the end of its sentence or to a word that ends its reach. A section speaks of all in it.
"""

import bisect
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from ehr_jax.knowledge import cues, normalise, phrases, sections, sentences


class Flags(NamedTuple):
    """How a mention is meant; all False for one the patient has now."""

    negated: bool = False
    possible: bool = False
    historical: bool = False
    family: bool = False
    hypothetical: bool = False


class Cue(NamedTuple):
    """What a phrase does."""

    category: str  # of Flags, or cues.OTHERS of a stop
    direction: int  # 1 speaks of what comes after it, -1 of what is before, 0 stops others
    reach: int = 10_000  # words


def flags(note: sentences.Note, spans: Sequence[tuple[int, int]]) -> list[Flags]:
    """Returns how each of the spans (start, end) of a note is meant; spans lie within sentences."""
    by_sentence: dict[int, list[int]] = {}
    for number, (start, end) in enumerate(spans):
        at = sentences.sentence_of(note.sentences, start, end)
        by_sentence.setdefault(at, []).append(number)
    found = [Flags()] * len(spans)
    for at, numbers in by_sentence.items():
        if at < 0:
            continue
        sentence = note.sentences[at]
        held = _in_sentence(note, sentence, [spans[number] for number in numbers])
        for number, categories in zip(numbers, held, strict=True):
            found[number] = Flags(**{category: True for category in categories})
    return found


def _in_sentence(note: sentences.Note, sentence, spans) -> list[set[str]]:
    """Returns the categories of each span of one sentence."""
    first = bisect.bisect_left(note.words, sentence.start, key=lambda word: word.start)
    last = bisect.bisect_left(note.words, sentence.end, key=lambda word: word.start)
    words = note.words[first:last]
    places = [
        (
            bisect.bisect_right(words, start, key=lambda word: word.end),
            bisect.bisect_left(words, end, key=lambda word: word.start),
        )
        for start, end in spans
    ]
    spoken = _spoken([word.word for word in words], places)
    always = {sections.HISTORY: {"historical"}, sections.FAMILY: {"family"}}.get(sentence.section)
    found = []
    for (start, _), (begin, stop) in zip(spans, places, strict=True):
        categories = set(always or ())
        if _QUESTION.search(note.text, max(sentence.start, start - 3), start):
            categories.add("possible")
        for at, (left, right, cue) in enumerate(spoken):
            if cue.category in categories or not cue.direction:
                continue
            if cue.direction > 0 and right <= begin and begin - right <= cue.reach:
                between = [other for other in spoken[at + 1 :] if other[1] <= begin]
            elif cue.direction < 0 and stop <= left and left - stop <= cue.reach:
                between = [other for other in spoken[:at] if other[0] >= stop]
            else:
                continue
            if not any(_ends(other[2], cue) for other in between):
                categories.add(cue.category)
        found.append(categories)
    return found


_QUESTION = re.compile(r"\?\s?$")


def _spoken(words: list[str], places: list[tuple[int, int]]) -> list[tuple[int, int, Cue]]:
    """Returns (first word, last word + 1, cue) of each cue outside the mentions, in order."""
    index, meanings = _table()
    words = [_YEAR.sub("YEAR", word) for word in words]
    free = (
        span
        for span in phrases.occurrences(index, words)
        if not any(span[0] < stop and begin < span[1] for begin, stop in places)
    )
    return [
        (left, right, cue)
        for left, right, number in phrases.longest(free)
        for cue in meanings[number]
    ]


_YEAR = re.compile(r"^(?:19|20)\d\d$")


def _ends(other: Cue, cue: Cue) -> bool:
    """Does a phrase end the reach of a cue?"""
    if other.direction:
        return False
    return other.category == cue.category or (
        other.category == cues.OTHERS and cue.category != "family"
    )


@functools.cache
def _table() -> tuple[phrases.Phrases, list[list[Cue]]]:
    """Returns the phrases of `cues` and what each does; nothing where it only looks like a cue."""
    meanings: dict[tuple[str, ...], list[Cue]] = {}

    def add(listed: str, *found: Cue) -> None:
        for phrase in listed.split("; "):
            text, reach = _REACH.fullmatch(phrase).groups()
            words = (word if word == "YEAR" else _word(word) for word in text.split())
            limit = {} if reach is None else {"reach": int(reach)}
            meanings.setdefault(tuple(words), []).extend(cue._replace(**limit) for cue in found)

    add(cues.NONE)
    for direction, listed in ((1, cues.FORWARD), (-1, cues.BACKWARD), (0, cues.STOPS)):
        for category, listed_phrases in listed.items():
            add(listed_phrases, Cue(category, direction))
    before, after = Cue("family", 1), Cue("family", -1)
    for relative in cues.RELATIVES.split("; "):
        add(relative, before, after._replace(reach=1))
        for whose in cues.WHOSE:
            add(f"in {whose}{relative}", after)
            for towards in cues.TOWARDS.split("; "):
                add(f"{towards} {whose}{relative}")
        for does in cues.DOES.split("; "):
            add(f"{relative} {does}")
    # A handful of words a sentence: the dictionary is as quick as it gets.
    return phrases.index(meanings, accelerate=False), list(meanings.values())


_REACH = re.compile(r"(.*?)(?: \[(\d+)\])?")


def _word(word: str) -> str:
    return normalise.tokens(word)[0].word
