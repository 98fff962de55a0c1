"""A setting is said once: its default, its possible values and its words all come of one field."""

import dataclasses
import json
import math
import re

import pytest

from ehr_jax import config as configs
from ehr_jax import earlier, errors, main, settings
from ehr_jax.cohorts import rules
from ehr_jax.cohorts import settings as cohort_settings
from ehr_jax.features import settings as feature_settings
from ehr_jax.features import variables
from ehr_jax.models import realm
from ehr_jax.models import settings as model_settings
from ehr_jax.nn import operands, series_encoder, token_norm
from ehr_jax.records import settings as record_settings
from ehr_jax.records import sources
from ehr_jax.text import catalogue, encoders, longformer, tokenize
from ehr_jax.text import settings as text_settings
from ehr_jax.training import run_folder
from ehr_jax.training import settings as train_settings

MINGLE = "--config=configs/mingle.py:synthetic_phenotype"
REALM = "--config=configs/realm.py:synthetic_mortality"
HYPERGRAPH = "--config=configs/hypergraph.py"
KINDS = (configs.RECORDS, configs.PREDICT, configs.EMBED, configs.HYPERGRAPH)


@dataclasses.dataclass(frozen=True)
class Sample(settings.Settings):
    """Settings of every type."""

    count: int = settings.setting(3, "How many.", unit="things", least=1, most=9)
    rate: float = settings.setting(0.5, "A rate.", least=0, below=1)
    limit: float | None = settings.setting(None, "A limit.", above=0)
    name: str = settings.setting("one", "A name.", choices=("one", "two"))
    on: bool = settings.setting(True, "Whether it is on.")
    days: tuple[int, ...] = settings.setting((1,), "Days.", least=0, filled=True, distinct=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 1}, {"count": 9}, {"rate": 0}, {"rate": 0.999}, {"limit": 5}, {"limit": None},
        {"name": "two"}, {"on": False}, {"days": [0, 2]}, {},
    ],
)  # fmt: skip
def test_possible_values_are_read(changes):
    made = settings.read(Sample, changes, "config.sample")
    for key, value in changes.items():
        expected = tuple(value) if isinstance(value, list) else value
        assert getattr(made, key) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 0}, r"config.sample.count is 0; expected a whole number from 1 to 9 \[things\]"),
        ({"count": 10**400}, "whole number from 1 to 9"),
        ({"count": 2.0}, "a whole number"),
        ({"count": True}, "a whole number"),
        ({"rate": 1.0}, "expected a number from 0 to below 1"),
        ({"rate": math.nan}, "is nan; expected a number"),
        ({"rate": None}, "is None"),
        ({"limit": 0}, "expected a number above 0, or None"),
        ({"limit": math.inf}, "is inf"),
        ({"name": "tow"}, "expected one of one, two. Did you mean 'two'"),
        ({"on": 1}, "expected True or False"),
        ({"days": ()}, "a tuple, each a whole number, 0 or more, one or more, no two the same"),
        ({"days": (1, 1)}, "no two the same"),
        ({"days": ("1",)}, "each a whole number"),
        ({"days": 1}, "a tuple"),
    ],
)
def test_others_are_refused_by_key_value_and_range(changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        settings.read(Sample, changes, "config.sample")


def test_a_none_keeps_its_type_for_flags():
    made = configs.defaults()
    with pytest.raises(TypeError):
        made.train.devices = "two"
    made.task.codes = ("ICD9CM:390-459",)
    assert made.task.codes == ("ICD9CM:390-459",)


def test_every_default_is_possible_and_every_setting_has_a_sentence():
    asked = {"run", "input", "output"}  # have to be named
    for kind in KINDS:
        for where, cls in kind.items():
            for field in dataclasses.fields(cls):
                if field.name not in asked:
                    default = getattr(cls(), field.name)
                    settings.check_value(cls, field.name, default, f"{where}.{field.name}")
                assert settings.rule_of(cls, field.name).meaning.endswith(".")


def test_names_said_without_their_code_are_those_of_the_code():
    assert record_settings.SOURCES == tuple(sources.SOURCES)
    assert cohort_settings.EXCLUSIONS == tuple(rules.RULES)
    assert text_settings.ARCHITECTURES == tuple(encoders.ARCHITECTURES)
    assert feature_settings.VARIABLE_SETS == tuple(variables.SETS)
    assert model_settings.VARIANTS == realm.VARIANTS
    assert model_settings.SERIES_ENCODERS == series_encoder.KINDS
    assert model_settings.NORMS == token_norm.KINDS
    assert model_settings.PRECISIONS == text_settings.PRECISIONS == operands.PRECISIONS
    assert text_settings.LONG == tokenize.LONG and text_settings.CASINGS == tokenize.CASINGS
    assert text_settings.GLOBAL_TOKENS == longformer.GLOBAL_TOKENS
    of_text = {field.name for field in dataclasses.fields(text_settings.Text)}
    assert set(catalogue.OPTIONS) <= of_text
    network = {field.name for field in dataclasses.fields(realm.Realm)}
    assert {field.name for field in dataclasses.fields(model_settings.Realm)} <= network


REFUSED = [
    (MINGLE, "model.dropout=1.5"), (MINGLE, "model.dropout=1.0"), (MINGLE, "model.depth=-1"),
    (MINGLE, "model.width=0"), (MINGLE, "model.feed_forward_depth=0"),
    (MINGLE, "model.input_dropout=-0.5"),
    (MINGLE, "model.precision=float16"), (MINGLE, "model.name=mingel"),
    (MINGLE, "model.half_layer=attn"), (MINGLE, "train.learning_rate=nan"),
    (MINGLE, "train.learning_rate=-1"), (MINGLE, "train.learning_rate=inf"),
    (MINGLE, "train.positive_weight=nan"), (MINGLE, "train.positive_weight=-2"),
    (MINGLE, "train.positive_weight=balance"), (MINGLE, "train.seeds='abc'"),
    (MINGLE, "train.seeds=(0,0)"), (MINGLE, "train.seeds=()"), (MINGLE, "train.clip=0"),
    (MINGLE, "train.weight_decay=-1e-3"), (MINGLE, "train.optimiser=adam"),
    (MINGLE, "train.schedule=cosin"), (MINGLE, "train.warmup_steps=500"),
    (MINGLE, "train.final_share=1.5"), (MINGLE, "train.steps=0"),
    (MINGLE, "train.select=f1"),
    (MINGLE, "train.population=0"), (MINGLE, "train.devices=0"),
    (MINGLE, "evaluation.resamples=-1"), (MINGLE, "evaluation.resamples=0"),
    (MINGLE, f"synthetic.patients={10**20}"), (MINGLE, "synthetic.patients=0"),
    (MINGLE, "synthetic.note_signal=nan"), (MINGLE, "features.structure_window=0"),
    (MINGLE, "features.structure_width=0"), (MINGLE, "features.columns=ful"),
    (MINGLE, "features.bins=0"), (MINGLE, "cohort.task=phenotype_nxt"),
    (MINGLE, "cohort.protocol=stricter"), (MINGLE, "cohort.split=none"),
    (MINGLE, "cohort.folds=0"),
    (MINGLE, "task.exclude=('dead',)"),
    (MINGLE, "data.source=mimic5"), (MINGLE, "data.source=hypergraph_file"),
    (MINGLE, "notes.source=ours"), (MINGLE, "notes.pieces=0"), (MINGLE, "series.length=0"),
    (MINGLE, "series.step_hours=nan"), (MINGLE, "series.variables=mimic18"),
    (MINGLE, "text.long=cut"), (MINGLE, "text.pooling=max"), (MINGLE, "text.token_budget=0"),
    (MINGLE, "knowledge.precision=0"), (MINGLE, "knowledge.form=matrix"),
    (MINGLE, "knowledge.z_score=0"), (MINGLE, "benchmark.reference=mingl"),
    (REALM, "realm.dropout=1.0"), (REALM, "realm.variant=realms"),
    (REALM, "realm.precision=half"), (REALM, "realm.survival_days=(0,)"),
   
    (HYPERGRAPH, "model.dropout=1.0"),
    (HYPERGRAPH, "train.learning_rate=nan"),
]  # fmt: skip


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: given[1])
def test_a_value_that_is_not_possible_ends_before_anything_is_done(given, tmp_path, capsys):
    config, setting = given
    flags = [config, f"--config.{setting}", f"--workdir={tmp_path / 'run'}"]
    assert main.main(["main", *flags]) == 2
    assert re.search(
        rf"error: config.{setting.split('=')[0]} is .+; expected .+", capsys.readouterr().err
    )
    assert not any((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((MINGLE, "model.heads=5"), "config.model.heads is 5; it must divide config.model.width"),
        ((MINGLE, "cohort.folds=2"), "config.cohort.folds is 2; folds are compared by"),
        ((MINGLE, "cohort.aces=task.yaml"), "config.data.source is 'synthetic'"),
        ((MINGLE, "task.after_hours=12.0"), "config.task.after_hours cannot be changed"),
        ((MINGLE, "train.teacher=lightgbm_windows"), "config.train.teacher is 'lightgbm_windows'"),
        ((MINGLE, "benchmark.methods=('realm',)", "mode=benchmark"), "compare methods of one kind"),
        ((MINGLE, "model.name=mlp", "mode=sweep"), "size 0"),
        ((MINGLE, "model.name=lightgbm", "mode=sweep"), "no network"),
        ((REALM, "realm.width=9"), "config.realm.width is 9; expected an even multiple"),
        ((REALM, "realm.bidirectional=True", "realm.series_encoder=gru_d"), "gru or lstm"),
        ((REALM, "train.shards=2"), "config.train.shards is 2, and 'realm' is given stays"),
        ((MINGLE, "data.prepared=x", "mode=audit"), "config.data.prepared is 'x'"),
        ((HYPERGRAPH, "model.heads=3"), "config.model.width is 256, not a multiple"),
        ((HYPERGRAPH, "train.train_fraction=0.8"), "sum to 1.05; expected below 1"),
        ((HYPERGRAPH, "train.seed=0", "mode=benchmark"), "this config classifies the nodes"),
    ],
)
def test_values_that_do_not_go_together_end_as_early(given, words, tmp_path, capsys):
    config, *values = given
    flags = [f"--{'' if one.startswith('mode=') else 'config.'}{one}" for one in values]
    assert main.main(["main", config, *flags, f"--workdir={tmp_path / 'run'}"]) == 2
    assert words in capsys.readouterr().err
    assert not any((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ("grid={'train': {'learning_rate': (1e-3, -1.0)}}", "config.train.learning_rate is -1.0"),
        ("grid={'model': {'dropout': (0.1, 1.5)}}", "config.model.dropout is 1.5"),
        ("grid={'train': {'positive_weight': (1.0, 'balance')}}", "positive_weight is 'balance'"),
        ("grid={'cohort': {'task': ('mortality',)}}", "no key 'cohort.task'"),
        ("ranges={'model': {'width': ('integer', 0, 8)}}", "config.model.width is 0"),
        ("ranges={'model': {'width': ('uniform', 4, 8)}}", "expected a whole number"),
        ("ranges={'model': {'dropout': ('uniform', 0, 1)}}", "config.model.dropout is 1.0"),
        ("ranges={'train': {'clip': ('uniform', 1, 1e999)}}", "expected one of"),
        ("grid={}", "size 0"),
    ],
)
def test_what_a_sweep_tries_is_checked_as_what_is_set(sweep, words, tmp_path, capsys):
    draws = "--config.sweep.draws=2" if sweep.startswith("ranges") else "--config.sweep.draws=0"
    flags = ["--mode=sweep", f"--config.sweep.{sweep}", draws]
    assert main.main(["main", MINGLE, *flags, f"--workdir={tmp_path / 'run'}"]) == 2
    assert words in capsys.readouterr().err


