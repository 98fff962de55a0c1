"""What no method reads is not made: no encoder is loaded, no structure vectors are computed."""

import functools

import numpy as np
import pytest

from ehr_jax import config as base
from ehr_jax.cohorts import tasks
from ehr_jax.experiment import stages
from ehr_jax.features import arrays as features
from ehr_jax.features import once, structure, vectors
from ehr_jax.models import registry
from ehr_jax.modes import sweep
from ehr_jax.sweeps import keys
from ehr_jax.synthetic import hospital as synthetic


@functools.cache
def hospital():
    records = synthetic.generate(100, 0)
    return records, tasks.build(records, "mortality")


def config_of(name: str, **changes):
    config = base.defaults()
    config.series.variables, config.series.length = "mimic17", 4
    config.features.update(structure_width=4, structure_window=1)
    config.realm.use_knowledge = False  # a graph is wanted for it
    config = registry.configure(config, name)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def made(config, reads: features.Reads | None = None, texts: list | None = None):
    """Arrays of the method of a config; `texts` takes all that is encoded."""
    digests = vectors.by_digest()

    def of(asked):
        texts.extend(asked)
        return digests.of(asked)

    encoding = None if texts is None else digests._replace(of=of)
    kind = registry.resolve(config.model.name).kind
    reads = reads or kind.reads(config)
    known = once.known_of(*hospital(), config, reads)
    return kind.make_arrays(known, config, reads, None, encoding)


def refuse(*_):
    raise AssertionError("it is computed, and nothing reads it")


@pytest.mark.parametrize(
    "name", ["hypehr", "alldeepsets", "mlp", "lightgbm", "gru_visits", "realm_series"]
)
def test_methods_without_names_and_notes_load_no_encoder(monkeypatch, name):
    monkeypatch.setattr(vectors, "by_encoder", refuse)
    arrays = made(config_of(name))
    assert arrays.counts["encoder"] == {"name": "none"}
    none = {"source": "none", "samples_with_text": 0, "patients_with_text": 0}
    assert arrays.counts["notes"] == none | ({"pieces": 0} if name == "realm_series" else {})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lightgbm", {}),
        ("mlp_notes", {}),
        ("gru_visits", {}),
        ("realm", {}),
        ("realm_notes", {"notes__source": "record"}),
    ],
)
def test_methods_that_read_no_structure_vectors_compute_none(monkeypatch, name, changes):
    monkeypatch.setattr(structure, "netmf", refuse)
    config = config_of(name, **changes)
    arrays = made(config, texts=[])
    kind = registry.resolve(name).kind
    known = once.known_of(*hospital(), config, kind.reads(config))
    _, nodes = kind.graph(known, config, arrays)  # the audit's
    assert nodes.structure.shape[1] == 0 < len(nodes.vocabulary.codes)


@pytest.mark.parametrize(
    ("name", "names", "notes"),
    [("mingle", True, True), ("mingle_no_notes", True, False), ("mingle_no_concepts", False, True)],
)
def test_of_names_and_notes_the_other_is_zero_and_as_wide(name, names, notes):
    both, texts = made(config_of("mingle"), texts=[]), []
    arrays = made(config_of(name), texts=texts)
    assert arrays.concepts.shape[1] == arrays.notes.shape[1] == vectors.DIGEST_WIDTH
    np.testing.assert_array_equal(arrays.structure, both.structure)
    np.testing.assert_array_equal(arrays.concepts, both.concepts if names else 0 * both.concepts)
    np.testing.assert_array_equal(arrays.notes, both.notes if notes else 0 * both.notes)
    assert arrays.has_note.any() == notes
    assert (set(arrays.vocabulary.names) <= set(texts)) == names


def test_a_teacher_of_visits_reads_its_own_notes():
    config = config_of("hypehr", train__teacher_share=0.5)
    config.train.teacher = "logistic_regression_notes"
    assert stages.read_by([config]).notes
    config.train.teacher_share = 0.0
    assert not stages.read_by([config]).notes


def test_a_benchmark_makes_what_any_method_reads():
    def of(*names):
        return stages.read_by([config_of(name) for name in names])

    assert not of("lightgbm", "mlp").encoder and not of("lightgbm", "mlp").structure
    assert of("lightgbm", "hypehr") == of("hypehr")
    assert of("mingle_no_notes", "mlp_notes") == of("mingle")
    assert of("realm_series", "unified_codes").visits and not of("realm_series", "realm").visits


def test_a_sweep_makes_what_any_trial_reads():
    config = config_of("mingle", model__use_notes=False, model__use_concepts=False)
    config.sweep.grid = {"model": {"use_notes": (False, True), "width": (8, 16)}}
    assert keys.switches(config) == [{"model.use_notes": False}, {"model.use_notes": True}]
    reads = sweep._reads(config)
    assert reads.notes and reads.texts and not reads.names
