"""The one door to settings: the config of each kind of experiment, and the check of it.

A section is a frozen dataclass in the `settings.py` of the room that reads it, where every key has
its default, its meaning and its possible values. Files in `configs/` start from `defaults()` and
change what their experiment changes; the command line changes single keys:
`--config.train.learning_rate=0.01`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from ehr_jax import earlier, errors, settings
from ehr_jax.audit import settings as audit
from ehr_jax.cohorts import settings as cohorts
from ehr_jax.download import settings as download
from ehr_jax.evaluation import settings as evaluation
from ehr_jax.features import settings as features
from ehr_jax.knowledge import settings as knowledge
from ehr_jax.models import settings as models
from ehr_jax.modes import settings as modes
from ehr_jax.modes import together
from ehr_jax.records import settings as records
from ehr_jax.sweeps import settings as sweeps
from ehr_jax.text import settings as text
from ehr_jax.training import settings as training

# The sections of a config on records; "" holds keys without a section.
RECORDS = {
    "data": records.Data,
    "download": download.Download,
    "synthetic": records.Synthetic,
    "cohort": cohorts.Cohort,
    "task": cohorts.Task,
    "features": features.Features,
    "series": features.Series,
    "notes": features.Notes,
    "text": text.Text,
    "knowledge": knowledge.Knowledge,
    "audit": audit.Audit,
    "model": models.Model,
    "realm": models.Realm,
    "train": training.Train,
    "": training.Run,
    "sweep": sweeps.Sweep,
    "evaluation": evaluation.Evaluation,
    "benchmark": modes.Benchmark,
}
PREDICT = {"": modes.Predict, "data": records.OtherData}
EMBED = {"text": text.Embed}
HYPERGRAPH = {
    "data": features.HypergraphData,
    "model": models.NodeClassifier,
    "train": training.NodeTraining,
}
KINDS = (RECORDS, HYPERGRAPH, EMBED, PREDICT)


def variant_of(
    file: str, variants: Mapping[str, Mapping], variant: str, common: Mapping
) -> ml_collections.ConfigDict:
    """Returns the defaults, changed by `common` and then by the keys of `variants[variant]`.

    Raises:
      ConfigError: `file` has no such variant.
    """
    if variant not in variants:
        raise errors.ConfigError(
            f"{file} has no variant '{variant}'; expected one of {', '.join(variants)}."
            f"{errors.did_you_mean(variant, variants)}"
        )
    config = defaults()
    config.update_from_flattened_dict({**common, **variants[variant]})
    return config


# What configs of networks over stays begin with.
STAYS = {
    "cohort.task": "mortality",
    "series.variables": "mimic17",
    "train.learning_rate": 1e-3,
    "train.weight_decay": 1e-5,
    "train.steps": 3000,
    "train.eval_every": 50,
    "train.patience": 12,
}
# MINGLE's half of a network of both: with so few visits as the stays of one hospital, fixed node
# vectors do better.
UNIFIED = {
    "model.name": "unified",
    "realm.use_visit": True,
    "model.depth": 1,
    "model.dropout": 0.5,
    "model.train_nodes": False,
    "features.min_visits": 3,
    "benchmark.reference": "unified",
}
# In-hospital death in eICU, 24 hours into the ICU stay, when APACHE IV has made its own prediction.
# The demo's vital signs and laboratory values come of YAIB's hourly table of the same stays; with
# the whole release, whose own tables have them, set data.series to "".
EICU_MORTALITY = UNIFIED | {
    "data.source": "eicu",
    "data.series": "yaib_demo/los/eicu_demo",
    "task.after_hours": 24.0,
    "series.variables": "yaib48",
    "series.length": 24,
    "realm.series_summary": True,
    "realm.width": 64,
    "realm.feed_forward": 128,
    "realm.dropout": 0.5,
    # Some 60 deaths to learn from in the demo: less decay overfits within a hundred steps.
    "train.weight_decay": 1e-2,
    "train.steps": 200,
    "train.eval_every": 25,
    "train.patience": 4,
}


def defaults() -> ml_collections.ConfigDict:
    """Returns the defaults of an experiment on records."""
    return _made(RECORDS)


def predict() -> ml_collections.ConfigDict:
    """Returns the defaults of --mode=predict."""
    return _made(PREDICT)


def embed() -> ml_collections.ConfigDict:
    """Returns the defaults of --mode=embed: the section `text` alone, with its files."""
    return _made(EMBED)


def hypergraph() -> ml_collections.ConfigDict:
    """Returns the defaults of node classification on a hypergraph file."""
    return _made(HYPERGRAPH)


def sections_of(config: Mapping) -> dict[str, type]:
    """Returns the sections that a config of its kind has."""
    if "run" in config:
        return PREDICT
    if "data" not in config:
        return EMBED
    return HYPERGRAPH if "path" in config["data"] else RECORDS


def check(config: ml_collections.ConfigDict, mode: str = "train") -> None:
    """Raises ConfigError, or CohortError of a task, for the first setting that is not possible.

    Keys, types and values of every section are checked, what a sweep tries too, and what only
    several settings tell. What the machine, the records or a package tells is checked later.
    """
    sections = sections_of(config)
    _check_sections(config, sections)
    for name, cls in sections.items():
        values = config[name] if name else _bare(config)
        where = f"config.{name}" if name else "config"
        settings.check_keys(cls, values, where)
        settings.read(cls, values, where)
    if sections is RECORDS:
        together.check(config, mode)
    if sections is PREDICT:
        together.check_run(config.run)


def restored(content: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Returns the config that a run folder's config.json holds, of whatever kind and age.

    Raises ConfigError, KeyError, TypeError or ValueError for content of another form.
    """
    settings_by_section = earlier.current(dict(content))
    config = _made(sections_of(settings_by_section))
    for name, value in settings_by_section.items():
        if name in config and isinstance(config[name], ml_collections.ConfigDict):
            with config[name].ignore_type():
                config[name].update(value)
        else:
            config[name] = value
    return config


def keys(*kinds: Mapping[str, type]) -> Iterator[settings.Row]:
    """Yields every key of some kinds of config, each by its full name without "config."."""
    for sections in kinds:
        for name, cls in sections.items():
            yield from settings.rows(cls, f"{name}." if name else "")


def _made(sections: Mapping[str, type]) -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    for name, cls in sections.items():
        values = settings.section(cls)
        for key, value in ({name: ml_collections.ConfigDict(values)} if name else values).items():
            config[key] = value
    return config


def _bare(config: Mapping) -> dict[str, Any]:
    """The keys of a config that stand in no section."""
    return {key: value for key, value in config.items() if not _is_section(value)}


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping | ml_collections.ConfigDict)


def _check_sections(config: Mapping, sections: Mapping[str, type]) -> None:
    known = [name for name in sections if name]
    present = [name for name, value in config.items() if _is_section(value)]
    for name in present:
        if name not in known:
            raise errors.ConfigError(
                f"config.{name} is no section; this config has {', '.join(known)}."
                + errors.did_you_mean(name, known)
            )
    for name in known:
        if name not in present:
            raise errors.ConfigError(
                f"config.{name} is missing; start the config from ehr_jax.config.defaults()"
            )
