"""What a graph knows of some nodes, as plain English text.

`described` is REALM's form, name, definition and description of each node, with no summary;
`with_triples` is EMERGE's, definitions and some of each node's edges; `named` is names alone, to
tell what the rest is worth. All are pure functions of the graph, the nodes and a seed.
"""

import re
from collections.abc import Sequence

import numpy as np

from ehr_jax.knowledge import graph

NODES, TRIPLES = 10, 5  # at most, in EMERGE's released code
SEPARATOR = "\n"

# PrimeKG shows one word for both directions: by the type of the node that stands first.
_SHOWN = {
    ("indication", "drug"): "is used to treat",
    ("indication", ""): "is treated with",
    ("contraindication", "drug"): "must not be given in",
    ("contraindication", ""): "is a reason not to give",
    ("off-label use", "drug"): "is used off label for",
    ("off-label use", ""): "is treated off label with",
    ("side effect", "drug"): "can cause",
    ("side effect", ""): "is a side effect of",
    ("phenotype present", "disease"): "may come with",
    ("phenotype present", ""): "may be a feature of",
    ("phenotype absent", "disease"): "comes without",
    ("phenotype absent", ""): "is absent in",
    ("expression present", "anatomy"): "expresses",
    ("expression present", ""): "is expressed in",
    ("expression absent", "anatomy"): "does not express",
    ("expression absent", ""): "is not expressed in",
    ("target", "drug"): "acts on",
    ("target", ""): "is a target of",
    ("enzyme", "drug"): "is metabolised by",
    ("enzyme", ""): "metabolises",
    ("transporter", "drug"): "is transported by",
    ("transporter", ""): "transports",
    ("carrier", "drug"): "is carried by",
    ("carrier", ""): "carries",
    ("associated with", ""): "is associated with",
    ("linked to", ""): "is linked to",
    ("parent-child", ""): "is a broader or narrower term of",
    ("ppi", ""): "interacts with",
    ("synergistic interaction", ""): "acts more strongly together with",
}


def described(found: graph.Graph, nodes: Sequence[int]) -> str:
    """Returns name, definition and description of each node, a line each, in the given order.

    Repeated nodes are told once. Empty for no node.
    """
    return SEPARATOR.join(_told(found, node) for node in dict.fromkeys(map(int, nodes)))


def named(found: graph.Graph, nodes: Sequence[int]) -> str:
    """Returns the names of the nodes, a line each, in the given order and each once."""
    names = found.nodes["name"]
    return SEPARATOR.join(f"{names[node]}." for node in dict.fromkeys(map(int, nodes)))


def with_triples(
    found: graph.Graph,
    nodes: Sequence[int],
    seed: int,
    most_nodes: int = NODES,
    most_triples: int = TRIPLES,
) -> str:
    """Returns what `described` does of some nodes, each followed by some of its edges.

    Of more than `most_nodes` nodes the first stay, as in EMERGE's released code for up to 20. Which
    edges are told depends on the seed and the node's id alone, so that a node reads the same
    wherever it stands.
    """
    lines = []
    for node in list(dict.fromkeys(map(int, nodes)))[:most_nodes]:
        triples = sample(found, node, seed, most_triples)
        lines.append(" ".join([_told(found, node), *(_sentence(found, *each) for each in triples)]))
    return SEPARATOR.join(lines)


def sample(found: graph.Graph, node: int, seed: int, most: int = TRIPLES) -> list[tuple]:
    """Returns up to `most` edges of a node, each equally likely: (head, relation, tail) by row."""
    relation, tail = found.neighbours(node)
    name = found.nodes["id"][node].encode()
    generator = np.random.default_rng([seed, *name])
    chosen = np.sort(generator.choice(len(tail), min(most, len(tail)), replace=False))
    return [(int(node), int(relation[i]), int(tail[i])) for i in chosen]


def triple(found: graph.Graph, head: int, relation: int, tail: int) -> str:
    """Returns an edge in words, without a full stop: "aspirin is used to treat fever"."""
    shown = found.relations["display"][relation]
    kind = found.nodes["type"][head]
    words = _SHOWN.get((shown, kind)) or _SHOWN.get((shown, "")) or shown
    return f"{found.nodes['name'][head]} {words} {found.nodes['name'][tail]}"


def _told(found: graph.Graph, node: int) -> str:
    name, definition, description = found.nodes.select("name", "definition", "description").row(
        node
    )
    texts = [_plain(text) for text in (definition, description) if text]
    return " ".join([f"{name}:" if texts else f"{name}.", *texts])


def _sentence(found: graph.Graph, head: int, relation: int, tail: int) -> str:
    return triple(found, head, relation, tail) + "."


def _plain(text: str) -> str:
    # Ontologies write their relations as one word: "has_symptom", "located_in".
    text = re.sub(r"(?<=[A-Za-z])_(?=[A-Za-z])", " ", text).strip()
    return text if text.endswith((".", "!", "?")) else text + "."
