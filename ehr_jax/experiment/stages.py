"""From a config to arrays: records, cohort and features, with data.json written."""

import hashlib
import pathlib
from collections.abc import Iterable

import ml_collections
import polars as pl

from ehr_jax import errors, stored
from ehr_jax.audit import audit, evidence
from ehr_jax.cohorts import aces, given, summary, tasks
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays as features
from ehr_jax.features import fitted, once
from ehr_jax.models import registry
from ehr_jax.records import sources
from ehr_jax.records.common import tables
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.training import run_folder

FINGERPRINT = {"fingerprint": str}  # what of data.json tells records from others
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
    """Prepares a run's data; writes data.json, split.parquet, audit.json and DATA_USE.txt.

    Args:
      reads: what is made of it; None is what the method of `config` reads.

    Raises:
      UserError: of the room that finds the fault, or RunFolderError where the records differ from
        those an earlier start of this run read.
    """
    records = read(config)
    cohort = build_cohort(records, config)
    return cohort, arrange(records, cohort, config, workdir, reads)


def arrange(
    records: tables.Records,
    cohort: cohorts.Cohort,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    reads: features.Reads | None = None,
    known: once.Known | None = None,
) -> features.Arrays:
    """Makes the arrays of a cohort; writes, takes `reads` and raises as `load` does.

    Args:
      known: of `cohort`, if something of it was read before.
    """
    run_folder.write_data_use(workdir, records.terms)
    for fault in cohort.faults:
        print(f"protocol '{cohort.protocol}': {fault}")
    data = {
        "source": records.source,
        "fingerprint": fingerprint(records, config),
        "records": counts(records),
        "oddities": dict(records.oddities),
        "cohort": summary.summary(cohort),
        "terms": records.terms,
    }
    _check_same(workdir / "data.json", data["fingerprint"])
    kind = registry.resolve(config.model.name).kind
    reads = reads or kind.reads(config)
    known = known or evidence.known_of(records, [cohort], config, reads)
    arrays = kind.make_arrays(known, config, reads)
    if arrays.fitted is not None:
        run_folder.write_json(workdir / "fitted.json", fitted.as_json(arrays.fitted))
    # What lazy tables left out is known once they were read.
    data["oddities"] = dict(records.oddities)
    data["tables"] = dict(records.accounts)
    data["notes"] = arrays.counts["notes"]
    data["encoder"] = arrays.counts["encoder"]
    data["features"] = {
        key: value for key, value in arrays.counts.items() if key not in ("notes", "encoder")
    }
    run_folder.write_json(workdir / "data.json", data)
    summary.save_split(cohort, workdir / "split.parquet")
    findings = audit.run(evidence.of(known, config, reads, arrays))
    run_folder.write_json(workdir / "audit.json", audit.as_json(findings))
    for finding in audit.failed(findings):
        print(f"audit, {finding.check}: {finding.message}")
    if cohort.protocol == "strict" and config.audit.stop:
        audit.require(findings)
    return arrays


def bind(
    records: tables.Records,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    also: tuple[str, ...] = (),
) -> None:
    """Makes `workdir` the folder of these records, or finds that it is, before anything is written.

    A mode that does not call `arrange` calls this: data.json then says whose the folder is.

    Args:
      also: files that count as work of a run beside `run_folder.WORK`.

    Raises:
      RunFolderError: the folder holds the work of other records.
    """
    path, digest = workdir / "data.json", fingerprint(records, config)
    _check_same(path, digest, also)
    run_folder.write_data_use(workdir, records.terms)
    found = stored.whole_object(path, FINGERPRINT, ANEW)
    if found is None or found["fingerprint"] != digest:
        about = {"source": records.source, "fingerprint": digest, "records": counts(records)}
        about |= {"oddities": dict(records.oddities), "terms": records.terms}
        run_folder.write_json(path, about)


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


def build_cohort(records: tables.Records, config: ml_collections.ConfigDict) -> cohorts.Cohort:
    """Builds the cohort that config.cohort asks for."""
    asked = config.cohort
    if asked.aces:
        query = aces.find(sources.default_root("meds", config.data.root), asked.aces)
        return given.build(records, query, asked.split_seed, split=asked.split)
    changes = {key: value for key, value in config.task.items() if value is not None}
    return tasks.build(
        records,
        asked.task,
        asked.protocol,
        asked.split_seed,
        split=asked.split,
        changes=changes,
    )


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
        kept = stored.read_object(path, FINGERPRINT, UNCHECKED)
    else:
        kept = stored.whole_object(path, FINGERPRINT, ANEW)
    if kept is None or kept["fingerprint"] == fingerprint:
        return
    (folder / run_folder.TEACHER).unlink(missing_ok=True)
    if begun:
        raise errors.RunFolderError(
            f"{folder} was begun with other records, or another query of config.cohort.aces "
            "(the fingerprint in data.json differs); choose another --workdir, or give the earlier "
            "files"
        )
