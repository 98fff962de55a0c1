"""--mode=report: rebuild the report of a finished run from its folder, without its data."""

import pathlib

import ml_collections

from ehr_jax import errors
from ehr_jax.reporting import report
from ehr_jax.training import run_folder


def run(config: ml_collections.ConfigDict | None, workdir: pathlib.Path) -> int:
    """Rewrites report.html and plots/ of `workdir`."""
    path = workdir / "results.json"
    if not path.exists():
        raise errors.RunFolderError(
            f"{workdir} holds no results.json: it is not a finished run; name one with --workdir"
        )
    if "methods" in run_folder.read_json(path):
        report.write_comparison(workdir)
    else:
        report.write_report(workdir)
    print(f"report: {workdir / 'report.html'}")
    return 0
