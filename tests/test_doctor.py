"""The doctor names what is broken, and how to mend it."""

import configparser
import os
import pathlib
import re

import jax
import pytest

from ehr_jax import config as configs
from ehr_jax import doctor, jax_check, main
from ehr_jax.knowledge import disk
from ehr_jax.text import catalogue, encoders, weights
from tests.knowledge import tiny_graphs

SETUP = pathlib.Path(__file__).resolve().parent.parent / "setup.cfg"


@pytest.fixture
def quick(monkeypatch):
    """The report without the second it takes to check jax's products."""
    monkeypatch.setattr(jax_check, "wrong_rows", dict)


def test_the_running_jax_loses_no_rows_of_a_vmapped_product():
    assert jax_check.wrong_rows() == {}


def test_a_jax_that_loses_rows_is_found(monkeypatch):
    def lose_last_third(function):
        return lambda rows: function(rows).at[2 * len(rows) // 3 :].set(0.0)

    monkeypatch.setattr(jax_check, "ROWS", (7, 90))
    monkeypatch.setattr(jax_check.jax, "jit", lose_last_third)
    assert set(jax_check.wrong_rows()) == {7, 90}
    assert "90 rows" in jax_check.problems()[-1] and "pip install" in jax_check.problems()[-1]


@pytest.mark.parametrize("version", jax_check.BAD_VERSIONS)
def test_a_version_known_as_bad_is_broken_and_has_a_remedy(version, monkeypatch, quick, capsys):
    monkeypatch.setattr(jax, "__version__", version)
    assert doctor.run() == 1
    assert re.search(rf"BROKEN: jax {version}: .*pip install", capsys.readouterr().out)


def test_the_versions_named_as_bad_are_those_the_package_excludes():
    parser = configparser.ConfigParser()
    parser.read(SETUP)
    requirement = parser["options"]["install_requires"].split("\n")[1]
    assert set(re.findall(r"!=([\d.]+)", requirement)) == set(jax_check.BAD_VERSIONS)
    assert requirement in jax_check.REMEDY


def test_every_dependency_is_reported():
    parser = configparser.ConfigParser()
    parser.read(SETUP)
    declared = re.findall(r"^[\w-]+", parser["options"]["install_requires"], re.MULTILINE)
    assert set(doctor.PACKAGES) - {"jaxlib"} == set(declared)
    found = doctor.report()
    assert all(re.search(rf"^  {name} \d", found, re.MULTILINE) for name in doctor.PACKAGES)


def test_a_missing_data_root_is_broken(monkeypatch, tmp_path, quick, capsys):
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path / "nowhere"))
    assert doctor.run() == 1
    assert "BROKEN: EHR_JAX_DATA: there is no folder" in capsys.readouterr().out


def test_data_sets_in_the_data_root_are_found(monkeypatch, tmp_path, quick):
    (tmp_path / "mimic_iii_demo_1.4").mkdir()
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = doctor.report()
    assert f"mimic3: {tmp_path / 'mimic_iii_demo_1.4'}" in found
    assert "diabetes130: not found" in found


def test_an_encoder_the_config_names_must_be_there(monkeypatch, tmp_path, quick, capsys):
    monkeypatch.delenv("EHR_JAX_DATA", raising=False)
    config = configs.defaults()
    config.text.encoder = str(tmp_path / "no-encoder")
    assert doctor.run(config) == 1
    assert "BROKEN: encoder" in capsys.readouterr().out


def test_the_files_of_a_pinned_encoder_are_held_to_their_digests(
    monkeypatch, tmp_path, quick, capsys
):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    files = {path.name: weights.file_hash(path) for path in tmp_path.iterdir()}
    package = catalogue.Package("pinned_words", "model", "pinned-words==1.0", files)
    monkeypatch.setitem(catalogue.PACKAGES, "mine", package)
    monkeypatch.setattr(encoders, "_installed", lambda _: tmp_path)
    config = configs.defaults()
    config.text.encoder = "mine"
    assert doctor.run(config) == 0
    assert "mine: its 2 files are the pinned ones" in capsys.readouterr().out
    (tmp_path / "config.json").write_text("{ }")
    assert doctor.run(config) == 1
    assert re.search(r"BROKEN: .*config.json: its sha256 is", capsys.readouterr().out)


def test_a_graph_is_found_by_its_files_or_as_it_was_built(monkeypatch, tmp_path, quick):
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path))
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "cache"))
    assert "primekg: not found; put the folder primekg" in doctor.report()
    kg = tiny_graphs.write_kg(tmp_path / "primekg")
    assert f"primekg: files in {kg.parent}\n" in doctor.report()
    disk.open_graph("primekg")
    built = tmp_path / "cache" / "graphs" / "primekg"
    assert f"primekg: files in {kg.parent}, built in {built}\n" in doctor.report()
    kg.unlink()
    assert f"primekg: built in {built}\n" in doctor.report()


def test_a_graph_the_config_needs_must_be_there(monkeypatch, tmp_path, quick, capsys):
    monkeypatch.setenv("EHR_JAX_DATA", str(tmp_path))
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "cache"))
    config = configs.defaults()
    assert doctor.run(config) == 0  # MINGLE needs none
    config.model.name = "realm"
    assert doctor.run(config) == 1
    assert "BROKEN: config.knowledge.graph: hetionet_do: not found" in capsys.readouterr().out
    config.knowledge.graph = str(tmp_path / "nowhere")
    assert doctor.run(config) == 1
    assert "nowhere is no built graph, nor one of hetionet_do" in capsys.readouterr().out
    config.realm.use_knowledge = False
    assert doctor.run(config) == 0


def test_a_section_that_fails_does_not_end_the_report(monkeypatch, quick):
    def fail():
        raise RuntimeError("no backend")

    monkeypatch.setattr(jax, "devices", fail)
    found = doctor.report()
    assert "BROKEN: cannot be examined: RuntimeError: no backend" in found
    assert found.index("no backend") < found.index("synthetic: always there")


def test_caches_are_told_and_old_samples_removed(monkeypatch, tmp_path, quick, capsys):
    monkeypatch.setenv("EHR_JAX_CACHE", str(tmp_path / "cache"))
    old = tmp_path / "cache" / "prepared" / "key"
    old.mkdir(parents=True)
    (old / "about.json").write_text("{}")
    os.utime(old / "about.json", (0, 0))
    assert f"prepared: {old.parent}, 1 file(s)" in doctor.report()
    assert main.main(["main", "--mode=doctor", "--clean=100000"]) == 0
    assert old.exists()
    assert main.main(["main", "--mode=doctor", "--clean", "30"]) == 0
    assert not old.exists() and "1 folder(s)" in capsys.readouterr().out
    assert main.main(["main", "--mode=doctor", "--clean=nan"]) == 2
    assert main.main(["main", "--mode=train", "--config=configs/quickstart.py", "--clean=3"]) == 2
