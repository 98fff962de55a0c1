"""The headings of a clinical note and what each says of the text behind it."""

import re
from typing import NamedTuple

# What the name of a section says of what stands in it.
HISTORY, FAMILY, OTHER = "history", "family", "other"
_NAMES = {
    HISTORY: "past medical history; past medical/surgical history; past medical and surgical "
    "history; past medical hx; medical history; previous medical history; past history; "
    "prior medical history; past surgical history; surgical history; past psychiatric history; "
    "psychiatric history; past obstetric history; past ob history; past cardiac history; "
    "past oncologic history; oncologic history; pmh; pmhx; psh; pshx; pmh/psh",
    FAMILY: "family history; family medical history; family hx; fam hx; fh; fhx; famhx",
    OTHER: "chief complaint; cc; reason for admission; reason for visit; reason for consult; "
    "reason for consultation; history of present illness; history of the present illness; hpi; "
    "present illness; subjective; objective; physical exam; physical examination; pe; exam; "
    "examination; general; vital signs; vitals; assessment; plan; assessment and plan; "
    "assessment & plan; assessment/plan; a/p; a&p; ap; impression; impression and plan; "
    "impression/plan; diagnosis; diagnoses; discharge diagnosis; discharge diagnoses; "
    "admission diagnosis; admitting diagnosis; final diagnosis; preoperative diagnosis; "
    "postoperative diagnosis; primary diagnosis; secondary diagnosis; secondary diagnoses; "
    "hospital course; brief hospital course; hospital course by problem; hospital course by "
    "system; course; allergies; medications; meds; current medications; home medications; "
    "medications on admission; medications on discharge; discharge medications; social history; "
    "social hx; soc hx; sh; shx; social and functional history; habits; review of systems; ros; "
    "labs; lab data; laboratory data; laboratory studies; pertinent results; results; data; "
    "imaging; radiology; studies; diagnostic studies; procedures; procedure; operations; "
    "disposition; condition on discharge; discharge condition; discharge instructions; "
    "discharge disposition; followup; follow up; follow-up; followup instructions; "
    "recommendations; events; 24 hour events; events of the day; findings; indication; "
    "technique; comparison; code status; consults; problem list; active issues; chronic issues; "
    "active problems; current problems; immunizations; gynecologic history; travel history",
}
HEADINGS = {name: kind for kind, names in _NAMES.items() for name in names.split("; ")}

_MOST_WORDS = max(len(name.split()) for name in HEADINGS)
_MOST_LETTERS = max(map(len, HEADINGS))
_SURE = 10  # letters; a shorter name may be a word of a sentence, so it must begin one
_BEGINS = re.compile(r"[\n.;!?][ \t\r#*.)\d-]*$")
_OWN_LINE = re.compile(r"^[ \t#*=-]*([A-Za-z][A-Za-z &/-]{3,40})[ \t\r]*$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n[ \t]*(?=[A-Z][\w /&,'-]{2,50}:)")


class Section(NamedTuple):
    """From `start` on a note stands in this section; its own text begins at `body`."""

    start: int
    body: int
    kind: str  # HISTORY, FAMILY or OTHER


def sections(text: str) -> list[Section]:
    """Returns the sections of a note in its order, the first for what comes before any heading.

    A heading is a known name before a colon or alone on its line. A title that is not known ends a
    section where it stands behind a blank line, and is itself text ("Diabetes: on insulin").
    """
    found = {0: Section(0, 0, OTHER)}
    for match in _PARAGRAPH.finditer(text):
        found[match.end()] = Section(match.end(), match.end(), OTHER)
    for match in _OWN_LINE.finditer(text):
        if kind := HEADINGS.get(_plain(match[1])):
            found[match.start(1)] = Section(match.start(1), match.end(), kind)
    colon = text.find(":")
    while colon >= 0:
        if known := _before(text, colon):
            found[known.start] = known
        colon = text.find(":", colon + 1)
    return sorted(found.values())


def _before(text: str, colon: int) -> Section | None:
    """Returns the section whose known heading ends at the colon."""
    begin = max(colon - _MOST_LETTERS - 4, 0)
    begin = max(begin, text.rfind("\n", begin, colon) + 1)
    for word in list(re.finditer(r"\S+", text[begin:colon]))[-_MOST_WORDS:]:
        start = begin + word.start()
        name = _plain(text[start:colon])
        if name not in HEADINGS:
            continue
        before = text[start - 16 : start] if start >= 16 else "\n" + text[:start]
        if len(name) >= _SURE or _BEGINS.search(before):
            return Section(start, colon + 1, HEADINGS[name])
    return None


def _plain(name: str) -> str:
    return " ".join(name.strip(" \t\r#*-=_.").lower().split())
