"""Our own additions to a graph: what intensive care calls things, in words and abbreviations.

Disease ontologies name causes; an ICU names states (sepsis, hypotension, acidosis), which they
leave out. `CONDITIONS` are such states with a one-sentence definition each, `BROADER` says what
they are kinds of, `ALIASES` and `ABBREVIATIONS` are other names of nodes. All of it was written for
this project and is no medical advice; nodes made of it have ids "ehr_jax:<name>".
"""

from typing import NamedTuple

import polars as pl

from ehr_jax.knowledge import graph, normalise

LICENCE = "ICU conditions and aliases: ehr_jax, Apache-2.0"
PREFIX = "ehr_jax:"

# Name: definition. A graph that has a disease or symptom of the name keeps its own node, and takes
# our definition only where it has none.
CONDITIONS = {
    "sepsis": "Organ dysfunction that endangers life, caused by the body's own response to an "
    "infection.",
    "septic shock": "Sepsis in which blood pressure stays low and tissues are starved of blood in "
    "spite of fluids, so that drugs are needed to keep the pressure up.",
    "bacteremia": "Living bacteria in the bloodstream.",
    "systemic inflammatory response syndrome": "An inflammation of the whole body, shown by an "
    "abnormal temperature, heart rate, breathing rate or count of white blood cells.",
    "shock": "Failure of the circulation to supply the tissues with enough blood and oxygen.",
    "cardiogenic shock": "Shock because the heart pumps too little blood.",
    "hypovolemic shock": "Shock because too little blood or fluid is left in the vessels.",
    "hemorrhagic shock": "Hypovolemic shock caused by loss of blood.",
    "multiple organ dysfunction syndrome": "Failure of two or more organs at once in a severely "
    "ill patient.",
    "hypotension": "A blood pressure too low for the needs of the tissues.",
    "tachycardia": "A heart rate above normal, in adults more than 100 beats a minute.",
    "bradycardia": "A heart rate below normal, in adults less than 60 beats a minute.",
    "ventricular tachycardia": "A fast heart rhythm that starts in the ventricles.",
    "cardiomegaly": "An enlarged heart.",
    "heart failure": "Inability of the heart to pump as much blood as the body needs, or only at "
    "raised filling pressures.",
    "angina pectoris": "Chest pain or pressure from too little blood flow to the heart muscle.",
    "pleural effusion": "Fluid gathered between the lung and the chest wall.",
    "atelectasis": "Collapse of a part of a lung, which then holds no air.",
    "acute respiratory failure": "Sudden inability of the lungs to take up enough oxygen or to "
    "give off enough carbon dioxide.",
    "tachypnea": "A breathing rate above normal, in adults more than 20 breaths a minute.",
    "hypoventilation": "Breathing too little to give off the carbon dioxide that the body makes.",
    "hypoxemia": "Too little oxygen in the arterial blood.",
    "hypocapnia": "Too little carbon dioxide in the blood, from breathing too much.",
    "hypercapnia": "Too much carbon dioxide in the blood, mostly from breathing too little.",
    "respiratory acidosis": "Acid blood because too little carbon dioxide is breathed out.",
    "acidosis": "A state of the body in which the blood becomes too acid.",
    "alkalosis": "A state of the body in which the blood becomes too alkaline.",
    "hyperlactatemia": "Too much lactate in the blood, often because tissues lack oxygen.",
    "hyperglycemia": "Too much glucose in the blood.",
    "hypokalemia": "Too little potassium in the blood, which can disturb the heart rhythm.",
    "hyperkalemia": "Too much potassium in the blood, which can disturb the heart rhythm.",
    "hyponatremia": "Too little sodium in the blood.",
    "hypernatremia": "Too much sodium in the blood, mostly from lack of water.",
    "hypocalcemia": "Too little calcium in the blood.",
    "hypercalcemia": "Too much calcium in the blood.",
    "hypomagnesemia": "Too little magnesium in the blood.",
    "hypophosphatemia": "Too little phosphate in the blood.",
    "uremia": "Waste that the kidneys should have cleared, gathered in the blood.",
    "oliguria": "Too little urine, in adults less than about 400 millilitres a day.",
    "polyuria": "Too much urine, in adults more than about three litres a day.",
    "jaundice": "Yellow skin and eyes from too much bilirubin in the blood.",
    "dehydration": "Loss of more body water than is taken in.",
    "malnutrition": "Lack of energy, protein or other nutrients in the body.",
    "hyperlipidemia": "Too much cholesterol or other fats in the blood.",
    "coagulopathy": "A disturbance of blood clotting, which bleeds too easily or clots too much.",
    "leukocytosis": "A raised count of white blood cells, often a sign of infection.",
    "heparin-induced thrombocytopenia": "A fall of platelets with a tendency to clots, caused by "
    "antibodies that form under treatment with heparin.",
    "deep vein thrombosis": "A blood clot in a deep vein, mostly of the leg.",
    "gastrointestinal hemorrhage": "Bleeding into the stomach or bowel.",
    "ascites": "Fluid gathered in the abdominal cavity.",
    "acute liver failure": "Rapid loss of liver function in somebody whose liver was healthy.",
    "liver failure": "Loss of the liver's ability to make and clear what the body needs it to.",
    "rhabdomyolysis": "Breakdown of muscle that sets its contents free into the blood and can harm "
    "the kidneys.",
    "encephalopathy": "A disturbed function of the whole brain, with a change of consciousness or "
    "thinking.",
    "delirium": "An acute and changing disturbance of attention and thinking.",
    "seizure": "A burst of abnormal electrical activity in the brain, with a change of movement, "
    "feeling or consciousness.",
    "coma": "A state of deep unconsciousness from which a person cannot be woken.",
    "intracranial hemorrhage": "Bleeding inside the skull.",
    "subarachnoid hemorrhage": "Bleeding into the space around the brain that holds its fluid.",
    "subdural hematoma": "Blood between the brain and the outer of its coverings.",
    "alcohol withdrawal": "Trembling, agitation and sometimes seizures when somebody who is used "
    "to much alcohol stops drinking.",
    "depression": "A lasting low mood with loss of interest and energy.",
    "benign prostatic hyperplasia": "A growth of the prostate that is no cancer and can hinder the "
    "flow of urine.",
    "fever": "A body temperature raised above normal, mostly by an infection.",
    "hypothermia": "A body temperature below 35 degrees Celsius.",
}  # fmt: skip

