"""How notes mean what they name, in sentences made up for the purpose."""

import polars as pl
import pytest

from ehr_jax.knowledge import context, mentions, sentences

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
"""


def marked(line: str) -> tuple[str, list[tuple[int, int]], list[str]]:
    """Returns a line without its marks, where the names stand, and their marks."""
    text, spans, marks = "", [], []
    for piece in line.replace("]", "[").split("["):
        if piece[:2] in ("n ", "p ", "h ", "f ", "y ", "- "):
            marks.append(piece[0])
            spans.append((len(text), len(text) + len(piece) - 2))
            piece = piece[2:]
        text += piece
    return text, spans, marks


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
