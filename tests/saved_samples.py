"""Samples of a small generated hospital for tests, and their comparison bit by bit."""

import pathlib

import jraph
import numpy as np
import polars as pl

from ehr_jax import config as base
from ehr_jax.audit import evidence
from ehr_jax.experiment import stages
from ehr_jax.features import arrays as features
from ehr_jax.models import registry
from tests.audit import scenes

ENCODER = pathlib.Path(__file__).parent / "text" / "golden" / "tiny_mean"
READS = features.Reads(visits=True)
"""What hypehr reads of its samples, but for structure vectors."""


def config_of(name: str):
    """A small config of the method `name`."""
    config = registry.configure(base.defaults(), name)
    config.cohort.task = "mortality"
    config.synthetic.patients = 60
    config.features.update(structure_width=4, structure_window=1)
    config.series.update(variables="mimic17", length=6, step_hours=8.0)
    config.realm.survival_days = (2.0, 5.0)
    config.text.encoder, config.knowledge.graph = str(ENCODER), scenes.graph_folder()
    return config


def make(config):
    """The samples of a config, made anew."""
    kind = registry.resolve(config.model.name).kind
    reads = kind.reads(config)
    records = stages.read(config)
    [cohort] = stages.cohorts_of(records, config)
    known = evidence.known_of(records, [cohort], config, reads)
    return stages.make(known, config, reads)


def assert_same(one, other) -> None:
    """Raises AssertionError unless two arrays have the same fields, bit by bit."""
    assert type(one) is type(other)
    for name in one.__dataclass_fields__:
        _compare(getattr(one, name), getattr(other, name), name)


def _compare(one, other, name: str) -> None:
    if hasattr(one, "__dataclass_fields__"):
        assert_same(one, other)
    elif isinstance(one, dict) or hasattr(one, "items"):
        assert list(one) == list(other), name
        for key in one:
            _compare(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, pl.DataFrame):
        assert one.equals(other) and one.schema == other.schema, name
    elif isinstance(one, np.ndarray | jraph.GraphsTuple | tuple | list):
        _compare_sequences(one, other, name)
    else:
        assert one == other, name


def _compare_sequences(one, other, name: str) -> None:
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape, name
        np.testing.assert_array_equal(one, other, err_msg=name)
        return
    fields = getattr(one, "_fields", range(len(one)))
    assert len(one) == len(other), name
    for field, first, second in zip(fields, one, other, strict=True):
        if (name, field) != ("retrieved", "texts"):  # they are not kept
            _compare(first, second, f"{name}.{field}")
