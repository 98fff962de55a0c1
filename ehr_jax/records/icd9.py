"""ICD-9-CM: one spelling of a code, its category, and a readable name for either.

Codes are kept undotted with every leading zero ("008", "25083", "V4581", "E8495"). A name comes
from the best of what is there: a title table (MIMIC's D_ICD_DIAGNOSES), the AHRQ multi-level CCS
file, and, always, the blocks of the classification below.
"""

import bisect
import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

import polars as pl

from ehr_jax import errors
from ehr_jax.records import reading

CCS_FILE = "code_maps/ccs_multi_dx_tool_2015.csv.gz"


def canonical(code: str) -> str:
    """Returns a diagnosis code undotted and with its leading zeros: "8" and "8." give "008".

    A dot tells the category's end, so "8.5" is 008.5. Without a dot only a category that is too
    short is filled ("250" may be nothing else; "8" must be 008; see `with_zeros` for the rest).
    """
    code = code.strip().upper()
    category, _, detail = code.partition(".")
    letter = category[:1] if category[:1] in ("V", "E") else ""
    digits = category[len(letter) :]
    return letter + digits.rjust(2 if letter == "V" else 3, "0") + detail


def canonical_procedure(code: str) -> str:
    """Returns a procedure code undotted, its category filled to two digits: "3.9" gives "039"."""
    category, dot, detail = code.strip().partition(".")
    return (category.rjust(2, "0") if dot else category) + detail


def category(code: str) -> str:
    """Returns the category of an undotted diagnosis code: 3 characters, of an E code 4."""
    return code[: 4 if code.startswith("E") else 3]


def with_zeros(codes: Iterable[str], titles: Mapping[str, str], longest: int) -> dict[str, str]:
    """Returns undotted spelling to spelling with the zeros a spreadsheet or database took away.

    `codes` is a whole column of the source and `titles` what its dictionary knows. A column in
    which some numeric code still begins with 0 lost nothing and is left alone, as is a code the
    dictionary knows, as long as none is shorter than three digits, which no ICD-9 code is. Else a
    code becomes its longest filled form (up to `longest` characters) that the dictionary knows.
    """
    codes = sorted(set(codes))
    numeric = [code for code in codes if code.isdigit()]
    if any(code.startswith("0") for code in numeric):
        return {code: code for code in codes}
    known = {}
    for code in codes:
        filled = [code.rjust(n, "0") for n in range(longest, max(len(code), 2), -1)]
        found = [form for form in filled if form in titles] if code.isdigit() else []
        kept = code in titles or not found
        known[code] = (code if len(code) > 2 else code.rjust(3, "0")) if kept else found[0]
    return known


@dataclasses.dataclass(frozen=True)
class Titles:
    """`exact`: code to title. `groups`: code to labels of its clinical groups, coarsest first."""

    exact: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]
    by_category: Mapping[str, tuple[str, ...]]  # category to the codes above below it

    @classmethod
    def of(cls, exact: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]) -> "Titles":
        below = collections.defaultdict(list)
        for code in sorted(set(exact) | set(groups)):
            below[category(code)].append(code)
        return cls(exact, groups, {key: tuple(codes) for key, codes in below.items()})


def load(root: str | pathlib.Path | None = None) -> Titles:
    """Returns the titles found in `root` (D_ICD_DIAGNOSES) and in the CCS file.

    The CCS file is looked for as `code_maps/...` in `$EHR_JAX_DATA` and beside `root`; without
    either file the titles are empty and names are those of the blocks.
    """
    exact, groups = {}, {}
    places = [pathlib.Path(os.environ["EHR_JAX_DATA"])] if os.environ.get("EHR_JAX_DATA") else []
    if root is not None:
        places.append(pathlib.Path(root).expanduser().resolve().parent)
        if pathlib.Path(root).is_dir():
            exact = mimic_titles(root, "D_ICD_DIAGNOSES")
    for place in places:
        if (place / CCS_FILE).is_file():
            groups = ccs_groups(place / CCS_FILE)
            break
    return Titles.of(exact, groups)


