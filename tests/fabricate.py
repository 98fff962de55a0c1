"""A made-up run folder, in the layout that a real run leaves."""

import json

import numpy as np
import polars as pl

from ehr_jax.evaluation import evaluate

SUBJECT_BASE = 770_000_000  # patient numbers no other figure of a report can equal


def write(folder, labels=("heart failure", "sepsis", "rare"), seeds=(0, 1), samples=400, rare=0.01):
    """Fabricates every file of a run folder; returns its results."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    prevalence = np.array([0.35, 0.2, rare, *[0.15] * 50])[: len(labels)]
    positive = rng.random((samples, len(labels))) < prevalence
    logits = 1.4 * positive + rng.normal(size=(len(seeds), samples, len(labels))) - 1.5
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    subjects = SUBJECT_BASE + rng.integers(samples, size=samples)
    frames = [
        pl.DataFrame(
            {
                "sample_id": np.arange(samples),
                "subject_id": subjects,
                "prediction_time": [None] * samples,
                "split": "test",
                "seed": seed,
            }
            | {f"label.{name}": positive[:, k] for k, name in enumerate(labels)}
            | {f"probability.{name}": probabilities[s, :, k] for k, name in enumerate(labels)}
        )
        for s, seed in enumerate(seeds)
    ]
    pl.concat(frames).sample(fraction=1, shuffle=True, seed=1).write_parquet(
        folder / "predictions.parquet"
    )
    test = evaluate.evaluate(probabilities, positive, subjects, labels, 0.4, resamples=200)
    results = {
        "task": "phenotype_next",
        "model": "mingle",
        "label": "MINGLE",
        "protocol": "strict",
        "source": "synthetic",
        "notes": "record",
        "seeds": list(seeds),
        "seconds": 241.5,
        "fits": [{"seed": s, "best_step": 60, "steps": 90, "parameters": 48211} for s in seeds],
        "test": test,
    }
    split = {
        "patients": 320,
        "samples": samples,
        "labelled": samples,
        "positives": {name: int(positive[:, k].sum()) for k, name in enumerate(labels)},
        **{
            f"{kind}_patients": {
                name: int(np.unique(subjects[positive[:, k] == value]).size)
                for k, name in enumerate(labels)
            }
            for kind, value in (("positive", True), ("negative", False))
        },
        "prevalence": {name: float(positive[:, k].mean()) for k, name in enumerate(labels)},
    }
    data = {
        "source": "synthetic",
        "fingerprint": "9f2c1e",
        "records": {"patients": 4321, "visits": 9876, "distinct_codes": {"drug": 145}},
        "oddities": {"discharge before admission": 4, "age above 110": 27},
        "cohort": {
            "task": "phenotype_next",
            "protocol": "strict",
            "description": "The phenotypes of a patient's next visit.",
            "faults": [],
            "labels": list(labels),
            "excluded": {"died in the visit": 7, "last visit of the patient": 1234},
            "splits": {"train": split, "validation": split, "test": split},
        },
        "features": {"nodes": 530, "kinds": {"diagnosis": 300, "drug": 230}},
        "notes": {"source": "record", "samples_with_text": 399},
        "terms": "generated data, no terms",
    }
    config = {"model": {"name": "mingle", "width": 48}, "train": {"seeds": list(seeds)}}
    environment = {"python": "3.11.9", "packages": {"jax": "0.10.1"}}
    for name, value in (
        ("results", results),
        ("data", data),
        ("config", config),
        ("environment", environment),
    ):
        (folder / f"{name}.json").write_text(json.dumps(value, allow_nan=False))
    with open(folder / "metrics.jsonl", "w") as file:
        for seed in seeds:
            for step in range(0, 91, 10):
                fit = 1 - np.exp(-step / 30) + rng.normal(0, 0.01)
                row = {"seed": seed, "step": step, "loss": 0.7 - 0.35 * fit, "seconds": step / 10}
                row["validation"] = {
                    "auroc": 0.5 + 0.3 * fit,
                    "auprc": 0.2 + 0.2 * fit,
                    "loss": 0.7 - 0.3 * fit,
                }
                file.write(json.dumps(row) + "\n")
    return results


def rewrite(folder, name, change):
    """Writes what `change` makes of a JSON file of the run folder."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
