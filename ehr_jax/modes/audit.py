"""--mode=audit: does an outcome leak into an input? A table, audit.json, exit status 1 if so.

What is printed is safe to show; audit.json holds the rows of single patients and exact counts.
"""

import pathlib

import ml_collections
import polars as pl

from ehr_jax import disclosure
from ehr_jax.audit import audit, evidence, verdict
from ehr_jax.experiment import stages
from ehr_jax.models import registry
from ehr_jax.reporting import tables
from ehr_jax.training import run_folder

SHOWN = 5  # rows at fault printed a check


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Audits the cohort and inputs of `config`, without encoding texts; 1 where a check fails."""
    # The config a training run of the same flags has: its inputs, and its folder.
    config = registry.configure(config, config.model.name)
    workdir = run_folder.claim(workdir, config.to_dict())
    records = stages.read(config)
    stages.bind(records, config, workdir, also=("audit.json",))
    cohort = stages.build_cohort(records, config)
    findings = audit.run(evidence.gather(records, cohort, config, evidence.WHOLE))
    run_folder.write_json(workdir / "audit.json", verdict.as_json(findings))
    rows = [
        [finding.status.upper(), finding.check, disclosure.words(finding.message)]
        for finding in findings
    ]
    print(tables.render(["Status", "Check", "Found"], rows))
    for finding in findings:
        if finding.status in ("fail", "warn"):
            _print_rows(finding)
    print(f"\nall rows at fault: {workdir / 'audit.json'}, which is internal")
    return 1 if verdict.failed(findings) else 0


def _print_rows(finding: evidence.Finding) -> None:
    """Prints the first rows at fault, where they are of inputs and tables and not of patients."""
    if finding.is_of_patients:
        print(f"\n{finding.check}: the rows at fault are of single patients, see audit.json")
        return
    named = finding.rows.select(pl.col(pl.String)).head(SHOWN)  # shares tell counts
    print(f"\n{finding.check}, {min(SHOWN, finding.count)} of {finding.count} at fault:")
    print(
        tables.render(named.columns, [[disclosure.words(str(v)) for v in r] for r in named.rows()])
    )
