"""What other packages add: by path, by entry point, and told where wrong."""

import importlib.metadata
import json
import pathlib
import re
import shutil
import sys
import textwrap
import types

import hospital
import numpy as np
import polars as pl
import pytest
from hospital import visit

from ehr_jax import config as base
from ehr_jax import errors, plugins
from ehr_jax.audit import verdict
from ehr_jax.cohorts import draft, labels, spec, tasks
from ehr_jax.experiment import fitting, kept, stages
from ehr_jax.features import arrays as features
from ehr_jax.main import main
from ehr_jax.models import registry
from ehr_jax.records import sources
from ehr_jax.text import encode, encoders


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody else's, `theirs`, with one of each."""
    (tmp_path / "theirs.py").write_text(
        textwrap.dedent(
            """
            import numpy as np
            import polars as pl
            from ehr_jax.cohorts import labels, rules, spec
            from ehr_jax.models import registry
            from ehr_jax.records import sources
            from ehr_jax.synthetic import hospital as synthetic
            from ehr_jax.text import bert, encoders

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

            def home(records, visits, spec):
                return visits.with_columns(home=pl.col("disposition") == "home")

            HOME = labels.Label(home, lambda spec: ("home",), lambda spec: "whether they go home",
                                lambda records, spec: "", words=("discharged home",))
            ODD = rules.Rule(lambda spec: "of an odd patient",
                             lambda spec: pl.col("subject_id") % 2 == 1)
            OUT = spec.Spec("visit", "end", "theirs:HOME", exclude=("theirs:ODD", "no_end"))
            GO_HOME = spec.Task(OUT)
            UNLABELLED = spec.Task(spec.Spec("visit", "start", "theirs:NOTHING"))

            def twice(*args, **kwargs):
                return 2 * bert.hidden_states(*args, **kwargs)

            TWICE = encoders.BERT._replace(hidden_states=twice)
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


def test_a_label_and_a_rule_at_a_path_shape_a_task(package):
    visits = [visit(1, 0, 5), visit(2, 0, 5, disposition="died"), visit(4, 0, 5)]
    found = draft.draft(hospital.records(visits), spec.find("theirs:GO_HOME", "strict"))
    assert found.rows.select("visit_id", "home").rows() == [(1, False), (2, True)]
    assert found.excluded["of an odd patient"] == 1


def test_a_task_of_others_labels_is_audited_but_for_what_only_they_know(package, tmp_path):
    changes = {"model.name": "theirs:PREVALENCE", "cohort.task": "theirs:GO_HOME"}
    cohort, _ = stages.load(config_of(**changes), tmp_path)
    assert (cohort.samples["subject_id"] % 2).sum() == 0
    told = {
        one.check: one
        for one in verdict.from_json(json.loads((tmp_path / "audit.json").read_text()))
    }
    assert told["prediction time"].status == "pass"
    assert "'theirs:HOME' is none that this audit knows" in told["labels told again"].message


def test_samples_that_a_rule_of_others_shapes_are_not_kept(package, points):
    points("ehr_jax.rules", "odd", "theirs:ODD")
    reads = features.Reads(visits=True)
    assert kept.key_of(config_of(**{"task.exclude": ("no_end",)}), reads)
    for name in ("odd", "theirs:ODD"):
        config = config_of(**{"task.exclude": ("no_end", name)})
        base.check(config, "train")
        assert kept.key_of(config, reads) is None


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
    points("ehr_jax.labels", "long_stay", "theirs:HOME", "fourth")
    with pytest.raises(errors.ConfigError, match="what ehr_jax and fourth have in .*labels"):
        labels.find("long_stay")
    points("ehr_jax.rules", "odd", "nobodys_package:ODD", "fifth")
    with pytest.raises(errors.ConfigError, match="'odd' of fifth cannot be imported"):
        base.check(config_of(**{"task.exclude": ("odd",)}), "train")


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


def test_a_label_that_is_none_is_told_before_records_are_read(package):
    with pytest.raises(errors.ConfigError, match="is a int; expected a ehr_jax.cohorts.labels.La"):
        base.check(config_of(**{"cohort.task": "theirs:UNLABELLED"}), "train")


@pytest.fixture
def checkpoint(tmp_path):
    """A small encoder's folder."""
    golden = pathlib.Path(__file__).parent / "text" / "golden" / "tiny_mean"
    return shutil.copytree(golden, tmp_path / "encoder")


def test_an_architecture_reads_a_checkpoint(package, points, checkpoint, tmp_path):
    points("ehr_jax.architectures", "twice", "theirs:TWICE")
    ours, *others = (
        encoders.load(checkpoint, pooling="mean", normalise=False, architecture=name)
        for name in (None, "theirs:TWICE", "twice")
    )
    expected = encode.encode(["fever"], ours, tmp_path / "cache")
    assert expected.any()
    for encoder in others:
        assert encoder.fingerprint != ours.fingerprint
        found = encode.encode(["fever"], encoder, tmp_path / "cache")
        np.testing.assert_allclose(found, 2 * expected, rtol=1e-5)


def test_an_architecture_of_others_is_told_early_and_never_by_a_checkpoint(package, checkpoint):
    config = config_of(**{"text.architecture": "theirs:NOTHING"})
    with pytest.raises(errors.ConfigError, match="is a int; expected a ehr_jax.text.encoders.Arc"):
        base.check(config, "train")
    config.text.architecture = "theirs:TWICE"
    base.check(config, "train")
    assert kept.key_of(config, features.Reads(visits=True)) is None
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "theirs:TWICE"}))
    with pytest.raises(errors.TextError, match="model_type 'theirs:TWICE' is not known"):
        encoders.load(checkpoint)


def test_the_examples_of_the_page_work(tmp_path, monkeypatch):
    page = (pathlib.Path(__file__).parents[1] / "docs" / "extending.md").read_text()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page, re.DOTALL)):
        (tmp_path / f"example_{number}.py").write_text(block)
        monkeypatch.delitem(sys.modules, f"example_{number}", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.resolve("example_0:PREVALENCE").entry.label == "Prevalence"
    visits = [visit(1, 0, 5), visit(2, 0, 5, emergency=True), visit(3, 0, 5, disposition="died")]
    config = config_of(**{"cohort.task": "example_1:GO_HOME"})
    base.check(config, "train")
    found = draft.draft(hospital.records(visits), spec.find(config.cohort.task, "strict"))
    assert found.rows.select("visit_id", "home").rows() == [(0, True), (2, False)]
    assert found.excluded["an emergency visit"] == 1
