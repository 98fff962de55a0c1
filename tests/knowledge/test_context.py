"""How notes mean what they name, in sentences made up for the purpose."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.knowledge import answers, context, mentions, sentences

NAMES = (
    "pneumonia; asthma; stroke; sepsis; diabetes; heart failure; pulmonary embolism; cancer; "
    "myocardial infarction; deep vein thrombosis; hypertension; non-Hodgkin lymphoma; influenza"
).split("; ")
GAZETTEER = mentions.build(
    pl.DataFrame(
        {"node": range(len(NAMES)), "term": NAMES, "exact": [True] * len(NAMES)},
        schema=mentions.TERMS,
    )
)

# Each name is marked by the flags it should have: n p h f y (hypothetical), or - for none.
CASES = """
Denies [n pneumonia], [n asthma] or [n stroke].
No [n pneumonia] but has [- sepsis].
No evidence of [n pulmonary embolism] on CT.
No history of [n stroke].
She has no previous history of [n stroke].
Without [n sepsis].
[n Pneumonia] was ruled out.
[n Stroke] has been ruled out.
The test for [p influenza] was sent.
Negative for [n influenza], positive for [- pneumonia].
He does not have [n diabetes].
She doesn't have [n diabetes].
The patient is not reporting [n stroke].
Never had [n asthma].
Blood cultures are pending; [- sepsis] is being treated.
[n Influenza]: negative.
[n Asthma] is denied.
No increase in [- heart failure].
No interval change of [- pneumonia].
Not only [- asthma] but also [- diabetes].
Gram-negative [- sepsis].
With or without [- asthma].
[- Non-Hodgkin lymphoma] on treatment.
Pt is a 65-year-old man with [- asthma].
Possible [p pneumonia].
Findings suspicious for [p cancer].
[p Pneumonia] cannot be excluded.
Cannot rule out [p pulmonary embolism].
Rule out [p MI].
?[p pneumonia] on the left.
Fever likely due to [p pneumonia].
[p Sepsis] is suspected.
History of [h asthma] and [h stroke].
H/o [h diabetes], now with [- pneumonia].
S/p [h myocardial infarction].
Old [h stroke].
[h Stroke] in 1998.
Had [h pneumonia] two years ago.
[h Cancer] in remission.
No longer has [h asthma].
No recurrence of [h cancer].
The history of present illness begins with [- pneumonia].
Prior to admission he had [- pneumonia].
Over the past week, worse [- asthma].
Mother had [f diabetes] and [f stroke].
Father, who died of [f cancer].
Brother has [f asthma].
Family history of [f stroke].
No family history of [n heart failure] or [n diabetes].
[f Diabetes] in his mother.
[f Cancer] (mother).
[f Asthma] runs in the family.
No one in the family has [n asthma].
Per his mother, he has [- asthma].
Mother states that he has [- asthma].
The parents have noted worse [- asthma].
Lives with his daughter, has [- diabetes].
Return if [y pneumonia] develops.
[y DVT] prophylaxis was given.
At risk for [y stroke].
Monitor for [y sepsis].
[y Influenza] vaccine was given.
Continue [- heart failure] management.
Presented to the ward with no complaint, who has [- asthma].
[n Diabetes]: No, [- asthma]: Yes, [n stroke]: No
[n Asthma]: No. [- Stroke]: Yes
[n Diabetes]: No [- Asthma]: Yes
[n Diabetes]: No   [- Asthma]
Fever: No   [- Asthma]
Fever: no, [- asthma]
[n Diabetes] No [- Hypertension] Yes
[n Asthma] (-), [- stroke] (+), [- diabetes]
[n Asthma] (neg) [- stroke] (positive)
[- Stroke], [n asthma]: negative, [- diabetes]
[- Stroke], [n influenza] swab: negative
[n Asthma]/[n diabetes]: No, [- stroke]
[n Diabetes] - none; [- asthma]
[n Asthma] neg, [- stroke] pos
[ ] [n asthma] [x] [- stroke] [ ] [n sepsis]
[n Asthma] ( ) [- stroke] (x)
☐ [n asthma] ☑ [- stroke]
[n Asthma]: N  [- Stroke]: Y  [n Diabetes]: N
[p Asthma] ?; [- stroke]
[p Asthma]: N/A, [- stroke]
[n Asthma]|No|[- Stroke]|Yes
[n Asthma]	No	[- Stroke]	Yes
+[- asthma], -[n stroke]
[n Stroke] -, [- asthma] +
[n Asthma] = no, [- stroke] = yes
[n Asthma]? No. [- Stroke]? Yes.
[n Asthma]: denies, [- stroke]
[- Asthma]: no [n diabetes]
[- Asthma]: no known cause
[- Sepsis] w/o [n pneumonia], [- diabetes]
[- Sepsis] without [n pneumonia], [n asthma] or [n stroke]
[- Sepsis], no [n pneumonia], [- asthma]
[- Sepsis], no [n pneumonia], [n asthma], or [n stroke], [- diabetes]
No [n pneumonia], [n asthma], [n stroke]
No  evidence of  [n pneumonia]
Negative for [n pneumonia], [n asthma] or [n stroke]; has [- sepsis]
Denies [n asthma]; [- stroke]
[n Pneumonia] ruled out; [- sepsis]
[- Sepsis]; [n pneumonia] was ruled out
R/o [p pneumonia]; [- sepsis]
[n Influenza] test was negative, has [- sepsis]
"""


_MARKED = re.compile(r"\[([nphfy-]) ([^\]]+)\]")


def marked(line: str) -> tuple[str, list[tuple[int, int]], list[str]]:
    """Returns a line without its marks, where the names stand, and their marks."""
    text, spans, marks, end = "", [], [], 0
    for match in _MARKED.finditer(line):
        text += line[end : match.start()]
        spans.append((len(text), len(text) + len(match[2])))
        marks.append(match[1])
        text += match[2]
        end = match.end()
    return text + line[end:], spans, marks


@pytest.mark.parametrize("line", CASES.strip().splitlines())
def test_a_sentence_means_what_it_says(line):
    text, spans, marks = marked(line)
    note = sentences.read(text)
    found = mentions.find(GAZETTEER, note)
    assert [mention[:2] for mention in found] == spans
    letters = dict(zip(context.Flags._fields, "nphfy", strict=True))
    for mark, flags in zip(marks, context.flags(note, spans), strict=True):
        raised = {letters[name] for name, value in flags._asdict().items() if value}
        # "no family history" is both absent and another's: either way it is dropped.
        assert mark in raised if mark != "-" else not raised, raised
        assert mark == "n" or "n" not in raised


@pytest.mark.parametrize(
    "text, negated",
    [
        ("Influenza swab negative", True),
        ("Influenza swab of today negative", True),
        ("Influenza swab of this day negative", False),  # the cue reaches three words
        ("Influenza screen none", True),
        ("Influenza seen on none", True),
        ("Influenza seen on the none", False),
        ("Influenza on the ward was not seen", True),  # and this one as far as its sentence
    ],
)
def test_a_cue_behind_a_mention_reaches_so_far(text, negated):
    note = sentences.read(text)
    assert [flags.negated for flags in context.flags(note, [(0, 9)])] == [negated]


LABELS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)
MARKS = {": No": True, ": Yes": False, " (-)": True, " (+)": False, ": negative": True,
         ": N": True, " - none": True, "": False}  # fmt: skip


@given(LABELS, st.lists(st.sampled_from(list(MARKS)), min_size=5, max_size=5),
       st.sampled_from([", ", "; ", "\n", "   ", " | "]))  # fmt: skip
def test_each_label_of_a_form_keeps_its_own_mark(names, marks, between):
    fields = [name.capitalize() + mark for name, mark in zip(names, marks, strict=False)]
    text = between.join(fields)
    spans, at = [], 0
    for name, field in zip(names, fields, strict=True):
        spans.append((at, at + len(name)))
        at += len(field) + len(between)
    found = context.flags(sentences.read(text), spans)
    assert [flags.negated for flags in found] == [MARKS[m] for m in marks[: len(names)]]


@pytest.mark.parametrize(
    "text, said",
    [
        ("asthma: no stroke: yes", ["negated", "has"]),
        ("asthma: no stroke", [None, None]),  # a sentence: the stroke is what is negated
        ("asthma/stroke: no", ["negated", "negated"]),
        ("asthma, stroke: no", [None, "negated"]),
    ],
)
def test_a_mark_is_of_the_names_it_stands_with(text, said):
    spans = [(text.index(name), text.index(name) + 6) for name in ("asthma", "stroke")]
    assert answers.answers(text, spans) == said


def test_a_section_speaks_of_all_in_it():
    text = "Family History: stroke. Past Medical History: asthma. Plan: treat sepsis."
    note = sentences.read(text)
    found = context.flags(note, [mention[:2] for mention in mentions.find(GAZETTEER, note)])
    assert found == [
        context.Flags(family=True),
        context.Flags(historical=True),
        context.Flags(),
    ]


def test_a_cue_does_not_reach_into_another_sentence():
    text = "No pneumonia. Asthma. Stroke was ruled out."
    note = sentences.read(text)
    found = context.flags(note, [mention[:2] for mention in mentions.find(GAZETTEER, note)])
    assert [flags.negated for flags in found] == [True, False, True]


def test_spans_outside_sentences_have_no_flags():
    note = sentences.read("Family History: stroke")
    assert context.flags(note, [(0, 14)]) == [context.Flags()]
    assert context.flags(note, []) == []
