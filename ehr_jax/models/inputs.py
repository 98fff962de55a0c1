"""What networks are given: nodes and hyperedges over them, or a batch of stays."""

import flax.struct
import jax
import jax.numpy as jnp

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
      real: [visit + self-loop] float32, 0 for rows that only pad; None where none does.
    """

    incidence: spmm.Incidence
    loops: jax.Array
    notes: jax.Array
    has_note: jax.Array
    num_visits: int = flax.struct.field(pytree_node=False)
    real: jax.Array | None = None


class Stays(flax.struct.PyTreeNode):
    """A batch of stays: series on a grid, note chunks, retrieved knowledge, a visit's state.

    Everything is padded to one shape and masked; what stands in padding is never read. Any axis but
    the batch may have length 0 where a modality is not used. Hours count from one time of the stay
    (the start of its grid), so that steps, notes and entities share a clock; nothing is later than
    the prediction time.

    Attributes:
      values: [batch, time, variable] float32, scaled by statistics of training stays, carried
        forward, 0 where never seen.
      observed: [batch, time, variable] float32, 1 where measured within the step.
      elapsed: [batch, time, variable] float32, hours from the last observation to the step's end.
      hours: [batch, time] float32, of each step's end.
      steps: [batch] int32, how many of the last steps are the stay's; those before are padding. 0
        for a stay without series.
      statics: [batch, static] float32.
      notes: [batch, chunk, text width] float32, vectors of chunks of notes.
      note_hours: [batch, chunk] float32, when each was charted.
      note_mask: [batch, chunk] float32, 1 where there is one.
      knowledge: [batch, entity, text width] float32, vectors of what was retrieved for each entity.
      knowledge_hours: [batch, entity] float32, when the entity was found: that of its note, or of
        the abnormal value.
      knowledge_mask: [batch, entity] float32, 1 where there is one.
      visit: [batch, visit width] float32, the state of the stay's hyperedge over codes.
      has_visit: [batch] float32, 1 where there is one.
    """

    values: jax.Array
    observed: jax.Array
    elapsed: jax.Array
    hours: jax.Array
    steps: jax.Array
    statics: jax.Array
    notes: jax.Array
    note_hours: jax.Array
    note_mask: jax.Array
    knowledge: jax.Array
    knowledge_hours: jax.Array
    knowledge_mask: jax.Array
    visit: jax.Array
    has_visit: jax.Array

    @property
    def step_mask(self) -> jax.Array:
        """[batch, time] float32, 1 where a step is the stay's."""
        length = self.values.shape[1]
        at = jnp.arange(length)
        return (at >= length - self.steps[:, None]).astype(jnp.float32)
