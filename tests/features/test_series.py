import dataclasses
import datetime
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.features import cells, series, variable, variables
from ehr_jax.records.common import tables
from ehr_jax.records.mimic import mimic3
from ehr_jax.records.physionet2012 import reader as physionet2012
from tests import hospital

HEART, EYES = (variables.VARIABLES[n] for n in ("heart rate", "Glasgow coma scale eye opening"))
WEIGHT = variables.VARIABLES["weight"]
THREE = (HEART, EYES, WEIGHT)
ITEMS = ("CHART:211", "CHART:220045", "CHART:184", "CHART:763", "CHART:226531", "CHART:1")

VISITS = 12


@pytest.fixture(scope="module")
def ward():
    """Visits of 3 days, each asked about at hour 71."""
    visits = [
        hospital.visit(number, 0, 3, "4280", disposition="died" if number % 3 else "home")
        for number in range(VISITS)
    ]
    records = hospital.records(visits)
    return records, tasks.build(records, "mortality", changes={"after_hours": 71.0})


def measured(records, rows):
    """Records with measurements (visit, hours since admission, item, value, unit)."""
    frame = pl.DataFrame(
        [
            (visit, None, hospital.DAY_ONE + datetime.timedelta(hours=hour), item, value, unit)
            for visit, hour, item, value, unit in rows
        ],
        schema=tables.MEASUREMENTS,
        orient="row",
    )
    return dataclasses.replace(records, measurements=frame.lazy())


CONVERSIONS = {
    HEART.name: {"bpm": 1.0, "/min": 1.0},
    EYES.name: {"points": 1.0},
    WEIGHT.name: {"kg": 1.0, "lb": 0.45359237},
}


def slow(records, cohort, wanted, step, length):
    """The same by plain loops: (sample, step, variable) to (value, seen at, observed, present)."""
    start = dict(records.visits.select("visit_id", "start").rows())
    rows = records.measurements.collect().rows(named=True)
    grid = {}
    for sample in cohort.samples.rows(named=True):
        window = sample["prediction_time"] - datetime.timedelta(hours=step * length)
        admitted = (start[sample["visit_id"]] - window).total_seconds() / 3600
        for index, v in enumerate(wanted):
            units = {item.name: item.unit for item in v.items}
            seen = []
            for row in rows:
                if row["visit_id"] != sample["visit_id"] or row["variable"] not in units:
                    continue
                unit = row["unit"] or units[row["variable"]]
                value = row["value"] * CONVERSIONS[v.name].get(unit, math.nan)
                if not v.least <= value <= v.most or (v.category and value % 1):
                    continue
                hours = (row["time"] - window).total_seconds() / 3600
                seen.append((hours, min(max(value, v.low), v.high)))
            for t in range(length):
                end = (t + 1) * step
                last = max((pair for pair in seen if pair[0] <= end), default=(0.0, math.nan))
                inside = any(t * step < h <= end or t == h == 0 for h, _ in seen)
                grid[sample["sample_id"], t, index] = (*last[::-1], inside, end >= admitted)
    return grid


rows = st.lists(
    st.tuples(
        st.integers(0, VISITS - 1),
        st.one_of(st.sampled_from([-5.0, 0.0, 23.0, 24.0, 47.0, 71.0, 72.0]), st.floats(-1, 73)),
        st.sampled_from(ITEMS),
        st.sampled_from([-1.0, 0.0, 1.0, 2.5, 3.0, 4.0, 80.0, 200.0, 240.0, 360.0, 400.0]),
        st.sampled_from([None, "kg", "lb", "bpm", "points", "stone"]),
    ),
    min_size=1,
    max_size=60,
)


