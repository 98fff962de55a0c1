"""From a config to arrays: records, cohort and features, each kept, with data.json written."""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections
import polars as pl

from ehr_jax import errors, storage, stored
from ehr_jax.audit import evidence, verdict
from ehr_jax.cohorts import aces, given, summary, tasks
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.experiment import elsewhere, folds, kept, prepared
from ehr_jax.features import arrays as features
from ehr_jax.features import fitted, once
from ehr_jax.models import registry
from ehr_jax.records import sources
from ehr_jax.records.common import tables
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.training import run_folder

FINGERPRINT = {"fingerprint": str}  # the key of data.json that identifies the records
ABOUT = ("source", "fingerprint", "records", "oddities", "terms")  # what it says of records
ANEW = "it is written anew"
UNCHECKED = (
    "it says which records this run is of. Put it back from a copy; or, where you are sure that "
    "these are the same, remove this file alone and start again: checkpoints are kept"
)


def load(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    reads: features.Reads | None = None,
) -> tuple[cohorts.Cohort, features.Arrays]:
    """Prepares a run's samples, or takes those that were prepared before.

    Writes data.json, split.parquet, audit.json and DATA_USE.txt.

    Args:
      reads: what is made of the records; None is what the method of `config` reads.

    Raises:
      UserError: of the room that finds the fault, or RunFolderError where the records differ from
        those an earlier start of this run read.
    """
    [samples] = load_folds(config, workdir, reads)
    return samples.cohort, samples.arrays


def load_folds(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    reads: features.Reads | None = None,
) -> list[prepared.Prepared]:
    """Returns the samples of each of config.cohort.folds; writes and raises as `load` does.

    Where there are several folds, each has its files in WORKDIR/fold_K.
    """
    kind = registry.resolve(config.model.name).kind
    reads = reads or kind.reads(config)
    count = config.cohort.folds
    if config.data.prepared:
        every = elsewhere.load(config, reads)
    else:
        names = [(f"fold {k} of {count}",) if count > 1 else () for k in range(count)]
        keys = [kept.key_of(config, reads, name) for name in names]
        earlier = [kept.find(key, kind) for key in keys]
        every = [samples for samples in earlier if samples is not None]
        if len(every) < count:
            every = _make_all(config, workdir, reads, keys)
    folders = fold_folders(workdir, count)
    if count > 1:
        _check_same(workdir / "data.json", every[0].data["fingerprint"])
    for samples, folder in zip(every, folders, strict=True):
        write(samples, config, folder)
    if count > 1:
        run_folder.write_whole(
            workdir / "DATA_USE.txt",
            lambda path: shutil.copy(folders[0] / "DATA_USE.txt", path),
        )
        joined = folds.data_of([samples.data for samples in every])
        run_folder.write_json(workdir / "data.json", joined)
    return every


