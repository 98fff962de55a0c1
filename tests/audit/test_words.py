"""Words that state the outcome are told with shares, and no share is of few samples."""

import numpy as np

from ehr_jax.audit import words


def shares(of_positives, of_negatives, size=100):
    """Shares of a word that so many positives and so many negatives hold, of `size` each."""
    held = np.r_[np.arange(size) < of_positives, np.arange(size) < of_negatives]
    return words._shares(held, np.repeat([1.0, 0.0], size))


def test_a_word_of_one_class_is_told_with_the_share_of_each():
    assert shares(60, 20) == [(0.6, 0.2)]


def test_a_share_of_few_samples_is_not_told():
    assert shares(60, words.FEWEST - 1) == [(0.6, None)]


def test_what_chance_explains_is_not_told():
    assert shares(60, 58) == []
    assert shares(words.FEWEST - 1, 0, size=10) == []
