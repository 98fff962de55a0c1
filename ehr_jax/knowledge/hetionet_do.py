"""The open default graph: Hetionet joined to the Disease Ontology, with our ICU conditions.

Hetionet's diseases are terms of the ontology, so the join is by id. Titles of ICD-10-CM serve as
synonyms where one code and one disease name each other alone.
"""

import pathlib

import polars as pl

from ehr_jax.knowledge import aliases, disease_ontology, files, graph, hetionet, normalise

SOURCE = "hetionet_do"
ONTOLOGY, NETWORK, ICD = "disease_ontology", ("hetionet", "hetionet_slice"), "code_maps"
ICD_LICENCE = "ICD-10-CM titles: United States government, public domain"

_BROADER = graph.Relation("is_a", "is a kind of", "has the kind")
_FACETS = {
    "symptom": graph.Relation("has_symptom", "may present with", "may be a sign of"),
    "phenotype": graph.Relation("has_phenotype", "may come with", "may be a feature of"),
}
# Symptoms by type that are nothing a patient has: what is observed whatever it is like (an
# observable entity), a substance of the body, and headings over findings. Their edges stay.
OBSERVABLE = "observable"
_NO_FINDINGS = frozenset(
    normalise.normalise(name)
    for name in (
        "blood pressure", "body weight", "birth weight", "fetal weight", "ideal body weight",
        "pain threshold", "respiratory sounds", "sensation perception", "sputum",
        "eye manifestations", "oral manifestations", "skin manifestations",
        "neurobehavioral manifestations", "neurologic manifestations",
        "neuromuscular manifestations", "urological manifestations", "prodromal symptoms",
        "signs and symptoms, digestive", "signs and symptoms, respiratory",
    )
)  # fmt: skip
# Titles that say what a code is not, or gather what no other code holds.
_VAGUE = r"(?i)\bother\b|not elsewhere|unspecified|without|\bexcept\b|^personal history|^family"


def read(root: str | pathlib.Path) -> graph.Parts:
    """Reads the folders disease_ontology, hetionet (or hetionet_slice) and code_maps of `root`.

    The last may be missing: ICD titles are then no synonyms. KnowledgeError or RecordsError for
    what else is missing or damaged.
    """
    root = pathlib.Path(root)
    ontology = disease_ontology.read(root / ONTOLOGY)
    network = hetionet.read(_network(root))
    merged = _merged(ontology)
    nodes, renamed = _join_diseases(ontology, network, merged)
    facets, signs = _signs(ontology, network)

    relations = list(network.relations)
    edges = [network.edges.select("head", "relation", "tail").with_columns(
        pl.col("head", "tail").replace(renamed["from"], renamed["to"]))]  # fmt: skip
    edges.append(_edges(ontology.parents, "parent", len(relations)))
    relations.append(_BROADER)
    for facet, relation in _FACETS.items():
        found = facets.filter(pl.col("type") == facet)
        edges.append(_edges(found, "target", len(relations)))
        relations.append(relation)

    diseases = ontology.terms.select("id")
    old_names = renamed.filter(pl.col("to").is_in(diseases["id"].implode()))
    synonyms = [ontology.synonyms, old_names.select(id="to", text="name", exact=pl.lit(True))]
    licence = f"{disease_ontology.LICENCE}. {network.licence}"
    if path := _icd_path(root):
        synonyms.append(_icd_titles(path, ontology))
        licence += f". {ICD_LICENCE}"
    nodes = _observables_apart(pl.concat([nodes, signs]))
    added = aliases.add(nodes, pl.concat(synonyms).unique(maintain_order=True))
    edges.append(_edges(added.broader, "parent", len(network.relations)))
    dropped = {f"ontology: {what}": count for what, count in ontology.dropped.items()}
    return graph.Parts(
        SOURCE,
        f"{licence}. {aliases.LICENCE}",
        added.nodes,
        added.synonyms,
        pl.concat(edges),
        relations,
        dropped | dict(network.dropped) | added.dropped,
    )


