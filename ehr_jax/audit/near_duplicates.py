"""Pairs of nearly equal texts in different groups, by MinHash and then by exact similarity.

Texts are compared as sets of runs of WORDS words, by Jaccard similarity. Candidates share a band of
their signatures (Broder 1997); at BANDS x ROWS = 16 x 4 a pair of similarity 0.8 is found with
probability 0.9998, and every candidate is then compared exactly.
"""

import collections
import hashlib
import re

import numpy as np

SIMILAR = 0.8
WORDS, BANDS, ROWS = 5, 16, 4


def pairs(texts: list[str], groups: list[str]) -> list[tuple[int, int, float]]:
    """Returns (a, b, similarity) of near duplicates: at most one a text, always across groups.

    Groups are splits; text a is of a later one than b, in the order train, validation, test, and
    b is the most similar text found.
    """
    rank = {"train": 0, "validation": 1, "test": 2}
    shingles = [_shingles(text) for text in texts]
    signatures = np.stack([_signature(one) for one in shingles])
    best: dict[int, tuple[float, int]] = {}
    for band in range(BANDS):
        buckets = collections.defaultdict(list)
        for index, key in enumerate(signatures[:, band * ROWS : (band + 1) * ROWS]):
            if shingles[index].size:
                buckets[key.tobytes()].append(index)
        for members in buckets.values():
            for a, b in _across(members, groups, rank):
                if a in best and best[a][1] == b:
                    continue
                similarity = _jaccard(shingles[a], shingles[b])
                if similarity >= SIMILAR and similarity > best.get(a, (0.0, 0))[0]:
                    best[a] = similarity, b
    return [(a, b, similarity) for a, (similarity, b) in sorted(best.items())]


def _across(members: list[int], groups: list[str], rank: dict[str, int]):
    """Each member with the first few members of earlier groups: a bucket may be large."""
    earlier = collections.defaultdict(list)
    for index in members:
        earlier[rank[groups[index]]].append(index)
    for index in members:
        for lower in range(rank[groups[index]]):
            for other in earlier[lower][:3]:
                yield index, other


def _shingles(text: str) -> np.ndarray:
    """Sorted distinct 64-bit hashes of the runs of WORDS words; of all words where fewer."""
    words = re.findall(r"\w+", text.lower())
    if not words:
        return np.zeros(0, np.uint64)
    runs = {" ".join(words[k : k + WORDS]) for k in range(max(len(words) - WORDS, 0) + 1)}
    digests = [hashlib.blake2b(run.encode(), digest_size=8).digest() for run in runs]
    return np.unique(np.frombuffer(b"".join(digests), "<u8"))


# Multiply-and-shift hashes with fixed odd factors: the same signature on every machine.
_FACTORS = np.random.default_rng(0).integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) | np.uint64(1)


def _signature(shingles: np.ndarray) -> np.ndarray:
    """[BANDS * ROWS] uint64: the least of each hash over the shingles."""
    if not shingles.size:
        return np.zeros(BANDS * ROWS, np.uint64)
    mixed = shingles[:, None] * _FACTORS  # wraps, as wanted
    return (mixed ^ (mixed >> np.uint64(29))).min(axis=0)


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.intersect1d(a, b, assume_unique=True).size
    return shared / (a.size + b.size - shared)
