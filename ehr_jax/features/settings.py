"""The sections `features`, `series` and `notes`: the inputs of a sample."""

import dataclasses

from ehr_jax.settings import Settings, setting

COLUMNS = ("codes", "full")
NOTE_SOURCES = ("auto", "own", "record", "none")
VARIABLE_SETS = ("mimic17", "physionet37", "yaib48")  # the names of `variables.SETS`


@dataclasses.dataclass(frozen=True)
class Features(Settings):
    """Nodes of the hypergraph over visits."""

    columns: str = setting(
        "codes", "codes, or full: structured attributes become nodes too.", choices=COLUMNS
    )
    categories: bool = setting(
        True, "Cut ICD-9-CM diagnoses to 3 characters (those that begin with E to 4)."
    )
    main_diagnosis: bool = setting(
        False, "The diagnosis that is listed first becomes a node of its own too."
    )
    history: bool = setting(
        False, "Codes of the patient's earlier visits become nodes of their own."
    )
    measurements: bool = setting(
        False, "The last measurements before the prediction time become nodes."
    )
    min_visits: int = setting(
        1,
        "A code or attribute becomes a node if at least so many training visits have it.",
        unit="visits",
        least=1,
    )
    bins: int = setting(
        10, "Bins of a numeric attribute, cut at quantiles of training visits.", least=1, most=1000
    )
    structure_width: int = setting(
        64, "The width of structure vectors (NetMF).", least=1, most=65_536
    )
    structure_window: int = setting(
        5, "The window of NetMF's random walks.", unit="steps", least=1, most=1000
    )


@dataclasses.dataclass(frozen=True)
class Series(Settings):
    """Measurements on a grid in time, for methods over stays and for --mode=prepare."""

    variables: str = setting("", "A set of variables; '' is none.", choices=("", *VARIABLE_SETS))
    step_hours: float = setting(1.0, "The length of a step.", unit="hours", above=0)
    length: int = setting(
        48, "Steps of the grid; the last one ends at the prediction time.", unit="steps",
        least=1, most=100_000,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Notes(Settings):
    """The texts of a sample."""

    source: str = setting(
        "auto",
        "own: notes of the source; record: structured content written as text; none; auto: own if "
        "the source has notes, else record.",
        choices=NOTE_SOURCES,
    )
    piece_words: int = setting(
        150, "For methods over stays: a note is cut after so many words.", unit="words", least=1
    )
    pieces: int = setting(
        16,
        "For methods over stays: the last pieces before the prediction time that are read.",
        unit="pieces",
        least=1,
    )


@dataclasses.dataclass(frozen=True)
class HypergraphData(Settings):
    """A hypergraph in a file."""

    source: str = setting(
        "hypergraph_file",
        "The kind of data; its nodes are classified.",
        choices=("hypergraph_file",),
    )
    path: str = setting("", "The npz file; features/hypergraph_file.py describes its arrays.")
