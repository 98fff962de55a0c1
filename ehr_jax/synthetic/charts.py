"""What nurses and monitors chart of the synthetic hospital's stays, as dense as in MIMIC-III.

A stay is charted in one of the release's two systems, each with item ids of its own. One row in six
is of the benchmark's 17 variables, in the proportions of the open demo, and moves with the stay's
conditions and acuity; the others are of items that nobody asks for, numbers and words.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from ehr_jax.synthetic import course as synthetic_course
from ehr_jax.synthetic import series as synthetic_series

SYSTEMS = ("carevue", "metavision")
_EVERY = 30  # minutes from one charting to the next
_FADE_HOURS = 60  # in which the shift of a visit of middling acuity falls to 1/e
_FILLERS = 900  # items of each system beside those below


class Item(NamedTuple):
    """A charted variable. `share`: rows in 10,000 of its system's."""

    label: str
    itemid: int
    share: float
    unit: str | None
    level: float
    spread: float
    limits: tuple[float, float]
    step: float  # what its numbers are rounded to, 0.01 or more
    acuity: float = 0.0  # shift in standard deviations for each unit of acuity
    moves: str = ""  # of which variable of synthetic_series the conditions move it
    words: tuple[str, ...] = ()  # for 1, 2, ...; one that begins with a digit has that number too


def _both(label, ids, share, units, *rest, **more) -> tuple[Item, Item]:
    return tuple(Item(label, i, share, u, *rest, **more) for i, u in zip(ids, units, strict=True))


_EYES = ("1 No Response", "2 To pain", "3 To speech", "4 Spontaneously")
_VERBAL = ("1.0 ET/Trach", "2 Incomp sounds", "3 Inapprop words", "4 Confused", "5 Oriented")
_MOTOR = ("1 No Response", "2 Abnorm extensn", "3 Abnorm flexion", "4 Flex-withdraws")
_MOTOR += ("5 Localizes Pain", "6 Obeys Commands")
_REFILL = ("Normal <3 secs", "Abnormal >3 secs"), ("Normal <3 Seconds", "Abnormal >3 Seconds")
_MMHG = ("mmHg", "mmHg")
_NONE = (None, None)
_FAHRENHEIT = {"limits": (91, 107), "step": 0.1, "acuity": 0.1, "moves": "temperature"}

# fmt: off
_CHARTED = (
    *_both("Heart Rate", (211, 220045), 204, ("BPM", "bpm"), 84, 12, (25, 220), 1, 0.5, "heart rate"),  # noqa: E501
    *_both("Respiratory Rate", (618, 220210), 240, ("BPM", "insp/min"), 18, 4, (5, 55), 1, 0.5, "respiratory rate"),  # noqa: E501
    *_both("SpO2", (646, 220277), 204, ("%", "%"), 96.8, 1.8, (60, 100), 1, -0.4, "oxygen saturation"),  # noqa: E501
    *_both("Arterial BP systolic", (51, 220050), 100, _MMHG, 122, 16, (45, 240), 1, -0.5, "systolic blood pressure"),  # noqa: E501
    *_both("Arterial BP diastolic", (8368, 220051), 100, _MMHG, 64, 10, (20, 140), 1, -0.4, "diastolic blood pressure"),  # noqa: E501
    *_both("Arterial BP mean", (52, 220052), 100, _MMHG, 81, 11, (30, 170), 1, -0.5, "mean blood pressure"),  # noqa: E501
    *_both("NBP systolic", (455, 220179), 110, _MMHG, 121, 16, (45, 240), 1, -0.5, "systolic blood pressure"),  # noqa: E501
    *_both("NBP diastolic", (8441, 220180), 110, _MMHG, 63, 10, (20, 140), 1, -0.4, "diastolic blood pressure"),  # noqa: E501
    *_both("NBP mean", (456, 220181), 110, _MMHG, 80, 11, (30, 170), 1, -0.5, "mean blood pressure"),  # noqa: E501
    *_both("Temperature F", (678, 223761), 70, ("Deg. F", "?F"), 98.4, 0.9, **_FAHRENHEIT),
    *_both("Temperature C", (676, 223762), 27, ("Deg. C", "?C"), 36.9, 0.5, (33, 41.5), 0.1, 0.1, "temperature"),  # noqa: E501
    *_both("FiO2", (190, 223835), 33, ("torr", None), 0.32, 0.12, (0.21, 1), 0.01, 0.6, "inspired oxygen"),  # noqa: E501
    *_both("Glucose", (807, 220621), 55, _NONE, 130, 32, (30, 600), 1, 0.3, "glucose"),
    *_both("pH", (780, 223830), 20, (None, "units"), 7.39, 0.05, (6.9, 7.7), 0.01, -0.4, "ph"),
    *_both("Weight", (763, 224639), 5.4, ("kg", "kg"), 82, 18, (35, 240), 0.1),
    Item("Height", 1394, 1, None, 67, 4, (55, 80), 1),  # inches
    Item("Height (cm)", 226730, 1, "cm", 170, 10, (140, 205), 1),
    *_both("GCS Eye Opening", (184, 220739), 53, _NONE, 3.4, 0.8, (1, 4), 1, -0.7, words=_EYES),
    *_both("GCS Verbal Response", (723, 223900), 53, _NONE, 3.8, 1.4, (1, 5), 1, -0.7, words=_VERBAL),  # noqa: E501
    *_both("GCS Motor Response", (454, 223901), 53, _NONE, 5.4, 1, (1, 6), 1, -0.7, words=_MOTOR),
    Item("GCS Total", 198, 53, "points", 13, 2.5, (3, 15), 1, -0.8, "coma scale"),
    Item("Capillary Refill", 115, 7.7, None, 1.1, 0.4, (1, 2), 1, 0.4, words=_REFILL[0]),
    Item("Capillary Refill R", 223951, 7.7, None, 1.1, 0.4, (1, 2), 1, 0.4, words=_REFILL[1]),
)
# fmt: on
_WORDS = ("None", "Yes", "No", "Done", "Clear", "Intact", "WNL", "On", "Full Code", "Bedrest")
_WORDS += ("Easily Palpable", "SR (Sinus Rhythm)", "Normal Sinus", "2 Person Assist", "Diminished")
_WORDS += ("No Movement", "Oral", "Lungs clear, all lobes", "Impaired", "Universal", "Brisk pulse")
_FILLER_UNITS = (None, None, None, "cmH2O", "mmHg", "%", "L/min", "ml/hr")
_HIGHEST = 700  # of the numbers


