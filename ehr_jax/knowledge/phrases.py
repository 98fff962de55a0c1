"""Finding many phrases in one text: each occurrence of a row of words among the text's words.

Two ways, the same result: a dictionary of word rows, and the Aho-Corasick automaton of the package
pyahocorasick where that is installed.
"""

import bisect
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

UNKNOWN = 0  # the number of a word that no phrase holds


class Phrases(NamedTuple):
    """Phrases ready to be looked for. A phrase's number is its place among those given."""

    words: Mapping[str, int]  # to its number, from 1
    numbers: Mapping[tuple[int, ...], int]  # word numbers of a phrase -> its number
    lengths: Mapping[int, tuple[int, ...]]  # first word's number -> lengths of its phrases
    automaton: Any  # pyahocorasick's, or None


def accelerated() -> bool:
    """Is pyahocorasick installed?"""
    return importlib.util.find_spec("ahocorasick") is not None


def index(phrases: Iterable[Sequence[str]], accelerate: bool | None = None) -> Phrases:
    """Returns an index of phrases, each a row of words; of equal ones the first counts.

    Args:
      accelerate: use pyahocorasick; None where it is installed.
    """
    words: dict[str, int] = {}
    numbers: dict[tuple[int, ...], int] = {}
    for number, phrase in enumerate(phrases):
        key = tuple(words.setdefault(word, len(words) + 1) for word in phrase)
        if key:
            numbers.setdefault(key, number)
    lengths: dict[int, set[int]] = {}
    for key in numbers:
        lengths.setdefault(key[0], set()).add(len(key))
    automaton = None
    if accelerated() if accelerate is None else accelerate:
        automaton = _automaton(numbers)
    sorted_lengths = {first: tuple(sorted(found)) for first, found in lengths.items()}
    return Phrases(words, numbers, sorted_lengths, automaton)


def occurrences(phrases: Phrases, words: Iterable[str]) -> list[tuple[int, int, int]]:
    """Returns (first word, last word + 1, number of the phrase) of every occurrence, sorted."""
    ids = [phrases.words.get(word, UNKNOWN) for word in words]
    if phrases.automaton is not None:
        found = phrases.automaton.iter(tuple(ids))
        return sorted((last + 1 - length, last + 1, number) for last, (length, number) in found)
    found = []
    for start, first in enumerate(ids):
        for length in phrases.lengths.get(first, ()):
            number = phrases.numbers.get(tuple(ids[start : start + length]))
            if number is not None and start + length <= len(ids):
                found.append((start, start + length, number))
    return found


def longest(spans: Iterable[tuple]) -> list[tuple]:
    """Returns the spans (start, end, ...) that remain where the longest wins, sorted.

    Of two that overlap the longer stays, of equally long ones the earlier, and of two at one place
    the first given.
    """
    kept: list[tuple] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        at = bisect.bisect_left(kept, span[0], key=lambda other: other[0])
        free_before = at == 0 or kept[at - 1][1] <= span[0]
        if free_before and (at == len(kept) or kept[at][0] >= span[1]):
            kept.insert(at, span)
    return kept


def _automaton(numbers: Mapping[tuple[int, ...], int]):
    import ahocorasick

    if not numbers:
        return None
    automaton = ahocorasick.Automaton(ahocorasick.STORE_ANY, ahocorasick.KEY_SEQUENCE)
    for key, number in numbers.items():
        automaton.add_word(key, (len(key), number))
    automaton.make_automaton()
    return automaton
