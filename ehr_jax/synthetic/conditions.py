"""What the patients of the synthetic hospital can have: a table of conditions and their traces.

Each condition names its billing codes (real ICD-9-CM codes, wording our own), its drugs, its
procedures and the vital signs and laboratory values it moves. Prevalences, effects and links
between conditions are plausible inventions, not estimates. The code lists hold every one of the 25
phenotypes of the MIMIC-III benchmark.
"""

# ruff: noqa: E501
from typing import NamedTuple

GROUPS = ("heart", "metabolic", "lung", "infection", "kidney", "gut", "brain")


class Condition(NamedTuple):
    """One latent condition.

    `prevalence` is its rate at a first visit and `persistence` the log-odds added where the visit
    before had it. `acuity` is the log-odds per unit of how acutely ill the visit is; `death` and
    `readmission` are log-odds it adds to those outcomes. `leads_to` names conditions made more
    likely at the next visit. `moves` gives shifts of measured variables in their normal standard
    deviations. `codes` and `procedures` read "CODE name; CODE name", `drugs` reads
    "generic|brand|strengths|forms; ...".
    """

    name: str
    group: str
    synonyms: tuple[str, ...]
    prevalence: float
    persistence: float
    acuity: float
    death: float
    readmission: float
    leads_to: tuple[str, ...]
    moves: dict[str, float]
    codes: str
    drugs: str
    procedures: str = ""


