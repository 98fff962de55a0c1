"""Which samples train, which select and which test a model.

Each function takes `samples` (columns subject_id, visit_id, labelled and `label.<name>`, any row
order) and returns one row (visit_id, split) a visit, sorted by visit_id. Nothing depends on the
order of the rows: the same visits, seed and fractions give the same split.
"""

import numpy as np
import polars as pl

from ehr_jax import disclosure, errors
from ehr_jax.cohorts import cohort

FRACTIONS = (0.7, 0.1, 0.2)  # of cohort.SPLITS


def by_patient(
    samples: pl.DataFrame, seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> pl.DataFrame:
    """Assigns whole patients at random, so that none is in two splits.

    Patients with a positive label, with negative ones alone and without any are shuffled apart, so
    that a small cohort has labels in each split: three patients of a kind reach all three.
    """
    _check_fractions(fractions)
    return _by_visit(samples.join(_assign(samples, seed, fractions), on="subject_id"))


def by_fold(samples: pl.DataFrame, seed: int, fold: int, folds: int) -> pl.DataFrame:
    """Assigns whole patients for cross-validation: every one is in "test" of one of `folds`.

    Of the patients of the other folds an eighth is "validation". Kinds of patients are shuffled
    apart, as in `by_patient`.
    """
    if not 0 <= fold < folds or folds < 2:
        raise errors.CohortError(
            f"fold {fold} of {folds}: config.cohort.folds must be 2 or more, and a fold one of them"
        )
    tested = []
    for subjects in _kinds(samples, np.random.default_rng(seed)):
        first, last = (at * len(subjects) // folds for at in (fold, fold + 1))
        tested.append(subjects[first:last])
    test = pl.DataFrame({"subject_id": np.concatenate(tested)}, {"subject_id": pl.Int64})
    others = samples.join(test, on="subject_id", how="anti")
    assigned = pl.concat(
        [test.with_columns(split=pl.lit("test")), _assign(others, seed, (7 / 8, 1 / 8, 0.0))]
    )
    return _by_visit(samples.join(assigned, on="subject_id"))


def as_given(
    samples: pl.DataFrame,
    given: pl.DataFrame,
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> pl.DataFrame:
    """Assigns patients as the source does, (subject_id, split) a row of `given`.

    Where the source gives no validation patients, some of its training patients become that, at
    random, in the proportion of `fractions`. Raises CohortError where a patient is not assigned.
    """
    _check_fractions(fractions)
    assigned = samples.select("subject_id").unique().join(given, on="subject_id", how="left")
    if assigned["split"].null_count():
        raise errors.CohortError(
            f"the source assigns {assigned['split'].null_count()} of the cohort's "
            f"{assigned.height} patients to no split; set config.cohort.split to 'patient'"
        )
    if "validation" not in set(assigned["split"]):
        train = assigned.filter(split="train").select("subject_id")
        share = fractions[0] + fractions[1] or 1.0
        kept = (fractions[0] / share, fractions[1] / share, 0.0)
        cut = _assign(samples.join(train, on="subject_id", how="semi"), seed, kept)
        assigned = pl.concat([assigned.filter(pl.col("split") != "train"), cut])
    return _by_visit(samples.join(assigned, on="subject_id"))


def by_file_order(
    samples: pl.DataFrame, fractions: tuple[float, float, float] = FRACTIONS
) -> pl.DataFrame:
    """Cuts the labelled visits, by ascending visit_id, into three runs; the rest is "train".

    The published code of HypEHR and its relatives does this to its file: nothing is shuffled and a
    patient's visits may fall on both sides of a cut. Visits without a label give structure only.
    """
    _check_fractions(fractions)
    return _cut(samples, samples.filter("labelled")["visit_id"].sort().to_numpy(), fractions)


def by_sample(
    samples: pl.DataFrame, seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> pl.DataFrame:
    """Assigns the labelled visits at random, each for itself; the rest is "train".

    The published split of REALM and EMERGE: a patient may be in two splits.
    """
    _check_fractions(fractions)
    visits = samples.filter("labelled")["visit_id"].sort().to_numpy()
    return _cut(samples, np.random.default_rng(seed).permutation(visits), fractions)


def check(samples: pl.DataFrame, labels: tuple[str, ...]) -> None:
    """Raises CohortError where a split cannot train or judge a model.

    One label needs a positive and a negative in every split; of several, each split needs a
    positive of at least one (a label without any is then left out of that split's averages).
    """
    for split in cohort.SPLITS:
        rows = samples.filter("labelled", split=split)
        positive = sum(int(rows[f"label.{name}"].sum()) for name in labels)
        lack = ""
        if rows.is_empty():
            lack = "labelled"
        elif positive == 0:
            lack = "positive"
        elif len(labels) == 1 and positive == rows.height:
            lack = "negative"
        if lack:
            raise errors.CohortError(
                f"split '{split}' has no {lack} sample among its {disclosure.shown(rows.height)} "
                f"labelled ones, of {disclosure.shown(samples['labelled'].sum())} in the cohort. "
                "Use more records, a larger fraction for that split, another split seed or another "
                "task."
            )


_SUBJECT_SPLIT = {"subject_id": pl.Int64, "split": pl.String}


def _assign(samples: pl.DataFrame, seed: int, fractions) -> pl.DataFrame:
    """Returns (subject_id, split) at random, each kind of patient by `fractions`."""
    parts = []
    for subjects in _kinds(samples, np.random.default_rng(seed)):
        split = np.repeat(cohort.SPLITS, _shares(len(subjects), fractions))
        parts.append(pl.DataFrame({"subject_id": subjects, "split": split}, _SUBJECT_SPLIT))
    return pl.concat(parts)


def _kinds(samples: pl.DataFrame, generator: np.random.Generator) -> list[np.ndarray]:
    """Patients with a positive label, with negative ones alone and without any, each shuffled."""
    labelled = pl.col("labelled").fill_null(False)
    subjects = (
        samples.group_by("subject_id")
        .agg(labelled.any(), positive=(labelled & _any_positive(samples)).any())
        .sort("subject_id")
    )
    shuffled = []
    for positive, has_label in ((True, True), (False, True), (False, False)):
        kind = subjects.filter(
            pl.col("positive") == pl.lit(positive), pl.col("labelled") == pl.lit(has_label)
        )
        shuffled.append(generator.permutation(kind["subject_id"].to_numpy()))
    return shuffled


def _any_positive(samples: pl.DataFrame) -> pl.Expr:
    labels = [name for name in samples.columns if name.startswith("label.")]
    return pl.any_horizontal(pl.col(name).fill_null(False) for name in labels)


def _shares(count: int, fractions) -> list[int]:
    """Returns how many of `count` each split gets: rounded, but none empty if that is possible."""
    bounds = np.rint(np.cumsum((0.0, *fractions)) * count).astype(int)
    shares = np.diff(bounds)
    wanted = np.asarray(fractions) > 0
    for lacking in np.flatnonzero(wanted & (shares == 0)):
        if count >= wanted.sum():
            shares[np.argmax(shares)] -= 1
            shares[lacking] += 1
    return shares.tolist()


def _cut(samples: pl.DataFrame, visits: np.ndarray, fractions) -> pl.DataFrame:
    """Cuts `visits` in the order given, the published way: floor(0.7 n), floor(0.1 n), the rest."""
    # The small term keeps 0.7 * 10 = 6.999... at 7.
    train, validation = (int(fraction * len(visits) + 1e-9) for fraction in fractions[:2])
    shares = (train, validation, len(visits) - train - validation)
    split = np.repeat(cohort.SPLITS, shares)
    assigned = pl.DataFrame(
        {"visit_id": visits, "split": split}, {"visit_id": pl.Int64, "split": pl.String}
    )
    joined = samples.join(assigned, on="visit_id", how="left")
    return _by_visit(joined.with_columns(pl.col("split").fill_null(cohort.SPLITS[0])))


def _by_visit(assigned: pl.DataFrame) -> pl.DataFrame:
    return assigned.select("visit_id", "split").sort("visit_id")


def _check_fractions(fractions) -> None:
    right = (
        len(fractions) == len(cohort.SPLITS)
        and min(fractions) >= 0
        and abs(sum(fractions) - 1) < 1e-6
    )
    if not right:
        raise errors.CohortError(
            f"split fractions {tuple(fractions)}: expected one each for "
            f"{', '.join(cohort.SPLITS)}, none negative, with sum 1, such as {FRACTIONS}"
        )
