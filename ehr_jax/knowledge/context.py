"""How a note means what it names: negated, possible, historical, of the family, hypothetical.

Rules in the manner of ConText (Harkema et al. 2009): a cue speaks of the mentions before or behind
it, up to the end of its sentence or to a word that ends its reach. A section speaks of all in it.
What a form says with a mark (`answers`) is said of the name it stands with alone, whatever the cues
around it would say.
"""

import bisect
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from ehr_jax.knowledge import answers, cues, normalise, phrases, sections, sentences


class Flags(NamedTuple):
    """How a mention is meant; all False for one the patient has now."""

    negated: bool = False
    possible: bool = False
    historical: bool = False
    family: bool = False
    hypothetical: bool = False


# What a mark of a form decides, so that no cue does.
_ANSWERED = ("negated", "possible")


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
    in_order = sorted(range(len(spans)), key=lambda number: spans[number])
    marks = answers.answers(note.text, [spans[number] for number in in_order])
    said = dict(zip(in_order, marks, strict=True))
    for at, numbers in by_sentence.items():
        if at < 0:
            continue
        sentence = note.sentences[at]
        held = _in_sentence(note, sentence, [spans[number] for number in numbers])
        for number, categories in zip(numbers, held, strict=True):
            if said[number] is not None:
                categories = categories.difference(_ANSWERED) | {said[number]}
            found[number] = Flags(**{name: name in categories for name in Flags._fields})
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
    spoken = [
        (left, right, cue)
        for left, right, cue in _spoken([word.word for word in words], places)
        if cue.direction <= 0 or _has_object(note.text, words[right - 1].end, cue)
    ]
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
                if not _reaches(note.text, words, left, right, begin, cue):
                    continue
                between = [other for other in spoken[at + 1 :] if other[1] <= begin]
            elif cue.direction < 0 and stop <= left and left - stop <= cue.reach:
                if not _reaches_back(note.text, words, stop, left, cue):
                    continue
                between = [other for other in spoken[:at] if other[0] >= stop]
            else:
                continue
            if not any(_ends(other[2], cue) for other in between):
                categories.add(cue.category)
        found.append(categories)
    return found


_QUESTION = re.compile(r"\?\s?$")
# Between the fields of a form: no cue that denies or doubts reaches across.
_FIELDS = re.compile(r"[;|\t]|[ \u00a0]{3,}")
_NOTHING = re.compile(r"\s*[,;.)\]|]|\t|[ \u00a0]{3,}")
_MARK = re.compile(r"[:=]\s*$|\s[-\u2013]\s*$|[(\[]\s*$")
_LIST_END = re.compile(r"\b(?:or|nor)\b", re.IGNORECASE)
_ALONE = ("without", "w o")  # of what comes after these the first is meant
_ITEM = re.compile(r",\s*$")


def _has_object(text: str, end: int, cue: Cue) -> bool:
    """Says whether something may follow a cue that speaks of what follows: in "fever: no, asthma"
    nothing does."""
    if cue.category not in _ANSWERED:
        return True
    return _NOTHING.match(text, end) is None


def _reaches(text: str, words, left: int, right: int, begin: int, cue: Cue) -> bool:
    """Says whether a cue speaks of the mention that starts with word `begin` after it.

    All items of a list are meant that ends in "or". Of another list "without" means the first item
    alone, as does "no" that is itself an item of it: "sepsis, no stroke, asthma".
    """
    if cue.category not in _ANSWERED:
        return True
    start, target = words[right - 1].end, words[begin].start
    if _FIELDS.search(text, start, target):
        return False
    if cue.category != "negated" or "," not in text[start:target]:
        return True
    first = " ".join(word.word for word in words[left:right])
    item = first == "no" and _ITEM.search(text, 0, words[left].start)
    if not item and first not in _ALONE:
        return True
    clause = _FIELDS.search(text, start)
    end = min(clause.start() if clause else len(text), words[-1].end)
    closing = [match.end() for match in _LIST_END.finditer(text, start, end)]
    return bool(closing) and target <= closing[-1] + 1


def _reaches_back(text: str, words, stop: int, left: int, cue: Cue) -> bool:
    """Says whether a cue speaks of the mention that ends before word `stop`, in front of it.

    One that is the mark of a form speaks of its own label alone: in "stroke, influenza swab:
    negative" of the swab.
    """
    if cue.category not in _ANSWERED:
        return True
    between = text[words[stop - 1].end : words[left].start]
    if _FIELDS.search(between):
        return False
    return not (_MARK.search(between) and "," in between)


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
