"""Arrays of stays: one clock, training samples alone fit, what was fitted is read back whole."""

import dataclasses
import json
import pathlib

import numpy as np
import polars as pl
import pytest

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.features import fitted, known, once, statics, stay_notes, stays, vectors, vocabulary
from ehr_jax.nn import bipartite
from ehr_jax.records.common import tables
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.training import stay_kind


def config(**changes):
    made = base.defaults()
    made.series.variables = "mimic17"
    made.realm.use_notes = made.realm.use_knowledge = False
    for key, value in changes.items():
        made.update_from_flattened_dict({key.replace("__", "."): value})
    return made


def prepared(records, cohort, config, cache=None, of_run=None) -> stays.StayArrays:
    """What the method of a config reads."""
    reads = stay_kind.reads(config)
    known = once.known_of(records, cohort, config, reads)
    return stays.prepare_stays(known, config, reads, cache, of_run)


@pytest.fixture(scope="module")
def records():
    return synthetic.generate(250, 3)


@pytest.fixture(scope="module")
def cohort(records):
    return tasks.build(records, "mortality")


@pytest.fixture(scope="module")
def arrays(records, cohort):
    return prepared(records, cohort, config())


def test_shapes_fit_each_other(arrays, cohort):
    count, steps, width = arrays.stays["values"].shape
    assert (count, steps, width) == (cohort.samples.height, 48, len(arrays.variables))
    assert arrays.stays["observed"].shape == arrays.stays["elapsed"].shape == (count, steps, width)
    assert arrays.stays["steps"].max() <= steps
    assert arrays.stays["statics"].shape == (count, len(arrays.fitted.statics))
    assert all(np.isfinite(x).all() for x in arrays.stays.values())


