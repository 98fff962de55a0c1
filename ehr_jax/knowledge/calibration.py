"""When a node that is near in meaning is near enough: found on synonyms that the graph knows.

Each is taken out in turn and looked for among the rest. Numbers are no matter of nearness: terms
with other numbers than the mention's are passed over.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax.knowledge import search

RULE = 1  # raise it when a change here finds another threshold on the same vectors
WANTED = 0.9  # precision of what is accepted by meaning
PAPER = {"mimic3": 0.6, "mimic4": 0.7}  # least cosine in the EMERGE paper, without a margin
SAMPLE = 3000  # synonyms a calibration looks at
FEWEST = 30  # accepted ones a precision is computed of
MARGINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
NONE_ACCEPTED = 2.0  # no cosine is as large
NEAR = 64  # rows looked at for the best other node


class Calibration(NamedTuple):
    """The least score and margin that are accepted, and what they gave on known synonyms."""

    threshold: float
    margin: float
    wanted: float  # precision
    precision: float  # of the accepted, 0 where none is
    recall: float  # share of all that were accepted and right
    queries: int


def held_out(terms: pl.DataFrame, most: int = SAMPLE, seed: int = 0) -> np.ndarray:
    """Returns rows of `terms` that are synonyms of a node with further terms, ascending.

    Abbreviations are left to names: no vector tells what "PE" is. Exact synonyms where there are
    ten times `FEWEST` of them, else all; at most `most`, a seeded choice.
    """
    left = terms.with_row_index().with_columns(several=pl.len().over("node") > 1)
    short = ~pl.col("term").str.contains(r"[a-z]{3}")
    left = left.filter(~pl.col("name") & pl.col("several") & ~short)
    exact = left.filter("exact")
    rows = (exact if exact.height >= 10 * FEWEST else left)["index"].to_numpy()
    if len(rows) > most:
        rows = np.random.default_rng(seed).choice(rows, most, replace=False)
    return np.sort(rows).astype(np.int64)


def left_out(
    terms: pl.DataFrame, vectors: np.ndarray, index: search.Index, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Links synonyms as if the graph did not know each one.

    Returns (right [rows] bool, cosine [rows] float32, margin [rows] float32).
    """
    scores, near = search.top_k(index, vectors[rows], NEAR + 1)
    near = np.where(near == rows[:, None], -1, near)
    node, score, margin = best(terms, numbers(terms["key"].gather(rows)), scores, near)
    return node == terms["node"].to_numpy()[rows], score, margin


def calibrate(
    terms: pl.DataFrame, vectors: np.ndarray, index: search.Index, wanted: float = WANTED
) -> Calibration:
    """Finds the least score and margin that give a precision on known synonyms, left out in turn.

    Of all pairs that reach it the one that accepts most right links; nothing is accepted where none
    does or too few synonyms are known.
    """
    rows = held_out(terms)
    found = Calibration(NONE_ACCEPTED, 0.0, wanted, 0.0, 0.0, len(rows))
    if not len(rows):
        return found
    right, score, margin = left_out(terms, vectors, index, rows)
    order = np.argsort(-score, kind="stable")
    right, score, margin = right[order], score[order], margin[order]
    last = np.append(score[1:] != score[:-1], True)  # equal scores are accepted together
    for least in MARGINS:
        far = (margin >= np.float32(least)) & (score > -1)  # -1: no node at all
        accepted, hits = np.cumsum(far), np.cumsum(right & far)
        reached = last & (accepted >= FEWEST) & (hits >= wanted * accepted)
        if reached.any():
            at = np.flatnonzero(reached)[-1]
            recall = float(hits[at] / len(rows))
            if recall > found.recall:
                precision = float(hits[at] / accepted[at])
                found = Calibration(float(score[at]), least, wanted, precision, recall, len(rows))
    return found


def best(
    terms: pl.DataFrame, wanted: list[str], scores: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what `linking.nearest` does, of rows that a search found.

    Args:
      terms: as in `linking.Linker`.
      wanted: [m] numbers of the mentions.
      scores, near: [m, k], rows of `terms`, best first; -1 is none.
    """
    codes = {text: code for code, text in enumerate(terms["numbers"].unique())}
    of_term = terms["numbers"].replace_strict(codes, return_dtype=pl.Int32).to_numpy()
    of_mention = np.array([codes.get(text, -1) for text in wanted], np.int32)
    fits = (near >= 0) & (of_term[near] == of_mention[:, None])
    node = np.where(fits, terms["node"].to_numpy()[near], -1)

    rows, first = np.arange(len(near)), fits.argmax(axis=1)
    nearest = node[rows, first]
    score = np.where(nearest >= 0, scores[rows, first], np.float32(-1))
    other = fits & (node != nearest[:, None])
    # Where no other node was looked at, none is nearer than the last row of all.
    at = np.where(other.any(axis=1), other.argmax(axis=1), scores.shape[1] - 1)
    second = np.maximum(scores[rows, at], np.float32(-1))
    return nearest, score, np.maximum(score - second, np.float32(0))


def numbers(keys: Iterable[str]) -> list[str]:
    """Returns the numbers and single letters of normalised terms, but for a letter in front."""
    split = (key.split() for key in keys)
    return [
        " ".join(sorted(w for i, w in enumerate(words) if w.isdecimal() or (i and len(w) == 1)))
        for words in split
    ]


def accepts(
    node: np.ndarray, score: np.ndarray, margin: np.ndarray, rule: Calibration
) -> np.ndarray:
    """Returns [m] bool: which of the nearest nodes are near enough and stand out enough."""
    near = (score >= np.float32(rule.threshold)) & (margin >= np.float32(rule.margin))
    return near & (node >= 0)
