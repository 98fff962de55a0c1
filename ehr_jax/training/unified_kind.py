"""Stays with the hypergraph of their visits as a kind of input; trained on one device."""

from typing import Any

from ehr_jax.features import stays
from ehr_jax.training import kinds, stay_kind, task, unified_problem, visit_kind
from ehr_jax.training.stay_kind import (  # noqa: F401  (the arrays are those of stays)
    DIVISION,
    DIVISOR,
    NARROWER,
    divided,
    graph,
    make_arrays,
    reads,
    restore,
)

RESTS_ON_TRAINING = True
CAN_BE_FED = False


def build(job: kinds.Job, resident: bool = True) -> task.LabelTask:
    """Places the stays and the hypergraph on one device."""
    return unified_problem.build(job.arrays, job.config.positive_weight, job.config.batch)


def outline(job: kinds.Job, fed: bool = False) -> kinds.Outline:
    """Returns the shapes of what `build` places on the device, and of a step."""
    unified_problem.check(job.arrays)
    of_stays = stay_kind.outline(job)
    of_visits = visit_kind.of_part(job.arrays.visits, 1)
    step = unified_problem.UnifiedProblem(of_visits, of_stays.step)
    return kinds.Outline(of_stays.resident + task.size(of_visits), step, step)


def explain(job: kinds.Job, params: Any, data: task.LabelTask) -> tuple[Any, Any, stays.StayArrays]:
    """Returns the network over stays, its parameters, and the stays with their visit states."""
    filled = unified_problem.filled(job.model, params, job.arrays, data)
    return job.model.stays, params["stays"], filled
