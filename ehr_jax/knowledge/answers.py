"""How a form marks what it names: "Asthma: No", "stroke (-)", "[x] diabetes", "sepsis ?".

A form is no sentence: a mark belongs to the name it stands with, and the names beside that keep
their own. Names that are one label share its mark ("Asthma/COPD: no").
"""

import re
from collections.abc import Sequence

# What a mark says of its name, as `context.Flags` calls it; "has" that the patient has it.
_WORDS = (
    r"(?P<possible>n/a|unknown|possible|possibly|probable|suspected|maybe|unsure|unclear)|"
    r"(?P<negated>not present|not seen|no|none|nil|neg|negative|absent|denie[sd]|never|false|n)|"
    r"(?P<has>yes|y|pos|positive|present|true|confirmed|x)"
)
_SIGN = r"(?P<sign>[-\u2212\u2013+?])"
_SIGNS = {"-": "negated", "\u2212": "negated", "\u2013": "negated", "+": "has", "?": "possible"}
_BOXES = dict.fromkeys("\u2610\u25a1\u2717\u2718", "negated")
_BOXES |= dict.fromkeys("\u2611\u2612\u2713\u2714\u25a0", "has")

# What separates the fields of a form, and a name from its mark.
ENDS = re.compile(r"\s*(?:\Z|[,;.|/)\](]|\n)|\t|[ \u00a0]{2,}|\s[-\u2013(\[]")
_FIELD = re.compile(
    r"(?:\s*[:=|?]\s*|[ ]*\t\s*|[ ]+[-\u2013\u2014]{1,2}[ ]+|[ ]*\.{3,}[ ]*)"
    rf"(?:(?:{_WORDS})\b|{_SIGN}(?!\w))",
    re.IGNORECASE,
)
# Without anything between, only what is no word of a sentence.
_BARE = re.compile(
    rf"[ ]+(?:(?P<negated>[Nn]o(?!\.\s*\d)|NO|neg|NEG|N)\b|(?P<has>[Yy]es|YES|pos|POS|Y)\b|{_SIGN})"
)
_BRACKET = re.compile(
    rf"[ ]*(?:(?P<open>[(\[])[ ]*(?:{_WORDS}|{_SIGN}|)[ ]*[)\]]|(?P<box>[{''.join(_BOXES)}]))",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[ ]?\?")
_SIGNED = re.compile(r"(?:^|[\s,;(])[-\u2212+]$")
_JOINED = re.compile(r"\s*(?:/|&|or\b|and\b|and/or\b)\s*", re.IGNORECASE)


def answers(text: str, spans: Sequence[tuple[int, int]]) -> list[str | None]:
    """Returns what the marks of a form say of each of the sorted spans (start, end) of a text.

    "negated", "possible", "has", or None where no mark stands with a span.
    """
    said: list[str | None] = [None] * len(spans)
    for at in reversed(range(len(spans))):
        start, end = spans[at]
        last = at + 1 == len(spans)
        begins = len(text) if last else spans[at + 1][0]
        if _stand_before(text, spans, at):
            said[at] = _before(text[_line(text, start) : start])
            continue
        said[at] = _behind(text, end, begins, not last and said[at + 1] is not None)
        if said[at] is None and not last and _JOINED.fullmatch(text, end, begins):
            said[at] = said[at + 1]
    return said


def _behind(text: str, end: int, begins: int, answered: bool) -> str | None:
    """Returns what is said behind a name that ends at `end`, before the next one that `begins`.

    In "asthma: no stroke" the mark is the asthma's only if the stroke is `answered` itself.
    """
    bracket = _BRACKET.match(text, end)
    if bracket and bracket.end() <= begins:
        return _meaning(bracket)
    for form in (_FIELD, _BARE):
        match = form.match(text, end)
        if match and match.end() <= begins:
            touches = answered and not text[match.end() : begins].strip()
            if touches or ENDS.match(text, match.end()):
                return _meaning(match)
    question = _QUESTION.match(text, end)
    return "possible" if question and question.end() <= begins else None


def _before(line: str) -> str | None:
    """Returns what the mark says that a line ends with, up to a name."""
    marks = [mark for mark in _BRACKET.finditer(line) if not line[mark.end() :].strip()]
    if marks:
        return _meaning(marks[-1])
    return _SIGNS[line[-1]] if _SIGNED.search(line) else None


def _stand_before(text: str, spans: Sequence[tuple[int, int]], at: int) -> bool:
    """Says whether the marks of a span's line stand before the names: "[x] asthma [ ] stroke"."""
    begin = _line(text, spans[at][0])
    first = next(start for start, _ in spans[: at + 1] if start >= begin)
    ahead = text[begin:first]
    # A minus that begins a line is the mark of a list.
    return not ahead.endswith(("-", "\u2212")) and _before(ahead) is not None


def _line(text: str, start: int) -> int:
    return text.rfind("\n", 0, start) + 1


def _meaning(match: re.Match) -> str:
    parts = {name: part for name, part in match.groupdict().items() if part}
    if "sign" in parts:
        return _SIGNS[parts["sign"]]
    if "box" in parts:
        return _BOXES[parts["box"]]
    # An empty box is not ticked.
    return next((name for name in ("has", "possible") if name in parts), "negated")