def test_what_is_fitted_does_not_depend_on_test_samples(records, cohort, arrays):
    samples = cohort.samples.filter(pl.col("split") != "test").with_columns(
        sample_id=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    alone = prepared(records, dataclasses.replace(cohort, samples=samples), config())
    assert json.dumps(fitted.as_json(alone.fitted)) == json.dumps(fitted.as_json(arrays.fitted))


def test_arrays_made_with_what_was_fitted_are_those_of_the_run(records, cohort, arrays):
    read = fitted.from_json(json.loads(json.dumps(fitted.as_json(arrays.fitted))))
    everyone = tasks.build(records, "mortality", split="none")
    again = prepared(records, everyone, config(), None, read)
    assert set(again.split) == {"test"}
    for name, expected in arrays.stays.items():
        np.testing.assert_array_equal(again.stays[name], expected)


def test_deaths_are_told_of_training_samples_alone(records, cohort):
    asked = config(realm__survival_days=(10, 3_650))
    found = prepared(records, cohort, asked)
    train = (found.split == "train") & ~np.isnan(found.labels[:, 0])
    assert np.isnan(found.survival[~train]).all()
    soon, ever = found.survival[train].T
    died = found.labels[train, 0] == 1
    assert (ever[died] == 1).all() and ever.sum() > died.sum()  # some die after the hospital
    assert (soon <= ever).all() and 0 < soon.sum() < ever.sum()
    assert found.counts["deaths_learned"] == {
        "within 10 days": int(soon.sum()), "within 3650 days": int(ever.sum()),
    }  # fmt: skip


def test_a_patient_with_a_test_sample_too_teaches_no_death(records, cohort):
    mixed = cohort.samples.with_columns(subject_id=pl.lit(cohort.samples["subject_id"][0]))
    asked = config(realm__survival_days=(30,))
    made = prepared(records, dataclasses.replace(cohort, samples=mixed), asked)
    assert np.isnan(made.survival).all() and "deaths_learned" not in made.counts


def test_deaths_cannot_be_learned_from_records_that_tell_none(records, cohort):
    immortal = records.patients.with_columns(death_time=pl.lit(None, tables.TIME))
    lacking = dataclasses.replace(records, patients=immortal)
    with pytest.raises(errors.ConfigError, match="config.realm.survival_days is .30,.*set it to"):
        prepared(lacking, cohort, config(realm__survival_days=(30,)))


def test_a_static_level_that_training_never_saw_is_no_level(arrays):
    facts = pl.DataFrame(
        {"sample_id": [0], "name": ["race"], "text": ["never heard of"], "number": [None]},
        schema_overrides={"number": pl.Float64},
    )
    samples = pl.DataFrame({"sample_id": [0]})
    chosen = tuple(static for static in arrays.fitted.statics if static.attribute == "race")
    assert len(chosen) > 2
    assert not statics.columns(facts, samples, chosen).any()


@pytest.mark.parametrize(("count", "kinds"), [(9, set()), (10, {"number", "known", "level"})])
def test_a_number_or_level_of_fewer_than_ten_training_samples_is_no_static(count, kinds):
    facts = pl.DataFrame(
        {
            "sample_id": range(2 * count),
            "name": ["age"] * count + ["race"] * count,
            "text": [None] * count + ["told"] * count,
            "number": [float(n) for n in range(count)] + [None] * count,
        }
    )
    assert {static.kind for static in statics.fit(facts, facts)} == kinds


def test_vectors_are_sized_by_training_samples():
    rows = pl.DataFrame({"sample_id": [0, 1], "hour": [1.0, 2.0], "text": ["short", "a long text"]})
    encoding = vectors.Vectors(lambda texts: np.float32([[len(t)] for t in texts]), 1, {}, None)
    (values, _, mask), size = stay_notes.slots(rows, 2, np.array([True, False]), encoding, None)
    assert size == 5
    np.testing.assert_allclose(values.ravel(), [1, 11 / 5], rtol=1e-6)
    assert mask.ravel().tolist() == [1, 1]


def test_last_pieces_of_notes_are_kept_with_their_hours():
    rows = pl.DataFrame(
        {
            "sample_id": [0, 0, 1],
            "time": [None] * 3,
            "text": ["a b c d e", "f g", "  "],
            "hour": pl.Series([1.0, 5.0, 2.0], dtype=pl.Float32),
        }
    )
    made = base.defaults().notes
    made.piece_words, made.pieces = 2, 2
    assert stay_notes.pieces(rows, made).rows() == [(0, 1.0, "e"), (0, 5.0, "f g")]


TINY = pathlib.Path(__file__).parent.parent / "text" / "golden" / "tiny_mean"


@pytest.fixture(scope="module")
def with_codes(records, cohort, tmp_path_factory):
    """Arrays of the mortality cohort, of whose first visit no code is known, with scores."""
    bare = cohort.samples["visit_id"][0]
    scores = pl.DataFrame(
        [(bare, "theirs", 0.75, None), (bare, "known", 0.25, cohort.samples["prediction_time"][0])],
        schema=tables.SCORES,
        orient="row",
    )
    fewer = records.codes.filter(pl.col("visit_id") != bare)
    changed = dataclasses.replace(records, codes=fewer, scores=scores)
    made = config(realm__use_visit=True, text__encoder=str(TINY))
    return prepared(changed, cohort, made, str(tmp_path_factory.mktemp("cache")))


def test_visits_hold_codes_known_in_time_and_a_stay_without_one_is_masked(
    with_codes, records, cohort
):
    visits = with_codes.visits
    node, sample, *_ = bipartite.unpack(visits.visits)
    assert with_codes.stays["visit"].shape == (cohort.samples.height, 0)
    has = with_codes.stays["has_visit"]
    assert has[0] == 0 and 0 < has.sum() == len(np.unique(sample))
    in_time = vocabulary.at_category_level(pl.col("code"))
    early = set(known.codes(records, cohort).select("sample_id", in_time).rows())
    assert {(s, visits.vocabulary.codes[n]) for n, s in zip(node, sample, strict=True)} <= early
    assert not visits.has_note.any() and (visits.shapes == (visits.split == "train")).all()
    assert with_codes.counts["visits"]["incidences"] == len(node)


def test_scores_of_the_source_stand_beside_the_inputs_and_are_none(with_codes, arrays):
    assert set(with_codes.scores) == {"known"}
    assert with_codes.scores["known"][0] == 0.25
    assert np.isnan(with_codes.scores["known"][1:]).all()
    assert arrays.scores == {} and arrays.visits is None
    np.testing.assert_array_equal(with_codes.stays["statics"], arrays.stays["statics"])


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_at_discharge_the_grid_is_the_end_of_the_visit(records, protocol):
    cohort = tasks.build(records, "readmission30", protocol)
    made = prepared(records, cohort, config())
    length = cohort.samples.join(records.visits, on="visit_id", maintain_order="left")
    hours = (length["end"] - length["start"]).dt.total_seconds().to_numpy() / 3600
    np.testing.assert_array_equal(made.stays["steps"], np.minimum(np.floor(hours) + 1, 48))
    assert made.stays["observed"].any()
    assert all(np.isfinite(x).all() for x in made.stays.values())


def test_series_that_are_not_named_are_an_error(records, cohort):
    with pytest.raises(stays.errors.ConfigError, match="config.series.variables is ''"):
        prepared(records, cohort, config(series__variables=""))
