"""Search finds exactly what sorting all products finds, however rows and queries are cut."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.knowledge import search

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def by_sorting(rows: np.ndarray, queries: np.ndarray, k: int):
    """All products, stably sorted: equal ones stay in the order of the rows."""
    products = queries @ rows.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(products, order, axis=1)
    missing = ((0, 0), (0, k - order.shape[1]))
    return np.pad(scores, missing, constant_values=-np.inf), np.pad(
        order, missing, constant_values=-1
    )


@settings(max_examples=25)
@given(
    n=st.sampled_from([1, 128, 129, 1500]),
    queries=st.sampled_from([1, 65]),
    k=st.sampled_from([1, 10]),
    seed=st.integers(0, 2**16),
)
def test_results_and_ties_are_those_of_a_stable_sort(n, queries, k, seed):
    generator = np.random.default_rng(seed)
    # Small whole numbers: products are exact and many are equal.
    rows = generator.integers(-2, 3, (n, 4)).astype(np.float32)
    asked = generator.integers(-2, 3, (queries, 4)).astype(np.float32)
    scores, found = search.top_k(search.place(rows), asked, k)
    expected, order = by_sorting(rows, asked, k)
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(found, order)


def test_all_rows_equal_gives_the_first_ones():
    index = search.place(np.ones((1000, 3), np.float32))
    _, found = search.top_k(index, np.ones((2, 3), np.float32), 7)
    np.testing.assert_array_equal(found, [range(7)] * 2)


def test_negative_products_stand_before_the_rows_that_only_fill_up():
    index = search.place(-np.ones((3, 2), np.float32))
    scores, found = search.top_k(index, np.ones((1, 2), np.float32), 5)
    assert found.tolist() == [[0, 1, 2, -1, -1]]
    assert scores.tolist() == [[-2, -2, -2, -np.inf, -np.inf]]


def test_one_query_scores_as_it_does_among_many():
    generator = np.random.default_rng(0)
    index = search.place(generator.integers(-3, 4, (300, 8)).astype(np.float32))
    queries = generator.integers(-3, 4, (70, 8)).astype(np.float32)
    together = search.top_k(index, queries, 5)
    alone = [search.top_k(index, query[None], 5) for query in queries[[0, 33, 69]]]
    for row, (scores, found) in zip((0, 33, 69), alone, strict=True):
        np.testing.assert_array_equal(together[0][row], scores[0])
        np.testing.assert_array_equal(together[1][row], found[0])


def test_bfloat16_rounds_the_numbers_and_sums_them_in_float32():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(400, 64)).astype(np.float32)
    queries = generator.normal(size=(5, 64)).astype(np.float32)
    index = search.place(rows, "bfloat16")
    rounded = np.asarray(index.rows[: len(rows)].astype(np.float32))
    asked = np.asarray(search.place(queries, "bfloat16").rows[:5].astype(np.float32))
    scores, found = search.top_k(index, queries, 3)
    expected, order = by_sorting(rounded, asked, 3)
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 3)), "at least one row"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.array([[0, 1], [np.nan, 0]]), "row 1 holds a number that is not finite"),
    ],
)
def test_rows_that_are_no_index_are_an_error(rows, message):
    with pytest.raises(errors.KnowledgeError, match=message):
        search.place(rows)


def test_queries_that_do_not_fit_are_an_error():
    index = search.place(np.ones((3, 2), np.float32))
    with pytest.raises(errors.KnowledgeError, match="queries are 4 wide, the index 2"):
        search.top_k(index, np.ones((1, 4)), 1)
    with pytest.raises(errors.KnowledgeError, match="k is 0"):
        search.top_k(index, np.ones((1, 2)), 0)
    with pytest.raises(errors.KnowledgeError, match="'float16' is not known"):
        search.place(np.ones((3, 2)), "float16")


def test_no_query_gives_no_row():
    index = search.place(np.ones((3, 2), np.float32))
    scores, found = search.top_k(index, np.ones((0, 2), np.float32), 2)
    assert scores.shape == found.shape == (0, 2)


def test_rows_split_over_four_devices_give_the_same():
    code = """
import jax, numpy as np
from ehr_jax.knowledge import search
assert len(jax.devices()) == 4
g = np.random.default_rng(0)
for n in (3, 600, 5000):
    rows = g.integers(-2, 3, (n, 4)).astype(np.float32)
    asked = g.integers(-2, 3, (9, 4)).astype(np.float32)
    one = search.top_k(search.place(rows, devices=jax.devices()[:1]), asked, 10)
    four = search.top_k(search.place(rows), asked, 10)
    assert len(search.place(rows).rows.sharding.device_set) == 4
    for a, b in zip(one, four):
        np.testing.assert_array_equal(a, b)
"""
    flags = "--xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()
