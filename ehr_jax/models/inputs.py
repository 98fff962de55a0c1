"""What a network over visits is given: its nodes, and hyperedges to shape or only to read them."""

import flax.struct
import jax

from ehr_jax.nn import spmm


class Nodes(flax.struct.PyTreeNode):
    """Fixed vectors of the codes.

    Attributes:
      structure: [node, structure width] float32, from the co-occurrence of codes.
      concept: [node, text width] float32, from the names of codes.
    """

    structure: jax.Array
    concept: jax.Array


class Visits(flax.struct.PyTreeNode):
    """Hyperedges over the nodes.

    Attributes:
      incidence: nodes -> hyperedges; the first `num_visits` hyperedges are visits, any others
        are self-loops.
      loops: [self-loop] int32, the node of each self-loop.
      notes: [visit, text width] float32; zero where there is none.
      has_note: [visit] float32, 1 where there is one.
      num_visits: static.
    """

    incidence: spmm.Incidence
    loops: jax.Array
    notes: jax.Array
    has_note: jax.Array
    num_visits: int = flax.struct.field(pytree_node=False)
