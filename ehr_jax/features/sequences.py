"""A patient's visits in order, as sets of codes: the earlier visits, then the sample's own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays, once, texts, vocabulary

LONGEST = 16  # visits of a sequence; earlier ones are left out


@dataclasses.dataclass(frozen=True)
class SequenceArrays:
    """Samples as padded sequences of visits, the sample's own visit last.

    Attributes:
      vocabulary: the codes, fitted to what training samples know.
      visits: "codes" [sample, visit, slot] int32, indices into the vocabulary, its length where a
        slot is padding; "mask" [sample, visit] float32, 1 where there is a visit (padding comes
        first); "gaps" [sample, visit] float32, log(1 + days) from the end of a visit to the
        prediction time, 0 where the records have no dates.
      labels, label_names, split, subjects, counts: see `arrays.Arrays`.
    """

    vocabulary: vocabulary.Vocabulary
    visits: Mapping[str, np.ndarray]
    labels: np.ndarray
    label_names: tuple[str, ...]
    split: np.ndarray
    subjects: np.ndarray
    counts: Mapping[str, Any]

    @property
    def targets(self) -> np.ndarray:
        """[sample, label] float32: the labels."""
        return self.labels

    @property
    def fitted(self) -> None:
        """None: arrays of other samples cannot be made with a fitted vocabulary."""
        return None

    def only(self, reads: arrays.Reads) -> "SequenceArrays":
        """Returns the same samples: codes are all that there is."""
        return self

    def stored(self) -> arrays.Stored:
        """Returns the arrays as they are written to files; `restore` is its inverse."""
        return arrays.Stored(
            samples=dict(self.visits),
            ragged={},
            whole={},
            facts={
                "vocabulary": dataclasses.asdict(self.vocabulary),
                "counts": dict(self.counts),
            },
            meanings={
                "codes": "[visit, slot]: positions in metadata['nodes'], their number for padding",
                "mask": "[visit]: 1 where there is a visit; padding comes first",
                "gaps": "[visit]: log(1 + days) from the visit's end to the prediction time",
            },
        )

    def with_targets(self, targets: np.ndarray) -> "SequenceArrays":
        """Returns the same samples with `targets` [sample, label] as labels."""
        return dataclasses.replace(self, labels=targets)

    def read_by(self, config: Any) -> "SequenceArrays":
        """Returns the same samples."""
        return self

    def parts(self) -> arrays.Parts:
        """Returns the arrays as named parts; codes as text, as their indices differ by build."""
        names = np.array([*self.vocabulary.codes, ""], dtype=np.str_)
        codes = [
            "\n".join(sorted(filter(None, names[row].ravel()))) for row in self.visits["codes"]
        ]
        inputs = {"codes": np.array(codes, dtype=np.str_), "gaps": self.visits["gaps"]}
        return arrays.Parts(inputs, {}, {"vocabulary": np.array(self.vocabulary.codes)})

    def columns(self) -> arrays.Columns:
        """Returns the codes of all visits of a sample, and the number of visits."""
        codes, nodes = self.visits["codes"], len(self.vocabulary.codes)
        sample, visit, slot = np.nonzero(codes < nodes)
        ones, places = np.ones(len(sample), np.float32), (sample, codes[sample, visit, slot])
        incidence = scipy.sparse.csr_matrix((ones, places), (len(self.labels), nodes))
        incidence.data[:] = 1  # scipy adds up a code of several visits
        count = self.visits["mask"].sum(axis=1)[:, None]
        return arrays.Columns(incidence, tuple(self.vocabulary.names), count, ("visits",))


def build(known: once.Known, config) -> SequenceArrays:
    """Makes the sequences of a cohort.

    Args:
      config: of the experiment; of config.features `categories` and `min_visits` are read.

    Raises:
      CohortError: no code occurs in config.features.min_visits training samples.
    """
    samples, features = known.cohort.samples, config.features
    rows = _codes_by_visit(known)
    if features.categories:
        rows = rows.with_columns(code=vocabulary.at_category_level(pl.col("code")))
    rows = rows.unique()
    names = vocabulary.all_names(known.records, features.categories)
    training = samples.filter(pl.col("split") == "train")["sample_id"]
    distinct = rows.select("sample_id", "code").unique()
    fitted = vocabulary.fit(distinct, names, training, features.min_visits)
    visits = _padded(rows, fitted, samples.height)
    return SequenceArrays(
        vocabulary=fitted,
        visits=visits,
        counts={
            "nodes": len(fitted.codes),
            "visits_a_sample": round(float(visits["mask"].sum(axis=1).mean()), 2),
            "samples_without_known_code": int((visits["mask"].sum(axis=1) == 0).sum()),
            "notes": dict(texts.NONE),
            "encoder": {"name": "none"},
        },
        **arrays.of_cohort(known.cohort),
    )


def restore(stored: arrays.Stored, cohort: cohorts.Cohort) -> SequenceArrays:
    """Returns the arrays of `cohort` that `SequenceArrays.stored` took apart."""
    parts = {name: tuple(part) for name, part in stored.facts["vocabulary"].items()}
    return SequenceArrays(
        vocabulary=vocabulary.Vocabulary(**parts),
        visits=dict(stored.samples),
        counts=stored.facts["counts"],
        **arrays.of_cohort(cohort),
    )


def _codes_by_visit(known: once.Known) -> pl.DataFrame:
    """Returns (sample_id, order, gap, code): what is known of each visit by the prediction."""
    records, samples = known.records, known.cohort.samples
    ends = samples.select("sample_id", "prediction_time")
    earlier = known.earlier_visits.join(ends, on="sample_id")
    days = (pl.col("prediction_time") - pl.col("end")).dt.total_seconds() / 86400
    earlier = earlier.with_columns(gap=days.fill_null(0).clip(0).cast(pl.Float32).log1p())
    codes = records.codes.select("visit_id", "code")
    before = earlier.join(codes, on="visit_id").select("sample_id", "order", "gap", "code")
    orders = samples.select("sample_id", "visit_id").join(
        records.visits.select("visit_id", "order"), on="visit_id"
    )
    own = known.codes.join(orders, on="sample_id")
    own = own.select("sample_id", "order", pl.lit(0, pl.Float32).alias("gap"), "code")
    return pl.concat([before.cast({"order": own.schema["order"]}), own])


def _padded(rows: pl.DataFrame, fitted: vocabulary.Vocabulary, count: int) -> dict[str, np.ndarray]:
    """Returns `SequenceArrays.visits` of `count` samples, of rows (sample_id, order, gap, code)."""
    numbers = pl.DataFrame(
        {"code": fitted.codes, "number": np.arange(len(fitted.codes), dtype=np.int32)},
        schema_overrides={"code": pl.String},
    )
    rows = rows.join(numbers, on="code").sort("sample_id", "order", "number")
    visits = rows.group_by("sample_id", "order", maintain_order=True).agg("number", pl.first("gap"))
    visits = visits.with_columns(
        back=(pl.len() - 1 - pl.int_range(pl.len())).over("sample_id").cast(pl.Int64)
    ).filter(pl.col("back") < LONGEST)
    length = int(visits["back"].max() or 0) + 1
    width = int(visits["number"].list.len().max() or 1)
    codes = np.full((count, length, width), len(fitted.codes), np.int32)
    mask, gaps = np.zeros((count, length), np.float32), np.zeros((count, length), np.float32)
    sample = visits["sample_id"].to_numpy()
    at = length - 1 - visits["back"].to_numpy()
    mask[sample, at], gaps[sample, at] = 1, visits["gap"].to_numpy()
    slots = visits.select("number").with_row_index("row").explode("number")
    row = slots["row"].to_numpy()
    slot = slots.select(pl.int_range(pl.len()).over("row")).to_series().to_numpy()
    codes[sample[row], at[row], slot] = slots["number"].to_numpy()
    return {"codes": codes, "mask": mask, "gaps": gaps}