@given(rows, st.sampled_from([(1.0, 4), (12.0, 4), (0.5, 3), (24.0, 4)]))
@settings(max_examples=30)
def test_grid_equals_plain_loops_over_every_row(ward, rows, grid):
    base, cohort = ward
    # At whole minutes, which both ways of counting hours hold exactly enough.
    rows = [(visit, round(hour * 60) / 60, *rest) for visit, hour, *rest in rows]
    records = measured(base, [*rows, (1, 70.0, "CHART:211", 90.0, None)])
    step, length = grid
    found = series.build(records, cohort, THREE, step, length)
    mean, std, median = found.scale
    for (sample, t, index), (value, at, seen, present) in slow(
        records, cohort, THREE, step, length
    ).items():
        cell = (sample, t, index)
        assert found.present[sample, t] == present
        assert found.observed[cell] == (seen and present)
        if not present:
            assert found.values[cell] == found.hours_since[cell] == 0
            continue
        value = median[index] if math.isnan(value) else value
        assert found.values[cell] == pytest.approx((value - mean[index]) / std[index], abs=1e-3)
        assert found.hours_since[cell] == pytest.approx((t + 1) * step - at, abs=1e-3)


@given(rows)
@settings(max_examples=15)
def test_nothing_after_the_prediction_time_enters_and_row_order_is_nothing(ward, rows):
    base, cohort = ward
    rows = [*rows, (1, 70.0, "CHART:211", 90.0, None)]
    records = measured(base, rows)
    found = series.build(records, cohort, THREE, 1.0, 4)
    later = [*rows, *((n, 71.001, "CHART:211", 300.0, None) for n in range(VISITS))]
    others = (
        measured(base, [row for row in rows if row[1] <= 71.0]),
        measured(base, later),
        measured(base, rows[::-1]),
    )
    for other in others:
        again = series.build(other, cohort, THREE, 1.0, 4)
        assert np.array_equal(again.values, found.values)
        assert np.array_equal(again.hours_since, found.hours_since)
        assert again.oddities.equals(found.oddities)


def test_changing_other_samples_changes_nothing_for_training_samples(ward):
    base, cohort = ward
    generator = np.random.default_rng(0)
    rows = [
        (visit, hour, "CHART:211", float(generator.integers(60, 120)), None)
        for visit in range(VISITS)
        for hour in range(60, 72)
    ]
    split = dict(cohort.samples.select("visit_id", "split").rows())
    raised = [(v, h, item, x + 100 * (split[v] != "train"), u) for v, h, item, x, u in rows]
    first, second = (
        series.build(measured(base, each), cohort, (HEART,), 1.0, 12) for each in (rows, raised)
    )
    train = (cohort.samples["split"] == "train").to_numpy()
    assert all(np.array_equal(a, b) for a, b in zip(first.scale, second.scale, strict=True))
    assert np.array_equal(first.values[train], second.values[train])
    assert (second.values[~train] > first.values[~train]).all()


def test_scale_is_of_the_values_strictly_between_the_percentiles():
    generator = np.random.default_rng(1)
    values = generator.normal(80, 12, (50, 6, 1)).astype(np.float32)
    observed = generator.random(values.shape) < 0.5
    scale = series.fit(values, observed, (HEART,))
    found = np.sort(values[observed].astype(float))
    inner = [x for x in found if np.quantile(found, 0.05) < x < np.quantile(found, 0.95)]
    expected = (np.mean(inner), np.std(inner), np.median(inner))
    assert [float(part[0]) for part in scale] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("values", [[], [5.0], [5.0, 5.0, 5.0]])
def test_variable_that_does_not_vary_keeps_a_deviation_of_one(values):
    array = np.asarray(values, np.float32).reshape(-1, 1, 1)
    scale = series.fit(array, np.ones(array.shape, bool), (HEART,))
    assert (scale.mean[0], scale.std[0]) == (values[0] if values else 0.0, 1.0)
    assert np.isfinite(series.scaled(np.asarray([np.nan, 80.0]), scale)).all()


def test_value_from_before_the_window_is_carried_into_it(ward):
    base, cohort = ward
    records = measured(
        base, [(0, 60.0, "CHART:211", 80.0, None), (1, 70.5, "CHART:184", 3.0, None)]
    )
    found = series.build(records, cohort, THREE, 1.0, 4)
    assert not found.observed[0].any()
    assert found.hours_since[0, :, 0].tolist() == [8.0, 9.0, 10.0, 11.0]
    assert found.values[1, :, 1].tolist() == [-1.0, -1.0, -1.0, 3.0]
    assert found.hours_since[1, :, 1].tolist() == [1.0, 2.0, 3.0, 0.5]


