"""--mode=audit: does an outcome leak into an input? A table, audit.json, exit status 1 if so."""

import pathlib

import ml_collections

from ehr_jax.audit import audit, evidence
from ehr_jax.modes import inputs
from ehr_jax.reporting import tables
from ehr_jax.training import run_folder

SHOWN = 5  # rows at fault printed a check


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Audits the cohort and inputs of `config`, without encoding texts; 1 where a check fails."""
    workdir = run_folder.claim(workdir, config.to_dict())
    records = inputs.read(config)
    inputs.bind(records, config, workdir, also=("audit.json",))
    cohort = inputs.build_cohort(records, config)
    findings = audit.run(evidence.gather(records, cohort, config, evidence.WHOLE))
    run_folder.write_json(workdir / "audit.json", audit.as_json(findings))
    rows = [[finding.status.upper(), finding.check, finding.message] for finding in findings]
    print(tables.render(["Status", "Check", "Found"], rows))
    for finding in findings:
        if finding.status in ("fail", "warn"):
            shown = [[str(v) for v in row] for row in finding.rows.head(SHOWN).rows()]
            print(f"\n{finding.check}, {min(SHOWN, finding.count)} of {finding.count} at fault:")
            print(tables.render(finding.rows.columns, shown))
    print(f"\nall rows at fault: {workdir / 'audit.json'}")
    return 1 if audit.failed(findings) else 0
