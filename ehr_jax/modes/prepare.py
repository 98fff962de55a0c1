"""--mode=prepare: records to cohort to features, as a data set of tfds and as files to train from.

    RUN/store/       a data set that tfds reads alone
    RUN/prepared/    the same samples for --config.data.prepared=RUN

Of several folds (config.cohort.folds), each has the two in RUN/fold_K.
"""

import pathlib

import ml_collections

from ehr_jax import disclosure, errors, storage
from ehr_jax.audit import evidence
from ehr_jax.experiment import elsewhere, kept, prepared, stages, trained
from ehr_jax.features import arrays as features
from ehr_jax.features import fitted, once, series, store
from ehr_jax.models import registry
from ehr_jax.modes import together
from ehr_jax.records.common import tables
from ehr_jax.reporting import tables as text_tables
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Writes the samples, or finds that they are there already, and prints what they hold."""
    learned = None
    if "run" in config:
        together.check_run(config.run)
        of_samples, _, learned = trained.read(config)
    else:
        # The config a training run of the same flags has, so that it may follow in the same folder.
        of_samples = config = registry.configure(config, config.model.name)
    workdir = run_folder.claim(workdir, config.to_dict())
    records = stages.read(of_samples)
    folders = stages.fold_folders(workdir, of_samples.cohort.folds if learned is None else 1)
    if all(_is_there(folder) for folder in folders):
        for folder in folders:
            _check_same(folder / "store", of_samples, records)
        print("nothing to do: prepared by an earlier start")
    else:
        _prepare(of_samples, records, workdir, folders, learned)
    print(_summary(store.open_folder(folders[0] / "store")))
    print(f"data set: {folders[0] / 'store'}; to train from: --config.data.prepared={workdir}")
    return 0


def _prepare(
    config, records: tables.Records, workdir, folders, learned: fitted.Fitted | None
) -> None:
    reads = _stored(config)
    if learned is None:
        cut = stages.cohorts_of(records, config)
        known = evidence.known_of(records, cut, config, _with_series(config, reads))
    else:
        cut = [stages.undivided(records, config)]
        known = once.known_of(records, cut[0], config, reads)
    if len(folders) > 1:
        stages.bind(records, config, workdir)
    for cohort, folder in zip(cut, folders, strict=True):
        known = known.of(cohort)
        if _is_there(folder):  # a fold that an earlier start ended
            continue
        # Before the arrays, whose texts take long to encode.
        grid = _grid(known) if known.wanted.variables and not reads.series else None
        samples = stages.make(known, config, reads, learned)
        stages.write(samples, config, folder)
        _write(samples, grid, config, folder)


def _write(samples: prepared.Prepared, grid: series.Series | None, config, folder) -> None:
    """Writes both forms of the samples; one of them that an earlier start left goes first."""
    inputs = registry.find(config.model.name).inputs.name
    for name in (elsewhere.FOLDER, "store"):
        if (folder / name).exists():
            storage.remove_folder(folder / name)
    try:
        prepared.write(folder / elsewhere.FOLDER, samples, inputs, elsewhere.PART_SAMPLES)
    except OSError as error:
        raise run_folder.disk_error(folder / elsewhere.FOLDER, error) from error
    data = samples.data
    store.write(
        folder / "store",
        samples.cohort,
        samples.arrays,
        grid,
        samples.settings,
        data["fingerprint"],
        data["terms"],
    )


def _grid(known: once.Known) -> series.Series:
    """The series beside samples whose method reads none."""
    grid = known.grid()
    for variable, rule, unit, rows in grid.oddities.rows():
        shown, of = disclosure.shown(rows), f" ({unit})" if unit else ""
        print(f"series, {variable}{of}: {shown} row(s) {rule}")
    return grid


def _is_there(folder: pathlib.Path) -> bool:
    """The data set is written last."""
    return (folder / "store").exists() and (folder / elsewhere.FOLDER).exists()


def _stored(config) -> features.Reads:
    """What the samples hold: notes whatever the method reads, so that others may."""
    asked = ml_collections.ConfigDict(config.to_dict())
    asked.model.use_notes = True
    return stages.read_by([asked])


def _with_series(config, reads: features.Reads) -> features.Reads:
    """`reads`, and the series where config.series.variables names some."""
    return reads._replace(series=reads.series or bool(config.series.variables))


def _check_same(folder: pathlib.Path, config, records: tables.Records) -> None:
    made = store.open_folder(folder).info.metadata
    wanted = {
        "config": store.fingerprint(kept.settings_of(config)),
        "records": stages.fingerprint(records, config),
    }
    for name, value in wanted.items():
        if made.get(f"{name}_fingerprint") != value:
            raise errors.RunFolderError(
                f"{folder} was prepared from other {name} (metadata.json there differs); choose "
                "another --workdir"
            )


def _summary(builder) -> str:
    about = builder.info.metadata
    patients = [counts["patients"] for counts in about["samples"].values()]
    concealed = disclosure.hidden([disclosure.is_few(count) for count in patients], patients)
    rows = [
        [split, *(disclosure.NONE if is_hidden else disclosure.shown(n) for n in counts.values())]
        for (split, counts), is_hidden in zip(about["samples"].items(), concealed, strict=True)
    ]
    lines = [
        f"{about['task']}, {about['protocol']}, {about['source']}",
        text_tables.render(["Split", "Samples", "Labelled", "Patients"], rows),
        f"labels: {len(about['labels'])}",
        *(f"{name}: at most {most} a sample" for name, most in about["most"].items()),
    ]
    if about["nodes"]:
        lines.append(f"distinct nodes: {len(about['nodes'])}")
    if "note" in builder.info.features:
        lines.append(f"notes: vectors of {builder.info.features['note'].shape[0]} numbers")
    if grid := about["series"]:
        lines.append(
            f"series: {len(grid['variables'])} variables, {grid['length']} steps of "
            f"{grid['step_hours']:g} h"
        )
    return "\n".join(lines)
