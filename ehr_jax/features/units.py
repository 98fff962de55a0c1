"""Units of measurement: how a source may spell them, and how one becomes another.

`CONVERSIONS[unit]` maps each spelling that is known for a variable kept in `unit` to (scale,
offset): kept = scale * recorded + offset. `OF_VARIABLE[name]` maps further spellings to the scale
of this substance alone, by its molar mass. A spelling is compared as `spelling` writes it.

Both are in `data/conversions.csv`. CareVue writes "torr" beside fractions of inspired oxygen; that
a number is a percentage is told by its size.
"""

import polars as pl

from ehr_jax import packaged


def spelling(unit: pl.Expr) -> pl.Expr:
    """Returns units in one spelling: "Deg. F", "°F" and "?F" become "f", "mm Hg" "mmhg"."""
    plain = unit.str.to_lowercase().str.replace_all("[µμ]", "u")
    return plain.str.replace_all(r"&#176;|[\s.?°º^]|deg(rees)?", "")


def _conversions() -> tuple[dict, dict]:
    of_unit: dict[str, dict[str, tuple[float, float]]] = {}
    of_variable: dict[str, dict[str, float]] = {}
    for row in packaged.rows("ehr_jax.features", "data/conversions.csv"):
        scale, offset = float(row["scale"]), float(row["offset"])
        if row["variable"]:
            of_variable.setdefault(row["variable"], {})[row["spelling"]] = scale
        else:
            of_unit.setdefault(row["unit"], {})[row["spelling"]] = (scale, offset)
    return of_unit, of_variable


CONVERSIONS, OF_VARIABLE = _conversions()
