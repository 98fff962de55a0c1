"""What checks found: findings, as JSON and back, and whether they stop a run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from ehr_jax import disclosure, errors

Status = Literal["pass", "warn", "fail", "skip"]
SHOWN = 1000  # rows at fault that a finding keeps
# Columns of rows that are of single patients, or of codes that few of them may have.
OF_PATIENTS = frozenset({"subject_id", "subject", "sample_id", "visit_id", "stay_id", "difference"})


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
      message: a sentence that may be shown; of few patients it says so in place of their number.
      rows: what is at fault, at most `SHOWN` rows; patients only hashed.
      count: how many are at fault.
      stops: a failure means that no figure of the run would be honest.
    """

    check: str
    status: Status
    message: str
    rows: pl.DataFrame = dataclasses.field(default_factory=pl.DataFrame)
    count: int = 0
    stops: bool = False

    def __post_init__(self):
        object.__setattr__(self, "message", disclosure.words(self.message))

    @property
    def is_of_patients(self) -> bool:
        """Are the rows at fault of single patients, or of codes that few of them may have?"""
        return bool(OF_PATIENTS & set(self.rows.columns))


def failed(findings: list[Finding]) -> list[Finding]:
    """The findings that failed."""
    return [finding for finding in findings if finding.status == "fail"]


def require(findings: list[Finding]) -> None:
    """Raises AuditError if a finding that `stops` failed."""
    broken = [finding for finding in failed(findings) if finding.stops]
    if broken:
        said = "; ".join(f"{finding.check}: {finding.message}" for finding in broken)
        raise errors.AuditError(
            f"the audit failed, so no figure of this run would be honest. {said}. The rows are in "
            "audit.json of the run folder; --config.audit.stop=False goes on all the same."
        )


def as_json(findings: list[Finding]) -> dict:
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


def from_json(content: Mapping[str, Any]) -> list[Finding]:
    """Returns the findings that `as_json` was given, without the rows at fault."""
    names = ("check", "status", "message", "count", "stops")
    return [Finding(**{name: check[name] for name in names}) for check in content.get("checks", ())]