def fillers(system: str) -> tuple[Item, ...]:
    """Returns the items of a system that are of none of the variables, a few of them frequent."""
    rng = np.random.default_rng(SYSTEMS.index(system))
    first = (5000, 227000)[SYSTEMS.index(system)]
    share = 1 / (20 + np.arange(_FILLERS))
    left = 10_000 - sum(item.share for item in charted(system))
    share *= left / share.sum()
    found = []
    for k in range(_FILLERS):
        level = round(float(rng.uniform(5, 300)), 1)
        some = rng.choice(_WORDS, 4, replace=False)
        worded = {"words": tuple(some), "limits": (1, 4), "level": 2.0, "spread": 1.0}
        number = {"limits": (0, _HIGHEST), "level": level, "spread": level / 6}
        rest = worded if k % 3 else number
        unit = None if k % 3 else _FILLER_UNITS[k % len(_FILLER_UNITS)]
        label, step = f"Chart item {k}", float(rng.choice((1, 0.1)))
        found.append(Item(label, first + 10_000 + k, share[k], unit, step=step, **rest))
    return tuple(found)


def charted(system: str) -> tuple[Item, ...]:
    """Returns a system's items of the 17 variables."""
    modern = system == "metavision"
    return tuple(item for item in _CHARTED if (item.itemid > 220_000) == modern)


class Catalogue(NamedTuple):
    """The items of both systems as columns, and every text that a value can be.

    Texts: the numbers from 0 in hundredths, then all words; the last stands for none.
    """

    items: tuple[Item, ...]
    draw: np.ndarray  # [system, 65536] int16: an item at its share
    itemid: np.ndarray  # [item] int32
    level: np.ndarray  # [item] float32, and so on
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    step: np.ndarray  # [item] int32, in hundredths
    acuity: np.ndarray
    moves: np.ndarray  # [item, condition] float32
    word: np.ndarray  # [item] int32: the text of its first word, 0 for an item of numbers
    texts: pl.Series
    number: np.ndarray  # [text] int32: the text of its number
    units: pl.Series  # [item]


