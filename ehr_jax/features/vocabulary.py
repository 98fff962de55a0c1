"""The nodes of the hypergraph: codes seen in training visits, with names a language model can read.

Also turns structured attributes into nodes: a category as it stands, a number by bins whose edges
are quantiles of the training visits.
"""

import dataclasses

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.records.common import tables


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Nodes in a fixed order: node k is `codes[k]`, of kind `kinds[k]`, called `names[k]`."""

    codes: tuple[str, ...]
    kinds: tuple[str, ...]
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Bins:
    """Train-fitted edges of a numeric attribute: value x falls in bin searchsorted(edges, x)."""

    name: str
    edges: tuple[float, ...]


def fit(
    node_of: pl.DataFrame, node_names: pl.DataFrame, training: pl.Series, min_visits: int
) -> Vocabulary:
    """Returns the nodes that at least `min_visits` training samples hold, sorted by kind and code.

    Args:
      node_of: (sample_id, code), distinct.
      node_names: (code, kind, name).
      training: sample ids of the training split.

    Raises:
      CohortError: no code is left.
    """
    counted = (
        node_of.filter(pl.col("sample_id").is_in(training.implode()))
        .group_by("code")
        .len("visits")
        .filter(pl.col("visits") >= min_visits)
        .join(node_names, on="code", how="left")
        .sort("kind", "code")
    )
    if counted.height == 0:
        raise errors.CohortError(
            f"no code is held by {min_visits} or more training visits; lower "
            "config.features.min_visits, or check that the source has codes at prediction time"
        )
    return Vocabulary(
        tuple(counted["code"]), tuple(counted["kind"]), tuple(counted["name"].fill_null("unknown"))
    )


def at_category_level(codes: pl.Expr) -> pl.Expr:
    """Cuts an ICD diagnosis to its category; codes of other systems stay as they are.

    A category has three characters, four for the E codes of ICD-9-CM.
    """
    length = (
        pl.when(codes.str.starts_with("ICD9CM:E"))
        .then(len("ICD9CM:E000"))
        .when(codes.str.starts_with("ICD9CM:"))
        .then(len("ICD9CM:000"))
        .when(codes.str.starts_with("ICD10CM:"))
        .then(len("ICD10CM:A00"))
    )
    return pl.when(length.is_null()).then(codes).otherwise(codes.str.slice(0, length))


def category_names(code_names: pl.DataFrame) -> pl.DataFrame:
    """Returns (code, kind, name) with a row for every category of `at_category_level`.

    A category without a name of its own takes that of its first code, the most general one.
    """
    cut = code_names.sort("code").with_columns(code=at_category_level(pl.col("code")))
    return cut.unique("code", keep="first", maintain_order=True)


def main_diagnosis_nodes(
    coded: pl.DataFrame, names: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns (sample_id, code, position) and (code, kind, name) of first-listed diagnoses.

    They are nodes beside the plain ones: why a patient came says more than what else they have.
    """
    is_main = pl.col("code").str.contains("^ICD(9|10)CM:") & (pl.col("position") == 1)
    own_code = pl.format("MAIN:{}", "code").alias("code")
    first = coded.filter(is_main).with_columns(own_code)
    first_names = names.filter(pl.col("kind") == "diagnosis").with_columns(
        own_code, kind=pl.lit("main diagnosis"), name=pl.format("main diagnosis: {}", "name")
    )
    return first, first_names


def earlier_nodes(coded: pl.DataFrame, names: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns (sample_id, code, position) and (code, kind, name) of codes of earlier visits.

    They are nodes of their own: what a patient had before is another fact than what they have now.
    """
    own_code = pl.format("EARLIER:{}", "code").alias("code")
    nodes = coded.select("sample_id", own_code, position=pl.lit(None, pl.Int32)).unique()
    earlier_names = names.with_columns(
        own_code, kind=pl.format("earlier {}", "kind"), name=pl.format("earlier: {}", "name")
    )
    return nodes, earlier_names


def fit_bins(attributes: pl.DataFrame, training: pl.Series, bins: int) -> tuple[Bins, ...]:
    """Returns at most `bins` quantile bins a numeric attribute, from training samples alone.

    Args:
      attributes: (sample_id, name, text, number).
    """
    numbers = attributes.filter(
        pl.col("sample_id").is_in(training.implode()), pl.col("number").is_finite()
    )
    fitted = []
    for (name,), group in sorted(numbers.group_by("name"), key=lambda item: item[0]):
        values = group["number"].to_numpy()
        distinct = np.unique(values)
        if distinct.size <= bins:
            edges = distinct[1:]
        else:
            edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
            edges = edges[edges > distinct[0]]
        fitted.append(Bins(name, tuple(float(edge) for edge in edges)))
    return tuple(fitted)


def attribute_nodes(
    attributes: pl.DataFrame, bins: tuple[Bins, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns (sample_id, code) and (code, kind, name); nodes of kind "attribute"."""
    texts = attributes.filter(pl.col("text").is_not_null()).select(
        "sample_id", pl.format("{}: {}", "name", "text").alias("name")
    )
    parts = [texts]
    for fitted in bins:
        group = attributes.filter(pl.col("name") == fitted.name, pl.col("number").is_finite())
        index = np.searchsorted(np.array(fitted.edges), group["number"].to_numpy(), side="right")
        labels = _bin_labels(fitted)
        parts.append(
            group.select("sample_id").with_columns(
                name=pl.Series([labels[k] for k in index], dtype=pl.String)
            )
        )
    nodes = pl.concat(parts).with_columns(code=pl.format("ATTRIBUTE:{}", "name"))
    names = nodes.select("code", pl.lit("attribute").alias("kind"), "name").unique("code")
    return nodes.select("sample_id", "code").unique(), names


def all_names(records: tables.Records, categories: bool) -> pl.DataFrame:
    """Returns (code, kind, name) of the codes of `records`, at category level when asked."""
    return category_names(records.code_names) if categories else records.code_names


def _bin_labels(fitted: Bins) -> list[str]:
    edges = [f"{edge:g}" for edge in fitted.edges]
    if not edges:
        return [f"{fitted.name}: any value"]
    middle = [f"{low} to under {high}" for low, high in zip(edges, edges[1:], strict=False)]
    ranges = [f"under {edges[0]}", *middle, f"{edges[-1]} or more"]
    return [f"{fitted.name}: {words}" for words in ranges]
