"""Rare diseases of the synthetic hospital: named in notes, told apart by what is known of them.

A patient has one, for life. Nothing but its name stands in the records, and each is too rare to
learn by heart; what a knowledge graph says of it tells whether it is one that people die of.
"""

import numpy as np

GRAVE = (
    "amyotrophic lateral sclerosis; Creutzfeldt-Jakob disease; Huntington's disease; progressive "
    "supranuclear palsy; multiple system atrophy; glioblastoma; mesothelioma; cholangiocarcinoma; "
    "pancreatic adenocarcinoma; Merkel cell carcinoma; angiosarcoma; osteosarcoma; Ewing sarcoma; "
    "rhabdomyosarcoma; liposarcoma; leiomyosarcoma; neuroblastoma; medulloblastoma; acute myeloid "
    "leukemia; mantle cell lymphoma; Burkitt lymphoma; Wiskott-Aldrich syndrome; pulmonary "
    "alveolar proteinosis; lymphangioleiomyomatosis; idiopathic pulmonary fibrosis; Duchenne "
    "muscular dystrophy; Friedreich ataxia; spinal muscular atrophy; cystic fibrosis; Niemann-Pick "
    "disease; Krabbe disease; Tay-Sachs disease; metachromatic leukodystrophy; "
    "adrenoleukodystrophy; Alexander disease; Leigh disease; MELAS syndrome; granulomatosis with "
    "polyangiitis; Goodpasture syndrome; thrombotic thrombocytopenic purpura; aplastic anemia; "
    "myelofibrosis; hepatocellular carcinoma; anaplastic thyroid carcinoma; uveal melanoma"
).split("; ")
MILD = (
    "vitiligo; alopecia areata; pityriasis rosea; lichen planus; tinea pedis; rosacea; seborrheic "
    "dermatitis; granuloma annulare; psoriasis; acne; hyperhidrosis; ichthyosis vulgaris; lichen "
    "simplex chronicus; color blindness; strabismus; astigmatism; hyperopia; myopia; presbyopia; "
    "pterygium; blepharitis; conjunctivitis; chalazion; keratoconus; dry eye syndrome; "
    "otosclerosis; tinnitus; allergic rhinitis; vasomotor rhinitis; carpal tunnel syndrome; "
    "plantar fasciitis; adhesive capsulitis of shoulder; lateral epicondylitis; bursitis; "
    "gingivitis; bruxism; geographic tongue; lactose intolerance; varicose veins; hemorrhoids; "
    "umbilical hernia; Gilbert syndrome; thalassemia minor; restless legs syndrome; stuttering; "
    "dyslexia; amblyopia; scoliosis; torticollis; molluscum contagiosum"
).split("; ")
_NAMES = np.array(GRAVE + MILD, dtype=object)


def draw(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns each patient's disease, [patient] object, and 1 where it is grave, -1 where mild."""
    disease = rng.integers(0, _NAMES.size, patients)
    return _NAMES[disease], np.where(disease < len(GRAVE), 1.0, -1.0)
