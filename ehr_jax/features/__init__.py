"""From a cohort to arrays; everything fitted is fitted on training samples alone."""
