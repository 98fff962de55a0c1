"""Prepared samples are kept under a key: whatever they depend on makes another one."""

import dataclasses
import os

import numpy as np
import pytest

from ehr_jax import config as base
from ehr_jax import errors, storage
from ehr_jax.audit import building
from ehr_jax.experiment import kept, prepared, stages
from ehr_jax.models import registry
from ehr_jax.records.common import icd9
from ehr_jax.training import run_folder
from tests import saved_samples

READS = saved_samples.READS


def entries():
    return sorted(storage.cache_folder(kept.KIND).glob("*"))


@pytest.fixture
def config():
    return saved_samples.config_of("hypehr")


def test_a_later_start_opens_what_was_kept_and_reads_nothing(config, tmp_path, monkeypatch):
    cohort, arrays = stages.load(config, tmp_path / "one")
    [folder] = entries()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    monkeypatch.setattr(stages, "read", None)
    config.train.seeds = (5,)
    config.model.width = 4
    again_cohort, again = stages.load(config, tmp_path / "two")
    assert again_cohort.samples.equals(cohort.samples)
    saved_samples.assert_same(again, arrays)
    for name in ("data.json", "audit.json", "DATA_USE.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"features.min_visits": 2}, {"synthetic.seed": 1}, {"cohort.split_seed": 1},
        {"task.after_hours": 12.0}, {"train.teacher": "lightgbm"}, {"realm.survival_days": (3.0,)},
    ],
)  # fmt: skip
def test_what_shapes_the_samples_is_in_the_key(config, changes):
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(changes)
    assert kept.key_of(changed, READS) != kept.key_of(config, READS) is not None


def test_keys_that_are_not_in_it_shape_nothing(config):
    """Every other key at once: the same arrays, and the same audit."""
    changed = config.copy_and_resolve_references()
    flat = {row.key: row for row in base.keys(base.RECORDS)}
    shaping = kept.settings_of(config)
    others = [
        key for key in flat if key not in shaping and not key.startswith(("data.", "download."))
    ]
    assert len(others) > 50
    for key in set(others) - {"text.model_shards"}:  # it asks for devices
        section, _, name = key.rpartition(".")
        place = changed[section] if section else changed
        place[name] = _another(place[name])
    assert kept.key_of(changed, READS) == kept.key_of(config, READS)
    one, other = (saved_samples.make(each) for each in (config, changed))
    saved_samples.assert_same(other.arrays, one.arrays)
    assert other.audit == one.audit and other.data == one.data


