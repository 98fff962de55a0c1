"""Small random arrays in the form `features.prepare` gives them."""

import numpy as np

from ehr_jax import config as base
from ehr_jax.features import prepare, vocabulary
from ehr_jax.nn import bipartite


def make_arrays(
    samples: int = 120, nodes: int = 20, labels: int = 2, seed: int = 0, protocol: str = "strict"
) -> prepare.Arrays:
    """Samples whose labels depend on two of their nodes and on a direction of their notes."""
    rng = np.random.default_rng(seed)
    member = rng.random((samples, nodes)) < 0.2
    member[0] = False  # a sample without any node
    sample, node = np.nonzero(member)
    notes = rng.normal(size=(samples, 6)).astype(np.float32)
    logit = 2.0 * member[:, :labels] + 1.5 * notes[:, :labels] - 1.0
    truth = (rng.random((samples, labels)) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    truth[rng.random(samples) < 0.1] = np.nan  # samples that give structure only
    split = np.array(["train", "validation", "test"])[rng.choice(3, samples, p=[0.5, 0.2, 0.3])]
    names = tuple(f"code {k}" for k in range(nodes))
    return prepare.Arrays(
        vocabulary=vocabulary.Vocabulary(names, ("diagnosis",) * nodes, names),
        visits=bipartite.pack(node, sample, nodes, samples),
        structure=rng.normal(size=(nodes, 4)).astype(np.float32),
        concepts=rng.normal(size=(nodes, 6)).astype(np.float32),
        notes=notes,
        has_note=rng.random(samples) < 0.9,
        labels=truth,
        label_names=tuple(f"label_{k}" for k in range(labels)),
        split=split,
        subjects=np.arange(samples),
        shapes=split == "train" if protocol == "strict" else np.ones(samples, bool),
        counts={"notes": {"source": "own", "samples_with_text": samples}},
    )


def make_config(**changes):
    """A config of a network small enough for a test."""
    config = base.defaults()
    config.model.depth = 1
    config.model.width = 8
    config.model.heads = 2
    config.train.steps = 20
    config.train.learning_rate = 0.01
    for key, value in changes.items():
        config.update_from_flattened_dict({key.replace("__", "."): value})
    return config
