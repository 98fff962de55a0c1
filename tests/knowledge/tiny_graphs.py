"""Small knowledge sources for the tests, in the forms of the real ones; all content is made up."""

import gzip
import pathlib

import polars as pl

from ehr_jax.knowledge import graph

KG_HEADER = (
    "relation,display_relation,x_index,x_id,x_type,x_name,x_source,"
    "y_index,y_id,y_type,y_name,y_source"
)
KG_NODES = {
    0: ("100_101", "disease", "ague (disease)", "MONDO_grouped"),
    1: ("200", "disease", '"humour, excess of"', "MONDO"),
    2: ("DB1", "drug", "Theriac", "DrugBank"),
    3: ("300", "effect/phenotype", "Shivering", "HPO"),
}
KG_EDGES = (
    ("indication", "indication", 2, 0),
    ("contraindication", "contraindication", 2, 1),
    ("disease_phenotype_positive", "phenotype present", 0, 3),
)


def kg_rows(edges=KG_EDGES, nodes=KG_NODES) -> list[str]:
    """Returns the rows of kg.csv, each edge in both directions."""
    return [
        ",".join((relation, shown, str(x), *nodes[x], str(y), *nodes[y]))
        for relation, shown, head, tail in edges
        for x, y in ((head, tail), (tail, head))
    ]


def write_kg(folder: pathlib.Path, rows: list[str] | None = None) -> pathlib.Path:
    """Writes kg.csv; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "kg.csv"
    path.write_text("\n".join([KG_HEADER, *(kg_rows() if rows is None else rows)]) + "\n")
    return path


OBO = """\
format-version: 1.2
data-version: made/up

[Term]
id: DOID:1
name: ague
def: "A chill that has_symptom shivering, called \\"the shakes\\"." [url:http\\://example.org/a]
synonym: "marsh fever" EXACT []
synonym: "the shakes" RELATED OMO:0003012 []
xref: ICD10CM:B54
alt_id: DOID:90
is_a: DOID:2 ! fever disease

[Term]
id: DOID:2
name: fever disease

[Term]
id: DOID:3
name: old name
is_obsolete: true

[Term]
id: DOID:1
name: ague again

[Typedef]
id: located_in
name: located in
"""

FACETS = """\
?id\t?name\t?definition\t?facet\t?import_keyword\t?import_id
"DOID:1"\t"ague"\t"Another text."\t"symptom"\t"symptom"\t"SYMP:0"
"DOID:1"\t"ague"\t"Another text."\t"symptom"\t"shivering"\t"SYMP:1"
"DOID:2"\t"fever disease"\t"A disease with fever."\t"symptom"\t"warm hands"\t"SYMP:2"
"DOID:2"\t"fever disease"\t"A disease with fever."\t"anatomy"\t"hand"\t"UBERON:1"
"""
HUMAN_DO = """\
id\tlabel\tsubClassOf
"DOID:1"\t"ague"\t"fever disease"
"DOID:2"\t"fever disease"\t"disease"
"""
HET_NODES = """\
id\tname\tkind
Disease::DOID:90\tmarsh ague\tDisease
Symptom::D1\tShivering\tSymptom
Compound::DB1\tTheriac\tCompound
Gene::7\tHUM1\tGene
"""
HET_EDGES = """\
source\tmetaedge\ttarget
Compound::DB1\tCtD\tDisease::DOID:90
Disease::DOID:90\tDpS\tSymptom::D1
Disease::DOID:90\tDaG\tGene::8
Gene::7\tXxX\tGene::7
"""
ICD = "code,billable,short,long\nB54,1,Malaria,Quartan ague\nA00,0,Cholera,Other cholera\n"


def write_open_sources(root: pathlib.Path, obo: bool = True) -> pathlib.Path:
    """Writes the folders that hetionet_do is made of; returns `root`."""
    for name in ("disease_ontology", "hetionet", "code_maps"):
        (root / name).mkdir(parents=True)
    if obo:
        (root / "disease_ontology" / "doid.obo").write_text(OBO)
    else:
        (root / "disease_ontology" / "HumanDO.tsv").write_text(HUMAN_DO)
    packed = gzip.compress(FACETS.encode())
    (root / "disease_ontology" / "facets.tsv.gz").write_bytes(packed)
    (root / "hetionet" / "nodes.tsv").write_text(HET_NODES)
    (root / "hetionet" / "edges.sif").write_text(HET_EDGES)
    (root / "code_maps" / "icd10cm-order-2021.csv").write_text(ICD)
    return root


def made_up(synonyms=(("D:0", "marsh fever", True), ("D:0", "the shakes", False))) -> graph.Graph:
    """Returns a graph of four nodes."""
    nodes = [
        ("D:0", "disease", "ague", "A chill that has_symptom shivering", None),
        ("D:1", "disease", "dropsy", None, "Swelling of the legs."),
        ("S:0", "symptom", "shivering", None, None),
        ("C:0", "compound", "theriac", "A remedy.", None),
    ]
    edges = [("C:0", 0, "D:0"), ("C:0", 0, "D:1"), ("D:0", 1, "S:0"), ("D:0", 2, "D:1")]
    return graph.build(
        graph.Parts(
            "made_up",
            "none",
            pl.DataFrame(nodes, schema=graph.NODES, orient="row"),
            pl.DataFrame(list(synonyms), schema=["id", "text", "exact"], orient="row"),
            pl.DataFrame(edges, schema=["head", "relation", "tail"], orient="row"),
            [
                graph.Relation("treats", "treats", "is treated with"),
                graph.Relation("sign", "may present with", "may be a sign of"),
                graph.Relation("alike", "resembles"),
            ],
        )
    )
