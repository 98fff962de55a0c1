"""The contract of what a method is given: samples as arrays, whatever kind of input they are."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import scipy.sparse


class Parts(NamedTuple):
    """Arrays cut into named parts, so that two builds of the same samples can be compared.

    Attributes:
      inputs: each [sample, ...], what the method is given of a sample.
      targets: each [sample, ...], what training learns beside the labels.
      fitted: what was fitted to training samples.
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    fitted: Mapping[str, Any]


class Columns(NamedTuple):
    """Inputs of samples.

    Attributes:
      held: [sample, node] float32, 1 where the sample holds the node.
      held_names: of the nodes.
      numbers: [sample, number] float32, nan where there is none.
      number_names: of the numbers.
    """

    held: scipy.sparse.csr_matrix
    held_names: tuple[str, ...]
    numbers: np.ndarray
    number_names: tuple[str, ...]


class Arrays(Protocol):
    """Samples of a cohort as numpy arrays; a frozen dataclass.

    Attributes:
      labels: [sample, label] float32, nan where a sample has none.
      label_names: names of the label axis.
      split: [sample] of "train", "validation", "test".
      subjects: [sample] int64, the patient of each.
      fitted: what was fitted to training samples, by which arrays of other samples are made;
        None if no others can be made by it.
      counts: what data.json tells of the features, with the keys "notes" and "encoder".
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
        """[sample, target] float32: the labels, and behind them what is learned beside them."""

    def with_targets(self, targets: np.ndarray) -> Self:
        """Returns the same samples with other `targets` to learn."""

    def read_by(self, config: Any) -> Self:
        """Returns the same samples without what the method of `config` does not read."""

    def parts(self) -> Parts:
        """Returns the arrays by name."""

    def columns(self) -> Columns:
        """Returns the inputs as columns of a table, all but vectors of texts."""


def training_rows(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labelled samples [row] int of training, and of validation."""
    labelled = ~np.isnan(arrays.labels).all(axis=1)
    train, validation = (arrays.split == split for split in ("train", "validation"))
    return np.flatnonzero(labelled & train), np.flatnonzero(labelled & validation)
