"""Notes of the synthetic hospital: what a physician, a nurse and the discharge summary say.

A note knows two things only: the conditions *coded* at its visit (not the true ones), and the
visit's hidden traits. Conditions are mentioned under any of their names, beside negated, family and
chance mentions drawn without regard to the truth. So text adds nothing about an outcome beyond the
visit's codes, except through the traits. It tells no age, sex, medication or outcome.
"""

import re
from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax.records.common import tables
from ehr_jax.synthetic import conditions as synthetic_conditions
from ehr_jax.synthetic import phrases as synthetic_phrases

NAMES = [(c.name, *c.synonyms) for c in synthetic_conditions.CONDITIONS]

# How a mention is meant, and the wordings that say so.
STATUSES = {
    "active": synthetic_phrases.ACTIVE,
    "historical": synthetic_phrases.HISTORICAL,
    "negated": synthetic_phrases.NEGATED,
    "family": synthetic_phrases.FAMILY,
    "planned": synthetic_phrases.PLANS,
}
MENTIONS = {
    "note": pl.Int64,  # row of the table of notes
    "start": pl.Int64,  # characters of its text
    "end": pl.Int64,
    "condition": pl.Int64,  # row of synthetic_conditions.CONDITIONS
    "status": pl.String,  # one of STATUSES
}

# Mentions are written between two marks, characters of no script, and the marks taken out at last.
# The first tells status and condition.
_FIRST_MARK, _LAST_MARK, _PER_STATUS = 0xE000, 0xF8FF, 1024
_MARKS = "[\ue000-\uf8ff]"
_MARKED = re.compile("([\ue000-\uf8fe])([^\ue000-\uf8ff]+)\uf8ff")

_HOUR, _DAY = 60, 1440  # minutes
_MENTIONS = 4  # coded conditions a visit's notes may name


class Told(NamedTuple):
    """What the notes are written from; one row a visit. Minutes are since 1970."""

    visit_id: np.ndarray  # [visit] int64
    start: np.ndarray  # [visit] int64 minutes
    end: np.ndarray  # [visit] int64 minutes
    coded: np.ndarray  # [visit, condition] bool
    hidden: np.ndarray  # [visit, trait] int8 levels
    rare: np.ndarray  # [visit] object, the name of a disease or ""


def write(told: Told, seed: tuple[int, ...]) -> pl.DataFrame:
    """Returns the table tables.NOTES of all visits, sorted by (visit_id, time)."""
    return _marked(told, seed).with_columns(pl.col("text").str.replace_all(_MARKS, ""))


def mentions(told: Told, seed: tuple[int, ...]) -> pl.DataFrame:
    """Returns MENTIONS: where the notes that `write` gives for the same arguments name what."""
    rows, statuses = [], tuple(STATUSES)
    for note, text in enumerate(_marked(told, seed)["text"]):
        for before, match in enumerate(_MARKED.finditer(text)):
            start = match.start() - 2 * before
            status, condition = divmod(ord(match[1]) - _FIRST_MARK, _PER_STATUS)
            rows.append((note, start, start + len(match[2]), condition, statuses[status]))
    return pl.DataFrame(rows, schema=MENTIONS, orient="row")


def _marked(told: Told, seed: tuple[int, ...]) -> pl.DataFrame:
    """Returns the notes with marks around their mentions."""
    rng = np.random.default_rng(seed)
    named = _chosen(told.coded, rng)
    hours = (told.end - told.start) / _HOUR
    admitted = told.start + (rng.uniform(1, 6, hours.size) * _HOUR).astype(np.int64)
    nursed = told.start + (rng.uniform(24, 40, hours.size) * _HOUR).astype(np.int64)
    everyone, stays_on = np.ones(hours.size, bool), hours > 44
    stays_on &= rng.random(hours.size) < 0.8
    parts = [
        _table(told, everyone, admitted, False, "Physician", _admission(told, named, rng)),
        _table(told, stays_on, nursed, False, "Nursing", _nursing(told, named, rng)),
        _table(
            told,
            everyone,
            told.end // _DAY * _DAY,
            True,
            "Discharge summary",
            _discharge(told, named, rng),
        ),
    ]
    return pl.concat(parts).sort("visit_id", "time", "category", maintain_order=True)


def _admission(told: Told, named: np.ndarray, rng) -> np.ndarray:
    count = told.visit_id.size
    complaint = _pick(rng, synthetic_phrases.COMPLAINTS, count)
    return _text(
        _heading("Chief complaint"),
        complaint,
        _heading("History of present illness"),
        "Presents with " + complaint + " " + _pick(rng, synthetic_phrases.ONSETS, count) + ". ",
        _mention(rng, "active", named[:, 0]),
        _negated(rng, told),
        _trait(rng, told, rng.integers(0, 3, count)),
        _heading("Past medical history"),
        _mention(rng, "historical", named[:, 1]),
        _mention(rng, "historical", named[:, 2]),
        _known(told.rare),
        _heading("Physical exam"),
        _pick(rng, synthetic_phrases.EXAM, count),
        _heading("Family history"),
        _mention(rng, "family", _anything(rng, count)),
        _heading("Assessment and plan"),
        _trait(rng, told, rng.integers(0, 3, count)),
        _mention(rng, "planned", named[:, 0]),
    )


