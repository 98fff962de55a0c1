"""ehr_jax: hypergraph and language-model prediction from health records, in JAX."""

__version__ = "0.1.0"