# fmt: off
CONDITIONS = (
    Condition("congestive heart failure", "heart", ("CHF", "heart failure", "HF"), .20, 5.2, .2, .4, .4,
              ("acute renal failure", "pleural effusion", "respiratory failure"), {"heart rate": .5, "oxygen saturation": -.5, "urea nitrogen": .5},
              "4280 congestive heart failure; 4281 left-sided heart failure; 42820 systolic heart failure; 42821 acute systolic heart failure; 42822 chronic systolic heart failure; 42823 acute on chronic systolic heart failure; 42830 diastolic heart failure; 42831 acute diastolic heart failure; 42832 chronic diastolic heart failure; 42833 acute on chronic diastolic heart failure; 42840 combined systolic and diastolic heart failure; 42843 acute on chronic combined heart failure; 4289 heart failure of other kind; 39891 rheumatic heart failure",
              "furosemide|Lasix|20,40,80 mg|tablet,vial; carvedilol|Coreg|3.125,6.25,12.5,25 mg|tablet; torsemide|Demadex|10,20 mg|tablet", "3722 left heart catheterisation; 8872 heart ultrasound; 3764 removal of heart assist device"),
    Condition("hypertension", "heart", ("HTN", "high blood pressure", "essential hypertension"), .40, 5.2, 0, 0, 0,
              ("hypertensive kidney disease", "stroke", "congestive heart failure"), {"systolic blood pressure": .9, "diastolic blood pressure": .7},
              "4010 malignant essential hypertension; 4011 benign essential hypertension; 4019 essential hypertension",
              "lisinopril|Zestril|2.5,5,10,20,40 mg|tablet; amlodipine|Norvasc|2.5,5,10 mg|tablet; hydrochlorothiazide|Microzide|12.5,25 mg|tablet,capsule", "8952 electrocardiogram"),
    Condition("hypertensive kidney disease", "kidney", ("hypertensive CKD", "hypertensive heart and kidney disease"), .13, 5.2, 0, .1, .2,
              ("congestive heart failure", "acute renal failure"), {"systolic blood pressure": .8, "creatinine": .8},
              "40300 malignant hypertensive kidney disease; 40301 malignant hypertensive kidney disease with end stage failure; 40390 hypertensive kidney disease; 40391 hypertensive kidney disease with end stage failure; 40290 hypertensive heart disease; 40291 hypertensive heart disease with failure; 40490 hypertensive heart and kidney disease; 40491 hypertensive heart and kidney disease with heart failure; 40599 secondary hypertension; 40591 renovascular hypertension; 4372 hypertensive encephalopathy",
              "labetalol|Trandate|100,200,300 mg|tablet,vial; hydralazine|Apresoline|10,25,50 mg|tablet,vial; minoxidil|Loniten|2.5,10 mg|tablet", "3995 haemodialysis"),
    Condition("coronary artery disease", "heart", ("CAD", "coronary atherosclerosis", "ischemic heart disease"), .26, 5.4, 0, .1, .1,
              ("myocardial infarction", "congestive heart failure", "atrial fibrillation"), {"heart rate": -.2},
              "41400 coronary atherosclerosis; 41401 coronary atherosclerosis of native vessel; 4142 chronic total coronary occlusion; 4148 chronic ischemic heart disease; 4149 chronic ischemic heart disease, other; 4111 intermediate coronary syndrome; 41181 coronary occlusion without infarct; 4130 angina decubitus; 4139 angina pectoris; 412 old myocardial infarct; V4581 aortocoronary bypass in the past; V4582 coronary angioplasty in the past",
              "metoprolol|Lopressor|12.5,25,50,100 mg|tablet,vial; clopidogrel|Plavix|75,300 mg|tablet; nitroglycerin|Nitrostat|0.3,0.4,0.6 mg|sublingual tablet,infusion", "3612 bypass of two coronary vessels; 3613 bypass of three coronary vessels; 3615 mammary artery bypass; 8856 coronary angiogram"),
    Condition("myocardial infarction", "heart", ("MI", "heart attack", "NSTEMI"), .08, 1.2, .6, .6, .2,
              ("coronary artery disease", "congestive heart failure", "shock"), {"heart rate": .6, "lactate": .5, "glucose": .4},
              "41001 anterolateral infarct, first episode; 41011 anterior wall infarct, first episode; 41021 inferolateral infarct, first episode; 41031 inferoposterior infarct, first episode; 41041 inferior wall infarct, first episode; 41051 lateral infarct, first episode; 41071 subendocardial infarct, first episode; 41072 subendocardial infarct, later episode; 41081 infarct of other site, first episode; 41090 myocardial infarct; 41091 myocardial infarct, first episode",
              "heparin infusion|Heparin Sodium|12500,25000 units|bag; eptifibatide|Integrilin|20,75 mg|vial; ticagrelor|Brilinta|60,90 mg|tablet", "0066 coronary angioplasty; 3606 coronary stent; 3607 drug-eluting coronary stent; 0045 one vascular stent"),
    Condition("atrial fibrillation", "heart", ("AF", "afib", "irregular heart rhythm"), .22, 4.6, .3, .2, .2,
              ("stroke", "congestive heart failure"), {"heart rate": 1.1},
              "42731 atrial fibrillation; 42732 atrial flutter; 4271 ventricular tachycardia; 4270 supraventricular tachycardia; 42761 atrial premature beats; 42769 ventricular premature beats; 42781 sinus node dysfunction; 42789 cardiac rhythm disorder; 4279 cardiac rhythm disorder, other; 7850 tachycardia; 7851 palpitations",
              "amiodarone|Pacerone|100,200,400 mg|tablet,vial; warfarin|Coumadin|1,2,2.5,5 mg|tablet; diltiazem|Cardizem|30,60,120 mg|tablet,capsule; digoxin|Lanoxin|0.125,0.25 mg|tablet", "9961 atrial cardioversion; 3734 ablation of heart rhythm focus; 9962 electric countershock"),
    Condition("heart block", "heart", ("AV block", "conduction disease", "pacemaker dependence"), .08, 4.8, 0, .1, 0,
              ("atrial fibrillation",), {"heart rate": -.9},
              "4260 complete atrioventricular block; 42611 first degree atrioventricular block; 42612 Mobitz two atrioventricular block; 42613 second degree atrioventricular block; 4263 left bundle branch block; 4264 right bundle branch block; 42653 bilateral bundle branch block; 4266 heart block of other kind; 42682 long QT syndrome; V4501 cardiac pacemaker in place; V4502 implanted defibrillator in place; V5331 pacemaker fitting",
              "isoproterenol|Isuprel|0.2,1 mg|ampoule; atropine|AtroPen|0.5,1,2 mg|syringe", "3772 pacemaker leads, both chambers; 3783 dual chamber pacemaker; 3794 defibrillator implant; 3778 temporary pacemaker"),
    Condition("stroke", "brain", ("CVA", "cerebrovascular accident", "brain infarct"), .07, 1.8, .4, .6, .2,
              ("pneumonia", "dementia", "seizure disorder"), {"coma scale": -1.4, "systolic blood pressure": .6},
              "430 subarachnoid bleeding; 431 intracerebral bleeding; 4321 subdural bleeding; 4329 intracranial bleeding; 43301 basilar occlusion with brain infarct; 43311 carotid occlusion with brain infarct; 43321 vertebral occlusion with brain infarct; 43401 brain thrombosis with infarct; 43411 brain embolism with infarct; 43491 brain artery occlusion with infarct; 436 acute cerebrovascular disease",
              "alteplase|Activase|50,100 mg|vial; nimodipine|Nimotop|30,60 mg|capsule; dipyridamole with aspirin|Aggrenox|25,200 mg|capsule", "9910 clot-dissolving infusion; 8703 head CT scan; 3812 carotid endarterectomy; 0139 opening of the brain"),
    Condition("hyperlipidemia", "metabolic", ("HLD", "high cholesterol", "dyslipidemia"), .32, 5.4, 0, -.1, 0,
              ("coronary artery disease",), {},
              "2720 pure hypercholesterolemia; 2721 pure hyperglyceridemia; 2722 mixed hyperlipidemia; 2723 hyperchylomicronemia; 2724 hyperlipidemia",
              "atorvastatin|Lipitor|10,20,40,80 mg|tablet; simvastatin|Zocor|5,10,20,40 mg|tablet; ezetimibe|Zetia|10 mg|tablet; gemfibrozil|Lopid|600 mg|tablet"),
    Condition("diabetes", "metabolic", ("DM2", "type 2 diabetes", "diabetes mellitus"), .22, 5, 0, 0, .1,
              ("diabetes with complications", "coronary artery disease", "chronic kidney disease"), {"glucose": 1.4},
              "25000 type two diabetes; 25001 type one diabetes; 24900 secondary diabetes; 79029 abnormal glucose; 79021 impaired fasting glucose; V4585 insulin pump in place",
              "metformin|Glucophage|500,850,1000 mg|tablet; glipizide|Glucotrol|2.5,5,10 mg|tablet; insulin lispro|Humalog|3,10 mL|vial,pen; sitagliptin|Januvia|25,50,100 mg|tablet"),
    Condition("diabetes with complications", "metabolic", ("complicated diabetes", "diabetic neuropathy", "brittle diabetes"), .12, 4.8, .2, .1, .3,
              ("chronic kidney disease", "fluid and electrolyte disorder", "cellulitis"), {"glucose": 2.0, "creatinine": .4},
              "25002 type two diabetes, uncontrolled; 25003 type one diabetes, uncontrolled; 25010 type two diabetes with ketoacidosis; 25011 type one diabetes with ketoacidosis; 25013 type one diabetes with ketoacidosis, uncontrolled; 25020 diabetes with hyperosmolarity; 25040 type two diabetes with kidney disease; 25041 type one diabetes with kidney disease; 25050 type two diabetes with eye disease; 25060 type two diabetes with nerve disease; 25061 type one diabetes with nerve disease; 25070 diabetes with circulatory disorder; 25080 diabetes with other complication; 25092 diabetes with complication, uncontrolled",
              "insulin glargine|Lantus|3,10 mL|vial,pen; regular insulin|Humulin R|3,10 mL|vial,infusion; gabapentin|Neurontin|100,300,600 mg|capsule,tablet"),
    Condition("obesity", "metabolic", ("morbid obesity", "overweight"), .12, 5.6, 0, 0, 0,
              ("sleep apnea", "diabetes"), {"glucose": .3},
              "27800 obesity; 27801 morbid obesity; 27802 overweight; V8535 body mass index 35; V8541 body mass index 40 to 44; V8542 body mass index 45 to 49",
              "orlistat|Xenical|60,120 mg|capsule", "4438 laparoscopic stomach bypass"),
    Condition("hypothyroidism", "metabolic", ("underactive thyroid", "low thyroid"), .12, 5.8, 0, 0, 0, (), {"heart rate": -.3},
              "2440 hypothyroidism after surgery; 2449 hypothyroidism; 2441 hypothyroidism after ablation; 2452 lymphocytic thyroiditis",
              "levothyroxine|Synthroid|25,50,75,88,100,112,125 mcg|tablet; liothyronine|Cytomel|5,25 mcg|tablet"),
    Condition("anemia", "metabolic", ("low blood count", "low hemoglobin"), .22, 3.2, .2, .1, .2,
              ("gastrointestinal bleeding",), {"hemoglobin": -1.6, "heart rate": .3},
              "2800 anemia from chronic blood loss; 2809 iron deficiency anemia; 2811 vitamin B12 deficiency anemia; 2851 anemia from acute blood loss; 28521 anemia of kidney disease; 28522 anemia of cancer; 28529 anemia of chronic illness; 2859 anemia",
              "ferrous sulfate|Feosol|160,325 mg|tablet; epoetin alfa|Epogen|4000,10000,20000 units|vial; cyanocobalamin|Nascobal|100,1000 mcg|tablet,vial", "9904 red cell transfusion"),
    Condition("fluid and electrolyte disorder", "kidney", ("electrolyte disturbance", "hyponatremia", "dehydration"), .26, 1.4, .6, .2, .2,
              ("acute renal failure",), {"sodium": -1.2, "potassium": .8, "urea nitrogen": .5},
              "2760 hypernatremia; 2761 hyponatremia; 2762 acidosis; 2763 alkalosis; 2764 mixed acid base disorder; 27650 volume depletion; 27651 dehydration; 27652 low blood volume; 27669 fluid overload; 2767 high potassium; 2768 low potassium; 2769 electrolyte disorder",
              "potassium chloride|Klor-Con|10,20,40 mEq|tablet,bag; sodium polystyrene|Kayexalate|15,30 g|suspension; sodium bicarbonate|Neut|50,650 mEq|tablet,syringe; magnesium sulfate|Mag-Sulf|1,2,4 g|bag"),
    Condition("chronic kidney disease", "kidney", ("CKD", "chronic renal insufficiency", "CRI"), .15, 5.8, 0, .2, .3,
              ("acute renal failure", "fluid and electrolyte disorder", "anemia"), {"creatinine": 1.8, "urea nitrogen": 1.6, "potassium": .4},
              "5851 chronic kidney disease stage one; 5852 chronic kidney disease stage two; 5853 chronic kidney disease stage three; 5854 chronic kidney disease stage four; 5855 chronic kidney disease stage five; 5856 end stage renal disease; 5859 chronic kidney disease; V420 kidney transplant in place; V4511 dependence on dialysis; V560 dialysis care",
              "sevelamer|Renvela|400,800 mg|tablet; calcitriol|Rocaltrol|0.25,0.5 mcg|capsule; calcium acetate|PhosLo|667 mg|capsule,tablet; cinacalcet|Sensipar|30,60,90 mg|tablet", "3927 arteriovenous fistula for dialysis; 3995 haemodialysis; 5498 peritoneal dialysis"),
    Condition("acute renal failure", "kidney", ("AKI", "acute kidney injury", "ARF"), .17, 1.4, .9, .5, .3,
              ("chronic kidney disease", "fluid and electrolyte disorder"), {"creatinine": 1.6, "urea nitrogen": 1.4, "potassium": .7, "ph": -.4},
              "5845 acute tubular necrosis; 5846 acute cortical necrosis; 5847 acute medullary necrosis; 5848 acute kidney failure with other lesion; 5849 acute kidney failure; 586 kidney failure",
              "bumetanide|Bumex|0.5,1,2 mg|tablet,vial; chlorothiazide|Diuril|250,500 mg|vial,tablet; calcium gluconate|Kalcinate|1,2 g|vial", "3895 dialysis catheter; 5523 kidney biopsy; 3995 haemodialysis"),
    Condition("urinary tract infection", "infection", ("UTI", "pyelonephritis", "bladder infection"), .13, 1.6, .2, 0, .1,
              ("sepsis",), {"white cells": .8, "temperature": .6},
              "5990 urinary tract infection; 59010 acute pyelonephritis; 59080 pyelonephritis; 5950 acute cystitis; 5959 cystitis",
              "ciprofloxacin|Cipro|250,400,500 mg|tablet,bag; nitrofurantoin|Macrobid|50,100 mg|capsule; sulfamethoxazole trimethoprim|Bactrim|400,800 mg|tablet"),
    Condition("sepsis", "infection", ("septicemia", "bloodstream infection", "bacteremia"), .12, 1.2, 1.1, .9, .3,
              ("shock", "acute renal failure", "respiratory failure"), {"temperature": 1.3, "heart rate": 1.2, "white cells": 1.5, "lactate": 1.2, "mean blood pressure": -.8},
              "0380 streptococcal septicemia; 03810 staphylococcal septicemia; 03811 septicemia from sensitive Staph aureus; 03812 septicemia from resistant Staph aureus; 03819 staphylococcal septicemia, other; 0382 pneumococcal septicemia; 0383 anaerobic septicemia; 03840 gram-negative septicemia; 03842 E coli septicemia; 03843 Pseudomonas septicemia; 03849 gram-negative septicemia, other; 0388 septicemia of other germ; 0389 septicemia; 7907 bacteremia; 99591 sepsis; 99592 severe sepsis",
              "vancomycin|Vancocin|500,750,1000,1250 mg|vial,bag; piperacillin tazobactam|Zosyn|2.25,3.375,4.5 g|vial,bag; meropenem|Merrem|500,1000 mg|vial", "3893 central venous line; 0014 toxin-neutralising infusion"),
    Condition("shock", "infection", ("septic shock", "circulatory collapse", "cardiogenic shock"), .06, .8, 1.4, 1.4, .2,
              ("acute renal failure",), {"mean blood pressure": -1.8, "systolic blood pressure": -1.6, "lactate": 2.0, "heart rate": 1.0, "ph": -1.0},
              "78550 shock; 78551 cardiogenic shock; 78552 septic shock; 78559 shock of other kind",
              "norepinephrine|Levophed|4,8,16 mg|infusion; vasopressin|Vasostrict|20,40 units|vial,infusion; phenylephrine|Neosynephrine|10,40,60 mg|infusion", "0017 vasopressor infusion; 3891 arterial line; 3761 balloon pump implant"),
    Condition("pneumonia", "lung", ("PNA", "lung infection", "lower respiratory infection"), .15, 1.6, .8, .5, .2,
              ("respiratory failure", "sepsis", "pleural effusion"), {"respiratory rate": 1.0, "oxygen saturation": -1.1, "temperature": .9, "white cells": 1.0},
              "481 pneumococcal pneumonia; 4820 Klebsiella pneumonia; 4821 Pseudomonas pneumonia; 4822 Haemophilus pneumonia; 48230 streptococcal pneumonia; 48241 pneumonia from sensitive Staph aureus; 48242 pneumonia from resistant Staph aureus; 48282 E coli pneumonia; 48283 gram-negative pneumonia; 4829 bacterial pneumonia; 4809 viral pneumonia; 485 bronchopneumonia; 486 pneumonia; 5130 lung abscess; 1363 Pneumocystis pneumonia",
              "ceftriaxone|Rocephin|1,2 g|vial,bag; azithromycin|Zithromax|250,500 mg|tablet,vial; levofloxacin|Levaquin|250,500,750 mg|tablet,bag", "3324 bronchial washing; 3323 bronchoscopy"),
    Condition("COPD", "lung", ("chronic obstructive pulmonary disease", "emphysema", "chronic bronchitis"), .17, 5.6, .1, .2, .3,
              ("pneumonia", "respiratory failure"), {"respiratory rate": .6, "oxygen saturation": -.9, "ph": -.2},
              "490 bronchitis; 4910 simple chronic bronchitis; 49120 obstructive chronic bronchitis; 49121 obstructive chronic bronchitis, flare; 49122 obstructive chronic bronchitis with acute bronchitis; 4919 chronic bronchitis; 4920 emphysematous bleb; 4928 emphysema; 4940 bronchiectasis; 4941 bronchiectasis, flare; 496 chronic airway obstruction",
              "tiotropium|Spiriva|18,2.5 mcg|inhaler; fluticasone salmeterol|Advair|100,250,500 mcg|inhaler; ipratropium|Atrovent|0.5,17 mg|inhaler,nebuliser; prednisone|Deltasone|5,10,20,50 mg|tablet", "9394 nebuliser therapy"),
    Condition("asthma", "lung", ("reactive airway disease", "bronchial asthma"), .09, 5.4, 0, 0, .1, ("upper airway disorder",), {"respiratory rate": .4},
              "49300 extrinsic asthma; 49310 intrinsic asthma; 49320 chronic obstructive asthma; 49322 chronic obstructive asthma, flare; 49390 asthma; 49392 asthma, flare",
              "albuterol|Ventolin|0.63,1.25,2.5,90 mg|inhaler,nebuliser; montelukast|Singulair|4,5,10 mg|tablet; budesonide|Pulmicort|0.25,0.5,90 mg|inhaler"),
    Condition("pleural effusion", "lung", ("effusion", "collapsed lung", "pneumothorax"), .12, 1.8, .5, .2, .2,
              ("respiratory failure",), {"oxygen saturation": -.7, "respiratory rate": .6},
              "5100 empyema with fistula; 5109 empyema; 5110 pleurisy; 5111 pleurisy with effusion; 51189 pleural effusion of other kind; 5119 pleural effusion; 5120 tension pneumothorax; 51281 spontaneous pneumothorax; 51289 pneumothorax; 5180 lung collapse; 5181 air in the chest",
              "lidocaine|Xylocaine|1,2 %|vial; acetylcysteine|Mucomyst|10,20 %|nebuliser", "3491 chest tap; 3404 chest tube; 3409 drainage of the pleura"),
    Condition("respiratory failure", "lung", ("acute respiratory failure", "hypoxic failure", "respiratory insufficiency"), .14, 1.4, 1.2, 1.0, .2,
              ("pneumonia", "upper airway disorder"), {"respiratory rate": 1.2, "oxygen saturation": -1.6, "inspired oxygen": 1.9, "ph": -.7},
              "51881 acute respiratory failure; 51882 respiratory insufficiency; 51883 chronic respiratory failure; 51884 acute on chronic respiratory failure; 51851 respiratory failure after surgery; 51853 acute on chronic respiratory failure after surgery; 7991 respiratory arrest; V4611 dependence on ventilator; V462 dependence on oxygen",
              "propofol|Diprivan|200,500,1000 mg|vial,infusion; midazolam|Versed|2,5,50 mg|vial,infusion; fentanyl|Sublimaze|50,100,250 mcg|vial,infusion; cisatracurium|Nimbex|10,20,200 mg|vial", "9671 ventilation under 96 hours; 9672 ventilation over 96 hours; 9604 breathing tube; 9390 mask ventilation; 311 temporary tracheostomy"),
    Condition("other lung disease", "lung", ("interstitial lung disease", "pulmonary fibrosis", "lung disease"), .10, 2.8, .2, .3, .2,
              ("respiratory failure", "pneumonia"), {"oxygen saturation": -.8, "respiratory rate": .7},
              "514 lung congestion; 515 lung fibrosis after inflammation; 51631 idiopathic lung fibrosis; 5168 alveolar lung disease; 5183 lung eosinophilia; 5184 acute lung edema; 51889 lung disease; 78605 shortness of breath; 78606 rapid breathing; 78609 abnormal breathing; 7862 cough; 78630 coughing blood; 79311 lung nodule; V1261 pneumonia in the past; V1269 lung disease in the past",
              "pirfenidone|Esbriet|267,801 mg|capsule,tablet; benzonatate|Tessalon|100,200 mg|capsule; guaifenesin|Mucinex|200,600,1200 mg|tablet,syrup", "3327 closed lung biopsy; 8741 chest CT scan"),
    Condition("upper airway disorder", "lung", ("vocal cord disease", "tracheostomy problem", "airway obstruction"), .07, 2.6, .3, .1, .1,
              ("pneumonia",), {"respiratory rate": .4},
              "470 deviated nasal septum; 4720 chronic nasal inflammation; 4770 hay fever from pollen; 4779 hay fever; 47829 disease of the throat; 47830 vocal cord paralysis; 4786 larynx swelling; 47874 narrowed larynx; 51919 disease of the windpipe; 7847 nosebleed; 78449 voice disturbance; 7861 stridor; V440 tracheostomy in place; V550 tracheostomy care",
              "fluticasone nasal|Flonase|50,93 mcg|spray; loratadine|Claritin|5,10 mg|tablet,syrup; oxymetazoline|Afrin|0.025,0.05 %|spray; racemic epinephrine|Asthmanefrin|0.5,2.25 %|nebuliser", "3142 look into the larynx; 3129 permanent tracheostomy; 2101 nasal packing"),
    Condition("sleep apnea", "lung", ("OSA", "obstructive sleep apnea"), .09, 5.8, 0, 0, .1, ("atrial fibrillation",), {},
              "32723 obstructive sleep apnea; 32720 organic sleep apnea; 32721 central sleep apnea; 78057 sleep apnea",
              "modafinil|Provigil|100,200 mg|tablet", "9390 mask ventilation"),
    Condition("liver disease", "gut", ("cirrhosis", "chronic liver disease", "liver failure"), .09, 4.4, .2, .5, .4,
              ("gastrointestinal bleeding", "fluid and electrolyte disorder", "anemia"), {"bilirubin": 2.0, "platelets": -1.2, "sodium": -.5},
              "570 acute liver necrosis; 5715 cirrhosis without alcohol; 5716 biliary cirrhosis; 5718 chronic liver disease, other; 5719 chronic liver disease; 5720 liver abscess; 5722 hepatic encephalopathy; 5723 portal hypertension; 5724 hepatorenal syndrome; 5728 sequelae of liver disease; 5733 hepatitis; 5738 liver disorder; 7824 jaundice; 78959 ascites; V427 liver transplant in place",
              "lactulose|Enulose|10,20,30 g|syrup; rifaximin|Xifaxan|200,550 mg|tablet; spironolactone|Aldactone|25,50,100 mg|tablet; nadolol|Corgard|20,40,80 mg|tablet", "5491 abdominal tap; 5011 liver biopsy; 391 venous shunt in the abdomen"),
    Condition("gastrointestinal bleeding", "gut", ("GI bleed", "GIB", "melena"), .08, 1.8, .5, .4, .3,
              ("anemia", "shock"), {"hemoglobin": -1.8, "heart rate": .8, "urea nitrogen": .8},
              "4560 bleeding esophageal varices; 5307 esophageal tear with bleeding; 53082 esophageal bleeding; 53100 acute stomach ulcer with bleeding; 53140 chronic stomach ulcer with bleeding; 53200 acute duodenal ulcer with bleeding; 53240 chronic duodenal ulcer with bleeding; 53340 chronic peptic ulcer with bleeding; 5693 rectal bleeding; 5780 vomiting blood; 5781 blood in stool; 5789 gastrointestinal bleeding",
              "pantoprazole infusion|Protonix|40,80 mg|vial,infusion; octreotide|Sandostatin|50,100,500 mcg|vial,infusion; sucralfate|Carafate|1 g|tablet,suspension", "4513 endoscopy of the small bowel; 4443 endoscopic control of bleeding; 4233 band of esophageal varices; 4523 colonoscopy"),
    Condition("reflux disease", "gut", ("GERD", "acid reflux", "heartburn"), .20, 4.8, 0, 0, 0, (), {},
              "53081 esophageal reflux; 53011 reflux esophagitis; 53010 esophagitis; 5533 hiatal hernia",
              "omeprazole|Prilosec|10,20,40 mg|capsule; famotidine|Pepcid|10,20,40 mg|tablet,vial; ranitidine|Zantac|75,150,300 mg|tablet"),
    Condition("pancreatitis", "gut", ("acute pancreatitis", "inflamed pancreas"), .04, 2.4, .4, .3, .2, ("fluid and electrolyte disorder", "diabetes"), {"glucose": .7, "white cells": .8},
              "5770 acute pancreatitis; 5771 chronic pancreatitis; 5772 pancreatic cyst; 5778 pancreatic disease",
              "pancrelipase|Creon|6000,12000,24000 units|capsule", "5110 endoscopy of bile ducts; 9915 intravenous feeding"),
    Condition("complication of care", "infection", ("postoperative complication", "wound infection", "device infection"), .13, 1.6, .5, .2, .4,
              ("sepsis", "cellulitis"), {"white cells": .7, "temperature": .5, "hemoglobin": -.5},
              "9971 heart complication of surgery; 99731 ventilator-associated pneumonia; 99739 lung complication of surgery; 99749 bowel complication of surgery; 9975 urinary complication of surgery; 99702 stroke after surgery; 99811 bleeding after surgery; 99812 hematoma after surgery; 9982 accidental cut during surgery; 99832 wound opening after surgery; 99859 wound infection after surgery; 99883 wound that does not heal; 99939 infection after infusion; 99931 infection of central line; 45829 low pressure from a procedure; 53642 problem of a gastrostomy; 5121 pneumothorax from a procedure",
              "cefazolin|Ancef|1,2 g|vial,bag; linezolid|Zyvox|400,600 mg|tablet,bag; daptomycin|Cubicin|350,500 mg|vial", "8604 drainage of a wound; 8622 cleaning of a wound; 5412 reopening of the abdomen; 8659 skin closure"),
    Condition("cellulitis", "infection", ("skin infection", "soft tissue infection"), .08, 2, 0, 0, .2, ("sepsis",), {"white cells": .6, "temperature": .4},
              "6826 leg cellulitis; 6823 arm cellulitis; 6822 trunk cellulitis; 6827 foot cellulitis; 6829 cellulitis; 70715 toe ulcer; 70714 heel ulcer",
              "cephalexin|Keflex|250,500 mg|capsule; clindamycin|Cleocin|150,300,600 mg|capsule,vial; doxycycline|Vibramycin|50,100 mg|tablet"),
    Condition("cancer", "gut", ("malignancy", "metastatic disease", "tumor"), .12, 5.6, .2, .6, .5, ("anemia", "pleural effusion", "pulmonary embolism"), {"hemoglobin": -.6, "platelets": -.3},
              "1629 lung cancer; 1539 colon cancer; 1749 breast cancer; 185 prostate cancer; 1579 pancreatic cancer; 1550 liver cancer; 1970 cancer spread to lung; 1977 cancer spread to liver; 1983 cancer spread to brain; 1985 cancer spread to bone; 20280 lymphoma; 20300 myeloma",
              "ondansetron|Zofran|4,8 mg|tablet,vial; dexamethasone|Decadron|1,4,10 mg|tablet,vial; filgrastim|Neupogen|300,480 mcg|syringe; oxycodone|Roxicodone|5,10,15 mg|tablet", "9925 chemotherapy; 9229 radiotherapy; 4131 bone marrow biopsy"),
    Condition("pulmonary embolism", "heart", ("PE", "deep vein thrombosis", "DVT"), .06, 2.4, .4, .4, .2, (), {"heart rate": .8, "oxygen saturation": -.8},
              "41519 pulmonary embolism; 41513 saddle embolism of lung artery; 45340 vein thrombosis of the leg; 45341 thrombosis of upper leg vein; 45342 thrombosis of lower leg vein; V1251 vein thrombosis in the past",
              "enoxaparin|Lovenox|30,40,60,80,100 mg|syringe; rivaroxaban|Xarelto|10,15,20 mg|tablet; apixaban|Eliquis|2.5,5 mg|tablet", "387 vena cava filter"),
    Condition("depression", "brain", ("MDD", "depressive disorder", "low mood"), .15, 5, 0, 0, .2, (), {},
              "311 depressive disorder; 29620 major depression, single; 29630 major depression, recurrent; 3004 dysthymia; 30000 anxiety; 30928 adjustment disorder",
              "sertraline|Zoloft|25,50,100 mg|tablet; citalopram|Celexa|10,20,40 mg|tablet; mirtazapine|Remeron|7.5,15,30 mg|tablet; trazodone|Desyrel|50,100,150 mg|tablet"),
    Condition("dementia", "brain", ("Alzheimer disease", "cognitive decline"), .08, 5.8, 0, .3, .2, ("delirium", "pneumonia", "urinary tract infection"), {"coma scale": -.6},
              "3310 Alzheimer disease; 2900 senile dementia; 29410 dementia without behaviour change; 29411 dementia with behaviour change; 2948 dementia of other kind; 33182 Lewy body dementia",
              "donepezil|Aricept|5,10,23 mg|tablet; memantine|Namenda|5,10 mg|tablet"),
    Condition("delirium", "brain", ("acute confusion", "encephalopathy", "altered mental status"), .10, 1.6, .7, .4, .2, ("dementia",), {"coma scale": -1.5},
              "2930 delirium; 78097 altered mental status; 34830 encephalopathy; 34831 metabolic encephalopathy; 34839 encephalopathy of other kind; 2920 drug withdrawal; 2910 alcohol withdrawal delirium",
              "haloperidol|Haldol|0.5,1,2,5 mg|tablet,vial; quetiapine|Seroquel|12.5,25,50,100 mg|tablet; olanzapine|Zyprexa|2.5,5,10 mg|tablet"),
    Condition("seizure disorder", "brain", ("epilepsy", "seizures"), .07, 4.8, .1, .1, .2, ("delirium",), {"coma scale": -.4},
              "34590 epilepsy; 34591 intractable epilepsy; 34540 partial epilepsy; 3453 status epilepticus; 78039 convulsions",
              "levetiracetam|Keppra|250,500,750,1000 mg|tablet,vial; phenytoin|Dilantin|30,50,100 mg|capsule,vial; valproic acid|Depakote|125,250,500 mg|capsule,tablet; lacosamide|Vimpat|50,100,200 mg|tablet", "8914 electroencephalogram"),
    Condition("alcohol abuse", "gut", ("EtOH abuse", "alcohol dependence"), .09, 5, .1, .1, .3, ("liver disease", "delirium", "pancreatitis"), {"platelets": -.4},
              "30300 acute alcohol intoxication; 30390 alcohol dependence; 30391 alcohol dependence, continuous; 30500 alcohol abuse; 30501 alcohol abuse, continuous; 5712 alcoholic cirrhosis; 5711 alcoholic hepatitis",
              "thiamine|Vitamin B1|50,100 mg|tablet,vial; lorazepam|Ativan|0.5,1,2 mg|tablet,vial; chlordiazepoxide|Librium|5,10,25 mg|capsule; folic acid|Folvite|0.4,1 mg|tablet", "9462 alcohol detoxification"),
)

