"""All checks of a cohort and its inputs, as a list of findings and as JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ehr_jax import errors
from ehr_jax.audit import (
    association,
    evidence,
    integrity,
    outcomes,
    persons,
    perturbation,
    stamps,
    strength,
    taught,
    words,
)

# What `strict` promises: where one of these fails, its figures mean nothing.
PROMISED = (
    integrity.findings,
    perturbation.findings,
    taught.findings,
    outcomes.findings,
)
# What points at a leak, for a person to judge.
POINTERS = (
    association.findings,
    persons.findings,
    stamps.findings,
    strength.findings,
    words.findings,
)


def run(given: evidence.Evidence) -> list[evidence.Finding]:
    """Runs every check."""
    promised = [finding for check in PROMISED for finding in check(given)]
    stopping = [dataclasses.replace(finding, stops=True) for finding in promised]
    return stopping + [finding for check in POINTERS for finding in check(given)]


def failed(findings: list[evidence.Finding]) -> list[evidence.Finding]:
    """The findings that failed."""
    return [finding for finding in findings if finding.status == "fail"]


def require(findings: list[evidence.Finding]) -> None:
    """Raises AuditError where a check of `PROMISED` failed."""
    broken = [finding for finding in failed(findings) if finding.stops]
    if broken:
        said = "; ".join(f"{finding.check}: {finding.message}" for finding in broken)
        raise errors.AuditError(
            f"the audit failed, so no figure of this run would be honest. {said}. The rows are in "
            "audit.json of the run folder; --config.audit.stop=False goes on all the same."
        )


def as_json(findings: list[evidence.Finding]) -> dict:
    """Findings for audit.json: rows at fault with patients only as hashes, and exact counts.

    Where one that `stops` fails, a strict run ends.
    """
    return {
        "status": "fail" if failed(findings) else "pass",
        "checks": [
            {
                "check": finding.check,
                "status": finding.status,
                "stops": finding.stops,
                "message": finding.message,
                "count": finding.count,
                "rows": finding.rows.to_dicts(),
            }
            for finding in findings
        ],
    }


def from_json(content: Mapping[str, Any]) -> list[evidence.Finding]:
    """Returns the findings that `as_json` was given, without the rows at fault."""
    names = ("check", "status", "message", "count", "stops")
    return [
        evidence.Finding(**{name: check[name] for name in names})
        for check in content.get("checks", ())
    ]
