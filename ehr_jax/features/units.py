"""Units of measurement: how a source may spell them, and how one becomes another.

`CONVERSIONS[unit]` maps each spelling that is known for a variable kept in `unit` to (scale,
offset): kept = scale * recorded + offset. A spelling is compared as `spelling` writes it.
"""

import polars as pl

_ONE = (1.0, 0.0)


def spelling(unit: pl.Expr) -> pl.Expr:
    """Returns units in one spelling: "Deg. F", "°F" and "?F" become "f", "mm Hg" "mmhg"."""
    plain = unit.str.to_lowercase().str.replace_all("[µμ]", "u")
    return plain.str.replace_all(r"&#176;|[\s.?°º^]|deg(rees)?", "")


def _same(*spellings: str) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(spellings, _ONE)


CONVERSIONS = {
    "/min": _same("/min", "bpm", "beats/min", "breaths/min", "insp/min", "resp/min"),
    "mmHg": _same("mmhg", "torr") | {"kpa": (7.50062, 0.0)},
    "C": _same("c", "celsius", "cel") | {"f": (5 / 9, -160 / 9), "fahrenheit": (5 / 9, -160 / 9)},
    "kg": _same("kg")
    | dict.fromkeys(("lb", "lbs", "pounds"), (0.45359237, 0.0))
    | dict.fromkeys(("oz", "ounces"), (0.028349523125, 0.0))
    | {"g": (0.001, 0.0)},
    "cm": _same("cm") | dict.fromkeys(("in", "inch", "inches"), (2.54, 0.0)) | {"m": (100.0, 0.0)},
    # CareVue writes "torr" beside fractions; whether a number is a percentage is told by its size.
    "fraction": _same("fraction", "decfrc", "torr", "%", "percent"),
    "%": _same("%", "percent"),
    "mmol/L": _same("mmol/l", "meq/l"),
    "mg/dL": _same("mg/dl") | {"mg/l": (0.1, 0.0), "g/l": (100.0, 0.0)},
    "mg/L": _same("mg/l") | {"mg/dl": (10.0, 0.0)},
    "g/dL": _same("g/dl") | {"g/l": (0.1, 0.0)},
    "ng/mL": _same("ng/ml", "ug/l", "mcg/l"),
    "IU/L": _same("iu/l", "u/l", "units/l"),
    "K/uL": _same("k/ul", "k/mm3", "k/mcl", "10*3/ul", "x10*3/ul", "10*9/l", "x10*9/l", "109/l"),
    "pg": _same("pg"),
    "fL": _same("fl", "um3"),
    "s": _same("s", "sec", "secs", "seconds"),
    "mL": _same("ml") | {"l": (1000.0, 0.0)},
    "pH": _same("ph", "units"),
    "ratio": _same("ratio"),
    "points": _same("points", "score"),
}