# What every ward records whatever the patient has.
COMMON_CODES = "V5861 long-term anticoagulant use; V5866 long-term aspirin use; V5867 long-term insulin use; V1582 tobacco use in the past; 3051 tobacco use; V0254 carrier of resistant Staph; V4365 knee replacement in place; V4364 hip replacement in place; V103 breast cancer in the past; V1046 prostate cancer in the past; 2749 gout; 71590 osteoarthritis; 73300 osteoporosis; 56400 constipation; 78791 diarrhoea; 78701 nausea with vomiting; 7840 headache; 7242 low back pain; 78052 insomnia; 60000 enlarged prostate; 3659 glaucoma; 36201 retinopathy; 7291 muscle pain; 7140 rheumatoid arthritis; 6961 psoriasis; 78650 chest pain; 78900 abdominal pain; 7802 fainting; E8788 event of surgery; E9331 event of cancer drugs; E8889 fall; V667 palliative care; V4986 do not resuscitate order; 2875 low platelets; 28860 high white cells; 53190 stomach ulcer; 56210 diverticulosis; 45981 venous insufficiency; 4439 peripheral vascular disease; 4241 aortic valve disease; 4240 mitral valve disease; 3970 tricuspid valve disease"
COMMON_DRUGS = "acetaminophen|Tylenol|325,500,650 mg|tablet,suppository; docusate|Colace|50,100 mg|capsule,syrup; senna|Senokot|8.6,17.2 mg|tablet,syrup; aspirin|Ecotrin|81,325 mg|tablet; morphine|MS Contin|2,4,15,30 mg|tablet,vial; hydromorphone|Dilaudid|0.5,1,2 mg|tablet,vial; bisacodyl|Dulcolax|5,10 mg|tablet,suppository; sodium chloride|Normal Saline|250,500,1000 mL|bag; dextrose|D5W|250,500,1000 mL|bag; heparin|Hep-Lock|100,5000 units|vial,syringe; multivitamin|Centrum|1,5 mL|tablet,vial; zolpidem|Ambien|5,10 mg|tablet; ibuprofen|Motrin|200,400,600 mg|tablet; diphenhydramine|Benadryl|25,50 mg|capsule,vial; polyethylene glycol|Miralax|17 g|powder; milk of magnesia|Phillips|15,30 mL|suspension"
COMMON_PROCEDURES = "3893 central venous line; 966 tube feeding; 9915 intravenous feeding; 9907 plasma transfusion; 9905 platelet transfusion; 8938 breathing test; 9339 physical therapy; 8744 chest x-ray; 8876 abdominal ultrasound; 5794 bladder catheter"
# fmt: on
