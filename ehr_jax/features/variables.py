"""The sets of time-series variables, by name; each variable stands in one of the two tables."""

from ehr_jax import errors
from ehr_jax.features import variable, variables_labs, variables_vitals

VARIABLES = variables_vitals.VARIABLES | variables_labs.VARIABLES

# Each in the order of its publication.
SETS = {
    # The MIMIC-III benchmark (Harutyunyan et al. 2019), as REALM takes it over.
    "mimic17": (
        "capillary refill",
        "diastolic blood pressure",
        "inspired oxygen",
        "Glasgow coma scale eye opening",
        "Glasgow coma scale motor response",
        "Glasgow coma scale total",
        "Glasgow coma scale verbal response",
        "glucose",
        "heart rate",
        "height",
        "mean blood pressure",
        "oxygen saturation",
        "respiratory rate",
        "systolic blood pressure",
        "temperature",
        "weight",
        "pH",
    ),
    # PhysioNet/Computing in Cardiology Challenge 2012.
    "physionet37": (
        "alkaline phosphatase",
        "alanine aminotransferase",
        "aspartate aminotransferase",
        "albumin",
        "blood urea nitrogen",
        "bilirubin",
        "cholesterol",
        "creatinine",
        "invasive diastolic blood pressure",
        "inspired oxygen",
        "Glasgow coma score",
        "glucose",
        "bicarbonate",
        "hematocrit",
        "heart rate",
        "potassium",
        "lactate",
        "invasive mean blood pressure",
        "mechanical ventilation",
        "magnesium",
        "noninvasive diastolic blood pressure",
        "noninvasive mean blood pressure",
        "noninvasive systolic blood pressure",
        "sodium",
        "partial pressure of carbon dioxide",
        "partial pressure of oxygen",
        "platelets",
        "respiratory rate",
        "oxygen saturation",
        "invasive systolic blood pressure",
        "temperature",
        "troponin I",
        "troponin T",
        "urine output",
        "white blood cells",
        "weight",
        "pH",
    ),
    # Yet Another ICU Benchmark (van de Water et al. 2024).
    "yaib48": (
        "albumin",
        "alkaline phosphatase",
        "alanine aminotransferase",
        "aspartate aminotransferase",
        "base excess",
        "bicarbonate",
        "bilirubin",
        "direct bilirubin",
        "band neutrophils",
        "blood urea nitrogen",
        "calcium",
        "ionized calcium",
        "creatine kinase",
        "creatine kinase MB",
        "chloride",
        "creatinine",
        "C-reactive protein",
        "diastolic blood pressure",
        "fibrinogen",
        "inspired oxygen",
        "glucose",
        "hemoglobin",
        "heart rate",
        "INR",
        "potassium",
        "lactate",
        "lymphocytes",
        "mean blood pressure",
        "mean corpuscular hemoglobin",
        "mean corpuscular hemoglobin concentration",
        "mean corpuscular volume",
        "methemoglobin",
        "magnesium",
        "sodium",
        "neutrophils",
        "oxygen saturation",
        "partial pressure of carbon dioxide",
        "pH",
        "phosphate",
        "platelets",
        "partial pressure of oxygen",
        "partial thromboplastin time",
        "respiratory rate",
        "systolic blood pressure",
        "temperature",
        "troponin T",
        "urine output",
        "white blood cells",
    ),
}


def named(name: str) -> tuple[variable.Variable, ...]:
    """Returns the variables of a set, in its order. Raises ConfigError for an unknown set."""
    if name not in SETS:
        raise errors.ConfigError(
            f"config.series.variables: '{name}' is not a set of variables; there are "
            f"{', '.join(SETS)}."
            f"{errors.did_you_mean(name, SETS)}"
        )
    return tuple(VARIABLES[known] for known in SETS[name])
