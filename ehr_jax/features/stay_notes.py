"""Notes of a stay: those known at the prediction time, cut into pieces, which become vectors."""

import numpy as np
import polars as pl

from ehr_jax.features import hypergraph, once, prepare, texts, vectors
from ehr_jax.records.common import tables

ROWS = {"sample_id": pl.Int64, "time": tables.TIME, "text": pl.String, "hour": pl.Float32}


def none() -> pl.DataFrame:
    """Returns a table of `ROWS` without a row."""
    return pl.DataFrame(schema=ROWS)


def rows(known: once.Known, config, hours: float) -> tuple[pl.DataFrame, str]:
    """Returns `ROWS`, each note a sample may use, and the source used.

    What is written from the record is known at the prediction time, where the grid ends.
    """
    usable, source = pl.DataFrame(), "own"
    if config.notes.source in ("auto", "own"):
        usable = known.note_rows
    if usable.is_empty():
        usable, source = _written(known, config)
    ends = known.cohort.samples.select("sample_id", "prediction_time")
    before = (pl.col("prediction_time") - pl.col("time")).dt.total_seconds() / 3600
    return usable.join(ends, on="sample_id", maintain_order="left").select(
        "sample_id", "time", "text", hour=(hours - before.fill_null(0.0)).cast(pl.Float32)
    ), source


def _written(known: once.Known, config) -> tuple[pl.DataFrame, str]:
    features = config.features.copy_and_resolve_references()
    features.columns = "full"  # where there are no codes, attributes tell of the stay
    none = pl.DataFrame(schema={"sample_id": pl.Int64, "code": pl.String})
    nodes, names = none, pl.DataFrame(schema=tables.CODE_NAMES)
    if config.notes.source != "none":
        graph = hypergraph.fit_graph(known, features, structured=False)
        nodes, names = graph.nodes, graph.names
    written, source = texts.texts(known, config.notes.source, nodes, names)
    return written.with_columns(time=pl.lit(None, tables.TIME)), source


def pieces(rows: pl.DataFrame, config) -> pl.DataFrame:
    """Returns (sample_id, hour, text): the last `config.pieces` pieces of a sample, in time order.

    A note is cut after every `config.piece_words` words; its pieces all have the hour of the note.

    Args:
      config: config.notes.
    """
    size = config.piece_words
    cut = [
        (sample, hour, " ".join(words[at : at + size]))
        for sample, hour, text in rows.select("sample_id", "hour", "text").iter_rows()
        for words in [text.split()]
        for at in range(0, len(words), size)
    ]
    schema = {"sample_id": pl.Int64, "hour": pl.Float32, "text": pl.String}
    frame = pl.DataFrame(cut, schema=schema, orient="row")
    ordered = frame.sort("sample_id", "hour", maintain_order=True)
    return ordered.group_by("sample_id", maintain_order=True).tail(config.pieces)


def slots(
    rows: pl.DataFrame,
    count: int,
    train: np.ndarray,
    encoding: vectors.Vectors | None,
    size: float | None,
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], float]:
    """Returns the vectors of pieces in slots, and the size by which they were divided.

    Args:
      rows: (sample_id, hour, text), the pieces in the order of their slots.
      count: the number of samples.
      train: [sample] bool, True for training samples.
      encoding: the vectors of texts; may be None if there are no rows.
      size: the divisor; None takes the root mean square of the entries of training samples.

    Returns:
      ((vectors [sample, slot, width], hours [sample, slot], mask [sample, slot]), size), the arrays
      float32, 0 in empty slots.
    """
    width = encoding.width if encoding else 0
    if rows.is_empty():
        empty = np.zeros((count, 0), np.float32)
        return (np.zeros((count, 0, width), np.float32), empty, empty), size or 1.0
    encoded = encoding.of(rows["text"].to_list())
    sample = rows["sample_id"].to_numpy()
    slot = rows.select(pl.int_range(pl.len()).over("sample_id")).to_series().to_numpy()
    filled = np.zeros((count, int(slot.max()) + 1, width), np.float32)
    hours, mask = np.zeros(filled.shape[:2], np.float32), np.zeros(filled.shape[:2], np.float32)
    if size is None:
        size = prepare.root_mean_square(encoded[train[sample]])
    filled[sample, slot] = encoded / size
    hours[sample, slot], mask[sample, slot] = rows["hour"].to_numpy(), 1
    return (filled, hours, mask), size
