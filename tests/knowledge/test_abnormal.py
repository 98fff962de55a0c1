"""Entities of time series: beyond the threshold of what training samples show, and nothing else."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ehr_jax import errors
from ehr_jax.knowledge import abnormal

NAMES = ("heart rate", "lactate")
NUMBERS = (False, False)


def grid(seed: int = 0):
    rng = np.random.default_rng(seed)
    values = rng.normal((80, 2), (10, 1), (40, 12, 2)).astype(np.float32)
    return values, rng.random(values.shape) < 0.6


def test_rows_are_what_a_plain_loop_finds():
    values, observed = grid()
    usual = abnormal.fit(values, observed, NUMBERS)
    found = abnormal.find(values, observed, usual, NAMES, step_hours=2.0)
    expected = []
    for sample, step, index in np.ndindex(values.shape):
        seen = values[..., index][observed[..., index]].astype(np.float64)
        z = (values[sample, step, index] - seen.mean()) / seen.std()
        if observed[sample, step, index] and abs(z) > 2:
            direction = "high" if z > 0 else "low"
            expected.append((sample, (step + 1) * 2.0, NAMES[index], direction, z))
    assert len(expected) > 10
    assert [row[:4] for row in found.rows()] == [row[:4] for row in expected]
    np.testing.assert_allclose(found["z"], [row[4] for row in expected], rtol=1e-6)


def test_samples_that_are_not_fitted_change_nothing():
    values, observed = grid()
    usual = abnormal.fit(values[:20], observed[:20], NUMBERS)
    changed = values.copy()
    changed[20:] += 1000
    again = abnormal.fit(changed[:20], observed[:20], NUMBERS)
    np.testing.assert_array_equal(usual.mean, again.mean)
    assert abnormal.find(changed[20:], observed[20:], usual, NAMES, 1.0)[
        "direction"
    ].unique().to_list() == ["high"]


@given(
    arrays.arrays(np.float32, (3, 4, 2), elements=st.floats(-1e3, 1e3, width=32)),
    arrays.arrays(np.bool_, (3, 4, 2)),
)
def test_unobserved_values_give_nothing_and_matter_to_nothing(values, observed):
    usual = abnormal.fit(values, observed, NUMBERS)
    other = np.where(observed, values, np.float32(9e5))
    np.testing.assert_array_equal(usual, abnormal.fit(other, observed, NUMBERS))
    found = abnormal.find(values, observed, usual, NAMES, 1.0)
    assert found.equals(abnormal.find(other, observed, usual, NAMES, 1.0))
    steps = found["hour"].to_numpy().astype(int) - 1
    columns = [NAMES.index(name) for name in found["variable"]]
    assert observed[found["sample"].to_numpy(), steps, columns].all()


def test_an_affine_scale_changes_no_row():
    values, observed = grid()
    plain, scaled = (
        abnormal.find(v, observed, abnormal.fit(v, observed, NUMBERS), NAMES, 1.0).drop("z")
        for v in (values, (values - 7) / 3)
    )
    assert plain.equals(scaled)


def test_categories_constants_and_the_never_measured_give_nothing():
    values, observed = grid()
    values[..., 1], values[0, 0, 1] = 5, 5
    assert set(
        abnormal.find(values, observed, abnormal.fit(values, observed, NUMBERS), NAMES, 1.0)[
            "variable"
        ]
    ) == {"heart rate"}
    none = abnormal.fit(values, observed, (True, True))
    assert abnormal.find(values, observed, none, NAMES, 1.0).is_empty()
    unseen = np.zeros_like(observed)
    assert abnormal.find(
        values, observed, abnormal.fit(values, unseen, NUMBERS), NAMES, 1.0
    ).is_empty()


def test_the_robust_fit_is_not_moved_by_a_few_wild_values():
    values, observed = grid()
    wild = values.copy()
    wild[0, :, 0] = 1e6
    calm = abnormal.fit(values, observed, NUMBERS, robust=True)
    moved = abnormal.fit(wild, observed, NUMBERS, robust=True)
    np.testing.assert_allclose(calm.mean, moved.mean, rtol=0.05)
    np.testing.assert_allclose(calm.std, moved.std, rtol=0.1)


def test_entities_are_named_once_a_sample_at_their_first_hour():
    rows = [
        (1, 3.0, "heart rate", "low", -2.5),
        (1, 1.0, "heart rate", "low", -3.0),
        (1, 2.0, "heart rate", "high", 3.0),
        (0, 5.0, "lactate", "high", 4.0),
    ]
    table = pl.DataFrame(rows, schema=abnormal.ABNORMAL, orient="row")
    assert abnormal.entities(table).rows() == [
        (0, 5.0, "high lactate"),
        (1, 1.0, "low heart rate"),
        (1, 2.0, "high heart rate"),
    ]


def test_impossible_arguments_are_refused():
    values, observed = grid()
    usual = abnormal.fit(values, observed, NUMBERS)
    with pytest.raises(errors.ConfigError, match="threshold .* 0"):
        abnormal.find(values, observed, usual, NAMES, 1.0, threshold=0)
    with pytest.raises(errors.KnowledgeError, match="1 variables"):
        abnormal.fit(values, observed, (False,))
    with pytest.raises(errors.KnowledgeError, match="observed"):
        abnormal.fit(values, observed.astype(float), NUMBERS)
