"""The variables of time series and their sets, by name, as the tables in `data/` describe them.

`variables.csv` holds units and limits: those of the MIMIC-III benchmark's published table, and wide
ones of our own for what it lacks (from "base excess" on), meant to remove nothing but errors of
recording. `items.csv` says what each source calls a variable, and the unit of its rows that state
none: MIMIC's item ids are the benchmark's, with MIMIC-IV's own, FiO2 as set (CHART:190) and a
second manual diastolic pressure. Left out are its laboratory items of urine and other body fluids
(glucose 51478, pH 50831, 51094, 51491), which are not the blood's. The challenge of 2012 keeps
invasive and other blood pressures apart, says when a patient is ventilated and never when not, and
has the coma score as a number, whose order is worth knowing with few stays. A capillary refill of 0
is within 3 s, of 1 later.

`sets.csv` has the sets, each in the order of its publication: the MIMIC-III benchmark (Harutyunyan
et al. 2019) as REALM takes it over, the PhysioNet/Computing in Cardiology Challenge 2012, and Yet
Another ICU Benchmark (van de Water et al. 2024).
"""

from ehr_jax import errors, packaged
from ehr_jax.features import units, variable

_PACKAGE = "ehr_jax.features"


def _variables() -> dict[str, variable.Variable]:
    items: dict[str, list[dict]] = {}
    for row in packaged.rows(_PACKAGE, "data/items.csv"):
        items.setdefault(row["variable"], []).append(row)
    described = {}
    for row in packaged.rows(_PACKAGE, "data/variables.csv"):
        name, unit = row["name"], row["unit"]
        described[name] = variable.Variable(
            name,
            unit,
            *(float(row[limit]) for limit in ("least", "low", "high", "most")),
            tuple(variable.Item(item["item"], item["unit"] or unit) for item in items[name]),
            category=row["category"] == "yes",
            rule=row["rule"],
            other_units=tuple(units.OF_VARIABLE.get(name, {}).items()),
        )
    return described


def _sets() -> dict[str, tuple[str, ...]]:
    sets: dict[str, tuple[str, ...]] = {}
    for row in packaged.rows(_PACKAGE, "data/sets.csv"):
        sets[row["set"]] = (*sets.get(row["set"], ()), row["variable"])
    return sets


VARIABLES = _variables()
SETS = _sets()


def named(name: str) -> tuple[variable.Variable, ...]:
    """Returns the variables of a set, in its order. Raises ConfigError for an unknown set."""
    if name not in SETS:
        raise errors.ConfigError(
            f"config.series.variables: '{name}' is not a set of variables; there are "
            f"{', '.join(SETS)}."
            f"{errors.did_you_mean(name, SETS)}"
        )
    return tuple(VARIABLES[known] for known in SETS[name])
