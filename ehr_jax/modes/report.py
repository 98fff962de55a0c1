"""--mode=report: rebuild the report of a finished run from its folder, without its data."""

import pathlib

import ml_collections

from ehr_jax import data_use, errors
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
        terms = run_folder.read_json(workdir / "data.json").get("terms", "terms not recorded")
        run_folder.write_data_use(workdir, terms)
    if "methods" in run_folder.read_json(path):
        report.write_comparison(workdir)
    else:
        report.write_report(workdir)
    print(f"report: {workdir / 'report.html'}")
    return 0
