"""Words that state the outcome are told with shares, and no share is of few patients."""

import numpy as np

from ehr_jax import disclosure
from ehr_jax.audit import words

FEW = disclosure.SMALLEST - 1


def shares(of_positives, of_negatives, size=100, samples=1):
    """Shares of a word that so many positives and so many negatives hold, of `size` patients each
    with so many `samples`."""
    held = np.r_[np.arange(size) < of_positives, np.arange(size) < of_negatives]
    each = (held, np.repeat([1.0, 0.0], size), np.arange(2 * size))
    return words._shares(*(np.repeat(column, samples) for column in each))


def test_a_word_of_one_class_is_told_with_the_share_of_each():
    assert shares(60, 20) == [(0.6, 0.2)]


def test_a_share_of_few_patients_is_not_told_whatever_their_samples():
    assert shares(60, FEW) == [(0.6, None)]
    assert shares(60, FEW, samples=3) == [(0.6, None)]


def test_a_share_that_few_patients_are_not_of_is_not_told():
    assert shares(100 - FEW, 20) == [(None, 0.2)]
    assert shares(100, 20) == [(1.0, 0.2)]


def test_what_chance_explains_is_not_told():
    assert shares(60, 58) == []
    assert shares(FEW, 0, size=10) == []
