"""What a method is given, by the very builders of a run, and cut into parts that can be compared.

Texts are told apart by digests in place of an encoder's vectors, and entities are linked by name.
"""

from typing import Any

import ml_collections
import numpy as np

from ehr_jax.features import arrays as features
from ehr_jax.features import fitted as fitted_parts
from ehr_jax.features import once, retrieved, vectors
from ehr_jax.models import registry
from ehr_jax.training import kinds


def build(
    known: once.Known,
    config: ml_collections.ConfigDict,
    reads: features.Reads,
    fitted: fitted_parts.Fitted | None = None,
    knowledge: retrieved.Knowledge | None = None,
) -> features.Arrays:
    """Makes the arrays of a cohort as a run does, without an encoder or a language model.

    Args:
      reads: what is made of them.
      fitted, knowledge: as of `stays.prepare_stays`; of no use to methods over visits.
    """
    asked = ml_collections.ConfigDict(config.to_dict())
    asked.knowledge.extractor = "gazetteer"
    digests = vectors.by_digest()
    kind = registry.resolve(config.model.name).kind
    return kind.make_arrays(known, asked, reads, fitted, digests, knowledge)


def learned(arrays: features.Arrays, config: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """Returns what a network's training is given beside its inputs: training labels, survival and
    the weight of positives, as they lie on the device; nothing for other methods."""
    method = registry.resolve(config.model.name)
    if not method.is_network:
        return {}
    alone = ml_collections.ConfigDict(config.to_dict())
    alone.train.devices, alone.train.shards = 1, 1
    placed = method.kind.build(kinds.job(alone, arrays))
    learned_parts = {"targets": placed.train_targets, "positive_weight": placed.positive_weight}
    return {name: np.asarray(part) for name, part in learned_parts.items()}


def quick(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns a config for a few patients.

    Structure vectors are short and of one step: they rest on the same visits and take a hundredth
    of the time. A node needs two visits at most, as few patients share few codes.
    """
    asked = ml_collections.ConfigDict(config.to_dict())
    asked.features.min_visits = min(asked.features.min_visits, 2)
    asked.features.structure_width, asked.features.structure_window = 4, 1
    return asked


def open_knowledge(
    config: ml_collections.ConfigDict, reads: features.Reads
) -> retrieved.Knowledge | None:
    """Opens the graph that entities are found in; None where none is read."""
    if not reads.knowledge:
        return None
    return retrieved.open_knowledge(config.knowledge, None, None)


def graph(known: once.Known, config, arrays: features.Arrays) -> tuple[Any, Any]:
    """Returns (config.features, nodes) as of `training.kinds.Kind.graph`."""
    return registry.resolve(config.model.name).kind.graph(known, config, arrays)


def reads(config: ml_collections.ConfigDict) -> features.Reads:
    """Returns what the method of `config` reads."""
    return registry.resolve(config.model.name).kind.reads(config)


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