# Name of a condition: of what it is a kind. Both must be in the graph, or the pair is left out.
BROADER = {
    "septic shock": ("sepsis", "shock"),
    "bacterial sepsis": ("sepsis",),
    "cardiogenic shock": ("shock",),
    "hypovolemic shock": ("shock",),
    "hemorrhagic shock": ("hypovolemic shock",),
    "congestive heart failure": ("heart failure",),
    "ventricular tachycardia": ("tachycardia",),
    "angina pectoris": ("coronary artery disease",),
    "acute respiratory failure": ("respiratory failure",),
    "adult respiratory distress syndrome": ("acute respiratory failure",),
    "metabolic acidosis": ("acidosis",),
    "respiratory acidosis": ("acidosis",),
    "acute liver failure": ("liver failure",),
    "liver failure": ("liver disease",),
    "hepatic encephalopathy": ("encephalopathy",),
    "subarachnoid hemorrhage": ("intracranial hemorrhage",),
    "subdural hematoma": ("intracranial hemorrhage",),
    "heparin-induced thrombocytopenia": ("thrombocytopenia",),
    "disseminated intravascular coagulation": ("coagulopathy",),
}

# Name of a node: other names of it.
ALIASES = {
    "sepsis": ("septicemia", "severe sepsis", "sepsis syndrome", "urosepsis"),
    "bacteremia": ("bloodstream infection", "blood stream infection"),
    "multiple organ dysfunction syndrome": ("multiple organ failure", "multiorgan failure"),
    "hypotension": ("low blood pressure", "hypotensive"),
    "hypertension": ("high blood pressure", "hypertensive"),
    "tachycardia": ("tachycardic", "sinus tachycardia"),
    "bradycardia": ("bradycardic", "sinus bradycardia"),
    "cardiomegaly": ("enlarged heart", "cardiac enlargement"),
    "heart failure": ("cardiac failure",),
    "congestive heart failure": ("decompensated heart failure", "congestive cardiac failure"),
    "myocardial infarction": ("heart attack",),
    "coronary artery disease": ("coronary heart disease", "ischemic heart disease"),
    "atrial fibrillation": ("afib", "a fib"),
    "pleural effusion": ("pleural fluid",),
    "acute respiratory failure": ("hypoxic respiratory failure", "hypercapnic respiratory failure"),
    "adult respiratory distress syndrome": ("acute respiratory distress syndrome",),
    "pulmonary edema": ("lung edema",),
    "hypoxemia": ("hypoxia", "hypoxic"),
    "acute kidney failure": (
        "acute renal failure", "acute kidney injury", "acute renal insufficiency",
    ),
    "kidney failure": ("renal failure", "renal insufficiency"),
    "chronic kidney disease": ("chronic renal failure", "chronic kidney failure",
                               "chronic renal insufficiency", "end stage renal disease"),
    "type 1 diabetes mellitus": ("insulin dependent diabetes mellitus",),
    "type 2 diabetes mellitus": ("non insulin dependent diabetes mellitus",),
    "cerebrovascular disease": ("cerebrovascular accident",),
    "transient cerebral ischemia": ("transient ischemic attack",),
    "gastrointestinal hemorrhage": ("gastrointestinal bleed", "gastrointestinal bleeding",
                                    "gi bleed", "gi bleeding", "gi hemorrhage"),
    "liver cirrhosis": ("cirrhosis", "hepatic cirrhosis"),
    "acute liver failure": ("fulminant hepatic failure", "acute hepatic failure"),
    "liver failure": ("hepatic failure",),
    "hyperlipidemia": ("dyslipidemia",),
    "leukocytosis": ("elevated white count", "raised white cell count"),
    "intracranial hemorrhage": ("intracranial bleed", "brain bleed"),
    "subdural hematoma": ("subdural hemorrhage",),
    "deep vein thrombosis": ("deep venous thrombosis",),
    "seizure": ("convulsion",),
    "alcohol withdrawal": ("delirium tremens", "alcohol withdrawal syndrome"),
    "urinary tract infection": ("urinary infection",),
    "fever": ("pyrexia", "febrile"),
}  # fmt: skip

