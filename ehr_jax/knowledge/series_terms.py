"""What a value far from the usual is called: "high heart rate" is tachycardia.

Graphs name findings, not directions of measurements, and the vectors of "low sodium" and "high
sodium" lie near each other, so a series' entities are linked by these names first. The terms are
those of general medical usage; where a variable and a direction have none that holds without
further facts (a share of white cells, a single enzyme of the heart), none stands here.
"""

import dataclasses
from collections.abc import Sequence

import polars as pl

from ehr_jax.knowledge import linking

_PRESSURES = dict.fromkeys(
    (
        f"{measured}{part} blood pressure"
        for measured in ("", "invasive ", "noninvasive ")
        for part in ("systolic", "diastolic", "mean")
    ),
    (("hypotension",), ("hypertension",)),
)
_RED_CELLS = (("anemia",), ("polycythemia", "erythrocytosis"))
_CALCIUM = (("hypocalcemia",), ("hypercalcemia",))
_BILIRUBIN = ((), ("hyperbilirubinemia", "jaundice"))
_TRANSAMINASE = ((), ("hypertransaminasemia", "elevated transaminases", "hepatic dysfunction"))
_CLOTTING_TIME = ((), ("coagulopathy", "blood coagulation disease"))

# Variable of a series: what low and high values are called, the first that the graph has counts.
TERMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "heart rate": (("bradycardia",), ("tachycardia",)),
    **_PRESSURES,
    "respiratory rate": (("bradypnea", "hypoventilation"), ("tachypnea",)),
    "oxygen saturation": (("hypoxemia", "hypoxia"), ()),
    "temperature": (("hypothermia",), ("fever", "hyperthermia")),
    "weight": (("underweight",), ("overweight",)),
    "urine output": (("oliguria",), ("polyuria",)),
    "pH": (("acidosis",), ("alkalosis",)),
    "bicarbonate": (("metabolic acidosis",), ("metabolic alkalosis",)),
    "base excess": (("metabolic acidosis",), ("metabolic alkalosis",)),
    "lactate": ((), ("hyperlactatemia", "lactic acidosis")),
    "partial pressure of carbon dioxide": (("hypocapnia",), ("hypercapnia",)),
    "partial pressure of oxygen": (("hypoxemia", "hypoxia"), ("hyperoxia",)),
    "glucose": (("hypoglycemia",), ("hyperglycemia",)),
    "sodium": (("hyponatremia",), ("hypernatremia",)),
    "potassium": (("hypokalemia",), ("hyperkalemia",)),
    "chloride": (("hypochloremia",), ("hyperchloremia",)),
    "calcium": _CALCIUM,
    "ionized calcium": _CALCIUM,
    "magnesium": (("hypomagnesemia",), ("hypermagnesemia",)),
    "phosphate": (("hypophosphatemia",), ("hyperphosphatemia",)),
    "creatinine": ((), ("kidney failure", "renal insufficiency")),
    "blood urea nitrogen": ((), ("azotemia", "uremia")),
    "bilirubin": _BILIRUBIN,
    "direct bilirubin": _BILIRUBIN,
    "alanine aminotransferase": _TRANSAMINASE,
    "aspartate aminotransferase": _TRANSAMINASE,
    "albumin": (("hypoalbuminemia",), ("hyperalbuminemia",)),
    "cholesterol": (("hypocholesterolemia",), ("hypercholesterolemia", "hyperlipidemia")),
    "C-reactive protein": ((), ("inflammation",)),
    "hematocrit": _RED_CELLS,
    "hemoglobin": _RED_CELLS,
    "mean corpuscular volume": (("microcytosis",), ("macrocytosis",)),
    "methemoglobin": ((), ("methemoglobinemia",)),
    "platelets": (("thrombocytopenia",), ("thrombocytosis",)),
    "white blood cells": (("leukopenia",), ("leukocytosis",)),
    "fibrinogen": (("hypofibrinogenemia",), ("hyperfibrinogenemia",)),
    "INR": _CLOTTING_TIME,
    "partial thromboplastin time": _CLOTTING_TIME,
}


def called(entity: str) -> tuple[str, ...]:
    """Returns what an entity of `abnormal.entities`, "low sodium", is called; best name first."""
    direction, _, variable = entity.partition(" ")
    low, high = TERMS.get(variable, ((), ()))
    return {"low": low, "high": high}.get(direction, ())


def link(linker: linking.Linker, entities: Sequence[str]) -> pl.DataFrame:
    """Links entities by what they are called, and else as any mention is linked.

    The first name that the graph has, exactly or normalised, counts. What it has under none of them
    stays without a node, unless the entity's own words are near enough. Returns `linking.LINKS`, a
    row an entity in their order.
    """
    names = list(dict.fromkeys(name for entity in entities for name in called(entity)))
    by_name = linking.link(dataclasses.replace(linker, dense=None), names)
    found = {
        name: row
        for name, row in zip(names, by_name.iter_rows(), strict=True)
        if row[0] is not None
    }
    own = linking.link(linker, entities).iter_rows()
    rows = [
        next((found[name] for name in called(entity) if name in found), row)
        for entity, row in zip(entities, own, strict=True)
    ]
    return pl.DataFrame(rows, schema=linking.LINKS, orient="row")
