"""Tasks as data: what is predicted, of whom, when and how far ahead; and the tasks that come along.

A `Spec` is read by `draft.py`. Its label and its exclusions are names in `labels.NAMES` and
`rules.NAMES`: this project's own, entry points of other packages, or paths. `describe` says it all
in words, for the report.
"""

import dataclasses
from typing import Literal, NamedTuple

from ehr_jax import errors, plugins


@dataclasses.dataclass(frozen=True)
class Spec:
    """One task under one protocol.

    Attributes:
      index: what a sample is: each "visit", or each visit by its first "icu_stay" (where a source
        has no ICU stays, the visit itself).
      predict: the prediction time counts from the "start" or the "end" of that.
      after_hours: the prediction time lies so long after it.
      gap_hours: an outcome counts only when it comes so long after the prediction time.
      horizon_days: and at most so long; None is as long as the label looks.
      label: a name of `labels.NAMES`.
      codes: of the labels that ask for codes: "SYSTEM:prefix" or "SYSTEM:low-high", the latter over
        three-character categories.
      title: of the task, in reports; "" is the task's name.
      label_names: of the label columns, in place of the label's own names; () keeps those.
      more_than_days: of the labels that ask for a length of stay.
      exclude: names of `rules.NAMES`; a visit counts under the first that holds.
      join_transfers: visits joined by a transfer are one episode, sampled at its last part.
    """

    index: Literal["visit", "icu_stay"]
    predict: Literal["start", "end"]
    label: str
    after_hours: float = 0.0
    gap_hours: float = 0.0
    horizon_days: float | None = None
    codes: tuple[str, ...] = ()
    title: str = ""
    label_names: tuple[str, ...] = ()
    more_than_days: float | None = None
    exclude: tuple[str, ...] = ()
    join_transfers: bool = False

    @property
    def at_discharge(self) -> bool:
        """Is everything that the visit recorded known at the prediction time?"""
        return self.index == "visit" and self.predict == "end"


@dataclasses.dataclass(frozen=True)
class Query:
    """A task as the file of another query language has it, word for word."""

    file: str
    text: str


class Task(NamedTuple):
    """A task: its form under each protocol, and what to know about it.

    Attributes:
      strict: its form.
      paper: as published; None where it has not been published, so that it is refused.
      note: read with the description.
      faults: of the `paper` protocol.
      published_split: how the paper divides samples.
    """

    strict: Spec
    paper: Spec | None = None
    note: str = ""
    faults: tuple[str, ...] = ()
    published_split: Literal["by_file_order", "by_sample", ""] = ""


# What `config.task` may change of a task.
CHANGES = (
    "title", "label_names", "after_hours", "gap_hours", "horizon_days", "codes", "more_than_days",
    "exclude",
)  # fmt: skip

_NEXT_VISIT_FAULTS = (
    "The split cuts the labelled visits in file order and not by patient, so test patients may "
    "have trained the model.",
    "Every visit takes part in one hypergraph, test visits too: through shared codes the patient's "
    "next visit, whose codes are the label, shapes the states that predict it.",
)
_RANDOM_SPLIT = "The split is random over visits, so test patients may have trained the model."

_PHENOTYPES = Spec(
    "visit",
    "end",
    "phenotypes_of_next_visit",
    title="Phenotypes of the next visit",
    exclude=("uncoded", "no_end"),
)
_CVD = Spec(
    "visit",
    "end",
    "codes_of_next_visit",
    codes=("ICD9CM:390-459", "ICD10CM:I00-I99"),
    title="Cardiovascular disease at the next visit",
    label_names=("cvd",),
    exclude=("no_end",),
)
_IN_STAY_RULES = ("no_stay", "under_18", "short_stay", "no_end", "gone")