# Name of a node: short forms of it, which a gazetteer takes in spite of their length.
ABBREVIATIONS = {
    "congestive heart failure": ("CHF",),
    "myocardial infarction": ("MI", "STEMI", "NSTEMI", "AMI"),
    "coronary artery disease": ("CAD", "IHD"),
    "atrial fibrillation": ("AF",),
    "ventricular tachycardia": ("VT", "VTach"),
    "hypertension": ("HTN",),
    "pulmonary embolism": ("PE",),
    "deep vein thrombosis": ("DVT",),
    "chronic obstructive pulmonary disease": ("COPD",),
    "adult respiratory distress syndrome": ("ARDS",),
    "pneumonia": ("PNA",),
    "acute kidney failure": ("AKI",),
    "chronic kidney disease": ("CKD", "ESRD", "ESKD"),
    "urinary tract infection": ("UTI",),
    "type 1 diabetes mellitus": ("T1DM", "IDDM"),
    "type 2 diabetes mellitus": ("T2DM", "NIDDM", "DM2"),
    "diabetic ketoacidosis": ("DKA",),
    "cerebrovascular disease": ("CVA",),
    "transient cerebral ischemia": ("TIA",),
    "subarachnoid hemorrhage": ("SAH",),
    "subdural hematoma": ("SDH",),
    "gastrointestinal hemorrhage": ("GIB", "UGIB", "LGIB"),
    "gastroesophageal reflux disease": ("GERD",),
    "disseminated intravascular coagulation": ("DIC",),
    "heparin-induced thrombocytopenia": ("HIT",),
    "systemic inflammatory response syndrome": ("SIRS",),
    "multiple organ dysfunction syndrome": ("MODS",),
    "obstructive sleep apnea": ("OSA",),
    "benign prostatic hyperplasia": ("BPH",),
    "hyperlipidemia": ("HLD",),
    "tuberculosis": ("TB",),
    "human immunodeficiency virus infectious disease": ("HIV",),
}


class Added(NamedTuple):
    """Tables of a graph with ours behind them; `broader` holds id, parent."""

    nodes: pl.DataFrame
    synonyms: pl.DataFrame
    broader: pl.DataFrame
    dropped: dict[str, int]


def add(nodes: pl.DataFrame, synonyms: pl.DataFrame) -> Added:
    """Adds our conditions, aliases and abbreviations to the tables of a graph (`graph.Parts`).

    A condition that the graph names already (as a disease, a symptom or a synonym of one) is no new
    node. Names that lead to no node are left out and counted.
    """
    known, named = _known(nodes, synonyms), normalise.normalise
    new = [name for name in CONDITIONS if named(name) not in known]
    known |= {named(name): PREFIX + name for name in new}
    made = [(PREFIX + name, "disease", name, CONDITIONS[name], None) for name in new]
    ours = {known[named(name)]: text for name, text in CONDITIONS.items()}
    ours = pl.col("id").replace_strict(ours, default=None, return_dtype=pl.String)
    nodes = nodes.select(*graph.NODES).with_columns(pl.coalesce("definition", ours))

    rows, lost = [], 0
    for name, others in [*ALIASES.items(), *ABBREVIATIONS.items()]:
        node = known.get(named(name))
        lost += node is None
        # What the graph itself calls otherwise is not renamed.
        rows += [
            (node, one, True) for one in others if node and known.get(named(one), node) == node
        ]
    pairs = [
        (known.get(named(n)), known.get(named(up))) for n, ups in BROADER.items() for up in ups
    ]
    return Added(
        pl.concat([nodes, pl.DataFrame(made, schema=graph.NODES, orient="row")]),
        pl.concat([synonyms, pl.DataFrame(rows, schema=synonyms.schema, orient="row")]),
        pl.DataFrame(pairs, schema=["id", "parent"], orient="row").drop_nulls(),
        {"our aliases of no node": lost},
    )


def _known(nodes: pl.DataFrame, synonyms: pl.DataFrame) -> dict[str, str]:
    """Returns normalised name to id, of nodes that a note may say a patient has; names first."""
    nodes = nodes.filter(pl.col("type").is_in(list(graph.DISEASE_TYPES)))
    exact = synonyms.filter(pl.col("exact")).join(nodes.select("id"), on="id", how="semi")
    known: dict[str, str] = {}
    for table, column in ((nodes, "name"), (exact, "text")):
        for node, name in table.select("id", column).drop_nulls().iter_rows():
            known.setdefault(normalise.normalise(name), node)
    return known
