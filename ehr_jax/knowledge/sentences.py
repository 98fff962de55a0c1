"""A note taken apart: its words, its sentences, and the section each sentence stands in."""

import bisect
import re
from typing import NamedTuple

from ehr_jax.knowledge import normalise, sections

# A period behind one of these ends no sentence; behind the second kind only before a capital.
_NEVER = frozenset("dr mr mrs ms prof vs st no nos approx cf fig dept drs e.g i.e".split())
_SELDOM = frozenset("pt pts hx dx rx tx sx mg ml mcg kg cm mm hr hrs min wk yr yrs inc".split())
_DOTTED = re.compile(r"(?:[a-z]\.)*[a-z]")  # "q.d", "p.o", and a letter alone

_ITEM = r"(?:[-*+#\u2022\u00b7]|\(?\d{1,2}[.)](?=\s)|\(?[a-z]\)(?=\s))"
_BREAK = re.compile(
    r"(?P<stop>(?<![.!?])[.!?]+[\"')\]]*)\s+"
    r"|(?P<line>\n)"
    r"|\s(?=(?P<number>\d{1,2})[.)]\s+[A-Z])"
)
_NUMBER = re.compile(r"\s{0,9}(\d{1,2})[.)]\s")
_BLANK = re.compile(r"\n[ \t]*\r?(?:\n|$)")
_NEXT_LINE = re.compile(rf"\n[ \t]*(?:(?P<item>{_ITEM})|(?P<new>[A-Z0-9\[(]))?")
_WORD_BEFORE = re.compile(r"[\w.]+$")
_SHORT_LINE = 45  # characters; a longer one may go on in the next line
_LONGEST = 2000  # characters of a sentence; what is longer is no prose and is cut


class Sentence(NamedTuple):
    """`text[start:end]` of a note, and the kind of its section, one of `sections`."""

    start: int
    end: int
    section: str


class Note(NamedTuple):
    """A text taken apart. Known headings belong to no sentence."""

    text: str
    words: list[normalise.Token]
    sentences: list[Sentence]


def read(text: str) -> Note:
    """Takes a note apart."""
    return Note(text, normalise.tokens(text), split(text))


def split(text: str) -> list[Sentence]:
    """Returns the sentences of a note in its order, each with the kind of its section.

    Sentences end at full stops, blank lines, items of lists and short lines; not behind "Dr.",
    "q.d.", the number of an item or within "2.5".
    """
    found = sections.sections(text)
    ends = [section.start for section in found[1:]] + [len(text)]
    return [
        Sentence(start, stop, section.kind)
        for section, end in zip(found, ends, strict=True)
        for start, stop in _bounds(text, section.body, end)
    ]


def sentence_of(sentences: list[Sentence], start: int, end: int) -> int:
    """Returns which sentence holds all of [start, end), or -1 where none does."""
    at = bisect.bisect_right(sentences, start, key=lambda sentence: sentence.start) - 1
    return at if at >= 0 and end <= sentences[at].end else -1


def _bounds(text: str, start: int, end: int):
    """Yields (start, end) of the sentences of text[start:end]."""
    begun, item = start, _next_item(text, start, end, 1)
    for match in _BREAK.finditer(text, start, end):
        cut = match.end()
        if match["number"] is not None:
            # "1. this 2. that": the number that a list goes on with begins its next item.
            ends = int(match["number"]) == item > 1
        elif match["line"] is not None:
            ends = _line_ends(text, begun, match.start())
        else:
            ends, cut = _stops(text, begun, match), match.end("stop")
        if ends:
            yield from _cut(text, begun, cut)
            begun, item = cut, _next_item(text, cut, end, item)
    yield from _cut(text, begun, end)


def _next_item(text: str, start: int, end: int, item: int) -> int:
    """Returns the number a list goes on with after the sentence that begins at `start`."""
    number = _NUMBER.match(text, start, end)
    return int(number[1]) + 1 if number else item


def _line_ends(text: str, begun: int, at: int) -> bool:
    """Does a sentence end with the line that ends at `at`?"""
    after = _NEXT_LINE.match(text, at)
    if after["item"] or _BLANK.match(text, at):
        return True
    line = text[max(begun, text.rfind("\n", 0, at) + 1) : at].rstrip()
    return line.endswith(":") or (bool(after["new"]) and len(line) < _SHORT_LINE)


def _stops(text: str, begun: int, match: re.Match) -> bool:
    """Does a sentence end with this full stop?"""
    if match["stop"][0] != "." or match[0].count("\n") > 1:
        return True
    before = _WORD_BEFORE.search(text[max(begun, match.start() - 20) : match.start()])
    word = before[0].lower() if before else ""
    item = _NUMBER.match(text, begun)
    if word in _NEVER or (item and item.end(1) == match.start()):
        return False
    if word in _SELDOM or _DOTTED.fullmatch(word):
        return not text[match.end() : match.end() + 1].islower()
    return True


def _cut(text: str, start: int, end: int):
    """Yields (start, end) without the blanks around, in parts where it is too long."""
    while start < end:
        if text[start].isspace():
            start += 1
        elif text[end - 1].isspace():
            end -= 1
        elif end - start <= _LONGEST:
            yield start, end
            return
        else:
            at = text.rfind(" ", start + 1, start + _LONGEST)
            at = at if at > 0 else start + _LONGEST
            yield start, at
            start = at
