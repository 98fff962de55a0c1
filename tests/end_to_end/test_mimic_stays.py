"""Both networks over the stays of the open MIMIC demos, through the main command."""

import json
import pathlib

import pytest

from ehr_jax import main

TINY = pathlib.Path(__file__).parent.parent / "text" / "golden" / "tiny_mean"
# The 62 stays of MIMIC-IV with a label have few deaths: with this seed some are validated on.
FEW = ("--config.cohort.split_seed=2",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "more"),
    [
        ("realm.py:mimic3_mortality", ("--config.realm.survival_days=(30, 365)",)),
        ("realm.py:mimic4_mortality", ("--config.cohort.protocol=paper", *FEW)),
        ("unified.py:mimic3_readmission", ("--config.cohort.protocol=paper",)),
        ("unified.py:mimic4_mortality", FEW),
    ],
)
def test_a_demo_is_trained_and_tested_on(data_root, tmp_path, variant, more):
    flags = (
        f"--config.text.encoder={TINY}", f"--config.text.cache={tmp_path / 'cache'}",
        "--config.train.seeds=(0,)", "--config.train.steps=4", "--config.train.eval_every=2",
        "--config.evaluation.resamples=20", "--config.realm.width=8", "--config.realm.heads=2",
        "--config.realm.feed_forward=8", "--config.realm.variant=concat", "--config.model.depth=0",
    )  # fmt: skip
    folder = tmp_path / "run"
    asked = ["ehr_jax.main", f"--config=configs/{variant}", f"--workdir={folder}", *flags, *more]
    assert main.main(asked) == 0
    results, data = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("results", "data")
    )
    assert results["protocol"] == ("paper" if "paper" in str(more) else "strict")
    assert 0 <= results["test"]["auroc"]["value"] <= 1
    assert data["features"]["series"]["variables"] > 17
    assert data["features"]["knowledge"]["entities"] > 0
