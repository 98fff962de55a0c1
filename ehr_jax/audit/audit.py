"""All checks of a cohort and its inputs, as a list of findings and as JSON."""

from ehr_jax import errors
from ehr_jax.audit import association, evidence, integrity

# What `strict` promises: where one of these fails, its figures mean nothing.
PROMISED = (
    integrity.patients_across_splits,
    integrity.inputs_after_prediction,
    integrity.notes_after_prediction,
    integrity.windows_by_label,
    integrity.fitted_on_training,
)
# What points at a leak, for a person to judge.
POINTERS = (
    association.columns_that_encode_the_outcome,
    association.notes_repeated_across_splits,
    association.missingness_by_label,
)


def run(given: evidence.Evidence) -> list[evidence.Finding]:
    """Runs every check."""
    return [check(given) for check in (*PROMISED, *POINTERS)]


def failed(findings: list[evidence.Finding]) -> list[evidence.Finding]:
    """The findings that failed."""
    return [finding for finding in findings if finding.status == "fail"]


def require(findings: list[evidence.Finding]) -> None:
    """Raises AuditError where a check of `PROMISED` failed."""
    broken = failed(findings[: len(PROMISED)])
    if broken:
        said = "; ".join(f"{finding.check}: {finding.message}" for finding in broken)
        raise errors.AuditError(
            f"the audit failed, so no figure of this run would be honest. {said}. The rows are in "
            "audit.json of the run folder; --config.audit.stop=False goes on all the same."
        )


def as_json(findings: list[evidence.Finding]) -> dict:
    """Findings for audit.json, rows at fault included; patients only as hashes."""
    return {
        "status": "fail" if failed(findings) else "pass",
        "checks": [
            {
                "check": finding.check,
                "status": finding.status,
                "message": finding.message,
                "count": finding.count,
                "rows": finding.rows.to_dicts(),
            }
            for finding in findings
        ],
    }