def mimic_titles(root: str | pathlib.Path, table: str) -> dict[str, str]:
    """Returns undotted code to long title of a MIMIC dictionary; empty where it is absent."""
    path = reading.find_table(root, table, required=False)
    if path is None:
        return {}
    frame = reading.read(path, {"icd9_code": pl.String, "long_title": pl.String})
    frame = frame.drop_nulls()
    return dict(zip(frame["icd9_code"], frame["long_title"], strict=True))


def ccs_groups(path: str | pathlib.Path) -> dict[str, tuple[str, ...]]:
    """Returns undotted code to its CCS labels, coarsest first, without the groups' numbers."""
    labels = [f"ccs lvl {level} label" for level in (1, 2, 3, 4)]
    frame = reading.read(path, {"icd-9-cm code": pl.String} | dict.fromkeys(labels, pl.String))
    groups = {}
    for code, *found in frame.select("icd-9-cm code", *labels).iter_rows():
        code = (code or "").strip(" '\"")
        tidy = [re.sub(r"\s*\[.*$", "", (label or "").strip(" '\"")) for label in found]
        # The leftover group says nothing ("Residual codes; unclassified; all E codes"): no label.
        tidy = [label for label in tidy if label and not label.startswith("Residual codes")]
        if code and len(tidy) > 1:
            groups[code] = tuple(tidy)
    if not groups:
        raise errors.RecordsError(f"{pathlib.Path(path).name}: no CCS group was found in it")
    return groups


def name_of(code: str, titles: Titles) -> str:
    """Returns a readable name of an undotted code or category; never empty.

    In turn: its own title; its own finest group; the finest group that more than half of the codes
    below it share; the words with which all titles below it begin; the name of the next shorter
    code; its block.
    """
    if code in titles.exact:
        return titles.exact[code]
    if code in titles.groups:
        return titles.groups[code][-1]
    below = [
        child for child in titles.by_category.get(category(code), ()) if child.startswith(code)
    ]
    name = _shared_group([titles.groups.get(child, ()) for child in below])
    name = name or _shared_words([titles.exact[child] for child in below if child in titles.exact])
    if name:
        return name
    return name_of(code[:-1], titles) if len(code) > len(category(code)) else block(code)


def block(code: str) -> str:
    """Returns the name of the block of ICD-9-CM a code lies in, e.g. "Hypertensive disease"."""
    letter = code[:1] if code[:1] in ("V", "E") else ""
    digits = category(code)[len(letter) :]
    if digits.isdigit():
        firsts, rows = _BLOCKS[letter]
        at = bisect.bisect_right(firsts, int(digits)) - 1
        if at >= 0 and int(digits) <= rows[at][1]:
            return rows[at][2]
    return f"ICD-9-CM {code}"


def _shared_group(paths: list[tuple[str, ...]]) -> str:
    # Level 0 is a chapter, and level 1 nearly one where finer levels exist: a block says more.
    finer = any(len(path) > 2 for path in paths)
    for level in (3, 2) if finer else (1,):
        found = collections.Counter(path[level] for path in paths if len(path) > level)
        if found and 2 * found.most_common(1)[0][1] > len(paths):
            return found.most_common(1)[0][0]
    return ""


def _shared_words(titles: list[str]) -> str:
    words = os.path.commonprefix([title.split() for title in titles])
    return " ".join(words).rstrip(" ,;:") if len(words) >= 2 else ""


_BLOCK_TEXT = """
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


def _blocks() -> dict[str, tuple[list[int], list[tuple[int, int, str]]]]:
    rows = {"": [], "V": [], "E": []}
    for line in _BLOCK_TEXT.strip().splitlines():
        span, name = line.split(" ", 1)
        first, last = span.split("-")
        letter = first[0] if first[0] in "VE" else ""
        rows[letter].append((int(first.lstrip("VE")), int(last.lstrip("VE")), name))
    return {letter: ([row[0] for row in found], found) for letter, found in rows.items()}


_BLOCKS = _blocks()