def catalogue() -> Catalogue:
    """Returns the items of both systems, ready to draw from."""
    of_system = [charted(system) + fillers(system) for system in SYSTEMS]
    items = tuple(item for found in of_system for item in found)
    draw, first = [], 0
    for found in of_system:
        bounds = np.cumsum([item.share for item in found])
        even = (np.arange(1 << 16) + 0.5) / (1 << 16) * bounds[-1]
        draw.append(first + np.searchsorted(bounds, even))
        first += len(found)
    texts = [f"{k / 100:g}" for k in range(100 * _HIGHEST + 1)]
    number, word = list(range(len(texts))), []
    for item in items:
        word.append(len(texts) if item.words else 0)
        texts += item.words
        number += [100 * int(text[0]) if text[0].isdigit() else -1 for text in item.words]
    texts.append(None)
    number = np.array([*number, -1])
    moves = [[c.moves.get(item.moves, 0) for c in synthetic_course.CONDITIONS] for item in items]
    columns = ((i.level, i.spread, *i.limits, 100 * i.step, i.acuity) for i in items)
    level, spread, low, high, step, acuity = np.array(list(columns), np.float32).T
    return Catalogue(
        items=items,
        draw=np.array(draw, np.int16),
        itemid=np.array([item.itemid for item in items], np.int32),
        level=level,
        spread=spread,
        low=low,
        high=high,
        step=np.rint(step).astype(np.int32),
        acuity=acuity,
        moves=np.array(moves, np.float32),
        word=np.array(word, np.int32),
        texts=pl.Series(texts, dtype=pl.String),
        number=np.where(number < 0, len(texts) - 1, number).astype(np.int32),
        units=pl.Series([item.unit for item in items], dtype=pl.String),
    )


def chart(
    stays: synthetic_series.Stays, subject_id: np.ndarray, rows: np.ndarray, items: Catalogue, rng
) -> pl.DataFrame:
    """Returns the rows of CHARTEVENTS of some stays, in order of stay and time, without ROW_ID.

    Args:
      subject_id: [stay] int64.
      rows: [stay] int64, how many of each stay.
    """
    count = int(rows.sum())
    stay = np.repeat(np.arange(rows.size), rows)
    before = np.repeat(np.cumsum(rows) - rows, rows)
    minutes = np.maximum(stays.end - stays.start, _EVERY)
    slot = (np.arange(count) - before) * (minutes // _EVERY)[stay] // rows[stay]
    system = rng.integers(0, 2, rows.size)
    item = items.draw[system[stay], rng.integers(0, 1 << 16, count, np.uint16)]

    shift = stays.conditions @ items.moves.T + np.outer(stays.acuity, items.acuity)
    shift = shift.astype(np.float32)[stay, item]
    fade = (_FADE_HOURS * np.exp(0.5 * stays.acuity)).astype(np.float32)[stay]
    shift *= np.exp(-slot.astype(np.float32) * (_EVERY / 60) / fade)
    shift += 0.5 * rng.standard_normal((rows.size, 64), np.float32)[stay, item % 64]
    shift += 0.7 * rng.standard_normal(count, np.float32)
    value = items.level[item] + items.spread[item] * shift
    value = np.clip(value, items.low[item], items.high[item])
    hundredths = np.rint(100 * value / items.step[item]).astype(np.int32) * items.step[item]
    worded = items.word[item] > 0
    text = np.where(worded, items.word[item] + np.rint(value).astype(np.int32) - 1, hundredths)

    # What is charted at one time is stored at one time, by one person.
    new = np.flatnonzero((np.diff(slot, prepend=-1) != 0) | (np.diff(stay, prepend=-1) != 0))
    at = np.repeat(np.arange(new.size), np.diff(new, append=count))
    time = (stays.start[stay[new]] // _EVERY + slot[new]) * _EVERY + _EVERY
    stored = time + rng.integers(0, 90, new.size)
    flag = pl.Series([None, "0", "1"], dtype=pl.String)
    chance = rng.integers(0, 1000, count, np.uint16)
    warning, error = (system[stay] * (1 + (chance < some)) for some in (20, 2))
    return pl.DataFrame(
        {
            "subject_id": subject_id[stay],
            "hadm_id": stays.visit_id[stay],
            "icustay_id": stays.stay_id[stay],
            "itemid": items.itemid[item],
            "charttime": _told(time).gather(at),
            "storetime": _told(stored).gather(at),
            "cgid": rng.integers(14_000, 22_000, new.size)[at],
            "value": items.texts.gather(text),
            "valuenum": items.texts.gather(items.number[text]),
            "valueuom": items.units.gather(item),
            "warning": flag.gather(warning),
            "error": flag.gather(error),
            "resultstatus": pl.Series([None], dtype=pl.String).new_from_index(0, count),
            "stopped": pl.Series(["NotStopd", None], dtype=pl.String).gather(system[stay]),
        }
    )


def _told(minutes: np.ndarray) -> pl.Series:
    times = pl.Series(minutes.astype("datetime64[m]").astype("datetime64[us]"))
    return times.dt.strftime("%Y-%m-%d %H:%M:%S")
