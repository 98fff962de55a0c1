"""What is charted at the bedside: vital signs, scores of consciousness, body size, ventilation.

The 17 variables of the MIMIC-III benchmark are here (glucose and pH among them), with the item ids
and limits its published tables give. Beyond those: MIMIC-IV's own items, FiO2 as set (CHART:190),
and a second manual diastolic pressure. Left out: its laboratory items of urine and other body
fluids (glucose 51478, pH 50831, 51094, 51491), which are not the blood's.
"""

from ehr_jax.features import variable

_PRESSURE = (0, 0, 375, 375)
_MEAN_PRESSURE = (0, 14, 330, 375)

_ARTERIAL_SYSTOLIC = "51 6701 220050 225309"
_ARTERIAL_DIASTOLIC = "8368 8555 220051 225310"
_ARTERIAL_MEAN = "52 6702 224 220052 225312 224322"
_CUFF_SYSTOLIC = "455 442 3313 3315 3317 3321 3323 220179 224167 227243"
_CUFF_DIASTOLIC = "8441 8440 8502 8503 8504 8506 8507 220180 224643 227242"
_CUFF_MEAN = "456 3312 3314 3316 3320 3322 220181"

# eICU: monitors, then nurses.
_EICU_ARTERIAL_SYSTOLIC = "VITAL:systemicsystolic; NURSE:Invasive BP, Invasive BP Systolic"
_EICU_CUFF_SYSTOLIC = "VITAL:noninvasivesystolic; NURSE:Non-Invasive BP, Non-Invasive BP Systolic"
_EICU_ARTERIAL_DIASTOLIC = "VITAL:systemicdiastolic; NURSE:Invasive BP, Invasive BP Diastolic"
_EICU_CUFF_DIASTOLIC = (
    "VITAL:noninvasivediastolic; NURSE:Non-Invasive BP, Non-Invasive BP Diastolic"
)
_EICU_ARTERIAL_MEAN = "VITAL:systemicmean; NURSE:Invasive BP, Invasive BP Mean"
_EICU_CUFF_MEAN = "VITAL:noninvasivemean; NURSE:Non-Invasive BP, Non-Invasive BP Mean"

_EICU_FAHRENHEIT = "NURSE:Temperature, Temperature (F)"
_FAHRENHEIT = ("CHART:678", "CHART:679", "CHART:3654", "CHART:223761", _EICU_FAHRENHEIT)

