"""What `prepare` fits, it fits on the samples that shape the network."""

import dataclasses

import numpy as np
import polars as pl

from ehr_jax import config as configs
from ehr_jax.cohorts import tasks
from ehr_jax.features import hypergraph, once, prepare, vectors
from ehr_jax.nn import bipartite
from ehr_jax.training import visit_kind
from tests import hospital

TRAINING = (("4280", "25000"), ("4280", "V1582"), ("25000", "V1582", "4280"), ("4019", "25000"))


def prepared(*held_out: tuple[str, ...], **features) -> prepare.Arrays:
    """Arrays of four training visits and of a validation and a test visit with these codes."""
    visits = [
        hospital.visit(number, 0, 3, *codes) for number, codes in enumerate((*TRAINING, *held_out))
    ]
    records = hospital.records(visits)
    cohort = tasks.build(records, "readmission30", split="none")
    split = pl.Series("split", ["train"] * len(TRAINING) + ["validation", "test"])
    cohort = dataclasses.replace(cohort, samples=cohort.samples.with_columns(split))
    config = configs.defaults()
    config.features.update(structure_width=3, structure_window=2, **features)
    reads = visit_kind.reads(config)
    known = once.known_of(records, cohort, config, reads)
    return prepare.prepare(known, config, reads, None, vectors.by_digest())


def test_the_scale_of_note_vectors_is_that_of_the_fitting_rows():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 4)).astype(np.float32)
    vectors[2] = 0.0  # a sample without a note
    fitting = vectors[:3]
    scaled = prepare.unit_scale(vectors, fitting)
    np.testing.assert_allclose(np.sqrt(np.mean(scaled[:2] ** 2)), 1.0, rtol=1e-6)
    others = vectors.copy()
    others[3:] *= 50
    np.testing.assert_array_equal(prepare.unit_scale(others, fitting)[:3], scaled[:3])


def test_selected_visits_keep_their_members_in_the_order_asked_for():
    graph = bipartite.pack([0, 1, 1, 2], [0, 0, 1, 2], 3, 3)
    node, hyperedge, num_nodes, num_hyperedges = bipartite.unpack(
        hypergraph.select_visits(graph, np.array([2, 0]))
    )
    assert (num_nodes, num_hyperedges) == (3, 2)
    assert set(zip(node.tolist(), hyperedge.tolist(), strict=True)) == {(2, 0), (0, 1), (1, 1)}


def test_codes_of_held_out_visits_change_nothing_for_training_visits():
    one = prepared(("4019", "V1582"), ("4280", "4019"))
    other = prepared(("4280", "V1582", "4019", "486"), ("V1582", "25000"))
    assert one.shapes.tolist() == [True] * 4 + [False] * 2
    assert one.vocabulary == other.vocabulary
    np.testing.assert_array_equal(one.structure, other.structure)
    np.testing.assert_array_equal(one.concepts, other.concepts)
    assert one.has_note.all() and (one.notes[4:] != other.notes[4:]).any()
    np.testing.assert_array_equal(one.notes[:4], other.notes[:4])


def test_a_code_stands_where_it_is_listed_first():
    arrays = prepared(("4280", "25000", "4280"), ("25000", "4280"), main_diagnosis=True)
    node, visit, *_ = bipartite.unpack(arrays.visits)
    held = {arrays.vocabulary.codes[n] for n, v in zip(node, visit, strict=True) if v == 4}
    assert held == {"ICD9CM:428", "ICD9CM:250", "MAIN:ICD9CM:428"}
