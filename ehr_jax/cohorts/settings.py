"""The sections `cohort` and `task`: what is predicted, for whom, and how patients are split."""

import dataclasses
import re
from typing import Any

from ehr_jax import errors, plugins
from ehr_jax.cohorts import spec
from ehr_jax.settings import Settings, setting

PROTOCOLS = ("strict", "paper")
SPLITTINGS = ("patient", "source")
# The names of `rules.RULES`, without importing the rules.
EXCLUSIONS = (
    "undated", "uncoded", "died", "unknown_outcome", "hospice", "no_stay", "several_stays",
    "under_18", "under_18_or_unknown", "short_stay", "no_end", "gone", "planned",
)  # fmt: skip
RULES = plugins.Names("ehr_jax.rules", EXCLUSIONS)


@dataclasses.dataclass(frozen=True)
class Cohort(Settings):
    """The task, and how its patients are split."""

    task: str = setting("phenotype_next", "What is predicted.", choices=spec.NAMES)
    aces: str = setting(
        "",
        "A YAML file with a query of ACES, in place of the task; for source meds only, with the "
        "extra aces installed.",
    )
    protocol: str = setting(
        "strict",
        "strict is inductive, with honest labels; paper is as published, with its faults printed.",
        choices=PROTOCOLS,
    )
    split: str = setting(
        "patient",
        "With protocol strict: patient splits patients at random, source takes the split that the "
        "source has.",
        choices=SPLITTINGS,
    )
    folds: int = setting(
        1, "Folds of --mode=benchmark; with several, every patient is tested once.", least=1
    )
    split_seed: int = setting(
        0, "The seed of the split by patient, the same for all training seeds.",
        least=0, most=2**32 - 1,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task(Settings):
    """Changes to the definition of the task; None leaves it as it is."""

    title: str | None = setting(None, "The title of the task in reports.")
    label_names: tuple[str, ...] | None = setting(
        None,
        "The names of the labels in reports and files, in the order of the task's own.",
        fits=lambda name: re.fullmatch(r"\w[\w -]*", name) is not None,
        expected="names of letters, digits, '_', '-' and blanks, no two the same, or None",
        filled=True,
        distinct=True,
    )
    after_hours: float | None = setting(
        None,
        "The time from the start of the visit or stay to the prediction time.",
        unit="hours",
        least=0,
    )
    gap_hours: float | None = setting(
        None,
        "The time from the prediction time until outcomes begin to count.",
        unit="hours",
        least=0,
    )
    horizon_days: float | None = setting(
        None,
        "The time from the prediction time until outcomes no longer count.",
        unit="days",
        least=0,
    )
    more_than_days: float | None = setting(
        None, "For long_stay: a stay is long if it is longer than this.", unit="days", least=0
    )
    codes: tuple[str, ...] | None = setting(
        None,
        "For tasks whose outcome is codes: SYSTEM:prefix or SYSTEM:low-high, such as "
        "ICD9CM:390-459.",
    )
    exclude: tuple[str, ...] | None = setting(
        None, "The rules by which visits are left out.", choices=RULES
    )


def check_task(cohort: Cohort, changes: Task, source: str) -> None:
    """Raises ConfigError or CohortError if the task or query cannot be used with these settings."""
    changed = changes_of(changes)
    if not cohort.aces:
        described = spec.find(cohort.task, cohort.protocol, changed)
        is_own = cohort.task in spec.TASKS and set(described.exclude) <= set(EXCLUSIONS)
        if not is_own or changes.label_names:
            from ehr_jax.cohorts import tasks  # with polars, which our own names do without

            tasks.check_spec(described)
        return
    key = "config.cohort.aces"
    if source != "meds":
        raise errors.ConfigError(
            f"{key}: ACES asks its query of MEDS events, and config.data.source is '{source}'; "
            "write its records with --mode=meds and read those as source 'meds'"
        )
    if cohort.protocol != "strict":
        raise errors.ConfigError(
            f"{key}: config.cohort.protocol is '{cohort.protocol}'; a query has no published "
            "protocol to follow, set 'strict'"
        )
    if changed:
        raise errors.ConfigError(
            f"{key}: config.task.{next(iter(changed))} changes a task of this package, no query; "
            "write the change into the file of the query"
        )


def changes_of(changes: Task) -> dict[str, Any]:
    """Returns the settings of `config.task` that change something."""
    return {key: value for key, value in dataclasses.asdict(changes).items() if value is not None}