_ROWS = (
    variable.describe(
        "heart rate",
        "/min",
        (0, 0, 350, 390),
        chart="211 220045",
        p12="HR",
        yaib="hr",
        eicu="VITAL:heartrate; NURSE:Heart Rate",
    ),
    variable.describe(
        "respiratory rate",
        "/min",
        (0, 0, 300, 330),
        chart="618 3603 614 615 651 220210 224422 224689 224690",
        p12="RespRate",
        yaib="resp",
        eicu="VITAL:respiration; NURSE:Respiratory Rate",
    ),
    variable.describe(
        "oxygen saturation",
        "%",
        (0, 0, 100, 150),
        chart="646 834 8498 220277 220227",
        lab="50817",
        p12="SaO2",
        yaib="o2sat",
        rule="percent",
        eicu="VITAL:sao2; NURSE:O2 Saturation; LAB:O2 Sat (%)",
    ),
    variable.describe(
        "inspired oxygen",
        "fraction",
        (0.2, 0.21, 1.0, 1.1),
        chart="3420 3422 189 190 727 223835",
        p12="FiO2",
        yaib="fio2",
        rule="fraction",
        eicu="LAB:FiO2",
    ),
    variable.describe(
        "temperature",
        "C",
        (14.2, 26, 45, 47),
        chart="676 677 3655 223762 678 679 3654 223761",
        p12="Temp",
        yaib="temp",
        recorded=dict.fromkeys(_FAHRENHEIT, "F"),
        eicu=f"VITAL:temperature; NURSE:Temperature, Temperature (C); {_EICU_FAHRENHEIT}",
    ),
    variable.describe(
        "systolic blood pressure",
        "mmHg",
        _PRESSURE,
        chart=f"{_ARTERIAL_SYSTOLIC} {_CUFF_SYSTOLIC}",
        p12="SysABP NISysABP",
        yaib="sbp",
        eicu=f"{_EICU_ARTERIAL_SYSTOLIC}; {_EICU_CUFF_SYSTOLIC}",
    ),
    variable.describe(
        "diastolic blood pressure",
        "mmHg",
        _PRESSURE,
        chart=f"{_ARTERIAL_DIASTOLIC} {_CUFF_DIASTOLIC}",
        p12="DiasABP NIDiasABP",
        yaib="dbp",
        eicu=f"{_EICU_ARTERIAL_DIASTOLIC}; {_EICU_CUFF_DIASTOLIC}",
    ),
    variable.describe(
        "mean blood pressure",
        "mmHg",
        _MEAN_PRESSURE,
        chart=f"{_ARTERIAL_MEAN} {_CUFF_MEAN}",
        p12="MAP NIMAP",
        yaib="map",
        eicu=f"{_EICU_ARTERIAL_MEAN}; {_EICU_CUFF_MEAN}",
    ),
    # The challenge of 2012 keeps the two ways of measuring apart.
    variable.describe(
        "invasive systolic blood pressure",
        "mmHg",
        _PRESSURE,
        chart=_ARTERIAL_SYSTOLIC,
        p12="SysABP",
        eicu=_EICU_ARTERIAL_SYSTOLIC,
    ),
    variable.describe(
        "invasive diastolic blood pressure",
        "mmHg",
        _PRESSURE,
        chart=_ARTERIAL_DIASTOLIC,
        p12="DiasABP",
        eicu=_EICU_ARTERIAL_DIASTOLIC,
    ),
    variable.describe(
        "invasive mean blood pressure",
        "mmHg",
        _MEAN_PRESSURE,
        chart=_ARTERIAL_MEAN,
        p12="MAP",
        eicu=_EICU_ARTERIAL_MEAN,
    ),
    variable.describe(
        "noninvasive systolic blood pressure",
        "mmHg",
        _PRESSURE,
        chart=_CUFF_SYSTOLIC,
        p12="NISysABP",
        eicu=_EICU_CUFF_SYSTOLIC,
    ),
    variable.describe(
        "noninvasive diastolic blood pressure",
        "mmHg",
        _PRESSURE,
        chart=_CUFF_DIASTOLIC,
        p12="NIDiasABP",
        eicu=_EICU_CUFF_DIASTOLIC,
    ),
    variable.describe(
        "noninvasive mean blood pressure",
        "mmHg",
        _MEAN_PRESSURE,
        chart=_CUFF_MEAN,
        p12="NIMAP",
        eicu=_EICU_CUFF_MEAN,
    ),
    # 0: refills within 3 s, 1: later.
    variable.describe(
        "capillary refill",
        "points",
        (0, 0, 1, 1),
        chart="115 3348 8377 223951 224308",
        category=True,
    ),
    variable.describe(
        "Glasgow coma scale eye opening",
        "points",
        (1, 1, 4, 4),
        chart="184 220739",
        category=True,
        eicu="NURSE:Glasgow coma score, Eyes",
    ),
    variable.describe(
        "Glasgow coma scale motor response",
        "points",
        (1, 1, 6, 6),
        chart="454 223901",
        category=True,
        eicu="NURSE:Glasgow coma score, Motor",
    ),
    variable.describe(
        "Glasgow coma scale verbal response",
        "points",
        (1, 1, 5, 5),
        chart="723 223900",
        category=True,
        eicu="NURSE:Glasgow coma score, Verbal",
    ),
    variable.describe(
        "Glasgow coma scale total",
        "points",
        (3, 3, 15, 15),
        chart="198",
        category=True,
        eicu="NURSE:Glasgow coma score, GCS Total",
        synthetic="coma scale",
    ),
    # The same as a number: its levels are ordered, and with few stays that is worth knowing.
    variable.describe("Glasgow coma score", "points", (3, 3, 15, 15), p12="GCS"),
    variable.describe(
        "height",
        "cm",
        (0, 0, 240, 275),
        chart="1394 226707 226730",
        recorded={"CHART:1394": "in", "CHART:226707": "in"},
    ),
    variable.describe(
        "weight",
        "kg",
        (0, 0, 250, 250),
        chart="763 3580 3581 3582 3693 224639 226512 226531",
        p12="Weight",
        recorded={"CHART:3581": "lb", "CHART:226531": "lb", "CHART:3582": "oz"},
    ),
    # The files say when a patient is ventilated, never when not.
    variable.describe(
        "mechanical ventilation", "points", (1, 1, 1, 1), p12="MechVent", category=True
    ),
    variable.describe(
        "urine output",
        "mL",
        (0, 0, 1200, 2445),
        chart="226559 226560 226561 226563 226564 226565 226567 226584 226627 226631",
        p12="Urine",
        yaib="urine",
    ),
)

VARIABLES = {row.name: row for row in _ROWS}
