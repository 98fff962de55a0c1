"""The Human Disease Ontology: its OBO release, its tables (`*.tsv` reports), or both.

The OBO file is the only one with synonyms, the facets table the only one that links diseases to
symptoms and phenotypes. Any OBO file with names, definitions and `is_a` is read alike (MONDO).
"""

import pathlib
import re
from typing import NamedTuple

import polars as pl

from ehr_jax import errors
from ehr_jax.knowledge import files

LICENCE = "Human Disease Ontology: CC0 1.0"

_TERMS = {"id": pl.String, "name": pl.String, "definition": pl.String}
_SYNONYMS = {"id": pl.String, "text": pl.String, "exact": pl.Boolean}
_PARENTS = {"id": pl.String, "parent": pl.String}
_XREFS = {"id": pl.String, "xref": pl.String}
_FACETS = {"id": pl.String, "type": pl.String, "target": pl.String, "name": pl.String}

_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*(\w*)')
_ESCAPED = re.compile(r"\\(.)")
# Facets come with all their ancestors, which say nothing of a disease: the headings go.
_SPECIFIC = {
    "symptom": r"^symptom$|symptom$",
    "phenotype": r"^phenotype$|^Phenotypic abnormality$|^Abnormal",
}


class Ontology(NamedTuple):
    """Tables by the ontology's own ids.

    terms: id, name, definition, none of them obsolete. synonyms: id, text, exact. parents: id,
    parent. xrefs: id, xref ("ICD10CM:I21", or the id of a term that was merged into this one).
    facets: id, type ("symptom" or "phenotype"), target, name. paths: of the files read.
    """

    terms: pl.DataFrame
    synonyms: pl.DataFrame
    parents: pl.DataFrame
    xrefs: pl.DataFrame
    facets: pl.DataFrame
    dropped: dict[str, int]


def read(folder: str | pathlib.Path) -> Ontology:
    """Reads a folder that holds an OBO file or the table HumanDO, and what else is there.

    KnowledgeError or RecordsError for a missing or damaged file.
    """
    obo = files.find(folder, r".*", (".obo", ".obo.gz"))
    base = read_obo(obo) if obo else _read_tables(folder)
    if path := files.find(folder, "allXREFinDO"):
        found = files.read(path, _XREFS)
        base = base._replace(xrefs=pl.concat([base.xrefs, found]).drop_nulls().unique())
    if path := files.find(folder, "facets"):
        base = _with_facets(base, path)
    return base


def paths(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that `read` reads."""
    tables = [files.find(folder, name) for name in ("HumanDO", "allXREFinDO", "facets")]
    obo = files.find(folder, r".*", (".obo", ".obo.gz"))
    return [path for path in (obo, *tables) if path]


def read_obo(path: str | pathlib.Path) -> Ontology:
    """Reads an OBO 1.2/1.4 file; obsolete terms and terms without a name go, and are counted."""
    path = pathlib.Path(path)
    terms, synonyms, parents, xrefs = [], [], [], []
    dropped = dict.fromkeys(("obsolete terms", "terms without a name", "terms of a repeated id"), 0)
    seen = set()
    for line, stanza in _stanzas(files.text(path)):
        name = stanza.get("name", [""])[0].strip()
        if "id" not in stanza:
            raise errors.KnowledgeError(
                f"{path.name}: the [Term] on line {line} has no id; is the file cut short?"
            )
        (found, *_) = stanza["id"]
        if stanza.get("is_obsolete") == ["true"]:
            dropped["obsolete terms"] += 1
        elif not name:
            dropped["terms without a name"] += 1
        elif found in seen:
            dropped["terms of a repeated id"] += 1
        else:
            seen.add(found)
            terms.append((found, name, _quoted(stanza.get("def", [""])[0])[0]))
            for value in stanza.get("synonym", []):
                text, scope = _quoted(value)
                synonyms.append((found, text, scope == "EXACT"))
            parents += [(found, _bare(value)) for value in stanza.get("is_a", [])]
            references = stanza.get("xref", []) + stanza.get("alt_id", [])
            xrefs += [(found, _bare(value)) for value in references]
    if not terms:
        raise errors.KnowledgeError(
            f"{path.name}: no [Term] that is in use was found; is it an OBO file?"
        )
    return Ontology(
        _frame(terms, _TERMS),
        _frame(synonyms, _SYNONYMS).drop_nulls(),
        _frame(parents, _PARENTS),
        _frame(xrefs, _XREFS),
        pl.DataFrame(schema=_FACETS),
        dropped,
    )


def _stanzas(text: str):
    """Yields (line, {tag: values}) of every [Term]."""
    line, stanza = 0, None
    for number, row in enumerate(text.splitlines(), 1):
        row = row.strip()
        if row.startswith("["):
            if stanza is not None:
                yield line, stanza
            line, stanza = number, {} if row == "[Term]" else None
        elif stanza is not None and ":" in row and not row.startswith("!"):
            tag, value = row.split(":", 1)
            stanza.setdefault(tag.strip(), []).append(value.strip())
    if stanza is not None:
        yield line, stanza


def _quoted(value: str) -> tuple[str | None, str]:
    match = _QUOTED.match(value)
    if match is None:
        return None, ""
    return _ESCAPED.sub(lambda m: {"n": " ", "W": " ", "t": " "}.get(m[1], m[1]), match[1]), match[
        2
    ]


def _bare(value: str) -> str:
    """Returns an id without the comment and qualifiers behind it."""
    return re.split(r"\s", value, maxsplit=1)[0]


def _read_tables(folder: str | pathlib.Path) -> Ontology:
    path = files.required(folder, "HumanDO", "an OBO file or the table HumanDO of the ontology")
    columns = dict.fromkeys(("id", "label", "subclassof"), pl.String)
    found = files.read(path, columns).drop_nulls(["id", "label"])
    terms = found.unique("id", keep="first", maintain_order=True)
    # Parents are told by name.
    ids = terms.select(parent="id", subclassof="label").unique("subclassof", keep="first")
    parents = found.join(ids, on="subclassof", how="inner").select("id", "parent")
    return Ontology(
        terms.select("id", name="label", definition=pl.lit(None, pl.String)),
        pl.DataFrame(schema=_SYNONYMS),
        parents.unique(maintain_order=True),
        pl.DataFrame(schema=_XREFS),
        pl.DataFrame(schema=_FACETS),
        {},
    )


def _with_facets(base: Ontology, path: pathlib.Path) -> Ontology:
    names = ("id", "definition", "facet", "import_keyword", "import_id")
    found = files.read(path, dict.fromkeys(names, pl.String))
    definitions = found.drop_nulls("definition").unique("id", keep="first", maintain_order=True)
    terms = base.terms.join(
        definitions.select("id", given="definition"), on="id", how="left", maintain_order="left"
    ).select("id", "name", definition=pl.coalesce("definition", "given"))
    kept = [
        found.filter((pl.col("facet") == facet) & ~pl.col("import_keyword").str.contains(headings))
        for facet, headings in _SPECIFIC.items()
    ]
    facets = pl.concat(kept).select("id", type="facet", target="import_id", name="import_keyword")
    return base._replace(terms=terms, facets=facets.drop_nulls().unique(maintain_order=True))


def _frame(rows: list[tuple], schema: dict) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")
