"""Near duplicates are those that comparing every pair finds."""

import numpy as np
import pytest

from ehr_jax.audit import near_duplicates


def test_near_duplicates_are_those_of_an_exhaustive_search():
    generator = np.random.default_rng(0)
    words = [f"w{k}" for k in range(200)]
    texts, splits = [], []
    for _ in range(30):
        text = list(generator.choice(words, 60))
        for split in ("train", "test"):
            changed = [w if generator.random() > 0.01 else "other" for w in text]
            texts.append(" ".join(changed))
            splits.append(split)
    found = {(a, b): s for a, b, s in near_duplicates.pairs(texts, splits)}

    def runs(text):
        split = text.split()
        return {tuple(split[k : k + 5]) for k in range(len(split) - 4)}

    wanted = {}
    for a in range(1, 60, 2):
        one, other = runs(texts[a]), runs(texts[a - 1])
        similarity = len(one & other) / len(one | other)
        if similarity >= near_duplicates.SIMILAR:
            wanted[a, a - 1] = similarity
    assert 5 < len(wanted) < 30
    assert found == pytest.approx(wanted)
