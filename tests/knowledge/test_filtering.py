"""REALM's filter: counts add up, and what stays is what the rules leave."""

from hypothesis import given
from hypothesis import strategies as st

from ehr_jax.knowledge import context, filtering, sentences

FLAGS = st.builds(context.Flags, *[st.booleans()] * 5)
CANDIDATES = st.lists(
    st.one_of(
        st.builds(
            filtering.Candidate,
            start=st.integers(0, 50),
            end=st.integers(51, 60),
            node=st.integers(-1, 4),
            score=st.just(1.0),
            flags=FLAGS,
        ),
        st.just(filtering.Candidate(filtering.NOWHERE, filtering.NOWHERE, filtering.NO_NODE, 0.0)),
    ),
    max_size=30,
)


def parts(counts: filtering.Counts) -> int:
    return sum(value for name, value in vars(counts).items() if name != "found")


@given(CANDIDATES, CANDIDATES)
def test_counts_add_up_and_can_be_added(first, second):
    kept, counts = filtering.keep(first)
    assert counts.found == len(first) == parts(counts) and counts.kept == len(kept)
    both = counts + filtering.keep(second)[1]
    assert both.found == len(first) + len(second) == parts(both)


@given(CANDIDATES)
def test_what_stays_is_in_the_note_a_disease_and_the_patients_own_once(candidates):
    kept, _ = filtering.keep(candidates)
    assert set(kept) <= set(candidates)
    nodes = [candidate.node for candidate in kept]
    assert len(set(nodes)) == len(nodes) and all(node >= 0 for node in nodes)
    assert not any(c.start < 0 or c.flags.negated or c.flags.family for c in kept)
    own = {c.node for c in candidates if not (c.flags.negated or c.flags.family)}
    assert set(nodes) == own - {filtering.NO_NODE}


@given(CANDIDATES, st.randoms())
def test_the_order_of_candidates_is_of_no_matter(candidates, random):
    shuffled = random.sample(candidates, len(candidates))
    assert filtering.keep(candidates) == filtering.keep(shuffled)


def test_of_a_condition_the_mention_with_the_fewest_flags_stays():
    past = filtering.Candidate(0, 5, 3, 1.0, context.Flags(historical=True))
    now = filtering.Candidate(9, 14, 3, 1.0)
    again = filtering.Candidate(20, 25, 3, 1.0)
    denied = filtering.Candidate(30, 35, 3, 1.0, context.Flags(negated=True))
    kept, counts = filtering.keep([past, again, denied, now])
    assert kept == [now]
    assert counts == filtering.Counts(found=4, negated=1, merged=2, kept=1)


def test_nothing_is_dropped_for_its_meaning_without_the_policy():
    denied = filtering.Candidate(0, 5, 3, 1.0, context.Flags(negated=True))
    assert filtering.keep([denied], dropped=())[0] == [denied]


def test_entities_are_found_whole_and_however_they_are_written():
    text = "Type II diabetes, pneumonias. Heart. Failure; prediabetes"
    note = sentences.read(text)
    asked = ["pneumonia", "TYPE 2 DIABETES", "diabetes", "heart failure", "???", "pneumonia"]
    found = [[text[a:b] for a, b in places] for places in filtering.occurrences(note, asked)]
    assert found == [
        ["pneumonias"],
        ["Type II diabetes"],
        ["diabetes"],
        [],
        [],
        ["pneumonias"],
    ]