def _nursing(told: Told, named: np.ndarray, rng) -> np.ndarray:
    count = told.visit_id.size
    return _text(
        _heading("Events"),
        _pick(rng, synthetic_phrases.WARD, count) + " ",
        _pick(rng, synthetic_phrases.EXAM, count) + " ",
        _mention(rng, "active", named[:, 0]),
        _negated(rng, told),
        _heading("Assessment and plan"),
        _trait(rng, told, rng.integers(0, 3, count)),
        _mention(rng, "planned", named[:, 1]),
        _pick(rng, synthetic_phrases.WARD, count) + " ",
        _pick(rng, synthetic_phrases.ADVICE, count),
    )


def _discharge(told: Told, named: np.ndarray, rng) -> np.ndarray:
    count = told.visit_id.size
    first = rng.integers(0, 3, count)
    return _text(
        _heading("Chief complaint"),
        _pick(rng, synthetic_phrases.COMPLAINTS, count),
        _heading("Social and functional history"),
        *(_trait(rng, told, (first + k) % 3) for k in range(3)),
        _heading("History of present illness"),
        _mention(rng, "active", named[:, 0]),
        _mention(rng, "active", named[:, 1]),
        _negated(rng, told),
        _heading("Past medical history"),
        _mention(rng, "historical", named[:, 2]),
        _mention(rng, "historical", named[:, 3]),
        _heading("Assessment and plan"),
        _trait(rng, told, rng.integers(0, 3, count)),
        _pick(rng, synthetic_phrases.ADVICE, count),
    )


def _chosen(coded: np.ndarray, rng) -> np.ndarray:
    """Returns [visit, mention] conditions to name, in any order, -1 where there are fewer.

    One mention in ten is left out and one in twelve names a condition by mistake.
    """
    count, conditions = coded.shape
    chosen = np.argsort(-(coded * rng.random(coded.shape)), axis=1)[:, :_MENTIONS]
    there = np.take_along_axis(coded, chosen, axis=1) & (rng.random(chosen.shape) < 0.9)
    mistaken = rng.random(chosen.shape) < 1 / 12
    chosen = np.where(there, chosen, -1)
    return np.where(mistaken, rng.integers(0, conditions, chosen.shape), chosen)


def _anything(rng, count: int) -> np.ndarray:
    return rng.integers(0, len(NAMES), count)


def _negated(rng, told: Told) -> np.ndarray:
    condition = _anything(rng, told.visit_id.size)
    coded = told.coded[np.arange(condition.size), condition]
    return _mention(rng, "negated", np.where(coded, -1, condition))


def _known(disease: np.ndarray) -> np.ndarray:
    """Returns a sentence naming each disease, the same for all, or "" for none."""
    before, after = synthetic_phrases.HISTORICAL[0].split("{}")
    return np.where(disease == "", "", before + disease + after + " ").astype(object)


def _trait(rng, told: Told, trait: np.ndarray) -> np.ndarray:
    """Returns a sentence about trait `trait` of each visit. trait: [visit] int."""
    phrases = np.array(synthetic_phrases.TRAITS, dtype=object)  # [trait, level, phrase]
    level = told.hidden[np.arange(trait.size), trait]
    return phrases[trait, level, rng.integers(0, phrases.shape[2], trait.size)] + " "


def _mention(rng, status: str, condition: np.ndarray) -> np.ndarray:
    """Returns a sentence naming each condition between its marks, or "" where it is -1."""
    templates = STATUSES[status]
    sizes = np.array([len(names) for names in NAMES])
    names = np.array([names + ("",) * (sizes.max() - len(names)) for names in NAMES], dtype=object)
    which = (rng.random(condition.size) * sizes[condition]).astype(int)
    template = rng.integers(0, len(templates), condition.size)
    before, after = zip(*(text.split("{}") for text in templates), strict=True)
    before, after = np.array(before, dtype=object), np.array(after, dtype=object)
    first = _FIRST_MARK + _PER_STATUS * tuple(STATUSES).index(status)
    marks = np.array([chr(first + k) for k in range(len(NAMES))], dtype=object)
    name = marks[condition] + names[condition, which] + chr(_LAST_MARK)
    sentence = before[template] + name + after[template] + " "
    return np.where(condition < 0, "", sentence)


def _pick(rng, phrases: list[str], count: int) -> np.ndarray:
    return np.array(phrases, dtype=object)[rng.integers(0, len(phrases), count)]


def _heading(title: str) -> str:
    return f"\n{title}: "


def _text(*parts) -> np.ndarray:
    text = parts[0]
    for part in parts[1:]:
        text = text + part
    return text


def _table(told: Told, kept, minutes, date_only: bool, category: str, text) -> pl.DataFrame:
    times = minutes[kept].astype("datetime64[m]").astype("datetime64[us]")
    frame = pl.DataFrame({"visit_id": told.visit_id[kept], "time": times})
    frame = frame.with_columns(
        pl.lit(date_only).alias("date_only"),
        pl.lit(category).alias("category"),
        pl.Series("text", text[kept].tolist(), dtype=pl.String).str.strip_chars(),
    )
    return tables.conform(frame, tables.NOTES)
