"""A sweep of a few small networks over a small generated hospital, as the main command takes it."""

ARGUMENTS = (
    "ehr_jax.main",
    "--config=configs/mingle.py:synthetic_readmission",
    "--mode=sweep",
    "--config.model.name=hypehr",
    "--config.model.depth=0",
    "--config.model.width=8",
    "--config.model.heads=2",
    "--config.synthetic.patients=120",
    "--config.notes.source=none",
    "--config.train.steps=10",
    "--config.train.seeds=(0, 1)",
    "--config.evaluation.resamples=20",
)
