"""The name by which other programs import `variables.VARIABLES`."""

from ehr_jax.features.variables import VARIABLES

__all__ = ["VARIABLES"]
