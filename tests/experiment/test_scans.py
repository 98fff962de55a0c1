"""Each raw table is read once in a run, whatever of it is made, checked and looked at."""

import collections
import dataclasses
import functools
import json

import numpy as np
import pytest
from polars.io import plugins

from ehr_jax import config as base
from ehr_jax.experiment import stages
from ehr_jax.features import fitted, once, vectors
from ehr_jax.models import registry
from ehr_jax.modes import prepare
from ehr_jax.records.common import tables
from ehr_jax.synthetic import hospital as synthetic


@functools.cache
def hospital():
    records = synthetic.generate(150, 0)
    read = {name: getattr(records, name).collect() for name in ("measurements", "notes")}
    return records, read


@pytest.fixture
def scans(monkeypatch):
    """Counts how often each raw table is read."""
    found = collections.Counter()
    records, read = hospital()

    def counted(name):
        def batches(with_columns, predicate, n_rows, batch_size):
            del batch_size
            found[name] += 1
            rows = read[name] if predicate is None else read[name].filter(predicate)
            rows = rows if n_rows is None else rows.head(n_rows)
            yield rows if with_columns is None else rows.select(with_columns)

        return plugins.register_io_source(batches, schema=getattr(tables, name.upper()))

    raw = dataclasses.replace(records, **{name: counted(name) for name in read})
    monkeypatch.setattr(stages, "read", lambda config: raw)
    monkeypatch.setattr(vectors, "by_encoder", lambda *_: vectors.by_digest())
    return found


def config_of(name: str, **changes):
    config = registry.configure(base.defaults(), name)
    config.cohort.task = "mortality"
    config.features.update(structure_width=4, structure_window=1, columns="full")
    config.realm.use_knowledge = False
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


STAYS = {"series__variables": "mimic17", "series__length": 4}
BOTH = {"measurements": 1, "notes": 1}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("mingle", {"features__measurements": True}, BOTH),
        ("hypehr", {}, {}),
        ("gru_visits", {}, {}),
        ("realm", STAYS, BOTH),
        ("realm", STAYS | {"features__measurements": True}, BOTH),
        ("realm_notes", STAYS | {"notes__source": "record"}, {}),
        ("unified", STAYS, BOTH),
    ],
)
def test_a_run_reads_a_table_once_where_its_method_reads_it(
    scans, tmp_path, name, changes, expected
):
    cohort, arrays = stages.load(config_of(name, **changes), tmp_path)
    assert dict(scans) == expected
    assert len(arrays.labels) == cohort.samples.height
    checks = json.loads((tmp_path / "audit.json").read_text())["checks"]
    by_name = {check["check"]: check for check in checks}
    assert by_name["inputs changed by the future"]["status"] == "pass"
    assert (by_name["notes after the prediction time"]["status"] == "pass") == ("notes" in expected)


def test_the_store_and_its_audit_read_a_table_once(scans, tmp_path):
    config = config_of("hypehr", features__measurements=True, **STAYS)
    assert prepare.run(config, tmp_path) == 0
    assert dict(scans) == BOTH


def test_the_folds_of_a_benchmark_read_a_table_once(scans, tmp_path):
    config = config_of("realm", cohort__folds=3, **STAYS)
    reads = stages.read_by([config])
    made = [(s.cohort, s.arrays) for s in stages.load_folds(config, tmp_path, reads)]
    assert dict(scans) == BOTH
    tested = [set(cohort.samples.filter(split="test")["subject_id"]) for cohort, _ in made]
    assert not tested[0] & tested[1] and len(made) == 3
    # A later fold has what it would have by itself.
    cohort, arrays = made[1]
    known = once.known_of(hospital()[0], cohort, config, reads)
    alone = registry.resolve("realm").kind.make_arrays(known, config, reads)
    assert fitted.as_json(arrays.fitted) == fitted.as_json(alone.fitted)
    for name, expected in alone.stays.items():
        np.testing.assert_array_equal(arrays.stays[name], expected)
