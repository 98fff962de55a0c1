"""From notes to entities, by either extractor: truth found, counts kept, no text shown."""

import datetime

import polars as pl
import pytest
from scripted_server import completion, diseases, send, serving

from ehr_jax import errors
from ehr_jax.knowledge import chat, extraction, filtering, language_model, mentions
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.synthetic import notes as synthetic_notes

CONDITIONS = [
    (node, name, True) for node, names in enumerate(synthetic_notes.NAMES) for name in names
]
GAZETTEER = mentions.build(
    pl.DataFrame(CONDITIONS, schema=mentions.TERMS, orient="row"), accelerate=False
)
NODE = {name: node for node, name, _ in CONDITIONS}


def table(*texts: str | None) -> pl.DataFrame:
    times = [datetime.datetime(2100, 1, 1, hour) for hour in range(len(texts))]
    rows = {"sample_id": range(7, 7 + len(texts)), "time": times, "text": texts}
    return pl.DataFrame(rows, schema_overrides={"text": pl.String, "time": pl.Datetime("us")})


def model(script, **changes) -> language_model.LanguageModel:
    server = chat.Server(script.url, "tiny", seconds=5.0, tries=1, wait=0.01)
    return language_model.LanguageModel(server, workers=1, **changes)


def test_planted_mentions_stand_in_the_notes_where_they_are_said_to():
    notes = synthetic.generate(40, 5).notes.collect()
    planted = synthetic.mentions(40, 5)
    assert planted.height > 500 and planted["note"].n_unique() > 0.9 * notes.height
    assert set(planted["status"]) == set(synthetic_notes.STATUSES)
    for note, start, end, condition, status in planted.iter_rows():
        text = notes["text"][note]
        assert text[start:end] in synthetic_notes.NAMES[condition]
        templates = [t.split("{}") for t in synthetic_notes.STATUSES[status]]
        assert any(
            text[:start].endswith(before) and text[end:].startswith(after.rstrip())
            for before, after in templates
        )


def test_the_generated_hospitals_own_conditions_are_found_and_no_others():
    notes = synthetic.generate(60, 1).notes.collect()
    planted = synthetic.mentions(60, 1)
    own = planted.filter(~pl.col("status").is_in(["negated", "family"]))
    truth = set(own.select("note", "condition").rows())
    frame = notes.select(pl.col("visit_id").alias("sample_id"), "time", "text")
    found = extraction.extract(frame, GAZETTEER)
    got = set(found.entities.select("note", "node").rows())
    assert len(got & truth) > 0.99 * len(truth) and len(got & truth) > 0.99 * len(got)
    without = extraction.extract(frame, GAZETTEER, rules=False)
    got_without = set(without.entities.select("note", "node").rows())
    assert got <= got_without and len(got_without & truth) < 0.8 * len(got_without)


def test_a_row_of_entities_says_who_when_where_what_and_how():
    text = "Past Medical History: COPD. Plan: treat sepsis. Possible stroke. Denies asthma."
    found = extraction.extract(table("well", text), GAZETTEER)
    assert found.entities.columns == ["sample_id", "time", *list(extraction.ENTITIES)[1:]]
    rows = found.entities.rows(named=True)
    assert [text[row["start"] : row["end"]] for row in rows] == ["COPD", "sepsis", "stroke"]
    assert [row["node"] for row in rows] == [NODE["COPD"], NODE["sepsis"], NODE["stroke"]]
    assert {(row["sample_id"], row["note"], row["time"].hour) for row in rows} == {(8, 1, 1)}
    assert [row["historical"] for row in rows] == [True, False, False]
    assert [row["possible"] for row in rows] == [False, False, True]
    assert found.counts == filtering.Counts(found=4, negated=1, kept=3)
    assert found.answers is None


def test_empty_and_binary_notes_are_counted_and_nothing_else():
    found = extraction.extract(
        table("", " \n", None, "\x00\x01\x02" * 50 + "asthma", "\ufffd" * 9, "asthma"), GAZETTEER
    )
    assert found.notes == {"read": 1, "empty": 3, "unreadable": 2}
    assert found.entities["note"].to_list() == [5]


def test_no_note_gives_an_empty_table_of_the_same_columns():
    none, one = (extraction.extract(table(*texts), GAZETTEER) for texts in ((), ("asthma",)))
    assert none.entities.is_empty() and none.entities.schema == one.entities.schema
    assert none.counts == filtering.Counts()


def test_a_megabyte_is_read():
    text = ("A long story of a stay, told once more. " * 250 + "No asthma. Has sepsis. ") * 100
    found = extraction.extract(table(text), GAZETTEER)
    assert len(text) > 1_000_000
    assert found.counts == filtering.Counts(found=200, negated=100, merged=99, kept=1)
    assert found.entities["node"].to_list() == [NODE["sepsis"]]


