"""Random inputs of the sizes of real ones, for benchmarks that no record is needed for."""

import numpy as np

from ehr_jax.features import stays
from ehr_jax.models import inputs


def of_stays(
    count: int, hours: int, variables: int, chunks: int, entities: int, text: int
) -> stays.StayArrays:
    """Stays with series, pieces of notes and entities, and one label; float32, about 70 % of them
    to train on.

    Args:
      text: numbers of a vector of a piece of a note, or of an entity.
    """
    rng = np.random.default_rng(0)
    draws = np.random.Generator.standard_normal
    normal = lambda *shape: draws(rng, shape, np.float32)  # noqa: E731
    ones = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
    given = inputs.Stays(
        values=normal(count, hours, variables),
        observed=(rng.random((count, hours, variables), np.float32) < 0.5).astype(np.float32),
        elapsed=rng.standard_exponential((count, hours, variables), np.float32) * 5,
        hours=np.tile(np.arange(1.0, hours + 1, dtype=np.float32), (count, 1)),
        steps=np.full(count, hours, np.int32),
        statics=normal(count, 4),
        notes=normal(count, chunks, text),
        note_hours=np.tile(np.arange(chunks, dtype=np.float32), (count, 1)),
        note_mask=ones(count, chunks),
        knowledge=normal(count, entities, text),
        knowledge_hours=np.tile(np.arange(entities, dtype=np.float32), (count, 1)),
        knowledge_mask=ones(count, entities),
        visit=np.zeros((count, 0), np.float32),
        has_visit=np.zeros(count, np.float32),
    )
    return stays.StayArrays(
        stays={name: getattr(given, name) for name in given.__dataclass_fields__},
        variables=tuple(f"variable {k}" for k in range(variables)),
        fitted=None,
        labels=(rng.random((count, 1)) < 0.3).astype(np.float32),
        survival=np.zeros((count, 0), np.float32),
        label_names=("label",),
        split=rng.choice(["train", "validation", "test"], count, p=[0.7, 0.1, 0.2]),
        subjects=np.arange(count),
        counts={},
        retrieved=None,
    )