def test_steps_before_the_visit_are_padding(ward):
    base, cohort = ward
    rows = [(n, 1.0, "CHART:211", 80.0 + n, None) for n in range(VISITS)]
    found = series.build(measured(base, rows), cohort, (HEART,), 24.0, 5)
    # 71 hours of visit in 120: the window reaches 49 h further back.
    assert found.present.tolist() == [[False, False, True, True, True]] * cohort.samples.height
    assert (found.hours_since[:, :2] == 0).all() and (found.values[:, :2] == 0).all()
    assert found.observed[:, 2].all() and not found.observed[:, 3:].any()


def test_a_step_that_ends_as_the_visit_starts_holds_what_was_charted_then(ward):
    base, cohort = ward
    rows = [(n, 0.0, "CHART:211", 80.0 + n, None) for n in range(VISITS)]
    found = series.build(measured(base, rows), cohort, (HEART,), 35.5, 4)
    # 71 hours of visit in 142: the second step of four ends at the admission.
    assert found.present.tolist() == [[False, True, True, True]] * cohort.samples.height
    assert found.observed[:, :, 0].tolist() == [[False, True, False, False]] * VISITS


def test_categories_become_one_feature_a_level(ward):
    base, cohort = ward
    rows = [(0, 69.5, "CHART:184", 2.0, None), (0, 70.5, "CHART:184", 4.0, None)]
    found = series.build(measured(base, rows), cohort, (HEART, EYES), 1.0, 3)
    features, names = series.one_hot(found)
    assert names == ("heart rate", *(f"{EYES.name} = {level}" for level in (1, 2, 3, 4)))
    assert features[0, :, 1:].tolist() == [[-1] * 4, [0, 1, 0, 0], [0, 0, 0, 1]]
    assert features.dtype == np.float32 and features.shape == (cohort.samples.height, 3, 5)


def test_rows_left_out_and_limited_are_counted(ward):
    base, cohort = ward
    rows = [
        (0, 70.0, "CHART:211", 80.0, "bpm"),
        (0, 70.0, "CHART:211", 380.0, "bpm"),
        (0, 70.0, "CHART:211", 500.0, "bpm"),
        (1, 70.0, "CHART:763", 12.0, "stone"),
        (1, 70.0, "CHART:763", 13.0, "stone"),
        (1, 71.5, "CHART:763", 13.0, "stone"),  # too late to count
        (2, 70.0, "CHART:184", 1.5, None),
    ]
    found = series.build(measured(base, rows), cohort, THREE, 1.0, 4)
    assert found.oddities.rows() == [
        ("heart rate", "out of range, left out", None, 1),
        ("heart rate", "set to the nearest limit", None, 1),
        (EYES.name, "between the levels of a category, left out", None, 1),
        ("weight", "unknown unit, left out", "stone", 2),
    ]


@pytest.mark.parametrize("step, length, wanted", [(0, 4, THREE), (1, 0, THREE), (1, 4, ())])
def test_impossible_grid_is_refused(ward, step, length, wanted):
    with pytest.raises(errors.ConfigError, match="step_hours"):
        series.build(*ward, wanted, step, length)


def test_records_without_the_variables_are_refused(ward):
    base, cohort = ward
    with pytest.raises(errors.CohortError, match="no measurement.*heart rate"):
        series.build(measured(base, [(0, 70.0, "CHART:1", 80.0, None)]), cohort, THREE)


def test_undated_samples_are_refused(ward):
    base, cohort = ward
    undated = cohort.samples.with_columns(prediction_time=pl.lit(None, tables.TIME))
    with pytest.raises(errors.CohortError, match="12 of 12 samples have no prediction time"):
        series.build(base, dataclasses.replace(cohort, samples=undated), THREE)


