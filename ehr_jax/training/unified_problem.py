"""Stays and their hypergraph on the device: both networks of `models.unified` trained at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax import errors
from ehr_jax.features import stays
from ehr_jax.models import inputs, unified
from ehr_jax.training import problem, stay_problem, task


class UnifiedProblem(task.ResidentLabels):
    """Stays and their hypergraph, resident on the device; a `task.Task`.

    Attributes:
      visits: the hypergraph; its labelled training and validation samples are those of `stays`, in
        the same order.
      stays: the same samples, without the states of their visits.
    """

    visits: problem.Problem
    stays: stay_problem.StayProblem

    @property
    def train_labels(self) -> jax.Array:
        """[train, label] float32; nan where missing."""
        return self.stays.train_labels

    @property
    def train_targets(self) -> jax.Array:
        """[sample, label and survival day] float32; nan where missing."""
        return self.stays.train_targets

    @property
    def validation_labels(self) -> jax.Array:
        """[validation, label] float32; nan where missing."""
        return self.stays.validation_labels

    @property
    def positive_weight(self) -> jax.Array:
        """[label] float32, weight of a positive cell in the loss."""
        return self.stays.positive_weight

    def init(self, model: unified.Unified, key: jax.Array) -> Any:
        """Parameters of both networks before the first step."""
        graph = self.visits
        (states, _), of_codes = model.codes.init_with_output(
            jax.random.fold_in(key, 0), graph.nodes, graph.shaping, train=False, method="shape"
        )
        of_stays = self._in_training(states).init(model.stays, jax.random.fold_in(key, 1))
        return {"codes": of_codes, "stays": of_stays}

    def weighed(self, positive_weight: jax.Array) -> "UnifiedProblem":
        """Returns the task with other weights [label] of positive cells."""
        return self.replace(stays=self.stays.weighed(positive_weight))

    def loss(
        self, params, model: unified.Unified, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict]:
        """The loss of a batch of stays, whose visit states come of all training visits, and the
        running statistics that the step leaves where norms keep any."""
        # Apart from the key of the stays' own dropout, which is fold_in(key, step).
        of_codes = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 3), step)
        states, _ = unified.shape(
            model, params, self.visits.nodes, self.visits.shaping, dropout=of_codes
        )
        in_training = self._in_training(states)
        loss, kept = in_training.loss(params["stays"], model.stays, key, step)
        return loss, {"stays": kept}

    def validation_logits(self, params, model: unified.Unified) -> jax.Array:
        """[validation, label] float32, without dropout."""
        states = visit_states(model, params, self.visits, self.visits.validation)
        given = self.stays.validation.replace(visit=states[self.visits.validation_rows])
        filled = self.stays.replace(validation=given)
        return filled.validation_logits(params["stays"], model.stays)

    def probabilities(
        self, model: unified.Unified, params: Any, arrays: stays.StayArrays
    ) -> np.ndarray:
        """Probabilities of every sample, [sample, label] float32."""
        with_states = filled(model, params, arrays, self)
        return self.stays.probabilities(model.stays, params["stays"], with_states)

    def _in_training(self, states: jax.Array) -> stay_problem.StayProblem:
        given = self.stays.train.replace(visit=states[self.visits.train_rows])
        return self.stays.replace(train=given)


def build(arrays: stays.StayArrays, positive_weight: float | str, batch: int) -> UnifiedProblem:
    """Places `arrays` on the device; arguments as of `stay_problem.build`.

    Raises:
      ConfigError: no codes were prepared, or an impossible batch or weight.
    """
    check(arrays)
    return UnifiedProblem(
        visits=problem.build(arrays.visits, positive_weight),
        stays=stay_problem.build(arrays, positive_weight, batch),
    )


def check(arrays: stays.StayArrays) -> None:
    """Raises ConfigError where the stays have no hypergraph."""
    if arrays.visits is None:
        raise errors.ConfigError(
            "config.realm.use_visit is False, so that no visits over codes were prepared, which "
            "this method is given; set it to True (configs/unified.py does)"
        )


def visit_states(
    model: unified.Unified, params: Any, graph: problem.Problem, reading: inputs.Visits
) -> jax.Array:
    """Of [shaping visits ; visits only read], [visit, (L + 1) width] float32, without dropout."""
    states, frozen = unified.shape(model, params, graph.nodes, graph.shaping)
    return jnp.concatenate([states, unified.read(model, params, graph.nodes, reading, frozen)])


def filled(
    model: unified.Unified, params: Any, arrays: stays.StayArrays, data: UnifiedProblem
) -> stays.StayArrays:
    """Returns `arrays` with the visit state of every sample, as `model.stays` is given them."""
    shapes = arrays.visits.shapes
    shaping, reading = np.flatnonzero(shapes), np.flatnonzero(~shapes)
    read = problem.visits(arrays.visits, reading, self_loops=False)
    run = jax.jit(lambda p, graph, others: visit_states(model, p, graph, others))
    found = np.asarray(run(params, data.visits, read))
    states = np.empty_like(found)
    states[np.concatenate([shaping, reading])] = found
    return dataclasses.replace(arrays, stays={**arrays.stays, "visit": states})
