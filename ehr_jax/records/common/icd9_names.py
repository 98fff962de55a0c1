"""ICD-9-CM in names: its blocks, and the titles of its most frequent categories.

`BLOCKS` covers the classification, one line a block: "first-last name". `CATEGORIES` gives common
categories, one line each: "category title", shortened where the official wording runs long or says
"other", then with the condition most often meant.
"""

BLOCKS = """
001-009 Intestinal infectious diseases
010-018 Tuberculosis
020-027 Zoonotic bacterial diseases
030-041 Other bacterial diseases
042-042 Human immunodeficiency virus infection
045-049 Poliomyelitis and other non-arthropod-borne viral diseases of the central nervous system
050-059 Viral diseases accompanied by rash
060-066 Arthropod-borne viral diseases
070-079 Other viral and chlamydial diseases
080-088 Rickettsioses and other arthropod-borne diseases
090-099 Syphilis and other venereal diseases
100-104 Other spirochetal diseases
110-118 Mycoses
120-129 Helminthiases
130-136 Other infectious and parasitic diseases
137-139 Late effects of infectious and parasitic diseases
140-149 Malignant neoplasm of lip, oral cavity and pharynx
150-159 Malignant neoplasm of digestive organs and peritoneum
160-165 Malignant neoplasm of respiratory and intrathoracic organs
170-176 Malignant neoplasm of bone, connective tissue, skin and breast
179-189 Malignant neoplasm of genitourinary organs
190-199 Malignant neoplasm of other and unspecified sites
200-208 Malignant neoplasm of lymphatic and hematopoietic tissue
209-209 Neuroendocrine tumors
210-229 Benign neoplasms
230-234 Carcinoma in situ
235-238 Neoplasms of uncertain behavior
239-239 Neoplasms of unspecified nature
240-246 Disorders of thyroid gland
249-259 Diabetes and diseases of other endocrine glands
260-269 Nutritional deficiencies
270-279 Other metabolic and immunity disorders
280-289 Diseases of blood and blood-forming organs
290-294 Organic psychotic conditions
295-299 Other psychoses
300-316 Neurotic, personality and other nonpsychotic mental disorders
317-319 Intellectual disabilities
320-327 Inflammatory diseases of the central nervous system and organic sleep disorders
330-337 Hereditary and degenerative diseases of the central nervous system
338-338 Pain
339-339 Headache syndromes
340-349 Other disorders of the central nervous system
350-359 Disorders of the peripheral nervous system
360-379 Disorders of the eye and adnexa
380-389 Diseases of the ear and mastoid process
390-392 Acute rheumatic fever
393-398 Chronic rheumatic heart disease
401-405 Hypertensive disease
410-414 Ischemic heart disease
415-417 Diseases of pulmonary circulation
420-429 Other forms of heart disease
430-438 Cerebrovascular disease
440-449 Diseases of arteries, arterioles and capillaries
451-459 Diseases of veins and lymphatics and other diseases of the circulatory system
460-466 Acute respiratory infections
470-478 Other diseases of the upper respiratory tract
480-488 Pneumonia and influenza
490-496 Chronic obstructive pulmonary disease and allied conditions
500-508 Pneumoconioses and other lung diseases due to external agents
510-519 Other diseases of the respiratory system
520-529 Diseases of oral cavity, salivary glands and jaws
530-539 Diseases of esophagus, stomach and duodenum
540-543 Appendicitis
550-553 Hernia of abdominal cavity
555-558 Noninfectious enteritis and colitis
560-569 Other diseases of intestines and peritoneum
570-579 Other diseases of the digestive system
580-589 Nephritis, nephrotic syndrome and nephrosis
590-599 Other diseases of the urinary system
600-608 Diseases of male genital organs
610-612 Disorders of breast
614-616 Inflammatory disease of female pelvic organs
617-629 Other disorders of female genital tract
630-639 Ectopic and molar pregnancy and other pregnancy with abortive outcome
640-649 Complications mainly related to pregnancy
650-659 Normal delivery and other indications for care in pregnancy, labor and delivery
660-669 Complications occurring mainly in the course of labor and delivery
670-677 Complications of the puerperium
678-679 Other maternal and fetal complications
680-686 Infections of skin and subcutaneous tissue
690-698 Other inflammatory conditions of skin and subcutaneous tissue
700-709 Other diseases of skin and subcutaneous tissue
710-719 Arthropathies and related disorders
720-724 Dorsopathies
725-729 Rheumatism, excluding the back
730-739 Osteopathies, chondropathies and acquired musculoskeletal deformities
740-759 Congenital anomalies
760-763 Maternal causes of perinatal morbidity and mortality
764-779 Other conditions originating in the perinatal period
780-789 Symptoms
790-796 Nonspecific abnormal findings
797-799 Ill-defined and unknown causes of morbidity and mortality
800-804 Fracture of skull
805-809 Fracture of neck and trunk
810-819 Fracture of upper limb
820-829 Fracture of lower limb
830-839 Dislocation
840-848 Sprains and strains of joints and adjacent muscles
850-854 Intracranial injury, excluding those with skull fracture
860-869 Internal injury of thorax, abdomen and pelvis
870-879 Open wound of head, neck and trunk
880-887 Open wound of upper limb
890-897 Open wound of lower limb
900-904 Injury to blood vessels
905-909 Late effects of injuries, poisonings, toxic effects and other external causes
910-919 Superficial injury
920-924 Contusion with intact skin surface
925-929 Crushing injury
930-939 Effects of foreign body entering through orifice
940-949 Burns
950-957 Injury to nerves and spinal cord
958-959 Certain traumatic complications and unspecified injuries
960-979 Poisoning by drugs, medicinal and biological substances
980-989 Toxic effects of substances chiefly nonmedicinal as to source
990-995 Other and unspecified effects of external causes
996-999 Complications of surgical and medical care
V01-V09 Persons with potential health hazards related to communicable diseases
V10-V19 Persons with potential health hazards related to personal and family history
V20-V29 Persons encountering health services in circumstances of reproduction and development
V30-V39 Liveborn infants according to type of birth
V40-V49 Persons with a condition influencing their health status
V50-V59 Persons encountering health services for specific procedures and aftercare
V60-V69 Persons encountering health services in other circumstances
V70-V82 Persons without reported diagnosis, examined or investigated
V83-V84 Genetics
V85-V85 Body mass index
V86-V86 Estrogen receptor status
V87-V87 Other specified personal exposures and history
V88-V88 Acquired absence of organs and tissue
V89-V89 Other suspected conditions not found
V90-V90 Retained foreign body
V91-V91 Multiple gestation placenta status
E000-E000 External cause status
E001-E030 Activity at the time of injury
E800-E807 Railway accidents
E810-E819 Motor vehicle traffic accidents
E820-E825 Motor vehicle nontraffic accidents
E826-E829 Other road vehicle accidents
E830-E838 Water transport accidents
E840-E845 Air and space transport accidents
E846-E849 Vehicle accidents not elsewhere classifiable and place of occurrence
E850-E858 Accidental poisoning by drugs, medicinal substances and biologicals
E860-E869 Accidental poisoning by other solid and liquid substances, gases and vapors
E870-E876 Misadventures to patients during surgical and medical care
E878-E879 Abnormal reaction or later complication of surgical and medical procedures
E880-E888 Accidental falls
E890-E899 Accidents caused by fire and flames
E900-E909 Accidents due to natural and environmental factors
E910-E915 Accidents caused by submersion, suffocation and foreign bodies
E916-E928 Other accidents
E929-E929 Late effects of accidental injury
E930-E949 Drugs and biological substances causing adverse effects in therapeutic use
E950-E959 Suicide and self-inflicted injury
E960-E969 Homicide and injury purposely inflicted by other persons
E970-E979 Legal intervention
E980-E989 Injury undetermined whether accidentally or purposely inflicted
E990-E999 Injury resulting from operations of war
"""

