"""FHIR R4 bulk exports."""
