"""APACHE IV's own prediction of hospital death, as eICU states it; nothing is fitted.

It rests on the worst values of the first 24 hours in the unit, so a prediction earlier than that
has none. Stays that APACHE does not score get nan, and are left out where the method is evaluated.
"""

import numpy as np

from ehr_jax import errors

SCORE, LABEL = "apache iv", "mortality"


def fit_predict(arrays, config, seed: int) -> np.ndarray:
    """Returns probabilities of every sample, [sample, 1] float32, nan where APACHE gives none.

    Raises ConfigError for another task, and for records without these scores.
    """
    if tuple(arrays.label_names) != (LABEL,):
        raise errors.ConfigError(
            f"method 'apache_iv' predicts death in hospital alone; the task {config.cohort.task} "
            f"has the label(s) {', '.join(arrays.label_names)}: leave it out of "
            "config.benchmark.methods"
        )
    if SCORE not in arrays.scores:
        raise errors.ConfigError(
            f"method 'apache_iv': {config.data.source} gives no prediction of APACHE IV that is "
            "known by the prediction time; it takes eICU with its table apachePatientResult, and "
            "a prediction 24 h after the unit admission or later"
        )
    return arrays.scores[SCORE][:, None].astype(np.float32)
