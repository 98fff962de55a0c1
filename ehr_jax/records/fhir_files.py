"""The name by which other programs import `fhir.resources`, such as to ask for an `identifier`."""

from ehr_jax.records.fhir.resources import identifier, identifiers

__all__ = ["identifier", "identifiers"]