TASKS = {
    "phenotype_next": Task(
        strict=_PHENOTYPES,
        paper=_PHENOTYPES,
        note="The next visit is the patient's next one with an ICD-9-CM diagnosis, however long "
        "after, transfers included. A visit without a next one, as every visit that ended in "
        "death, gives structure only: the task speaks of patients who survived and came back.",
        faults=_NEXT_VISIT_FAULTS,
        published_split="by_file_order",
    ),
    "readmission30": Task(
        strict=Spec(
            "visit",
            "end",
            "readmission",
            title="Readmission",
            horizon_days=30.0,
            exclude=("undated", "no_end", "died", "hospice"),
            join_transfers=True,
        ),
        paper=Spec(
            "visit",
            "end",
            "readmission_or_death",
            title="Readmission or death",
            horizon_days=30.0,
            exclude=("undated", "no_end"),
        ),
        note="Where the source itself states readmission within 30 days, its statement is used.",
        faults=(
            "Deaths count as readmissions, deaths in hospital too, so that the score is in part "
            "one of mortality; at discharge such a death is already known.",
            "A transfer to another hospital and back counts as a readmission.",
            _RANDOM_SPLIT,
        ),
        published_split="by_sample",
    ),
    "cvd_next": Task(
        strict=_CVD,
        paper=_CVD,
        note="Only the visit itself has to be free of such codes, not the patient's past, so the "
        "label is not always a first diagnosis; where a source keeps few codes a visit, being "
        "free of them may also mean that there was no room.",
        faults=_NEXT_VISIT_FAULTS,
        published_split="by_file_order",
    ),
    "mortality": Task(
        strict=Spec(
            "icu_stay",
            "start",
            "death_in_hospital",
            title="Death in hospital",
            after_hours=48.0,
            exclude=("no_stay", "under_18", "short_stay", "gone", "unknown_outcome"),
        ),
        paper=Spec(
            "icu_stay",
            "start",
            "death_in_hospital_by_date",
            title="Death in hospital",
            after_hours=48.0,
            exclude=("no_stay", "several_stays", "under_18_or_unknown", "short_stay"),
        ),
        note="Under the paper protocol a visit of unknown outcome counts as survived; that "
        "protocol follows the MIMIC-III benchmark as REALM takes it over.",
        faults=(
            "Visits with a second ICU stay are left out, which at the prediction time nobody "
            "knows yet.",
            "A date of death without a clock time counts as midnight, so a patient who went home "
            "and died on that day counts as dead in hospital.",
            _RANDOM_SPLIT.replace("visits", "stays"),
        ),
        published_split="by_sample",
    ),
    "long_stay": Task(
        strict=Spec(
            "icu_stay",
            "start",
            "long_stay",
            title="Long hospital stay",
            after_hours=24.0,
            more_than_days=7.0,
            exclude=_IN_STAY_RULES,
        ),
        paper=Spec(
            "icu_stay",
            "start",
            "long_stay",
            title="Long hospital stay",
            after_hours=24.0,
            more_than_days=7.0,
            exclude=("no_stay", "under_18_or_unknown", "short_stay", "no_end"),
        ),
        note="The length is that of the whole hospital visit. A death ends a visit: of those who "
        "die early a short one is no good outcome.",
        faults=(_RANDOM_SPLIT,),
        published_split="by_sample",
    ),
}


NAMES = plugins.Names("ehr_jax.tasks", TASKS)


def of(task: str) -> Task:
    """Returns a task by its name; ConfigError where there is none (see `plugins.find`)."""
    return plugins.find("config.cohort.task", NAMES, task, Task)


def find(task: str, protocol: str, changes: dict | None = None) -> Spec:
    """Returns the Spec of a task with `changes` to it.

    Raises CohortError for a change that no task can have, or of the wrong kind.
    """
    described = of(task)
    spec = {"strict": described.strict, "paper": described.paper}[protocol]
    if spec is None:
        raise errors.CohortError(
            f"config.cohort.protocol is '{protocol}', and the task '{task}' has not been "
            "published; set 'strict'"
        )
    for key, value in (changes or {}).items():
        if key not in CHANGES:
            raise errors.CohortError(
                f"config.task.{key} cannot be changed; expected one of {', '.join(CHANGES)}."
                + errors.did_you_mean(key, CHANGES)
            )
        if key in ("codes", "exclude", "label_names"):
            value = tuple(value)
        elif key == "title":
            value = str(value)
        elif not (isinstance(value, int | float) and value >= 0):
            raise errors.CohortError(f"config.task.{key} is {value}; expected a number, 0 or more")
        if key == "after_hours" and spec.predict == "end":
            raise errors.CohortError(
                f"config.task.{key} cannot be changed for task '{task}': it is predicted at "
                "discharge, and its outcome is counted from there; use gap_hours"
            )
        if key == "more_than_days" and spec.more_than_days is None:
            raise errors.CohortError(f"config.task.{key} means nothing for task '{task}'")
        if key == "codes" and not spec.codes:
            raise errors.CohortError(f"config.task.{key} means nothing for task '{task}'")
        spec = dataclasses.replace(spec, **{key: value})
    return spec
