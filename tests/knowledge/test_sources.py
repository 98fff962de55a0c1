"""Each source's files become a graph; what is wrong with them is said or counted."""

import gzip

import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.knowledge import (
    aliases,
    disease_ontology,
    graph,
    hetionet,
    hetionet_do,
    mentions,
    primekg,
)
from tests.knowledge import tiny_graphs


def row(found: graph.Graph, node: str) -> int:
    return found.nodes["id"].to_list().index(node)


def edges_of(found: graph.Graph, node: str) -> set[tuple[str, str]]:
    relation, tail = found.neighbours(row(found, node))
    return {
        (found.relations["display"][int(r)], found.nodes["id"][int(t)])
        for r, t in zip(relation, tail, strict=True)
    }


@pytest.fixture
def kg(tmp_path):
    return tiny_graphs.write_kg(tmp_path)


class TestPrimeKG:
    def test_rows_become_nodes_and_edges(self, kg):
        found = primekg.read(kg.parent)
        theirs = found.nodes.filter(~pl.col("id").str.starts_with(aliases.PREFIX))
        assert theirs["id"].to_list() == [
            "MONDO_grouped:100_101",
            "MONDO:200",
            "DrugBank:DB1",
            "HPO:300",
        ]
        assert theirs["name"][1] == "humour, excess of"
        assert edges_of(found, "MONDO_grouped:100_101") == {
            ("indication", "DrugBank:DB1"),
            ("phenotype present", "HPO:300"),
        }
        assert not {"repeated edges", "rows with an empty field"} & set(found.dropped)

    def test_a_missing_way_back_is_completed_and_counted(self, tmp_path):
        tiny_graphs.write_kg(tmp_path, tiny_graphs.kg_rows()[:-1])
        found = primekg.read(tmp_path)
        assert found.dropped["edges told in one direction, completed"] == 1
        assert ("phenotype present", "HPO:300") in edges_of(found, "MONDO_grouped:100_101")
        assert ("phenotype present", "MONDO_grouped:100_101") in edges_of(found, "HPO:300")

    def test_an_index_of_two_nodes_and_empty_fields_are_counted(self, tmp_path):
        rows = tiny_graphs.kg_rows()
        other = rows[0].replace("DB1,drug", "DB9,drug")
        empty = rows[0].replace("MONDO_grouped", "")
        tiny_graphs.write_kg(tmp_path, [*rows, other, empty, rows[0]])
        found = primekg.read(tmp_path)
        assert found.dropped["rows whose index is another node's"] == 1
        assert found.dropped["rows with an empty field"] == 1
        assert found.dropped["repeated edges"] == 1
        assert "DrugBank:DB9" not in found.nodes["id"]

    def test_two_indices_of_one_node_are_one(self, tmp_path):
        nodes = tiny_graphs.KG_NODES | {9: tiny_graphs.KG_NODES[0]}
        edges = (*tiny_graphs.KG_EDGES, ("disease_disease", "parent-child", 9, 1))
        tiny_graphs.write_kg(tmp_path, tiny_graphs.kg_rows(edges, nodes))
        found = primekg.read(tmp_path)
        assert found.dropped["nodes of a repeated id"] == 1
        assert ("parent-child", "MONDO:200") in edges_of(found, "MONDO_grouped:100_101")

    @pytest.mark.parametrize("suffix", [".csv", ".tab", ".parquet"])
    def test_features_are_told_of_their_nodes(self, kg, suffix):
        features = pl.DataFrame(
            {
                "node_index": [0, 0, 1, 77],
                "mondo_name": ["quartan ague", "tertian ague", None, "stranger"],
                "mondo_definition": ["A fever.", "A fever.", None, "Unknown."],
                "umls_description": ['Comes "every" day.', None, "Too much.", None],
                "orphanet_definition": [None, "A rare fever, too.", None, None],
            }
        )
        path = kg.parent / f"disease_features{suffix}"
        if suffix == ".parquet":
            features.write_parquet(path)
        elif suffix == ".csv":
            features.write_csv(path)
        else:
            lines = ["\t".join(features.columns)]
            for values in features.rows():
                cells = [
                    ""
                    if v is None
                    else v
                    if isinstance(v, int)
                    else '"' + v.replace('"', '\\"') + '"'
                    for v in values
                ]
                lines.append("\t".join(map(str, cells)))
            path.write_text("\n".join(lines) + "\n")
        found = primekg.read(kg.parent)
        ague = found.nodes.row(row(found, "MONDO_grouped:100_101"), named=True)
        assert ague["definition"] == "A fever. A rare fever, too."
        assert ague["description"] == 'Comes "every" day.'
        assert found.synonyms.filter(node=row(found, "MONDO_grouped:100_101")).rows() == [
            (0, "quartan ague", False),
            (0, "tertian ague", False),
        ]
        assert found.dropped["features of no node"] == 1

    def test_a_drug_is_told_of_too(self, kg):
        (kg.parent / "drug_features.csv").write_text(
            "node_index,description,indication,mechanism_of_action\n"
            "2,A remedy.,For ague.,Unknown ways.\n"
        )
        found = primekg.read(kg.parent)
        drug = found.nodes.row(row(found, "DrugBank:DB1"), named=True)
        assert (drug["definition"], drug["description"]) == ("A remedy.", "For ague. Unknown ways.")

    def test_a_missing_column_is_named(self, kg):
        kg.write_text(kg.read_text().replace("y_index", "y_number"))
        with pytest.raises(errors.RecordsError, match=r"kg.csv: column 'y_index' is missing"):
            primekg.read(kg.parent)

    def test_an_index_that_is_no_row_number_is_an_error(self, tmp_path):
        tiny_graphs.write_kg(tmp_path, [tiny_graphs.kg_rows()[0].replace(",2,DB1", ",-2,DB1")])
        with pytest.raises(errors.KnowledgeError, match="an index is -2"):
            primekg.read(tmp_path)

    def test_a_cut_gzip_file_is_an_error(self, kg):
        packed = gzip.compress(kg.read_bytes() * 50)
        kg.unlink()
        (kg.parent / "kg.csv.gz").write_bytes(packed[: len(packed) // 2])
        with pytest.raises(errors.RecordsError, match=r"kg.csv.gz: the gzip file is cut short"):
            primekg.read(kg.parent)

    def test_what_is_no_utf8_is_an_error(self, kg):
        kg.write_bytes(kg.read_bytes().replace(b"Theriac", b"Th\xe9riac"))
        with pytest.raises(errors.RecordsError, match=r"kg.csv: line \d is not UTF-8"):
            primekg.read(kg.parent)

    def test_a_header_alone_and_no_file_are_errors(self, tmp_path):
        tiny_graphs.write_kg(tmp_path, [])
        with pytest.raises(errors.KnowledgeError, match="no edge was read"):
            primekg.read(tmp_path)
        (tmp_path / "kg.csv").unlink()
        with pytest.raises(errors.KnowledgeError, match="kg.csv is missing"):
            primekg.read(tmp_path)

    def test_the_real_slice_is_read_whole(self, data_root):
        found = primekg.read(data_root / "primekg_slice")
        kg = pl.read_csv(data_root / "primekg_slice" / "kg.csv.gz", infer_schema=False)
        is_a = found.counts()["by_relation"]["is_a"]
        assert found.dropped.keys() == {"our aliases of no node"}
        assert len(found.tail) == kg.height + is_a
        ends = {(s, i) for s, i in zip([*kg["x_source"]], [*kg["x_id"]], strict=True)}
        ours = found.nodes.filter(pl.col("id").str.starts_with(aliases.PREFIX)).height
        assert found.nodes.height == len(ends) + ours


class TestOntology:
    def test_obo_terms_carry_synonyms_parents_and_references(self, tmp_path):
        (tmp_path / "doid.obo.gz").write_bytes(gzip.compress(tiny_graphs.OBO.encode()))
        found = disease_ontology.read(tmp_path)
        assert found.terms.rows() == [
            ("DOID:1", "ague", 'A chill that has_symptom shivering, called "the shakes".'),
            ("DOID:2", "fever disease", None),
        ]
        assert found.synonyms.rows() == [
            ("DOID:1", "marsh fever", True),
            ("DOID:1", "the shakes", False),
        ]
        assert found.parents.rows() == [("DOID:1", "DOID:2")]
        assert set(found.xrefs["xref"]) == {"ICD10CM:B54", "DOID:90"}
        assert found.dropped["obsolete terms"] == 1
        assert found.dropped["terms of a repeated id"] == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("not an ontology", "no .Term. that is in use"),
            ("[Term]\nname: x\n", "line 1 has no id"),
            (b"[Term]\nid: D:1\nname: \xff\n", "line 3 is not UTF-8"),
        ],
    )
    def test_what_is_no_obo_file_is_an_error(self, tmp_path, text, message):
        (tmp_path / "x.obo").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(errors.KnowledgeError, match=message):
            disease_ontology.read_obo(tmp_path / "x.obo")

    def test_a_cut_obo_file_is_an_error(self, tmp_path):
        packed = gzip.compress(tiny_graphs.OBO.encode())
        (tmp_path / "x.obo.gz").write_bytes(packed[: len(packed) // 2])
        with pytest.raises(errors.KnowledgeError, match="cut short or damaged"):
            disease_ontology.read_obo(tmp_path / "x.obo.gz")

    def test_tables_give_the_same_terms_and_parents(self, tmp_path):
        root = tiny_graphs.write_open_sources(tmp_path, obo=False)
        found = disease_ontology.read(root / "disease_ontology")
        assert found.terms.rows() == [
            ("DOID:1", "ague", "Another text."),
            ("DOID:2", "fever disease", "A disease with fever."),
        ]
        assert found.parents.rows() == [("DOID:1", "DOID:2")]

    def test_headings_and_other_facets_are_left_out(self, tmp_path):
        root = tiny_graphs.write_open_sources(tmp_path)
        found = disease_ontology.read(root / "disease_ontology")
        assert found.facets.rows() == [
            ("DOID:1", "symptom", "SYMP:1", "shivering"),
            ("DOID:2", "symptom", "SYMP:2", "warm hands"),
        ]


class TestHetionetDO:
    def test_hetionets_diseases_are_terms_of_the_ontology(self, tmp_path):
        found = graph.build(hetionet_do.read(tiny_graphs.write_open_sources(tmp_path)))
        ids = found.nodes["id"].to_list()
        assert "DOID:1" in ids and "Disease::DOID:90" not in ids and "DOID:90" not in ids
        assert edges_of(found, "DOID:1") == {
            ("is treated with", "Compound::DB1"),
            ("may present with", "Symptom::D1"),
            ("is a kind of", "DOID:2"),
        }

    def test_names_of_all_sources_are_synonyms(self, tmp_path):
        found = graph.build(hetionet_do.read(tiny_graphs.write_open_sources(tmp_path)))
        synonyms = found.synonyms.filter(node=row(found, "DOID:1"))
        assert set(synonyms.select("text", "exact").rows()) == {
            ("marsh fever", True),
            ("the shakes", False),
            ("marsh ague", True),
            ("Quartan ague", False),
        }

    def test_a_symptom_both_name_is_one_node(self, tmp_path):
        found = graph.build(hetionet_do.read(tiny_graphs.write_open_sources(tmp_path)))
        assert found.nodes["name"].str.to_lowercase().to_list().count("shivering") == 1
        assert "SYMP:2" in found.nodes["id"]

    def test_unknown_and_dangling_edges_are_counted(self, tmp_path):
        found = graph.build(hetionet_do.read(tiny_graphs.write_open_sources(tmp_path)))
        assert found.dropped["edges of an unknown type"] == 1
        assert found.dropped["edges to no node"] == 1

    def test_icu_conditions_are_nodes_of_our_own(self, tmp_path):
        found = graph.build(hetionet_do.read(tiny_graphs.write_open_sources(tmp_path)))
        shock = found.nodes.row(row(found, "ehr_jax:septic shock"), named=True)
        assert shock["definition"] == aliases.CONDITIONS["septic shock"]
        assert ("is a kind of", "ehr_jax:sepsis") in edges_of(found, "ehr_jax:septic shock")

    def test_what_is_observed_is_no_condition(self, default_graph):
        found = default_graph
        kept = set(found.nodes.filter(type="symptom")["name"].str.to_lowercase())
        assert not kept & {"blood pressure", "sputum", "body weight", "skin manifestations"}
        assert {"high blood pressure", "bloody sputum", "weight loss", "systolic murmurs"} <= kept
        apart = found.nodes.filter(type=hetionet_do.OBSERVABLE)
        assert apart.height == len(hetionet_do._NO_FINDINGS)
        named = mentions.build(found.terms())
        assert mentions.lookup(named, "sputum") == mentions.lookup(named, "blood pressure") == -1
        assert mentions.lookup(named, "bloody sputum") >= 0

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(errors.KnowledgeError, match="disease_ontology.* does not exist"):
            hetionet_do.read(tmp_path)

    def test_every_hetionet_relation_reads_both_ways(self):
        alike = {name for name, (_, back) in hetionet.RELATIONS.items() if not back}
        assert alike == {"CrC", "DrD", "GcG", "GiG", "DaG"}

    def test_the_real_graph_holds_what_its_sources_say(self, default_graph):
        found = default_graph
        assert found.dropped == {"repeated edges": 5_000}  # genes of both files; no alias is lost
        counts = found.counts()
        ours = found.nodes.filter(pl.col("id").str.starts_with(aliases.PREFIX)).height
        assert counts["by_type"]["disease"]["nodes"] == 12_246 + 1 + ours  # one DOID is retired
        assert counts["by_type"]["disease"]["with_definition"] >= 9_947
        assert counts["by_type"]["gene"]["nodes"] == 20_945
        assert counts["by_relation"]["DaG"] == 2 * 12_623
        assert counts["by_relation"]["DpS"] == 2 * 3_357
        assert counts["by_relation"]["CtD"] == 2 * 755


class TestAliases:
    def test_every_condition_has_one_sentence(self):
        for text in aliases.CONDITIONS.values():
            assert text.endswith(".") and text.count(". ") == 0

    def test_a_node_of_the_graph_keeps_its_name_and_definition(self):
        nodes = pl.DataFrame(
            [
                ("X:1", "disease", "Sepsis", "Their text.", None),
                ("X:2", "symptom", "Coma", "", None),
            ],
            schema=graph.NODES,
            orient="row",
        )
        nodes = nodes.with_columns(pl.col("definition").replace("", None))
        none = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "exact": pl.Boolean})
        added = aliases.add(nodes, none)
        assert added.nodes.filter(id="X:1")["definition"].to_list() == ["Their text."]
        assert added.nodes.filter(id="X:2")["definition"].to_list() == [aliases.CONDITIONS["coma"]]
        assert "ehr_jax:sepsis" not in added.nodes["id"]
        assert ("X:1", "septicemia", True) in added.synonyms.rows()
