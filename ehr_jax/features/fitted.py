"""What training samples said of how to make arrays, written and read back as plain JSON."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ehr_jax import stored
from ehr_jax.features import series, statics
from ehr_jax.knowledge import abnormal


class Fitted(NamedTuple):
    """What training samples say of how to make arrays of any others.

    Attributes:
      scale, usual: of the series; None where there is none.
      statics: the static features.
      note_size, knowledge_size: root mean squares of the entries of vectors.
    """

    scale: series.Scale | None
    usual: abnormal.Usual | None
    statics: tuple[statics.Static, ...]
    note_size: float
    knowledge_size: float


def as_json(fitted: Fitted) -> dict[str, Any]:
    """Returns plain data; numbers keep all their bits."""
    return {
        "scale": _listed(fitted.scale),
        "usual": _listed(fitted.usual),
        "statics": [list(static) for static in fitted.statics],
        "note_size": fitted.note_size,
        "knowledge_size": fitted.knowledge_size,
    }


def read(path: pathlib.Path, way_out: str) -> Fitted:
    """Returns what `as_json` was given, of a file; RunFolderError where it is not that."""
    content = stored.read_object(path, way_out=way_out)
    with stored.in_form(path, way_out):
        return from_json(content)


def from_json(content: Mapping[str, Any]) -> Fitted:
    """Returns what `as_json` was given."""
    return Fitted(
        _arrays(content["scale"], series.Scale, np.float32),
        _arrays(content["usual"], abnormal.Usual, np.float64),
        tuple(statics.Static(*static) for static in content["statics"]),
        float(content["note_size"]),
        float(content["knowledge_size"]),
    )


def _listed(fitted) -> list | None:
    # nan, of a variable nothing is known of, is no JSON.
    if fitted is None:
        return None
    return [[None if np.isnan(x) else float(x) for x in column] for column in fitted]


def _arrays(columns, kind, dtype):
    if columns is None:
        return None
    return kind(*(np.array([np.nan if x is None else x for x in c], dtype) for c in columns))
