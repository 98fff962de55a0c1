"""What weighed how much in each prediction over stays, for a person to read."""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import polars as pl

from ehr_jax import disclosure
from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import stays
from ehr_jax.models import realm
from ehr_jax.training import run_folder, stay_problem

SHOWN = 5  # steps, pieces of notes and entities of a prediction


def write(
    model: realm.Realm,
    params: Any,
    arrays: stays.StayArrays,
    cohort: cohorts.Cohort,
    seed: int,
    folder: pathlib.Path,
) -> None:
    """Writes evidence.jsonl, a line a test sample, and evidence.json, what they come to.

    A line names the nodes of the graph, never the words of a note: {"sample_id", "seed",
    "modalities": {name: weight}, "steps": [{"hour", "weight"}], "notes": [{"hour", "weight"}],
    "entities": [{"id", "name", "definition", "hour", "named_in", "weight"}]}, each list by weight.
    evidence.json has the mean weight of each modality, and of entities that at
    least `disclosure.SMALLEST` patients have.
    """
    rows = np.flatnonzero(arrays.split == "test")
    lines, weighed, weights = weigh(model, params, arrays, cohort, rows)
    lines = [{"sample_id": line.pop("sample_id"), "seed": seed, **line} for line in lines]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    run_folder.write_whole(folder / "evidence.jsonl", lambda path: _write_private(path, text))
    run_folder.write_json(folder / "evidence.json", _summary(model, weights, weighed))


def weigh(
    model: realm.Realm,
    params: Any,
    arrays: stays.StayArrays,
    cohort: cohorts.Cohort,
    rows: np.ndarray,
) -> tuple[list[dict[str, Any]], list[tuple[str, int, float]], dict[str, np.ndarray | None]]:
    """Returns what weighed in the predictions of the samples `rows` [row].

    That is: a mapping for each as of `write`, without the seed; (entity, patient, weight) of all;
    and the weights as arrays.
    """
    weights = _weights(model, params, arrays, rows)
    entities = _entities(arrays)
    lines, weighed = [], []
    for at, sample in enumerate(rows):
        of_sample = entities.get(int(sample), [])
        weight = weights["entity"][at]
        if weight.size == 1 and len(of_sample) > 1:  # all told in one vector
            weight = np.full(len(of_sample), weight[0] / len(of_sample))
        chosen = [
            {**entity, "weight": float(share)}
            for entity, share in zip(of_sample, weight, strict=False)
        ]
        patient = int(arrays.subjects[sample])
        weighed += [(entity["name"], patient, entity["weight"]) for entity in chosen]
        steps = _largest(weights["step"][at], arrays.stays["hours"][sample])
        notes = _largest(weights["chunk"][at], arrays.stays["note_hours"][sample])
        modality = weights["modality"]
        lines.append(
            {
                "sample_id": int(cohort.samples["sample_id"][int(sample)]),
                "modalities": {}
                if modality is None
                else dict(zip(model.modalities, map(float, modality[at]), strict=True)),
                "steps": steps,
                "notes": notes,
                "entities": sorted(chosen, key=lambda entity: -entity["weight"])[:SHOWN],
            }
        )
    return lines, weighed, weights


def _weights(model, params, arrays, rows: np.ndarray) -> dict[str, np.ndarray | None]:
    run = jax.jit(lambda p, given: model.apply(p, given, with_weights=True)[1])
    parts, size = [], stay_problem.SCORED_AT_ONCE
    for start in range(0, len(rows), size):
        # The last batch is filled up, so that one program serves all.
        chosen = rows[np.minimum(np.arange(start, start + size), len(rows) - 1)]
        found = run(params, stay_problem.rows(arrays, chosen))
        real = slice(len(rows) - start)
        parts.append(jax.tree.map(lambda x, kept=real: np.asarray(x)[kept], found))
    return {
        name: None if getattr(parts[0], name) is None
        else np.concatenate([getattr(part, name) for part in parts])
        for name in realm.Evidence._fields
    }  # fmt: skip


def _entities(arrays: stays.StayArrays) -> dict[int, list[dict]]:
    """The entities of each sample in the order of their slots."""
    if arrays.retrieved is None:
        return {}
    told = arrays.retrieved.entities.join(
        arrays.retrieved.known, on="node", how="left", maintain_order="left"
    )
    found: dict[int, list[dict]] = {}
    for row in told.select("sample_id", "id", "name", "definition", "hour", "named_in").iter_rows(
        named=True
    ):
        found.setdefault(row.pop("sample_id"), []).append(row)
    return found


def _largest(weights: np.ndarray, hours: np.ndarray) -> list[dict]:
    order = np.argsort(-weights, kind="stable")[:SHOWN]
    return [
        {"hour": float(hours[at]), "weight": float(weights[at])} for at in order if weights[at] > 0
    ]


def _summary(model, weights, weighed: list[tuple[str, int, float]]) -> dict:
    modality = weights["modality"]
    schema = {"name": pl.String, "patient": pl.Int64, "weight": pl.Float64}
    rows = pl.DataFrame(weighed, schema=schema, orient="row")
    entities = (
        rows.group_by("name")
        .agg(
            samples=pl.len(), patients=pl.col("patient").n_unique(), weight=pl.col("weight").mean()
        )
        .filter(pl.col("patients") >= disclosure.SMALLEST)
        .sort("weight", "name", descending=[True, False])
    )
    return {
        "modalities": {}
        if modality is None
        else dict(zip(model.modalities, map(float, modality.mean(axis=0)), strict=True)),
        "entities": entities.head(20).to_dicts(),
    }


def _write_private(path: str, text: str) -> None:
    file = pathlib.Path(path)
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
