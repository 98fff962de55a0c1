"""Opens samples that --mode=prepare wrote, if config.data.prepared names its run folder."""

import pathlib
from collections.abc import Iterator

import ml_collections

from ehr_jax import errors
from ehr_jax.experiment import kept, prepared
from ehr_jax.features import arrays as features
from ehr_jax.features import fitted
from ehr_jax.models import registry

FOLDER = "prepared"  # within the run folder of --mode=prepare
PART_SAMPLES = 16_384
# Settings that matter only if something is read.
OF_TEXTS, OF_KNOWLEDGE = ("text.",), ("knowledge.",)
# Settings that choose what is read, which is compared itself, or that only the audit reads.
SAID_BY_READS = (
    "model.name", "model.use_notes", "model.use_concepts", "realm.use_series", "realm.use_statics",
    "realm.use_notes", "realm.use_knowledge", "realm.use_visit", "train.positive_weight",
)  # fmt: skip


def load(config: ml_collections.ConfigDict, reads: features.Reads) -> list[prepared.Prepared]:
    """Returns the samples of config.data.prepared, of each fold, as the raw files would give them.

    The audit is that of all that was prepared, which may be more than `reads`.

    Raises:
      RunFolderError: there are none, or a file is missing or damaged.
      ConfigError: they were prepared with other settings, or without something that is read.
    """
    return list(_load(config, reads, config.cohort.folds))


def load_for_run(
    config: ml_collections.ConfigDict, reads: features.Reads, learned: fitted.Fitted
) -> prepared.Prepared:
    """Returns the samples of config.data.prepared for a finished run that `learned` is of.

    Raises:
      RunFolderError, ConfigError: as by `load`; or the samples were not prepared for this run.
    """
    [samples] = _load(config, reads, 1)
    scales = samples.arrays.fitted
    if scales is None or fitted.as_json(scales) != fitted.as_json(learned):
        raise errors.ConfigError(
            f"config.data.prepared: the samples in {config.data.prepared} are scaled by other "
            "training samples than those of the run. Prepare them for it: --mode=prepare "
            "--config=configs/predict.py --config.run=RUN --config.data.root=RECORDS"
        )
    return samples


def _load(config, reads: features.Reads, count: int) -> Iterator[prepared.Prepared]:
    place = pathlib.Path(config.data.prepared).expanduser()
    again = "put it back from a copy, or prepare the samples again with --mode=prepare"
    folders = [place / FOLDER]
    if count > 1:
        folders = [place / f"fold_{k}" / FOLDER for k in range(count)]
    for folder in folders:
        if not folder.is_dir():
            raise errors.RunFolderError(
                f"config.data.prepared is '{config.data.prepared}', where there is no folder "
                f"{folder.relative_to(place)}; expected the run folder of --mode=prepare with the "
                f"same settings (config.cohort.folds is {count})"
            )
        content = prepared.read(folder, again)
        _check(content, config, reads, folder)
        samples = content.restored(registry.resolve(config.model.name).kind)
        yield prepared.narrowed(samples, reads)


def _check(content: prepared.Content, config, reads: features.Reads, folder: pathlib.Path) -> None:
    """Raises ConfigError unless the content of `folder` serves the method of `config`."""
    name, inputs = config.model.name, registry.find(config.model.name).inputs.name
    if content.about["inputs"] != inputs:
        raise errors.ConfigError(
            f"config.data.prepared: {folder} holds {content.about['inputs']}, and "
            f"config.model.name '{name}' is given {inputs}; prepare them with a method of its kind"
        )
    lacking = [part for part, is_read in reads._asdict().items() if is_read]
    lacking = [part for part in lacking if part not in content.about["reads"]]
    if lacking:
        raise errors.ConfigError(
            f"config.data.prepared: {folder} was prepared without {', '.join(lacking)}, which "
            f"config.model.name '{name}' reads; prepare it with --config.model.name={name}"
        )
    left_out = SAID_BY_READS
    left_out += () if reads.encoder else OF_TEXTS
    left_out += () if reads.knowledge else OF_KNOWLEDGE
    left_out += () if config.train.teacher else ("train.teacher",)
    there, now = content.about["settings"], kept.settings_of(config)
    differing = [
        f"config.{key} is {now.get(key)!r}, and was {there.get(key)!r} there"
        for key in sorted(there.keys() | now.keys())
        if not key.startswith(left_out) and there.get(key) != now.get(key)
    ]
    if differing:
        raise errors.ConfigError(
            f"config.data.prepared: {folder} was prepared with other settings: "
            f"{'; '.join(differing[:8])}. Set them alike, or prepare the samples again"
        )