def test_both_extractors_pass_the_same_filter():
    text = "Denies asthma. Treated for sepsis and septicemia. Mother had stroke."
    names = ("asthma", "sepsis", "septicemia", "stroke", "ward", "leprosy", "Sepsis")
    with serving(diseases(*names, "treated")) as script:
        found = extraction.extract(table(text), GAZETTEER, model(script))
    assert found.counts == filtering.Counts(
        found=7, not_in_note=2, not_disease=1, negated=1, family=1, merged=1, kept=1
    )
    plain = extraction.extract(table(text), GAZETTEER)
    assert found.entities.equals(plain.entities)


def test_names_are_linked_together_once_by_the_link_that_is_given():
    asked = []

    def link(names):
        asked.append(list(names))
        return [(90 + len(name), 0.75) for name in names]

    with serving(diseases("odd fever", "rare pox")) as script:
        found = extraction.extract(
            table("odd fever", "rare pox, odd fevers"), GAZETTEER, model(script), link
        )
    assert asked == [["odd fever", "rare pox"]]
    assert found.entities.select("note", "node", "score").rows() == [
        (0, 99, 0.75),
        (1, 98, 0.75),
        (1, 99, 0.75),
    ]


@pytest.mark.parametrize("answer", [completion("It is asthma."), b"nonsense"])
def test_where_the_model_fails_the_gazetteer_takes_over(answer):
    texts = ["Treated for sepsis. No asthma.", "Stroke."]
    with serving(answer) as script:
        found = extraction.extract(table(*texts), GAZETTEER, model(script))
    plain = extraction.extract(table(*texts), GAZETTEER)
    assert found.entities.equals(plain.entities) and found.counts == plain.counts
    assert found.answers.fallbacks == found.answers.pieces == 2


def test_only_the_pieces_that_failed_fall_back(monkeypatch):
    monkeypatch.setattr(language_model, "pieces", lambda note: [(0, 20), (20, len(note.text))])
    text = "Treated for sepsis. " + "Treated for stroke."

    def half(handler, request, number):
        good = "stroke" in request["messages"][-1]["content"]
        send(handler, diseases("stroke"), 200 if good else 413)

    with serving(half) as script:
        found = extraction.extract(table(text), GAZETTEER, model(script))
    assert found.entities["node"].to_list() == [NODE["sepsis"], NODE["stroke"]]
    assert (found.answers.answered, found.answers.refused) == (1, 1)


def test_pieces_beyond_the_limit_are_not_asked_about(monkeypatch):
    monkeypatch.setattr(language_model, "MOST_PIECES", 1)
    monkeypatch.setattr(language_model, "pieces", lambda note: [(0, 20), (20, len(note.text))])
    with serving(diseases()) as script:
        found = extraction.extract(
            table("Treated for sepsis. Treated for stroke."), GAZETTEER, model(script)
        )
    assert found.entities["node"].to_list() == [NODE["stroke"]]
    assert found.answers.not_asked == 1 and len(script.requests) == 1


def test_no_word_of_a_note_or_answer_is_shown(capsys, tmp_path):
    texts = ["Canary asthma canarypatient. No canarysepsis."] * 3
    for answer in (diseases("canary asthma"), completion("canary prose"), b"canary"):
        with serving(answer) as script:
            extraction.extract(table(*texts), GAZETTEER, model(script, cache=tmp_path / "c"))
    with serving(lambda h, r, n: send(h, b"canary", 401)) as script:
        with pytest.raises(errors.ConfigError) as caught:
            extraction.extract(table(*texts), GAZETTEER, model(script))
    shown = "".join(capsys.readouterr()) + str(caught.value)
    assert "canary" not in shown.lower() and "extract entities" in shown


@pytest.mark.parametrize(
    "notes",
    [
        table("x").drop("time"),
        table("x").rename({"text": "note"}),
        table("x").with_columns(pl.col("sample_id").cast(pl.String)),
        table("x").with_columns(text=pl.lit(1)),
    ],
)
def test_other_columns_are_refused(notes):
    with pytest.raises(errors.KnowledgeError, match="expected sample_id"):
        extraction.extract(notes, GAZETTEER)


def test_real_sections_are_read_and_every_count_adds_up(data_root):
    files = sorted((data_root / "mts_dialog").glob("*.csv.gz"))
    if not files:
        pytest.skip("EHR_JAX_DATA holds no folder mts_dialog")
    texts = pl.concat([pl.read_csv(file)["section_text"] for file in files])
    notes = pl.DataFrame({"sample_id": range(len(texts)), "time": 0.0, "text": texts})
    found = extraction.extract(notes, GAZETTEER)
    assert found.notes == {"read": 1701, "empty": 0, "unreadable": 0}
    parts = vars(found.counts)
    assert parts["found"] == sum(parts.values()) - parts["found"]
    assert parts["kept"] == found.entities.height > 300 and parts["negated"] > 100
    for note, start, end, node in found.entities.select("note", "start", "end", "node").rows():
        assert mentions.lookup(GAZETTEER, texts[note][start:end]) == node
