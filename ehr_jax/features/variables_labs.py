"""What the laboratory measures in blood.

Item ids are MIMIC's blood and serum items. Limits are those of the MIMIC-III benchmark's published
table; the rows after "not in the benchmark's table" have wide limits of our own, meant to remove
nothing but errors of recording. Conversions beside a row are by the substance's molar mass.
"""

from ehr_jax.features import variable

_ROWS = (
    variable.describe(
        "glucose",
        "mg/dL",
        (0, 33, 2000, 2200),
        chart="807 811 1529 3745 220621 225664 226537",
        lab="50809 50931 52569",
        p12="Glucose",
        yaib="glu",
        other_units={"mmol/l": 18.016},
        eicu="LAB:glucose; LAB:bedside glucose; NURSE:Bedside Glucose",
    ),
    variable.describe(
        "pH",
        "pH",
        (6.3, 6.3, 8.4, 10),
        chart="780 860 1126 1673 3839 4202 4753 220274 223830",
        lab="50820",
        p12="pH",
        yaib="ph",
        eicu="LAB:pH",
    ),
    variable.describe(
        "alkaline phosphatase",
        "IU/L",
        (0, 20, 3625, 4000),
        lab="50863",
        p12="ALP",
        yaib="alp",
        eicu="LAB:alkaline phos.",
    ),
    variable.describe(
        "alanine aminotransferase",
        "IU/L",
        (0, 2, 10000, 11000),
        lab="50861",
        p12="ALT",
        yaib="alt",
        eicu="LAB:ALT (SGPT)",
    ),
    variable.describe(
        "aspartate aminotransferase",
        "IU/L",
        (0, 6, 20000, 22000),
        lab="50878",
        p12="AST",
        yaib="ast",
        eicu="LAB:AST (SGOT)",
    ),
    variable.describe(
        "albumin",
        "g/dL",
        (0, 0.6, 6, 60),
        lab="50862",
        p12="Albumin",
        yaib="alb",
        eicu="LAB:albumin",
    ),
    variable.describe(
        "blood urea nitrogen",
        "mg/dL",
        (0, 0, 250, 275),
        lab="51006",
        p12="BUN",
        yaib="bun",
        other_units={"mmol/l": 2.801},
        eicu="LAB:BUN",
    ),
    variable.describe(
        "bilirubin",
        "mg/dL",
        (0, 0.1, 60, 66),
        lab="50885",
        p12="Bilirubin",
        yaib="bili",
        other_units={"umol/l": 1 / 17.1},
        eicu="LAB:total bilirubin",
    ),
    variable.describe(
        "cholesterol",
        "mg/dL",
        (0, 32, 600, 660),
        lab="50907",
        p12="Cholesterol",
        other_units={"mmol/l": 38.67},
        eicu="LAB:total cholesterol",
    ),
    variable.describe(
        "creatinine",
        "mg/dL",
        (0, 0.1, 60, 66),
        lab="50912",
        p12="Creatinine",
        yaib="crea",
        other_units={"umol/l": 1 / 88.42},
        eicu="LAB:creatinine",
    ),
    variable.describe(
        "bicarbonate",
        "mmol/L",
        (0, 0, 60, 66),
        lab="50882",
        p12="HCO3",
        yaib="bicar",
        eicu="LAB:bicarbonate; LAB:HCO3",
    ),
    variable.describe(
        "hematocrit", "%", (0, 0, 75, 100), lab="51221 50810", p12="HCT", eicu="LAB:Hct"
    ),
    variable.describe(
        "potassium",
        "mmol/L",
        (0, 0, 12, 15),
        lab="50971 50822",
        p12="K",
        yaib="k",
        eicu="LAB:potassium",
    ),
    variable.describe(
        "sodium",
        "mmol/L",
        (0, 50, 225, 250),
        lab="50983 50824",
        p12="Na",
        yaib="na",
        eicu="LAB:sodium",
    ),
    variable.describe(
        "lactate",
        "mmol/L",
        (0, 0.4, 30, 33),
        lab="50813",
        p12="Lactate",
        yaib="lact",
        other_units={"mg/dl": 1 / 9.008},
        eicu="LAB:lactate",
    ),
    variable.describe(
        "magnesium",
        "mg/dL",
        (0, 0, 20, 22),
        lab="50960",
        p12="Mg",
        yaib="mg",
        other_units={"mmol/l": 2.431, "meq/l": 1.2155},
        eicu="LAB:magnesium",
    ),
    variable.describe(
        "partial pressure of carbon dioxide",
        "mmHg",
        (0, 0, 200, 220),
        lab="50818",
        p12="PaCO2",
        yaib="pco2",
        eicu="LAB:paCO2",
    ),
    variable.describe(
        "partial pressure of oxygen",
        "mmHg",
        (0, 32, 700, 770),
        lab="50821",
        p12="PaO2",
        yaib="po2",
        eicu="LAB:paO2",
    ),
    variable.describe(
        "platelets",
        "K/uL",
        (0, 0, 2000, 2200),
        lab="51265",
        p12="Platelets",
        yaib="plt",
        eicu="LAB:platelets x 1000",
    ),
    variable.describe(
        "white blood cells",
        "K/uL",
        (0, 0, 1000, 1100),
        lab="51301 51300",
        p12="WBC",
        yaib="wbc",
        eicu="LAB:WBC x 1000",
    ),
    variable.describe(
        "troponin I",
        "ng/mL",
        (0, 0.01, 49.6, 575),
        lab="51002",
        p12="TroponinI",
        eicu="LAB:troponin - I",
    ),
    variable.describe(
        "troponin T",
        "ng/mL",
        (0, 0.01, 20.85, 24),
        lab="51003",
        p12="TroponinT",
        yaib="tnt",
        eicu="LAB:troponin - T",
    ),
    variable.describe(
        "chloride", "mmol/L", (0, 50, 175, 200), lab="50902 50806", yaib="cl", eicu="LAB:chloride"
    ),
    variable.describe(
        "hemoglobin",
        "g/dL",
        (0, 0, 25, 30),
        lab="51222 50811",
        yaib="hgb",
        other_units={"mmol/l": 1.611},
        eicu="LAB:Hgb",
    ),
    variable.describe(
        "phosphate",
        "mg/dL",
        (0, 0.5, 20, 22),
        lab="50970",
        yaib="phos",
        other_units={"mmol/l": 3.097},
        eicu="LAB:phosphate",
    ),
    variable.describe(
        "partial thromboplastin time",
        "s",
        (0, 18.8, 150, 150),
        lab="51275",
        yaib="ptt",
        eicu="LAB:PTT",
    ),
    # Not in the benchmark's table.
    variable.describe(
        "base excess",
        "mmol/L",
        (-100, -50, 50, 100),
        lab="50802",
        yaib="be",
        eicu="LAB:Base Excess",
    ),
    variable.describe(
        "direct bilirubin",
        "mg/dL",
        (0, 0, 60, 66),
        lab="50883",
        yaib="bili_dir",
        other_units={"umol/l": 1 / 17.1},
        eicu="LAB:direct bilirubin",
    ),
    variable.describe(
        "band neutrophils", "%", (0, 0, 100, 100), lab="51144", yaib="bnd", eicu="LAB:-bands"
    ),
    variable.describe(
        "calcium",
        "mg/dL",
        (0, 2, 25, 30),
        lab="50893",
        yaib="ca",
        other_units={"mmol/l": 4.008},
        eicu="LAB:calcium",
    ),
    variable.describe(
        "ionized calcium",
        "mmol/L",
        (0, 0.2, 5, 10),
        lab="50808",
        yaib="cai",
        other_units={"mg/dl": 1 / 4.008},
        eicu="LAB:ionized calcium",
    ),
    variable.describe(
        "creatine kinase", "IU/L", (0, 0, 200000, 500000), lab="50910", yaib="ck", eicu="LAB:CPK"
    ),
    variable.describe(
        "creatine kinase MB",
        "ng/mL",
        (0, 0, 5000, 10000),
        lab="50911",
        yaib="ckmb",
        eicu="LAB:CPK-MB",
    ),
    variable.describe(
        "C-reactive protein",
        "mg/L",
        (0, 0, 1000, 5000),
        lab="50889",
        yaib="crp",
        eicu="LAB:CRP; LAB:CRP-hs",
    ),
    variable.describe(
        "fibrinogen", "mg/dL", (0, 0, 2000, 3000), lab="51214", yaib="fgn", eicu="LAB:fibrinogen"
    ),
    variable.describe(
        "INR", "ratio", (0, 0.5, 20, 50), lab="51237", yaib="inr_pt", eicu="LAB:PT - INR"
    ),
    variable.describe(
        "lymphocytes", "%", (0, 0, 100, 100), lab="51244", yaib="lymph", eicu="LAB:-lymphs"
    ),
    variable.describe(
        "neutrophils", "%", (0, 0, 100, 100), lab="51256", yaib="neut", eicu="LAB:-polys"
    ),
    variable.describe(
        "methemoglobin", "%", (0, 0, 100, 100), lab="50814", yaib="methb", eicu="LAB:Methemoglobin"
    ),
    variable.describe(
        "mean corpuscular hemoglobin",
        "pg",
        (0, 5, 60, 100),
        lab="51248",
        yaib="mch",
        eicu="LAB:MCH",
    ),
    variable.describe(
        "mean corpuscular hemoglobin concentration",
        "g/dL",
        (0, 10, 50, 60),
        lab="51249",
        other_units={"%": 1.0},
        yaib="mchc",
        eicu="LAB:MCHC",
    ),
    variable.describe(
        "mean corpuscular volume", "fL", (0, 40, 150, 200), lab="51250", yaib="mcv", eicu="LAB:MCV"
    ),
)

VARIABLES = {row.name: row for row in _ROWS}
