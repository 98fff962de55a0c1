"""The contract of a method's samples as numpy arrays, the same for every kind of input."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import polars as pl
import scipy.sparse

from ehr_jax.cohorts import cohort as cohorts


class Reads(NamedTuple):
    """What methods read, of their inputs and of the records: nothing else is made for them.

    Attributes:
      series, statics, knowledge: of stays.
      texts: vectors of the texts of samples.
      visits: samples as hyperedges over nodes.
      names, structure: vectors of nodes, of what they are called and of where they stand.
      measurements, notes: the table of the records, as the config has it.
    """

    series: bool = False
    statics: bool = False
    texts: bool = False
    knowledge: bool = False
    visits: bool = False
    names: bool = False
    structure: bool = False
    measurements: bool = False
    notes: bool = False

    @property
    def encoder(self) -> bool:
        """True if texts or names become vectors."""
        return self.texts or self.names or self.knowledge


def together(reads: Iterable[Reads]) -> Reads:
    """Returns what any of several methods reads."""
    return Reads(*map(any, zip(*reads, strict=True)))


class Parts(NamedTuple):
    """Named parts of the arrays, by which the audit compares two builds of the same samples.

    Attributes:
      inputs: by name, [sample, ...] inputs of the method.
      targets: by name, [sample, ...] auxiliary targets, which are learned beside the labels.
      fitted: by name, what was fitted to training samples.
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    fitted: Mapping[str, Any]


class Columns(NamedTuple):
    """The inputs of samples as a table.

    Attributes:
      incidence: [sample, node] float32, 1 where the sample has the node, such as a code.
      node_names: names of the node axis.
      numbers: [sample, number] float32, nan where unknown.
      number_names: names of the number axis.
    """

    incidence: scipy.sparse.csr_matrix
    node_names: tuple[str, ...]
    numbers: np.ndarray
    number_names: tuple[str, ...]


class Ragged(NamedTuple):
    """A list of values for each sample.

    Attributes:
      lengths: [sample] int64, how many values each sample has.
      values: [value, ...], those of the first sample, then those of the second, and so on.
    """

    lengths: np.ndarray
    values: np.ndarray


class Stored(NamedTuple):
    """Arrays in the form in which they are written to files; `Kind.restore` puts them together.

    What the cohort says of the samples (labels, split, patients) is not repeated here.

    Attributes:
      samples: by name, [sample, ...] arrays.
      ragged: by name, a list for each sample.
      whole: by name, arrays without a sample axis, such as vectors of nodes.
      facts: what JSON can hold.
      meanings: by name, what an array of `samples` or `ragged` holds.
    """

    samples: Mapping[str, np.ndarray]
    ragged: Mapping[str, Ragged]
    whole: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]
    meanings: Mapping[str, str]


class Arrays(Protocol):
    """The samples of a cohort; implementations are frozen dataclasses.

    Attributes:
      labels: [sample, label] float32, nan where unknown.
      label_names: names of the label axis.
      split: [sample] str: "train", "validation" or "test".
      subjects: [sample] int64, patient ids.
      fitted: what was fitted to training samples and is needed to make the same arrays of other
        samples; None if the kind of input cannot do that.
      counts: the description of the features in data.json; has the keys "notes" and "encoder".
    """

    labels: np.ndarray
    label_names: tuple[str, ...]
    split: np.ndarray
    subjects: np.ndarray
    counts: Mapping[str, Any]

    @property
    def fitted(self) -> Any: ...

    @property
    def targets(self) -> np.ndarray:
        """[sample, target] float32: the labels, followed by the auxiliary targets."""

    def with_targets(self, targets: np.ndarray) -> Self:
        """Returns the same samples with `targets` [sample, target] in place of their own."""

    def read_by(self, config: Any) -> Self:
        """Returns the same samples without the inputs that the method of `config` does not read."""

    def only(self, reads: Reads) -> Self:
        """Returns the samples as they are made for `reads`; these were made for as much or more."""

    def stored(self) -> Stored:
        """Returns the arrays as they are written to files."""

    def parts(self) -> Parts:
        """Returns the arrays as named parts."""

    def columns(self) -> Columns:
        """Returns the inputs as a table, without the vectors of texts."""


def of_cohort(cohort: cohorts.Cohort) -> dict[str, Any]:
    """Returns the fields of `Arrays` that a cohort gives: labels, label_names, split, subjects."""
    samples = cohort.samples
    columns = [f"label.{name}" for name in cohort.labels]
    return {
        "labels": samples.select(pl.col(columns).cast(pl.Float32).fill_null(np.nan)).to_numpy(),
        "label_names": cohort.labels,
        "split": samples["split"].to_numpy().astype(str),
        "subjects": samples["subject_id"].to_numpy(),
    }


def training_rows(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices [row] int64 of labelled training samples, and of validation samples."""
    labelled = ~np.isnan(arrays.labels).all(axis=1)
    train, validation = (arrays.split == split for split in ("train", "validation"))
    return np.flatnonzero(labelled & train), np.flatnonzero(labelled & validation)
