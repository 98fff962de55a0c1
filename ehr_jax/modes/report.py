"""--mode=report: rebuild the report of a finished run from its folder, without its data."""

import pathlib

import ml_collections

from ehr_jax import data_use, errors, stored
from ehr_jax.reporting import report
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict | None, workdir: pathlib.Path) -> int:
    """Rewrites report.html and plots/ of `workdir`."""
    path = workdir / "results.json"
    if not path.exists():
        raise errors.RunFolderError(
            f"{workdir} holds no results.json: it is not a finished run; name one with --workdir"
        )
    data_use.make_private(workdir)
    if (workdir / "data.json").exists():
        terms = stored.read_object(workdir / "data.json", {"terms": (str, None)}).get("terms")
        run_folder.write_data_use(workdir, terms or "terms not recorded")
    is_benchmark = "methods" in stored.read_object(path)
    (report.write_comparison if is_benchmark else report.write_report)(workdir)
    print(f"report: {workdir / 'report.html'}")
    return 0
