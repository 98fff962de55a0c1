"""One spelling of a term: what two ways of writing the same name have in common.

`normalise` is for whole terms, `tokens` for running text: a term occurs in a text where its
normalised tokens stand in a row among the text's.
"""

import functools
import re
import unicodedata
from typing import NamedTuple

_LETTER = r"(?:[^\W\d_]|[\u0300-\u036f])"
# Letters and digits part ways, so that "type2", "type-2" and "type 2" are the same.
_TOKEN = re.compile(rf"({_LETTER}+)(?:['\u2019\u02bc]s(?!{_LETTER}))?|\d+")
_ASIDE = re.compile(r"\s*\((?:disease|disorder|diagnosis|finding)\)\s*$", re.IGNORECASE)
# A segment after a comma that says nothing, and words that begin one that cannot go in front.
_EMPTY = ("unspecified", "nos", "not otherwise specified", "not elsewhere classified", "nec")
_BOUND = ("and", "or", "with", "without", "due", "in", "of", "not", "except", "excluding", "by")
# Organs go by their name, and what is malignant is a cancer: "malignant neoplasm of the lung".
_ORGANS = {"renal": "kidney", "hepatic": "liver", "cardiac": "heart", "pulmonary": "lung"}
_ORGANS |= {"gastric": "stomach", "cerebral": "brain", "vesical": "bladder", "dermal": "skin"}
_MALIGNANT = (("malignant", "neoplasm"), ("malignant", "tumor"))

_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
        "sigma sigma tau upsilon phi chi psi omega".split(),
        strict=True,
    )
)
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8"}
_NUMBERED = ("type", "stage", "grade", "class", "factor", "group", "degree", "subtype")
# "ae" and "oe" of British spelling; "our" of a few words alone, not of "hour".
_BRITISH = {"tumour": "tumor", "colour": "color", "odour": "odor", "labour": "labor"}


class Token(NamedTuple):
    """A normalised word of a text and where it stands: `text[start:end]`."""

    word: str
    start: int
    end: int


def normalise(term: str) -> str:
    """Returns a term in lower case without plural, punctuation, accents and inversions.

    "Diabetes mellitus, Type II" becomes "type 2 diabete mellitus", "cancer of the lung" becomes
    "lung cancer": a key to compare, not a name to show. Empty where the term has no letter or
    digit.
    """
    segments = re.split(r",\s+", _ASIDE.sub("", term))
    words = [[token.word for token in tokens(segment)] for segment in segments]
    words = [w for i, w in enumerate(words) if w and not (i and " ".join(w) in _EMPTY)]
    if not any(w[0] in _BOUND for w in words[1:]):
        words.reverse()
    joined = [word for segment in words for word in segment]
    # Last, since a roman numeral may have come to stand behind its "type".
    return " ".join(_numbered(_named(_of(joined))))


def tokens(text: str) -> list[Token]:
    """Returns the normalised words of a text in its order, with their places in it."""
    found = [(match, _word(match[1] or match[0])) for match in _TOKEN.finditer(text)]
    found = [(match, word) for match, word in found if word]
    words = _numbered([word for _, word in found])
    return [Token(w, *match.span()) for w, (match, _) in zip(words, found, strict=True)]


@functools.lru_cache(1 << 16)
def _word(word: str) -> str:
    word = unicodedata.normalize("NFKD", word.casefold()).casefold()
    word = "".join(_GREEK.get(letter, letter) for letter in word)
    if word.isdecimal():
        return word
    word = "".join(letter for letter in word if letter.isalpha())  # no accents, no "²" or "¼"
    word = _BRITISH.get(word.removesuffix("s"), word)
    return re.sub(r"[ao]+e", "e", _singular(word))


def _singular(word: str) -> str:
    # What is no plural may lose its "s" too: the key of "pancreas" need only be its own.
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    for plural, one in (("sses", "ss"), ("uses", "us"), ("oses", "osis"), ("tases", "tasis")):
        if word.endswith(plural):
            return word.removesuffix(plural) + one
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1]


def _numbered(words: list[str]) -> list[str]:
    """Writes roman numerals behind "type", "stage" and the like as digits."""
    return [
        _ROMAN.get(word, word) if before in _NUMBERED else word
        for before, word in zip(["", *words], words, strict=False)
    ]


def _of(words: list[str]) -> list[str]:
    """Turns "cancer of the lung" to "lung cancer", where nothing else hangs on it."""
    if [word for word in words if word in _BOUND] != ["of"]:
        return words
    at = words.index("of")
    what, whose = words[:at], words[at + 1 :]
    whose = whose[1:] if whose and whose[0] in ("the", "a", "an") else whose
    return whose + what if what and whose else words


def _named(words: list[str]) -> list[str]:
    named: list[str] = []
    for word in words:
        named.append(_ORGANS.get(word, word))
        if tuple(named[-2:]) in _MALIGNANT:
            named[-2:] = ["cancer"]
    return named
