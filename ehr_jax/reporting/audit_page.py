"""The part of a report that tells of the audit: what each check said, in sentences without rows."""

from collections.abc import Mapping

from ehr_jax import disclosure
from ehr_jax.reporting import page

# By level, the gravest first: how it is called, and what it means.
LEVELS = {
    "fail": ("failed", "an outcome may leak into an input, or nothing is held out"),
    "warn": ("warning", "for a person to judge"),
    "pass": ("passed", ""),
    "skip": ("not asked", "this run has nothing that the check asks about"),
}


def section(told: Mapping, title: str = "Audit") -> str:
    """audit.json as a section: failures and warnings open, everything else folded."""
    checks = told.get("checks") or ()
    if not checks:
        return page.section(title, page.text("audit.json is not there.", "missing"))
    of = {level: [one for one in checks if one["status"] == level] for level in LEVELS}
    count = ", ".join(f"{len(of[level])} {LEVELS[level][0]}" for level in LEVELS if of[level])
    meant = [f"{name}: {means}" for level, (name, means) in LEVELS.items() if of[level] and means]
    grave = of["fail"] + of["warn"]
    return page.section(
        title,
        page.text(f"Can an outcome leak into an input? Of {_many(len(checks))}: {count}."),
        _table(grave) if grave else "",
        page.folded("Other checks", _table(of["pass"] + of["skip"])),
        page.text(". ".join(part.capitalize() for part in meant) + ".", "note") if meant else "",
    )


def warning(told: Mapping) -> str:
    """A box of the checks that failed and would stop a strict run; "" where none did."""
    broken = [
        f"{one['check']}: {disclosure.words(one['message'])}"
        for one in told.get("checks") or ()
        if one["status"] == "fail" and one.get("stops")
    ]
    return page.warning("The audit failed, so no figure here is honest:", broken) if broken else ""


def _table(checks) -> str:
    rows = [
        [LEVELS[one["status"]][0], one["check"], disclosure.words(one["message"])] for one in checks
    ]
    return page.words(["Level", "Check", "Finding"], rows)


def _many(checks: int) -> str:
    return f"{checks} check{'s' if checks > 1 else ''}"