def hours_with_a_value(data_root, cohort, wanted: variable.Variable) -> tuple[float, float]:
    """The share of hours with a value in CHARTEVENTS, by the time it was charted, and stored."""
    items = [item.name.removeprefix("CHART:") for item in wanted.items]
    rows = pl.read_csv(
        data_root / "mimic_iii_demo_1.4" / "CHARTEVENTS.csv.gz", infer_schema=False
    ).filter(
        pl.col("itemid").is_in(items),
        pl.col("valuenum").cast(pl.Float64, strict=False).is_not_null(),
        pl.col("error").fill_null("0") != "1",
    )
    charted, stored = (pl.col(name).str.to_datetime() for name in ("charttime", "storetime"))
    rows = rows.select(
        visit_id=pl.col("hadm_id").cast(pl.Int64),
        charted=charted,
        stored=pl.max_horizontal(charted, stored),
    ).join(cohort.samples.select("sample_id", "visit_id", "prediction_time"), on="visit_id")

    def share(time: str) -> float:
        before = (pl.col("prediction_time") - pl.col(time)).dt.total_microseconds()
        hours = rows.select("sample_id", hour=before.floordiv(3_600_000_000))
        inside = hours.filter(pl.col("hour").is_between(0, 47))
        return inside.n_unique() / (cohort.samples.height * 48)

    return share("charted"), share("stored")


def test_mimic3_demo_gives_48_hours_of_17_variables(data_root):
    records = mimic3.read(data_root / "mimic_iii_demo_1.4")
    cohort = tasks.build(records, "mortality")
    found = series.build(records, cohort, variables.named("mimic17"))
    assert found.values.shape == (cohort.samples.height, 48, 17)
    assert found.present.all() and np.isfinite(found.values).all()
    shares = dict(zip([v.name for v in found.variables], found.observed.mean((0, 1)), strict=True))
    # Nurses store the values of several hours at once, and a value counts once it is stored.
    for name in ("heart rate", "systolic blood pressure"):
        charted, stored = hours_with_a_value(data_root, cohort, variables.VARIABLES[name])
        assert charted > 0.8 and shares[name] == pytest.approx(stored, abs=1e-9)
    assert 0 < shares["weight"] < 0.2
    medians = dict(zip(shares, found.scale.median, strict=True))
    assert 36 < medians["temperature"] < 38 and 0.2 < medians["inspired oxygen"] < 1
    assert 150 < medians["height"] < 190 and 50 < medians["weight"] < 110
    assert "unknown unit, left out" not in set(found.oddities["rule"])
    features, names = series.one_hot(found)
    assert (
        features.shape[-1]
        == len(names)
        == 12 + sum(len(variable.levels(v)) for v in found.variables)
    )


def test_physionet2012_gives_48_hours_of_37_variables(data_root):
    records = physionet2012.read(data_root / "physionet_2012")
    cohort = tasks.build(records, "mortality")
    some = dataclasses.replace(cohort, samples=cohort.samples.filter(pl.col("sample_id") < 300))
    found = series.build(records, some, variables.named("physionet37"))
    assert found.values.shape == (300, 48, 37)
    assert found.present.all() and np.isfinite(found.values).all()
    # The challenge's files cover exactly the window: every measurement that is kept is in it.
    assert found.hours_since.min() >= 0 and found.hours_since.max() <= 48
    heart = [v.name for v in found.variables].index("heart rate")
    assert found.observed[:, :, heart].mean() > 0.8


@pytest.mark.parametrize("values", [(80.0, 95.0), (95.0, 80.0)])
def test_largest_of_one_instant_counts_whatever_batch_it_comes_in(ward, values):
    base, cohort = ward
    rows = [(0, 70.5, "CHART:211", value, None) for value in values]
    whole = series.build(measured(base, rows), cohort, (HEART,), 1.0, 4)
    held, elapsed = np.full((1, 2, 1), np.nan, np.float32), np.full((1, 2, 1), cells.UNSEEN)
    for value in values:
        batch = pl.DataFrame({"sample": [0], "step": [0], "index": [0], "elapsed": [5]})
        cells._enter(batch.with_columns(value=pl.lit(value)), held, elapsed)
    assert held[0, 1, 0] == 95.0
    assert whole.values[0, -1, 0] * whole.scale.std[0] + whole.scale.mean[0] == pytest.approx(95)
