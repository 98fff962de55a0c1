"""Methods, sources and tasks of other packages: by path, by entry point, and told where wrong."""

import importlib.metadata
import sys
import textwrap
import types

import numpy as np
import polars as pl
import pytest

from ehr_jax import config as base
from ehr_jax import errors, plugins
from ehr_jax.cohorts import spec, tasks
from ehr_jax.experiment import fitting, stages
from ehr_jax.main import main
from ehr_jax.models import registry
from ehr_jax.records import sources


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody else's, `theirs`, with a method, a source and a task."""
    (tmp_path / "theirs.py").write_text(
        textwrap.dedent(
            """
            import numpy as np
            from ehr_jax.cohorts import spec
            from ehr_jax.models import registry
            from ehr_jax.records import sources
            from ehr_jax.synthetic import hospital as synthetic

            def fit_predict(arrays, config, seed):
                train = arrays.split == "train"
                rate = np.nanmean(arrays.labels[train], axis=0)
                return np.broadcast_to(rate, arrays.labels.shape).astype(np.float32)

            PREVALENCE = registry.Entry("Prevalence", "theirs", {}, is_network=False,
                                        uses_seed=False)

            def read(root):
                return synthetic.generate(60, 0)

            SOURCE = sources.Source(__import__("theirs"), ("theirs",), "a folder", streamed=False)
            STAY = spec.Spec("visit", "start", "long_stay", after_hours=24.0, more_than_days=3.0,
                             exclude=("no_end",))
            LONG = spec.Task(strict=STAY, note="Longer than three days.")
            NOTHING = 5
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "theirs"
    sys.modules.pop("theirs", None)


@pytest.fixture
def points(monkeypatch):
    """Makes entry points: points(name, value, package) of a group."""
    kept = {}

    def entry_points(group):
        return kept.get(group, [])

    def add(group, name, value, package="theirs"):
        point = importlib.metadata.EntryPoint(name, value, group)
        vars(point).update(dist=types.SimpleNamespace(name=package))
        kept.setdefault(group, []).append(point)
        plugins.entry_points.cache_clear()

    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", entry_points)
    plugins.entry_points.cache_clear()
    yield add
    plugins.entry_points.cache_clear()


def config_of(**changes):
    config = base.defaults()
    config.update_from_flattened_dict(
        {
            "synthetic.patients": 60,
            "notes.source": "none",
            "features.min_visits": 2,
            "evaluation.resamples": 20,
            "audit.stop": False,
        }
        | changes
    )
    return config


def test_a_method_at_a_path_is_fitted_and_scored(package, tmp_path):
    config = config_of(**{"model.name": "theirs:PREVALENCE", "cohort.task": "readmission30"})
    base.check(config, "train")
    config.synthetic.patients = 60
    cohort, arrays = stages.load(config, tmp_path)
    results = fitting.fit_and_score(config, cohort, arrays, tmp_path)
    assert results["label"] == "Prevalence"
    scored = pl.read_parquet(tmp_path / "predictions.parquet")
    assert scored["probability.readmission"].n_unique() == 1


def test_a_source_and_a_task_at_a_path_are_read_and_built(package, tmp_path):
    (tmp_path / "theirs").mkdir()
    records = sources.read("theirs:SOURCE", str(tmp_path / "theirs"))
    assert records.patients.height == 60
    cohort = tasks.build(records, "theirs:LONG", "strict", 0)
    assert cohort.samples["labelled"].any() and len(cohort.labels) == 1
    with pytest.raises(errors.CohortError, match="has not been published; set 'strict'"):
        tasks.build(records, "theirs:LONG", "paper", 0)


def test_entry_points_are_names_like_any_other(package, points, capsys):
    points("ehr_jax.methods", "prevalence", "theirs:PREVALENCE")
    assert registry.find("prevalence").label == "Prevalence"
    assert "prevalence" in registry.NAMES
    base.check(config_of(**{"model.name": "prevalence"}), "train")
    with pytest.raises(SystemExit):
        main(["ehr_jax", "--list=methods"])
    assert "prevalence  (Prevalence; over visits)" in capsys.readouterr().out


def test_two_packages_of_one_name_are_told_and_so_is_one_that_does_not_import(points):
    points("ehr_jax.methods", "prevalence", "nobodys_package:METHOD", "first")
    with pytest.raises(errors.ConfigError, match="'prevalence' of first cannot be imported"):
        registry.find("prevalence")
    points("ehr_jax.methods", "prevalence", "theirs:PREVALENCE", "second")
    with pytest.raises(errors.ConfigError, match="'prevalence' is what first and second have"):
        registry.find("prevalence")
    points("ehr_jax.tasks", "readmission30", "theirs:LONG", "third")
    with pytest.raises(errors.ConfigError, match="what ehr_jax and third have"):
        spec.of("readmission30")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("theirs:NOTHING", "is a int; expected a ehr_jax.models.registry.Entry"),
        ("theirs:ABSENT", "cannot be imported .AttributeError"),
        ("no.such_package:METHOD", "cannot be imported .ModuleNotFoundError"),
    ],
)
def test_what_stands_for_no_method_is_one_line(package, path, words, capsys, tmp_path):
    command = ["ehr_jax", "--config=configs/mingle.py:synthetic_phenotype"]
    flags = [f"--config.model.name={path}", f"--workdir={tmp_path / 'run'}"]
    assert main([*command, *flags]) == 2
    said = capsys.readouterr().err
    assert path in said and np.size(said.strip().splitlines()) == 1
    with pytest.raises(errors.ConfigError, match=words):
        registry.find(path)
