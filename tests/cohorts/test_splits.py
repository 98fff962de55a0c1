import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import cohort, splits


def _samples(subjects, labels):
    """One visit a pair (subject, label), label None for a visit of structure only."""
    return pl.DataFrame(
        {
            "subject_id": pl.Series(subjects, dtype=pl.Int64),
            "visit_id": pl.Series(range(len(subjects)), dtype=pl.Int64),
            "labelled": [label is not None for label in labels],
            "label.a": pl.Series(labels, dtype=pl.Boolean),
        }
    )


_visits = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([None, False, True])), min_size=1, max_size=60
).map(lambda rows: _samples(*zip(*rows, strict=True)))
_SEEDS = st.integers(0, 2**31)


@given(_visits, _SEEDS)
def test_no_patient_is_in_two_splits(samples, seed):
    assigned = splits.by_patient(samples, seed).join(samples, on="visit_id")
    assert assigned.height == samples.height
    assert assigned.group_by("subject_id").agg(pl.col("split").n_unique())["split"].max() == 1


@given(_visits, _SEEDS, st.randoms())
def test_no_split_depends_on_the_order_of_the_rows(samples, seed, random):
    order = list(range(samples.height))
    random.shuffle(order)
    for split in (splits.by_patient, splits.by_sample):
        assert split(samples, seed).equals(split(samples[order], seed))
    assert splits.by_file_order(samples).equals(splits.by_file_order(samples[order]))


@given(st.integers(3, 60), _SEEDS)
def test_three_patients_of_a_kind_reach_all_splits(count, seed):
    samples = _samples(range(3 * count), [None] * count + [False] * count + [True] * count)
    assigned = splits.by_patient(samples, seed).join(samples, on="visit_id")
    kinds = assigned.group_by("label.a").agg(pl.col("split").n_unique())
    assert kinds["split"].to_list() == [3, 3, 3]


def test_patients_are_divided_by_the_fractions_within_each_kind():
    samples = _samples(range(2000), [None] * 1000 + [True] * 1000)
    assigned = splits.by_patient(samples, 5, (0.6, 0.15, 0.25)).join(samples, on="visit_id")
    counts = assigned.group_by("labelled", "split").len()
    for labelled in (True, False):
        sizes = dict(counts.filter(labelled=labelled).select("split", "len").iter_rows())
        assert sizes == {"train": 600, "validation": 150, "test": 250}


def test_another_seed_gives_another_split():
    samples = _samples(range(200), [True, False] * 100)
    assert not splits.by_patient(samples, 1).equals(splits.by_patient(samples, 2))
    assert not splits.by_sample(samples, 1).equals(splits.by_sample(samples, 2))


@given(_visits, _SEEDS)
def test_published_splits_take_the_floor_of_seven_and_one_tenth(samples, seed):
    labelled = int(samples["labelled"].sum())
    sizes = (labelled * 7 // 10, labelled // 10)
    for assigned in (splits.by_file_order(samples), splits.by_sample(samples, seed)):
        found = assigned.join(samples.filter("labelled"), on="visit_id")["split"]
        assert ((found == "train").sum(), (found == "validation").sum()) == sizes


def test_published_splits_take_a_whole_number_whole_though_its_product_lies_below():
    assert 0.7 * 90 < 63
    split = splits.by_file_order(_samples([1] * 90, [True] * 90))["split"]
    assert (split == "train").sum() == 63


def test_file_order_cuts_labelled_visits_by_number_and_leaves_the_rest_in_train():
    samples = _samples([1] * 20, [None if visit % 2 else True for visit in range(20)])
    split = splits.by_file_order(samples)["split"].to_list()
    assert split[0::2] == ["train"] * 7 + ["validation"] + ["test"] * 2
    assert split[1::2] == ["train"] * 10


def _split(rows):
    """Samples from (split, label a, label b)."""
    return pl.DataFrame(
        [{"split": s, "labelled": a is not None, "label.a": a, "label.b": b} for s, a, b in rows],
        schema={
            "split": pl.String,
            "labelled": pl.Boolean,
            "label.a": pl.Boolean,
            "label.b": pl.Boolean,
        },
    )


FULL = [(split, label, not label) for split in cohort.SPLITS for label in (True, False)]


def test_a_split_with_both_outcomes_passes():
    splits.check(_split(FULL), ("a",))
    splits.check(_split(FULL), ("a", "b"))


@pytest.mark.parametrize("split", cohort.SPLITS)
@pytest.mark.parametrize(("kept", "lack"), [(False, "positive"), (True, "negative")])
def test_one_label_needs_positives_and_negatives_in_each_split(split, kept, lack):
    rows = [row for row in FULL if row[0] != split or row[1] is kept]
    with pytest.raises(errors.CohortError, match=rf"'{split}' has no {lack} sample among its <10 "):
        splits.check(_split(rows), ("a",))


def test_of_several_labels_one_positive_is_enough():
    rows = [row if row[0] != "test" else ("test", False, True) for row in FULL]
    splits.check(_split(rows), ("a", "b"))
    rows = [row if row[0] != "test" else ("test", False, False) for row in FULL]
    with pytest.raises(errors.CohortError, match="'test' has no positive"):
        splits.check(_split(rows), ("a", "b"))


def test_a_split_of_structure_alone_is_refused():
    rows = [row if row[0] != "validation" else ("validation", None, None) for row in FULL]
    with pytest.raises(errors.CohortError, match="'validation' has no labelled sample"):
        splits.check(_split(rows), ("a",))


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.4, 0.2), (np.nan, 0.5, 0.5)]
)
def test_fractions_that_are_no_partition_are_refused(fractions):
    with pytest.raises(errors.CohortError, match="expected one each for train, validation, test"):
        splits.by_patient(_samples([1], [True]), 0, fractions)


def test_given_split_is_kept_and_validation_is_cut_from_training_patients():
    samples = _samples(range(80), [True, False] * 40)
    given = pl.DataFrame({"subject_id": range(80), "split": ["train"] * 60 + ["test"] * 20})
    assigned = splits.as_given(samples, given, 3)["split"].to_list()
    assert assigned[60:] == ["test"] * 20
    # 30 of each kind at 0.7 to 0.1
    assert sorted(assigned[:60]) == ["train"] * 52 + ["validation"] * 8


def test_given_validation_patients_stay_as_they_are():
    samples = _samples(range(6), [True, False] * 3)
    names = ["train", "validation", "test"] * 2
    given = pl.DataFrame({"subject_id": range(6), "split": names})
    assert splits.as_given(samples, given, 3)["split"].to_list() == names


def test_patient_without_a_given_split_is_an_error():
    given = pl.DataFrame({"subject_id": [0], "split": ["train"]})
    with pytest.raises(errors.CohortError, match="1 of the cohort's 2 patients"):
        splits.as_given(_samples(range(2), [True, False]), given, 0)


@given(_visits, _SEEDS, st.integers(2, 7))
def test_folds_test_every_patient_once(samples, seed, folds):
    found = [splits.by_fold(samples, seed, fold, folds) for fold in range(folds)]
    tested = pl.concat(fold.filter(split="test") for fold in found)["visit_id"].sort()
    assert tested.to_list() == samples["visit_id"].to_list()
    for fold in found:
        whole = fold.join(samples, on="visit_id")
        assert whole.height == samples.height
        assert whole.group_by("subject_id").agg(pl.col("split").n_unique())["split"].max() == 1