def fold_folders(workdir: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Returns the folder of each fold's files: of a single one, the run folder itself."""
    if count == 1:
        return [workdir]
    return [storage.make_folder(workdir / f"fold_{k}") for k in range(count)]


def _make_all(config, workdir, reads, keys) -> list[prepared.Prepared]:
    """Makes and keeps the samples of every fold; the records are read once."""
    records, inputs = read(config), registry.find(config.model.name).inputs.name
    if len(keys) == 1:
        _check_same(workdir / "data.json", fingerprint(records, config))
    else:
        bind(records, config, workdir)
    cut = cohorts_of(records, config)
    known, every = evidence.known_of(records, cut, config, reads), []
    for cohort, key in zip(cut, keys, strict=True):
        known = known.of(cohort)
        every.append(make(known, config, reads))
        kept.keep(key, every[-1], inputs)
    return every


def make(
    known: once.Known,
    config: ml_collections.ConfigDict,
    reads: features.Reads,
    learned: fitted.Fitted | None = None,
) -> prepared.Prepared:
    """Makes the samples of the cohort that `known` is of, and audits them.

    Args:
      learned: what the training samples of a finished run said; the samples are then new ones, and
        there is nothing to audit. None fits to the cohort's training samples.
    """
    records, cohort = known.records, known.cohort
    arrays = registry.resolve(config.model.name).kind.make_arrays(known, config, reads, learned)
    findings = {}
    if learned is None:
        from ehr_jax.audit import audit  # its packages take seconds that later starts do not need

        findings = verdict.as_json(audit.run(evidence.of(known, config, reads, arrays)))
    # What lazy tables left out is known once they were read.
    data = _about(records, config) | {
        "cohort": summary.summary(cohort),
        "tables": dict(records.accounts),
        **prepared.described(arrays),
    }
    visits = records.visits.select("subject_id", "visit_id")
    return prepared.Prepared(
        cohort, arrays, data, findings, visits, reads, kept.settings_of(config)
    )


def write(
    samples: prepared.Prepared, config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> None:
    """Writes what a run folder says of its samples: data.json, split.parquet, audit.json, ...

    Raises:
      AuditError: the audit of a strict run found a leak, and config.audit.stop is True.
      RunFolderError: the folder is of other records.
    """
    cohort, data = samples.cohort, samples.data
    storage.make_folder(workdir)
    _check_same(workdir / "data.json", data["fingerprint"])
    run_folder.write_data_use(workdir, data["terms"])
    for fault in cohort.faults:
        print(f"protocol '{cohort.protocol}': {fault}")
    if samples.arrays.fitted is not None:
        run_folder.write_json(workdir / "fitted.json", fitted.as_json(samples.arrays.fitted))
    run_folder.write_json(workdir / "data.json", data)
    summary.save_split(cohort, workdir / "split.parquet")
    run_folder.write_json(workdir / "audit.json", samples.audit)
    findings = verdict.from_json(samples.audit)
    for finding in verdict.failed(findings):
        print(f"audit, {finding.check}: {finding.message}")
    if cohort.protocol == "strict" and config.audit.stop:
        verdict.require(findings)


def load_others(
    config: ml_collections.ConfigDict, learned: fitted.Fitted, workdir: pathlib.Path
) -> prepared.Prepared:
    """Returns samples of patients that a run is to score, and makes `workdir` the folder of them.

    Args:
      config: the run's, of the records of these patients.
      learned: what the run's training samples said of how to make arrays.
    """
    kind = registry.resolve(config.model.name).kind
    reads = kind.reads(config)
    if config.data.prepared:
        samples = elsewhere.load_for_run(config, reads, learned)
        _bind(samples.data, workdir)
        return samples
    said = json.dumps(fitted.as_json(learned), sort_keys=True)
    key = kept.key_of(config, reads, ("of a run", said))
    samples = kept.find(key, kind)
    if samples is not None:
        _bind(samples.data, workdir)
        return samples
    records = read(config)
    bind(records, config, workdir)
    samples = make_others(records, config, learned)
    kept.keep(key, samples, registry.find(config.model.name).inputs.name)
    return samples


def make_others(
    records: tables.Records, config: ml_collections.ConfigDict, learned: fitted.Fitted
) -> prepared.Prepared:
    """Makes the samples of `records` that a run is to score; see `load_others`."""
    cohort, reads = (
        undivided(records, config),
        registry.resolve(config.model.name).kind.reads(config),
    )
    return make(once.known_of(records, cohort, config, reads), config, reads, learned)


def bind(
    records: tables.Records,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    also: tuple[str, ...] = (),
) -> None:
    """Makes `workdir` the folder of these records, or finds that it is, before anything is written.

    A mode that does not call `load` calls this: data.json then says whose the folder is.

    Args:
      also: files that count as work of a run beside `run_folder.WORK`.

    Raises:
      RunFolderError: the folder holds the work of other records.
    """
    _bind(_about(records, config), workdir, also)


def _bind(about: Mapping[str, Any], workdir: pathlib.Path, also: tuple[str, ...] = ()) -> None:
    path = workdir / "data.json"
    _check_same(path, about["fingerprint"], also)
    run_folder.write_data_use(workdir, about["terms"])
    earlier = stored.whole_object(path, FINGERPRINT, ANEW)
    if earlier is None or earlier["fingerprint"] != about["fingerprint"]:
        run_folder.write_json(path, {name: about[name] for name in ABOUT})


def _about(records: tables.Records, config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What data.json says of the records."""
    return {
        "source": records.source,
        "fingerprint": fingerprint(records, config),
        "records": counts(records),
        "oddities": dict(records.oddities),
        "terms": records.terms,
    }


def read_by(configs: Iterable[ml_collections.ConfigDict]) -> features.Reads:
    """Returns what the methods of some configs read, which are given the same arrays."""
    kinds = ((registry.resolve(config.model.name).kind, config) for config in configs)
    return features.together(kind.reads(config) for kind, config in kinds)


def read(config: ml_collections.ConfigDict) -> tables.Records:
    """Reads the records that config.data (and config.synthetic) name."""
    if config.data.source == "synthetic":
        made = config.synthetic
        return synthetic.generate(
            made.patients, made.seed, made.note_signal, made.sites, made.knowledge_signal
        )
    return sources.read(config.data.source, config.data.root, config.data.series)


def cohorts_of(records: tables.Records, config: ml_collections.ConfigDict) -> list[cohorts.Cohort]:
    """Returns the cohort that config.cohort asks for, once for each fold."""
    whole, asked = build_cohort(records, config), config.cohort
    return [whole] if asked.folds == 1 else list(tasks.folds(whole, asked.folds, asked.split_seed))


def undivided(records: tables.Records, config: ml_collections.ConfigDict) -> cohorts.Cohort:
    """Returns the cohort that config.cohort asks for without a split: all samples are of "test"."""
    asked = config.cohort
    changes = _changes(config)
    return tasks.build(records, asked.task, asked.protocol, split="none", changes=changes)


def build_cohort(records: tables.Records, config: ml_collections.ConfigDict) -> cohorts.Cohort:
    """Builds the cohort that config.cohort asks for, before it is cut into folds."""
    asked = config.cohort
    if asked.aces:
        query = aces.find(sources.default_root("meds", config.data.root), asked.aces)
        return given.build(records, query, asked.split_seed, split=asked.split)
    return tasks.build(
        records,
        asked.task,
        asked.protocol,
        asked.split_seed,
        split=asked.split,
        changes=_changes(config),
    )


def _changes(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What config.task changes of the task."""
    return {key: value for key, value in config.task.items() if value is not None}


def fingerprint(records: tables.Records, config: ml_collections.ConfigDict) -> str:
    """Returns 64 hex digits that change with the records, and with the query where one is asked."""
    digest = sources.fingerprint(records)
    if not config.cohort.aces:
        return digest
    query = aces.read(config.cohort.aces)
    return hashlib.sha256(f"{digest}\n{query.text}".encode()).hexdigest()


def counts(records: tables.Records) -> dict[str, int | dict[str, int]]:
    """What the records hold, for data.json."""
    kinds = records.codes.join(records.code_names, on="code").group_by("kind")
    return {
        "patients": records.patients.height,
        "visits": records.visits.height,
        "stays": records.stays.height,
        "codes": records.codes.height,
        "distinct_codes": dict(kinds.agg(pl.col("code").n_unique()).sort("kind").iter_rows()),
        "attributes": records.attributes.height,
    }


def _check_same(path: pathlib.Path, fingerprint: str, also: tuple[str, ...] = ()) -> None:
    folder = path.parent
    begun = run_folder.has_work(folder) or any((folder / name).exists() for name in also)
    if begun and not path.exists():
        print(f"{path} is missing: that this run is of the same records is not checked", flush=True)
    if begun and path.exists():
        earlier = stored.read_object(path, FINGERPRINT, UNCHECKED)
    else:
        earlier = stored.whole_object(path, FINGERPRINT, ANEW)
    if earlier is None or earlier["fingerprint"] == fingerprint:
        return
    if begun:
        raise errors.RunFolderError(
            f"{folder} was begun with other records, or another query of config.cohort.aces "
            "(the fingerprint in data.json differs); choose another --workdir, or give the earlier "
            "files"
        )
    (folder / run_folder.TEACHER).unlink(missing_ok=True)
