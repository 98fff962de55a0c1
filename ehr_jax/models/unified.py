"""MINGLE and REALM in one network: a hyperedge's state is one more modality of a stay's fusion.

Neither paper has it. MINGLE (`mingle.Mingle.shape`) shapes the states of codes by the training
visits; a stay's visit state, that of its hyperedge over the codes known at its prediction time, is
one token among the series, text and knowledge that REALM fuses. Both are trained at once on the
stays' loss (`training.unified_problem`): a step encodes all training visits, however many stays its
batch has, so that node states are those of the network itself and a stay's score depends on no
other stay that is scored with it. The cost of a step therefore grows with the training visits; at
100,000 of them MINGLE's half is most of it.

The visit state is of codes and of what they are called (config.model.use_concepts); notes are
REALM's modality and enter once (config.model.use_notes is not read).
"""

import dataclasses
from typing import Any

import jax

from ehr_jax.models import inputs, mingle, realm


@dataclasses.dataclass(frozen=True)
class Unified:
    """The two networks; parameters are {"codes": of `codes`, "stays": of `stays`}."""

    codes: mingle.Mingle
    stays: realm.Realm

    RATES = ()
    SPREADS = False


def build(config, labels: int) -> Unified:
    """Returns the networks of `config.model` and `config.realm`, its `use_visit` taken as True.

    Raises ConfigError where values do not fit.
    """
    of_codes = mingle.build(config.model, labels).clone(use_notes=False)
    return Unified(of_codes, realm.build(config.realm, labels).clone(use_visit=True))


def shape(
    model: Unified,
    params: Any,
    nodes: inputs.Nodes,
    visits: inputs.Visits,
    dropout: jax.Array | None = None,
) -> tuple[jax.Array, mingle.Frozen]:
    """Returns the states of the visits that shape the network, and what reading others needs.

    Args:
      dropout: the key of a training step; None scores.

    Returns:
      [visit, (L + 1) width] float32, and `mingle.Frozen`.
    """
    rngs = {} if dropout is None else {"dropout": dropout}
    return model.codes.apply(
        params["codes"], nodes, visits, train=dropout is not None, method="shape", rngs=rngs
    )


def read(
    model: Unified, params: Any, nodes: inputs.Nodes, visits: inputs.Visits, frozen: mingle.Frozen
) -> jax.Array:
    """Returns the states of other visits, each by itself: [visit, (L + 1) width] float32."""
    return model.codes.apply(params["codes"], nodes, visits, frozen, method="read_states")
