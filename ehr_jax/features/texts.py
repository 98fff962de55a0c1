"""The text of each sample: the source's own notes, or its record written out as plain text."""

import numpy as np
import polars as pl

from ehr_jax import errors
from ehr_jax.features import once, settings

HEADINGS = {
    "attribute": "Patient and stay",
    "diagnosis": "Diagnoses",
    "procedure": "Procedures",
    "drug": "Drugs",
}


# What `counts` says of samples without texts.
NONE = {"source": "none", "samples_with_text": 0, "patients_with_text": 0}


def counts(source: str, samples: pl.DataFrame, has_text: np.ndarray) -> dict[str, str | int]:
    """Returns how many samples and patients have a text of `source` ([sample] bool), for
    data.json."""
    subjects = samples["subject_id"].filter(pl.Series(has_text))
    told = {"samples_with_text": subjects.len(), "patients_with_text": subjects.n_unique()}
    return {"source": source, **told}


def texts(
    known: once.Known,
    source: str,
    nodes: pl.DataFrame,
    names: pl.DataFrame,
) -> tuple[pl.DataFrame, str]:
    """Returns (sample_id, text) and the source used: "own", "record" or "none".

    Args:
      source: one of settings.NOTE_SOURCES; "auto" takes the source's own notes where it has any.
      nodes: (sample_id, code, position): what the hypergraph knows of the visit.
      names: (code, kind, name).

    Raises:
      ConfigError: `source` is unknown, or "own" where the source has no notes.
    """
    if source not in settings.NOTE_SOURCES:
        raise errors.ConfigError(
            f"config.notes.source is '{source}'; expected one of {settings.NOTE_SOURCES}."
            + errors.did_you_mean(source, settings.NOTE_SOURCES)
        )
    none = pl.DataFrame(schema={"sample_id": pl.Int64, "text": pl.String})
    if source == "none":
        return none, "none"
    if source in ("auto", "own"):
        own = known.notes
        if own.height:
            return own, "own"
        if source == "own":
            raise errors.ConfigError(
                f"config.notes.source is 'own', but {known.records.source} has no note known at "
                "prediction time; set it to 'record' or 'none'"
            )
    return written(nodes, names), "record"


def written(nodes: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Returns (sample_id, text): each visit's nodes by name, kind by kind, in the source's order.

    Main diagnoses are left out, for the diagnoses begin with them, and so are codes of earlier
    visits: the text is of this one.
    """
    repeated = (pl.col("kind") == "main diagnosis") | pl.col("kind").str.starts_with("earlier ")
    order = {kind: rank for rank, kind in enumerate(HEADINGS)}
    by_kind = (
        nodes.join(names.filter(~repeated), on="code")
        .sort("sample_id", "kind", "position", "name", nulls_last=True)
        .group_by("sample_id", "kind", maintain_order=True)
        .agg(pl.col("name").unique(maintain_order=True).str.join("; "))
        .with_columns(
            rank=pl.col("kind").replace_strict(order, default=len(order), return_dtype=pl.Int32),
            heading=pl.col("kind").replace(HEADINGS),
        )
        .sort("sample_id", "rank")
    )
    return by_kind.group_by("sample_id", maintain_order=True).agg(
        text=pl.format("{}: {}.", "heading", "name").str.join(" ")
    )
