"""The section `knowledge`: what is retrieved from a knowledge graph."""

import dataclasses

from ehr_jax.settings import Settings, setting

EXTRACTORS = ("gazetteer", "language_model")
RENDERINGS = ("realm", "emerge", "names")
FORMS = ("sequence", "vector")


@dataclasses.dataclass(frozen=True)
class Knowledge(Settings):
    """Retrieval from a knowledge graph; only with realm.use_knowledge."""

    graph: str = setting("hetionet_do", "hetionet_do, primekg, or the folder of a built graph.")
    extractor: str = setting(
        "gazetteer",
        "What finds entities in notes; language_model asks a server that you run.",
        choices=EXTRACTORS,
    )
    rules: bool = setting(True, "Leave out entities that a note negates, or says of the family.")
    precision: float = setting(
        0.9, "The precision, on known synonyms, that the threshold of links by meaning keeps.",
        above=0, most=1,
    )  # fmt: skip
    threshold: float | None = setting(
        None,
        "The least cosine of a link by meaning, in place of the one chosen by precision (EMERGE: "
        "0.6 for mimic3, 0.7 for mimic4).",
        least=-1,
        most=1,
    )
    z_score: float = setting(
        2.0,
        "A value of the series further than this from the usual becomes an entity.",
        unit="standard deviations",
        above=0,
    )
    rendering: str = setting(
        "realm",
        "The text of an entity: realm is definitions and descriptions, emerge has triples too, "
        "names is names alone, as a control.",
        choices=RENDERINGS,
    )
    form: str = setting(
        "sequence",
        "sequence: one vector for each entity; vector: one for each stay.",
        choices=FORMS,
    )
    entities: int = setting(10, "The greatest number of entities of a stay.", least=1, most=10_000)
    seed: int = setting(
        0, "The seed by which triples are drawn for the text.", least=0, most=2**63 - 1
    )
    server_url: str = setting(
        "http://localhost:8000/v1", "The address of the language model's OpenAI-compatible server."
    )
    server_model: str = setting("", "The name of the model on the server.")
    allow_remote_server: bool = setting(
        False, "Notes may be sent to a server outside this machine and private networks."
    )
    cache: str = setting("", "The folder of the server's answers; '' is in the user cache.")