def test_a_config_file_with_a_key_too_many_or_too_few_is_refused():
    config = configs.defaults()
    config.train.unlock()
    config.train.step = 5
    with pytest.raises(errors.ConfigError, match="config.train.step is no setting.*mean 'steps'"):
        configs.check(config)
    config = configs.defaults()
    del config.train.steps
    with pytest.raises(errors.ConfigError, match="config.train.steps is missing"):
        configs.check(config)
    config = configs.defaults()
    del config.series
    with pytest.raises(errors.ConfigError, match="config.series is missing"):
        configs.check(config)


def test_seeds_of_members_do_not_meet():
    with pytest.raises(errors.ConfigError, match="expected seeds below"):
        settings.read(train_settings.Train, {"seeds": (0, 1_000_000), "members": 2}, "config.train")


def test_a_run_folder_of_an_earlier_version_has_the_keys_of_today(tmp_path):
    wanted = configs.defaults().to_dict()
    written = json.loads(json.dumps(wanted))
    written["realm"]["dtype"] = written["realm"].pop("precision")
    for key in ("optimiser", "schedule", "warmup_steps", "final_share"):
        del written["train"][key]
    for section, added in earlier.ADDED_TO.items():
        for key in added:
            del written[section][key]
    assert earlier.current(written)["realm"]["precision"] == "float32"
    (tmp_path / "config.json").write_text(json.dumps(written))
    (tmp_path / "checkpoints").mkdir()
    run_folder.claim(tmp_path, wanted)  # is not another config
    made = configs.defaults()
    made.update(earlier.current(written))
    configs.check(made)


@pytest.mark.parametrize("mode", ["train", "sweep", "benchmark", "prepare", "audit"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("columns", "full"), ("history", True), ("measurements", True), ("main_diagnosis", True)],
)
def test_what_sequences_of_visits_are_not_made_by_is_refused(mode, key, value):
    config = configs.defaults()
    config.benchmark.methods = ("gru_visits",)
    config.sweep.grid = {"model": {"width": (8,)}}
    config.features[key] = value
    configs.check(config, "train")
    config.model.name = "gru_visits"
    words = f"config.features.{key} is {value!r}.*'gru_visits'.*categories and min_visits alone"
    with pytest.raises(errors.ConfigError, match=words):
        configs.check(config, mode)
