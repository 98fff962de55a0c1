"""What a method is given, by the very builders of a run, and cut into parts that can be compared.

Texts are told apart by digests in place of an encoder's vectors, and entities are linked by name.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import fitted as fitted_parts
from ehr_jax.features import prepare, retrieved, stays, vectors
from ehr_jax.models import registry
from ehr_jax.nn import bipartite
from ehr_jax.records import tables
from ehr_jax.training import problem, stay_problem

Arrays = prepare.Arrays | stays.StayArrays


class Parts(NamedTuple):
    """Arrays by name.

    Attributes:
      inputs: each [sample, ...], what the method is given of a sample.
      targets: each [sample, ...], what training learns beside the labels.
      fitted: what was fitted to training samples.
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    fitted: Mapping[str, Any]


def over_stays(config: ml_collections.ConfigDict) -> bool:
    """Is the method of `config` given stays, and not visits over codes?"""
    return registry.find(config.model.name).inputs == "stays"


def build(
    records: tables.Records,
    cohort: cohorts.Cohort,
    config: ml_collections.ConfigDict,
    fitted: stays.Fitted | None = None,
    knowledge: retrieved.Knowledge | None = None,
) -> Arrays:
    """Makes the arrays of `cohort` as a run does, without an encoder or a language model.

    Args:
      fitted, knowledge: as of `stays.prepare_stays`; of no use to methods over visits.
    """
    asked = ml_collections.ConfigDict(config.to_dict())
    asked.knowledge.extractor = "gazetteer"
    digests = vectors.by_digest()
    if over_stays(config):
        return stays.prepare_stays(records, cohort, asked, None, fitted, digests, knowledge)
    return prepare.prepare(records, cohort, asked, None, digests)


def learned(arrays: Arrays, config: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """Returns what a network's training is given beside its inputs: training labels, survival and
    the weight of positives, as they lie on the device; nothing for other methods."""
    if not registry.is_network(config.model.name):
        return {}
    weight = config.train.positive_weight
    if over_stays(config):
        placed = stay_problem.build(arrays, weight, config.train.batch)
    else:
        placed = problem.build(arrays, weight)
    names = ("train_labels", "train_survival", "positive_weight")
    return {name: np.asarray(getattr(placed, name)) for name in names if name in vars(placed)}


def quick(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns a config for a few patients.

    Structure vectors are short and of one step: they rest on the same visits and take a hundredth
    of the time. A node needs two visits at most, as few patients share few codes.
    """
    asked = ml_collections.ConfigDict(config.to_dict())
    asked.features.min_visits = min(asked.features.min_visits, 2)
    asked.features.structure_width, asked.features.structure_window = 4, 1
    return asked


def open_knowledge(config: ml_collections.ConfigDict) -> retrieved.Knowledge | None:
    """Opens the graph that entities are found in; None where the method has none."""
    if not (over_stays(config) and config.realm.use_knowledge):
        return None
    return retrieved.open_knowledge(config.knowledge, None, None)


def parts(arrays: Arrays, config: ml_collections.ConfigDict) -> Parts:
    """Returns the parts of arrays of the method of `config`."""
    return _of_stays(arrays) if over_stays(config) else _of_visits(arrays)


def reads_measurements(config: ml_collections.ConfigDict) -> bool:
    """Does any input of `config` come from measurements?"""
    uses_grid = config.realm.use_series or config.realm.use_knowledge
    of_stays = over_stays(config) and bool(config.series.variables) and uses_grid
    return bool(config.features.measurements) or of_stays


def reads_notes(config: ml_collections.ConfigDict) -> bool:
    """Does any input of `config` come from the notes of the source?"""
    return config.notes.source in ("auto", "own")


def _of_visits(arrays: prepare.Arrays) -> Parts:
    held = {
        "nodes": _nodes(arrays),
        "notes": arrays.notes,
        "has_note": arrays.has_note,
    }
    nodes = arrays.vocabulary
    fitted = {
        "vocabulary": np.array([nodes.codes, nodes.kinds, nodes.names]),
        "structure vectors": arrays.structure,
        "vectors of names": arrays.concepts,
    }
    return Parts(held, {}, fitted)


def _of_stays(arrays: stays.StayArrays) -> Parts:
    held = {name: np.asarray(array) for name, array in arrays.stays.items()}
    held |= {f"score '{name}'": score for name, score in arrays.scores.items()}
    fitted = {
        name: np.array(repr(part)) for name, part in fitted_parts.as_json(arrays.fitted).items()
    }
    if arrays.visits is not None:
        of_codes = _of_visits(arrays.visits)
        held |= {f"visit, {name}": array for name, array in of_codes.inputs.items()}
        fitted |= {f"visit, {name}": part for name, part in of_codes.fitted.items()}
    return Parts(held, {"survival": arrays.survival}, fitted)


def _nodes(arrays: prepare.Arrays) -> np.ndarray:
    """[sample] str: the codes of each sample's nodes, so that a node's number does not matter."""
    node, sample, _, samples = bipartite.unpack(arrays.visits)
    codes = [[] for _ in range(samples)]
    for one, at in zip(np.asarray(node).tolist(), np.asarray(sample).tolist(), strict=True):
        codes[at].append(arrays.vocabulary.codes[one])
    return np.array(["\n".join(sorted(held)) for held in codes], dtype=np.str_)


def rows_that_differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[sample] bool: is any bit of a row different? Padding of the second axis is no difference."""
    if one.ndim > 1 and one.shape[1] != other.shape[1]:
        longest = max(one.shape[1], other.shape[1])
        one, other = _padded(one, longest), _padded(other, longest)
    if one.shape != other.shape:
        return np.ones(len(one), bool)
    if one.dtype.kind == "U":
        return one != other
    if not one.size:
        return np.zeros(len(one), bool)
    return (_bits(one) != _bits(other)).any(axis=1)


def same(one: Any, other: Any) -> bool:
    """Is a fitted part the same, bit for bit?"""
    one, other = np.asarray(one), np.asarray(other)
    return (
        one.shape == other.shape
        and one.dtype.kind == other.dtype.kind
        and (
            bool((one == other).all())
            if one.dtype.kind == "U"
            else one.tobytes() == other.tobytes()
        )
    )


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    widths = [(0, 0)] * array.ndim
    widths[1] = (0, length - array.shape[1])
    return np.pad(array, widths)


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
