"""--mode=prepare: records to cohort to features, written as a data set that tfds reads alone."""

import pathlib

import ml_collections

from ehr_jax import disclosure, errors
from ehr_jax.audit import evidence
from ehr_jax.experiment import stages
from ehr_jax.features import arrays as features
from ehr_jax.features import store
from ehr_jax.models import registry
from ehr_jax.modes import together
from ehr_jax.records.common import tables
from ehr_jax.reporting import tables as text_tables
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Writes WORKDIR/store, or finds that it is there already, and prints what it holds."""
    # The config a training run of the same flags has, so that it may follow in the same folder.
    config = registry.configure(config, config.model.name)
    together.check_prepared(config.model.name)
    workdir = run_folder.claim(workdir, config.to_dict())
    records = stages.read(config)
    folder = workdir / "store"
    if folder.exists():
        _check_same(folder, config, records)
        print("nothing to do: prepared by an earlier start")
    else:
        cohort = stages.build_cohort(records, config)
        reads = _stored(config)
        known = evidence.known_of(records, [cohort], config, reads)
        grid = None  # before the arrays, whose texts take long to encode
        if reads.series:
            grid = known.grid()
            for variable, rule, unit, rows in grid.oddities.rows():
                shown, of = disclosure.shown(rows), f" ({unit})" if unit else ""
                print(f"series, {variable}{of}: {shown} row(s) {rule}")
        arrays = stages.arrange(records, cohort, config, workdir, reads, known)
        fingerprint = stages.fingerprint(records, config)
        store.write(folder, cohort, arrays, grid, config, fingerprint, records.terms)
    print(_summary(store.open_folder(folder)))
    print(f"store: {folder}")
    return 0


def _stored(config) -> features.Reads:
    """What the store holds, whichever method of `config` it is made for."""
    asked = ml_collections.ConfigDict(config.to_dict())
    asked.model.use_notes = True
    has_series = bool(config.series.variables)
    return stages.read_by([asked])._replace(names=False, structure=False, series=has_series)


def _check_same(folder: pathlib.Path, config, records: tables.Records) -> None:
    made = store.open_folder(folder).info.metadata
    wanted = {
        "config": store.fingerprint(config),
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
        f"nodes: {len(about['nodes'])}, at most {about['most_nodes']} a sample",
        f"labels: {len(about['labels'])}",
    ]
    if "note" in builder.info.features:
        lines.append(f"notes: vectors of {builder.info.features['note'].shape[0]} numbers")
    if grid := about["series"]:
        lines.append(
            f"series: {len(grid['variables'])} variables, {grid['length']} steps of "
            f"{grid['step_hours']:g} h"
        )
    return "\n".join(lines)
