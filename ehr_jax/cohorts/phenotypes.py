"""The 25 phenotypes of the MIMIC-III benchmark, as sets of ICD-9-CM codes.

They are the groups of the Clinical Classifications Software (AHRQ HCUP, 2015) that the benchmark
of Harutyunyan et al. (2019) predicts. Each is held as the shortest code prefixes that single it
out: "584" takes every code below 584, "2766$" the code 2766 alone. No code has two phenotypes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

SYSTEM = "ICD9CM:"


class Phenotype(NamedTuple):
    """A phenotype; `kind` is "acute" or "chronic" as the benchmark's definitions type it."""

    label: str
    name: str
    kind: str
    codes: str


# fmt: off
PHENOTYPES = (
    Phenotype(
        "sepsis",
        "Septicemia (except in labor)",
        "acute",
        "0031 0202 0223 0362 038 0545 449 77181 7907 99591 99592",
    ),
    Phenotype(
        "diabetes_uncomplicated",
        "Diabetes mellitus without complication",
        "chronic",
        "24900 25000 25001 7902 7915 7916 V4585 V5391 V6546",
    ),
    Phenotype(
        "diabetes_complicated",
        "Diabetes mellitus with complications",
        "chronic",
        "24901 2491 2492 2493 2494 2495 2496 2497 2498 2499 25002 25003 2501 2502 2503 2504 "
        "2505 2506 2507 2508 2509",
    ),
    Phenotype(
        "lipid_disorders",
        "Disorders of lipid metabolism",
        "chronic",
        "2720 2721 2722 2723 2724",
    ),
    Phenotype(
        "fluid_electrolyte_disorders",
        "Fluid and electrolyte disorders",
        "acute",
        "2760 2761 2762 2763 2764 2765 2766$ 27669 2767 2768 2769 9951",
    ),
    Phenotype(
        "essential_hypertension",
        "Essential hypertension",
        "chronic",
        "4011 4019",
    ),
    Phenotype(
        "complicated_hypertension",
        "Hypertension with complications and secondary hypertension",
        "chronic",
        "4010 402 403 404 405 4372",
    ),
    Phenotype(
        "acute_myocardial_infarction",
        "Acute myocardial infarction",
        "acute",
        "410",
    ),
    Phenotype(
        "coronary_atherosclerosis",
        "Coronary atherosclerosis and other heart disease",
        "chronic",
        "411 412 413 4140$ 41400 41401 41406 4142 4143 4144 4148 4149 V4581 V4582",
    ),
    Phenotype(
        "conduction_disorders",
        "Conduction disorders",
        "chronic",
        "426 V450 V533",
    ),
    Phenotype(
        "cardiac_dysrhythmias",
        "Cardiac dysrhythmias",
        "chronic",
        "4270 4271 4272 4273 4276 4278 4279 7850 7851",
    ),
    Phenotype(
        "congestive_heart_failure",
        "Congestive heart failure; nonhypertensive",
        "acute",
        "39891 428",
    ),
    Phenotype(
        "acute_cerebrovascular_disease",
        "Acute cerebrovascular disease",
        "acute",
        "3466 430 431 432 43301 43311 43321 43331 43381 43391 434 436",
    ),
    Phenotype(
        "pneumonia",
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
        "acute",
        "00322 0203 0204 0205 0212 0221 0310 0391 0521 0551 0730 0830 1124 1140 1144 1145 "
        "11505 11515 11595 1304 1363 480 481 482 483 484 485 486 5130 5171",
    ),
    Phenotype(
        "copd_bronchiectasis",
        "Chronic obstructive pulmonary disease and bronchiectasis",
        "chronic",
        "490 491 492 494 496",
    ),
    Phenotype(
        "pleurisy_pneumothorax_collapse",
        "Pleurisy; pneumothorax; pulmonary collapse",
        "acute",
        "510 5110 5111 5118$ 51189 5119 5120 5128 5180 5181 5182",
    ),
    Phenotype(
        "respiratory_failure",
        "Respiratory failure; insufficiency; arrest (adult)",
        "acute",
        "5173 5185 51881 51882 51883 51884 7991 V461 V462",
    ),
    Phenotype(
        "other_lower_respiratory",
        "Other lower respiratory disease",
        "acute",
        "5131 514 515 516 5172 5178 5183 5184 51889 5194 5198 5199 7825 7860 7862 7863 7864 "
        "78652 7866 7867 7868 7869 7931 7942 V126 V426",
    ),
    Phenotype(
        "other_upper_respiratory",
        "Other upper respiratory disease",
        "acute",
        "470 471 472 476 4770 4772 4778 4779 478 5191 5192 5193 7841 7844 7847 7848 7849$ "
        "78499 7861 V414 V440 V550",
    ),
    Phenotype(
        "other_liver_diseases",
        "Other liver diseases",
        "acute",
        "570 5715 5716 5718 5719 572 5730 5734 5735 5738 5739 7824 7891 7895$ 78959 7904 7905 "
        "7948 V427",
    ),
    Phenotype(
        "gastrointestinal_hemorrhage",
        "Gastrointestinal hemorrhage",
        "acute",
        "4560 45620 5307 53082 5310 5312 5314 5316 5320 5322 5324 5326 5330 5332 5334 5336 "
        "5340 5342 5344 5346 5693 578",
    ),
    Phenotype(
        "acute_renal_failure",
        "Acute and unspecified renal failure",
        "acute",
        "584 586",
    ),
    Phenotype(
        "chronic_kidney_disease",
        "Chronic kidney disease",
        "chronic",
        "585 7925 V420 V451 V56",
    ),
    Phenotype(
        "complications_of_care",
        "Complications of surgical procedures or medical care",
        "acute",
        "27661 27783 27788 2853 28741 3490 3491 34931 41511 4294 4582 5121 5122 5187 5190 "
        "53086 53087 5364 539 5642 5643 5644 5696$ 56962 5697 5793 59681 78062 78063 78066 "
        "9093 99524 9954 99586 997 998 9990 9991 9992 9993$ 99934 99939 9994 9995 9996 9997 "
        "9998 9999 V1553 V1580 V1583 V900",
    ),
    Phenotype(
        "shock",
        "Shock",
        "acute",
        "7855",
    ),
)
# fmt: on

LABELS = tuple(phenotype.label for phenotype in PHENOTYPES)


def phenotypes_of(code: str) -> tuple[str, ...]:
    """Returns the labels of an ICD-9-CM diagnosis ("ICD9CM:5849", "5849" or "584.9").

    A category whose codes belong to different phenotypes ("276") has none: what cannot be told
    is not guessed. A code of another system has none.
    """
    digits = code.removeprefix(SYSTEM).replace(".", "")
    label = _EXACT.get(digits)
    for length in range(3, len(digits) + 1):
        label = label or _PREFIX.get(digits[:length])
    return (label,) if label else ()


def table(codes: Iterable[str]) -> pl.DataFrame:
    """Returns one row (code, phenotype) for each distinct ICD-9-CM code of `codes` that has one."""
    rows = [
        (code, label)
        for code in sorted(set(codes))
        if code.startswith(SYSTEM)
        for label in phenotypes_of(code)
    ]
    return pl.DataFrame(rows, schema={"code": pl.String, "phenotype": pl.String}, orient="row")


_PREFIX = {p: row.label for row in PHENOTYPES for p in row.codes.split() if p[-1] != "$"}
_EXACT = {p[:-1]: row.label for row in PHENOTYPES for p in row.codes.split() if p[-1] == "$"}