def paths(root: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that `read` reads."""
    root = pathlib.Path(root)
    found = disease_ontology.paths(root / ONTOLOGY) + hetionet.paths(_network(root))
    return found + [path for path in [_icd_path(root)] if path]


def _network(root: pathlib.Path) -> pathlib.Path:
    return next((root / name for name in NETWORK if (root / name).is_dir()), root / NETWORK[0])


def _icd_path(root: pathlib.Path) -> pathlib.Path | None:
    return files.find(root / ICD, r"icd10cm-order.*") if (root / ICD).is_dir() else None


def _merged(ontology: disease_ontology.Ontology) -> dict[str, str]:
    """Returns ids of terms that were merged into another one, to that one."""
    old = ontology.xrefs.filter(pl.col("xref").str.starts_with("DOID:"))
    return dict(old.select("xref", "id").iter_rows())


def _join_diseases(ontology, network, merged: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns all nodes, the ontology's first, and how Hetionet's diseases are now called.

    The latter: from, to, name (Hetionet's own).
    """
    ours = network.nodes.filter(pl.col("type") == "disease")
    bare = pl.col("id").str.strip_prefix("Disease::")
    renamed = ours.select(pl.col("id").alias("from"), bare.replace(merged).alias("to"), "name")
    lone = renamed.join(ontology.terms, left_on="to", right_on="id", how="anti")
    none = pl.lit(None, pl.String)
    terms = ontology.terms.with_columns(type=pl.lit("disease"), description=none)
    lone = lone.select("name", id="to", type=pl.lit("disease"), definition=none, description=none)
    others = network.nodes.filter(pl.col("type") != "disease")
    columns = list(graph.NODES)
    return pl.concat([part.select(columns) for part in (terms, lone, others)]), renamed


def _signs(ontology, network) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the facets and the nodes they need; a symptom Hetionet names is Hetionet's node."""
    keys = pl.col("name").map_elements(normalise.normalise, return_dtype=pl.String)
    named = network.nodes.filter(pl.col("type") == "symptom").select(key=keys, there="id")
    named = named.unique("key", keep="first", maintain_order=True)
    facets = ontology.facets.with_columns(key=keys).join(
        named, on="key", how="left", maintain_order="left"
    )
    facets = facets.with_columns(target=pl.coalesce("there", "target"))
    new = facets.filter(pl.col("there").is_null()).unique(
        "target", keep="first", maintain_order=True
    )
    none = pl.lit(None, pl.String)
    nodes = new.select(
        id="target", type=pl.lit("symptom"), name="name", definition=none, description=none
    )
    return facets.select("id", "type", "target"), nodes


def _observables_apart(nodes: pl.DataFrame) -> pl.DataFrame:
    """Gives symptoms that are no findings a type of their own, which no mention is linked to."""
    symptom = pl.col("type") == "symptom"
    keys = pl.col("name").map_elements(normalise.normalise, return_dtype=pl.String)
    named = nodes.filter(symptom).filter(keys.is_in(list(_NO_FINDINGS)))["id"]
    return nodes.with_columns(
        type=pl.when(symptom & pl.col("id").is_in(named.implode()))
        .then(pl.lit(OBSERVABLE))
        .otherwise("type")
    )


def _edges(found: pl.DataFrame, tail: str, relation: int) -> pl.DataFrame:
    return found.select(head="id", relation=pl.lit(relation, pl.Int32), tail=tail)


def _icd_titles(path: pathlib.Path, ontology) -> pl.DataFrame:
    """Returns ICD-10-CM titles as synonyms (id, text, exact: False)."""
    titles = files.read(path, {"code": pl.String, "long": pl.String}).drop_nulls()
    codes = ontology.xrefs.filter(pl.col("xref").str.starts_with("ICD10CM:")).select(
        "id", code=pl.col("xref").str.strip_prefix("ICD10CM:").str.replace(".", "", literal=True)
    )
    codes = codes.unique(maintain_order=True)
    alone = (pl.len().over("id") == 1) & (pl.len().over("code") == 1)
    titles = titles.with_columns(pl.col("long").str.replace(r"(?i),\s*unspecified$", ""))
    titles = titles.filter(~pl.col("long").str.contains(_VAGUE))
    return codes.filter(alone).join(titles, on="code", how="inner", maintain_order="left").select(
        "id", text="long", exact=pl.lit(False)
    )  # fmt: skip