def _another(value):
    """Another value of the same type that is as possible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value
    return value / 2 if isinstance(value, float) else value


def test_a_file_that_changes_makes_another_key(tmp_path):
    config = base.defaults()
    config.data.update(source="mimic3", root=str(tmp_path))
    (tmp_path / "PATIENTS.csv").write_text("a\n")
    first = kept.key_of(config, READS)
    (tmp_path / ".hidden.csv").write_text("a\n")
    assert kept.key_of(config, READS) == first is not None
    os.utime(tmp_path / "PATIENTS.csv", ns=(1, 1))
    touched = kept.key_of(config, READS)
    (tmp_path / "ADMISSIONS.csv").write_text("a\n")
    assert len({first, touched, kept.key_of(config, READS)}) == 3


def test_a_file_beside_the_records_is_in_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path / "elsewhere"))
    config = base.defaults()
    root = tmp_path / "mimic"
    root.mkdir()
    config.data.update(source="mimic3", root=str(root))
    first = kept.key_of(config, READS)
    (tmp_path / icd9.CCS_FILE).parent.mkdir()
    (tmp_path / icd9.CCS_FILE).write_text("groups")
    assert kept.key_of(config, READS) != first is not None


@pytest.mark.parametrize(
    ("changes", "reads"),
    [
        ({"model.name": "theirs:METHOD"}, READS),
        ({"task.exclude": ("theirs:RULE",)}, READS),
        ({"data.keep": False}, READS),
        ({"text.encoder": "/nowhere"}, READS._replace(names=True)),
        ({"knowledge.graph": "primekg"}, READS._replace(knowledge=True)),
        ({"knowledge.extractor": "language_model"}, READS._replace(knowledge=True)),
    ],
)
def test_what_is_not_to_be_kept_has_no_key(config, changes, reads, monkeypatch, tmp_path):
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path))
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path))
    config.update_from_flattened_dict(changes)
    assert kept.key_of(config, reads) is None


def test_a_damaged_entry_is_made_again_and_said(config, tmp_path, capsys):
    _, arrays = stages.load(config, tmp_path / "one")
    [folder] = entries()
    array = next(path for path in folder.rglob("*.npy") if path.stat().st_size > 200)
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    _, again = stages.load(config, tmp_path / "two")
    out = capsys.readouterr().out
    assert array.name in out and "damaged" in out and "prepared again" in out
    saved_samples.assert_same(again, arrays)
    assert prepared.read(folder, "")


@pytest.mark.parametrize("name", ["about.json", "cohort.parquet"])
def test_a_changed_word_is_noticed(name, config, tmp_path):
    prepared.write(tmp_path / "samples", saved_samples.make(config), "of a kind")
    path = tmp_path / "samples" / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"strict", b"Strict") if name == "about.json" else content[1:])
    with pytest.raises(errors.RunFolderError, match=f"{name}.* prepare it"):
        prepared.read(tmp_path / "samples", "prepare it again")


def test_what_stands_in_an_entrys_place_is_replaced(config, tmp_path):
    key = kept.key_of(config, registry.resolve("hypehr").kind.reads(config))
    place = storage.make_folder(storage.cache_folder(kept.KIND)) / key
    for number, put in enumerate((lambda: place.write_text(""), lambda: place.symlink_to("none"))):
        put()
        stages.load(config, tmp_path / str(number))
        assert entries() == [place] and place.is_dir()
        storage.remove_folder(place)


def test_a_cache_that_cannot_be_written_stops_nothing(config, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "file"))
    cohort, _ = stages.load(config, tmp_path / "one")
    assert cohort.samples.height and "cannot be kept" in capsys.readouterr().out


def test_what_was_not_used_for_long_is_removed(config, tmp_path):
    stages.load(config, tmp_path / "one")
    config.synthetic.seed = 3
    stages.load(config, tmp_path / "two")
    old, new = entries()
    unfinished = old.with_name(f".{old.name}.host-1-1-abc.partial")
    unfinished.mkdir()
    week = 7 * kept.DAY
    about = old / prepared.ABOUT
    os.utime(about, (about.stat().st_mtime - week, about.stat().st_mtime - week))
    assert kept.clean(8) == (0, 0)
    removed, size = kept.clean(6)
    assert removed == 1 and size > 0 and {new, unfinished} == set(old.parent.iterdir())


def test_a_start_with_other_records_leaves_what_the_run_has(config, tmp_path):
    stages.load(config, tmp_path)
    for name in ("checkpoints", run_folder.TEACHER):
        (tmp_path / name).mkdir()
    config.synthetic.seed = 4
    with pytest.raises(errors.RunFolderError, match="begun with other records"):
        stages.load(config, tmp_path)
    assert (tmp_path / run_folder.TEACHER).exists()


@pytest.mark.parametrize("name", ["mingle", "hypehr", "mlp", "gru_visits", "realm", "unified"])
def test_arrays_are_what_they_were_however_they_are_cut_into_parts(name, tmp_path):
    config = saved_samples.config_of(name)
    samples = saved_samples.make(config)
    kind = registry.resolve(name).kind
    for number, part in enumerate((None, 7, 1)):
        prepared.write(tmp_path / str(number), samples, "of a kind", part)
        content = prepared.read(tmp_path / str(number), "")
        assert content.about["parts"] == 1 if part is None else content.about["parts"] > 5
        saved_samples.assert_same(content.restored(kind).arrays, samples.arrays)
        assert content.cohort.samples.equals(samples.cohort.samples)


def test_a_part_has_all_samples_of_its_patients(tmp_path):
    samples = saved_samples.make(saved_samples.config_of("hypehr"))
    prepared.write(tmp_path / "samples", samples, "of a kind", 9)
    seen = set()
    for part in (tmp_path / "samples").glob("part-*"):
        rows = np.load(part / "rows.npy")
        patients = set(samples.arrays.subjects[rows].tolist())
        assert not patients & seen
        seen |= patients
    assert seen == set(samples.arrays.subjects.tolist())


WIDEST = {"mlp": "mingle", "hypehr": "mingle", "mlp_notes": "mingle", "realm_series": "unified",
          "realm_notes": "unified", "realm_knowledge": "unified", "realm": "unified",
          "lightgbm_windows": "unified", "unified_codes": "unified"}  # fmt: skip


@pytest.mark.parametrize("name", WIDEST)
def test_samples_of_a_method_that_reads_more_are_narrowed_to_its_own(name):
    config, widest = (saved_samples.config_of(each) for each in (name, WIDEST[name]))
    reads = building.reads(config)
    made, whole = saved_samples.make(config), saved_samples.make(widest)
    narrowed = prepared.narrowed(whole, reads)
    saved_samples.assert_same(narrowed.arrays, made.arrays)
    assert dataclasses.replace(narrowed, arrays=None, audit=None, settings=None).data == made.data
