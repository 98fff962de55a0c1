"""From a cohort to arrays: vocabulary, hypergraph, structure vectors, texts. Fitted on training only."""