CATEGORIES = """
008 Intestinal infections due to other organisms
038 Septicemia
041 Bacterial infection in conditions classified elsewhere
042 Human immunodeficiency virus disease
070 Viral hepatitis
112 Candidiasis
153 Malignant neoplasm of colon
154 Malignant neoplasm of rectum and anus
157 Malignant neoplasm of pancreas
162 Malignant neoplasm of trachea, bronchus and lung
174 Malignant neoplasm of female breast
185 Malignant neoplasm of prostate
188 Malignant neoplasm of bladder
189 Malignant neoplasm of kidney
197 Secondary malignant neoplasm of respiratory and digestive systems
198 Secondary malignant neoplasm of other sites
218 Uterine leiomyoma
242 Thyrotoxicosis
244 Acquired hypothyroidism
250 Diabetes mellitus
263 Malnutrition
272 Disorders of lipid metabolism
274 Gout
276 Disorders of fluid, electrolyte and acid-base balance
277 Other disorders of metabolism
278 Overweight and obesity
280 Iron deficiency anemia
282 Hereditary hemolytic anemia, sickle-cell disease included
284 Aplastic anemia
285 Other anemia
286 Coagulation defects
287 Purpura and thrombocytopenia
288 Diseases of white blood cells
289 Other diseases of blood and blood-forming organs
290 Dementia
291 Alcohol-induced mental disorders
293 Transient mental disorders due to other conditions, delirium
294 Persistent mental disorders due to other conditions, dementia
295 Schizophrenic disorders
296 Episodic mood disorders
298 Other nonorganic psychoses
300 Anxiety and other neurotic disorders
303 Alcohol dependence
304 Drug dependence
305 Nondependent abuse of alcohol, tobacco or drugs
307 Special symptoms, eating and sleep disorders
309 Adjustment reaction
311 Depressive disorder
327 Organic sleep disorders
331 Cerebral degeneration, Alzheimer's disease included
332 Parkinson's disease
333 Other extrapyramidal disease and abnormal movement disorders
337 Disorders of the autonomic nervous system
340 Multiple sclerosis
342 Hemiplegia and hemiparesis
345 Epilepsy and recurrent seizures
346 Migraine
348 Other conditions of brain, encephalopathy
349 Other disorders of the nervous system
357 Inflammatory and toxic neuropathy
358 Myoneural disorders
362 Retinal disorders
365 Glaucoma
386 Vertiginous syndromes
396 Diseases of mitral and aortic valves
397 Diseases of other endocardial structures
398 Other rheumatic heart disease
401 Essential hypertension
402 Hypertensive heart disease
403 Hypertensive chronic kidney disease
404 Hypertensive heart and chronic kidney disease
410 Acute myocardial infarction
411 Other acute and subacute ischemic heart disease, unstable angina
412 Old myocardial infarction
413 Angina pectoris
414 Chronic ischemic heart disease, coronary atherosclerosis
415 Acute pulmonary heart disease, pulmonary embolism
416 Chronic pulmonary heart disease
423 Other diseases of pericardium
424 Other diseases of endocardium, heart valve disorders
425 Cardiomyopathy
426 Cardiac conduction disorders
427 Cardiac dysrhythmias
428 Heart failure
429 Ill-defined heart disease and complications of heart disease
430 Subarachnoid hemorrhage
431 Intracerebral hemorrhage
432 Other intracranial hemorrhage
433 Occlusion and stenosis of precerebral arteries
434 Occlusion of cerebral arteries, stroke
435 Transient cerebral ischemia
436 Acute ill-defined cerebrovascular disease
437 Other cerebrovascular disease
438 Late effects of cerebrovascular disease
440 Atherosclerosis
441 Aortic aneurysm and dissection
443 Other peripheral vascular disease
444 Arterial embolism and thrombosis
447 Other disorders of arteries and arterioles
451 Phlebitis and thrombophlebitis
453 Other venous embolism and thrombosis
455 Hemorrhoids
456 Varicose veins of other sites, esophageal varices
458 Hypotension
459 Other disorders of circulatory system
466 Acute bronchitis and bronchiolitis
473 Chronic sinusitis
480 Viral pneumonia
481 Pneumococcal pneumonia
482 Other bacterial pneumonia
486 Pneumonia, organism unspecified
487 Influenza
490 Bronchitis, not specified as acute or chronic
491 Chronic bronchitis
492 Emphysema
493 Asthma
494 Bronchiectasis
496 Chronic airway obstruction, not elsewhere classified
507 Aspiration pneumonia
511 Pleurisy and pleural effusion
512 Pneumothorax
514 Pulmonary congestion
515 Postinflammatory pulmonary fibrosis
518 Other diseases of lung, respiratory failure
519 Other diseases of respiratory system
530 Diseases of esophagus
531 Gastric ulcer
532 Duodenal ulcer
533 Peptic ulcer
535 Gastritis and duodenitis
536 Disorders of function of stomach
537 Other disorders of stomach and duodenum
540 Acute appendicitis
550 Inguinal hernia
552 Hernia of abdominal cavity with obstruction
553 Other hernia of abdominal cavity
555 Regional enteritis, Crohn's disease
556 Ulcerative colitis
557 Vascular insufficiency of intestine
558 Noninfectious gastroenteritis and colitis
560 Intestinal obstruction
562 Diverticula of intestine
564 Functional digestive disorders, constipation
567 Peritonitis
568 Other disorders of peritoneum
569 Other disorders of intestine
570 Acute necrosis of liver
571 Chronic liver disease and cirrhosis
572 Liver abscess and sequelae of chronic liver disease
573 Other disorders of liver
574 Gallstones
575 Other disorders of gallbladder
576 Other disorders of biliary tract
577 Diseases of pancreas
578 Gastrointestinal hemorrhage
581 Nephrotic syndrome
583 Nephritis and nephropathy
584 Acute kidney failure
585 Chronic kidney disease
586 Renal failure, unspecified
590 Infections of kidney
591 Hydronephrosis
592 Calculus of kidney and ureter
593 Other disorders of kidney and ureter
595 Cystitis
596 Other disorders of bladder
599 Other disorders of urinary tract, urinary tract infection
600 Hyperplasia of prostate
604 Orchitis and epididymitis
618 Genital prolapse
625 Pain and other symptoms of female genital organs
626 Disorders of menstruation and abnormal bleeding
648 Other current conditions of the mother complicating pregnancy
654 Abnormality of organs and soft tissues of pelvis in pregnancy
681 Cellulitis and abscess of finger and toe
682 Cellulitis and abscess
685 Pilonidal cyst
686 Other local infections of skin
693 Dermatitis due to substances taken internally
707 Chronic ulcer of skin
710 Diffuse diseases of connective tissue
711 Infective arthropathy
714 Rheumatoid arthritis
715 Osteoarthrosis
719 Other disorders of joint
721 Spondylosis
722 Intervertebral disc disorders
723 Other disorders of cervical region
724 Other disorders of back
726 Peripheral enthesopathies
727 Other disorders of synovium, tendon and bursa
728 Disorders of muscle, ligament and fascia
729 Other disorders of soft tissues
730 Osteomyelitis
731 Bone changes associated with other disorders
733 Other disorders of bone and cartilage, osteoporosis
736 Acquired deformities of limbs
745 Congenital defects of cardiac septum
780 General symptoms: syncope, fever, dizziness, malaise
781 Symptoms involving nervous and musculoskeletal systems
782 Symptoms involving skin, edema
783 Symptoms concerning nutrition, metabolism and development
784 Symptoms involving head and neck, headache
785 Symptoms involving cardiovascular system, shock
786 Symptoms involving respiratory system, chest pain
787 Symptoms involving digestive system, nausea and vomiting
788 Symptoms involving urinary system
789 Symptoms involving abdomen and pelvis, abdominal pain
790 Nonspecific findings on examination of blood
791 Nonspecific findings on examination of urine
792 Nonspecific abnormal findings in other body substances
793 Nonspecific findings on radiological examination
794 Nonspecific abnormal results of function studies
799 Other ill-defined causes, respiratory arrest, debility
805 Fracture of vertebral column without spinal cord injury
807 Fracture of ribs, sternum, larynx and trachea
808 Fracture of pelvis
812 Fracture of humerus
813 Fracture of radius and ulna
820 Fracture of neck of femur
821 Fracture of other parts of femur
823 Fracture of tibia and fibula
824 Fracture of ankle
852 Subarachnoid, subdural and extradural hemorrhage after injury
873 Other open wound of head
920 Contusion of face, scalp and neck
924 Contusion of lower limb
958 Certain early complications of trauma
959 Other and unspecified injury
962 Poisoning by hormones and synthetic substitutes, insulin
965 Poisoning by analgesics
969 Poisoning by psychotropic agents
995 Certain adverse effects, systemic inflammatory response, anaphylaxis
996 Complications of devices, implants and grafts
997 Complications affecting body systems after procedures
998 Other complications of procedures
999 Complications of medical care
V08 Asymptomatic human immunodeficiency virus infection
V09 Infection with drug-resistant microorganisms
V10 Personal history of malignant neoplasm
V12 Personal history of other diseases
V14 Personal history of allergy to medicinal agents
V15 Other personal history presenting hazards to health
V42 Organ or tissue replaced by transplant
V43 Organ or tissue replaced by other means
V44 Artificial opening status
V45 Other postprocedural states
V49 Other conditions influencing health status, amputation
V53 Fitting and adjustment of devices
V54 Orthopedic aftercare
V55 Attention to artificial openings
V56 Encounter for dialysis
V57 Rehabilitation care
V58 Other aftercare, long-term drug use
V60 Housing and household circumstances
V62 Other psychosocial circumstances
V63 Unavailability of medical facilities
V64 Procedure not carried out
V65 Consultation
V66 Convalescence and palliative care
V67 Follow-up examination
V70 General medical examination
V71 Observation for suspected conditions not found
V72 Special examinations
V85 Body mass index
E812 Motor vehicle traffic collision with another vehicle
E849 Place of occurrence of an injury
E878 Later complication of a surgical procedure without mention of misadventure
E879 Later complication of another procedure without mention of misadventure
E880 Fall on stairs
E884 Fall from one level to another
E885 Fall on the same level from slipping or stumbling
E888 Other and unspecified fall
E930 Adverse effect of antibiotics
E931 Adverse effect of other anti-infectives
E932 Adverse effect of hormones, insulin included
E933 Adverse effect of systemic agents, antineoplastics included
E934 Adverse effect of agents affecting blood, anticoagulants included
E935 Adverse effect of analgesics
E936 Adverse effect of anticonvulsants
E937 Adverse effect of sedatives
E938 Adverse effect of anesthetics and muscle relaxants
E939 Adverse effect of psychotropic agents
E941 Adverse effect of agents affecting the autonomic nervous system
E942 Adverse effect of agents affecting the cardiovascular system
E944 Adverse effect of diuretics and agents affecting mineral balance
E947 Adverse effect of other drugs, contrast media included
"""
