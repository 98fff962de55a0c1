"""All checks of a cohort and its inputs, as a list of findings."""

import dataclasses

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
