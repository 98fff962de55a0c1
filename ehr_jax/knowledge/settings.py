"""The section `knowledge`: what is retrieved from a knowledge graph."""

import dataclasses

from ehr_jax.settings import setting

EXTRACTORS = ("gazetteer", "language_model")
RENDERINGS = ("realm", "emerge", "names")
FORMS = ("sequence", "vector")


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """What is retrieved; it is read if realm.use_knowledge."""

    graph: str = setting("hetionet_do", "hetionet_do, primekg, or the folder of a built graph.")
    extractor: str = setting(
        "gazetteer",
        "What finds entities in notes; language_model asks a server that you run.",
        choices=EXTRACTORS,
    )
    rules: bool = setting(True, "Leave out what notes deny, or say of the family.")
    precision: float = setting(
        0.9, "The share of right links among those by meaning, on synonyms that are known.",
        above=0, most=1,
    )  # fmt: skip
    threshold: float | None = setting(
        None,
        "The least cosine of a link by meaning, in place of a calibrated one (EMERGE: 0.6 for "
        "mimic3, 0.7 for mimic4).",
        least=-1,
        most=1,
    )
    z_score: float = setting(
        2.0, "A series' value beyond it is an entity.", unit="standard deviations", above=0
    )
    rendering: str = setting(
        "realm",
        "realm: definitions and descriptions; emerge: triples too; names: names alone, a control.",
        choices=RENDERINGS,
    )
    form: str = setting(
        "sequence", "sequence: a vector an entity; vector: one a stay.", choices=FORMS
    )
    entities: int = setting(10, "Entities of a stay, at most.", least=1, most=10_000)
    seed: int = setting(0, "The seed of the triples that are told.", least=0, most=2**63 - 1)
    server_url: str = setting(
        "http://localhost:8000/v1", "The address of the server, which is OpenAI-compatible."
    )
    server_model: str = setting("", "The name that the server has for its model.")
    allow_remote_server: bool = setting(False, "Notes may leave this machine's network.")
    cache: str = setting("", "The folder of the server's answers; '' takes the user's.")
