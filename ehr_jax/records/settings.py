"""The sections `data` and `synthetic`: which records a run reads."""

import dataclasses

from ehr_jax import plugins
from ehr_jax.settings import Settings, setting

# The names of `sources.SOURCES`, without importing their readers.
SOURCES = (
    "diabetes130", "eicu", "fhir", "meds", "mimic3", "mimic4", "omop", "physionet2012",
)  # fmt: skip
GROUP = "ehr_jax.sources"  # of entry points of other packages
NAMES = plugins.Names(GROUP, ("synthetic", *SOURCES))


@dataclasses.dataclass(frozen=True)
class Data(Settings):
    """The records."""

    source: str = setting(
        "synthetic", "The generated hospital, or a source of files.", choices=NAMES
    )
    root: str = setting(
        "", "The folder of the source; '' looks in $EHR_JAX_DATA and in the user cache."
    )
    series: str = setting(
        "", "For source eicu: a folder with an hourly series (YAIB dyn.parquet) of its stays."
    )
    keep: bool = setting(
        True,
        "Keep prepared samples in the user's cache (prepared/ in $EHR_JAX_CACHE or "
        "~/.cache/ehr_jax), for later starts with the same records and settings.",
    )
    prepared: str = setting(
        "",
        "The run folder of --mode=prepare, whose samples are taken in place of raw files; '' reads "
        "the source.",
    )


@dataclasses.dataclass(frozen=True)
class OtherData(Settings):
    """The records that --mode=predict scores."""

    source: str | None = setting(
        None, "Replaces the source that the run was trained on.", choices=NAMES
    )
    root: str | None = setting(None, "Replaces the folder of the run's records.")
    series: str | None = setting(None, "Replaces the hourly series of the run's records.")
    keep: bool | None = setting(None, "Replaces the run's choice to keep prepared samples.")
    prepared: str | None = setting(
        None, "The run folder of --mode=prepare with --config.run, whose samples are scored."
    )


@dataclasses.dataclass(frozen=True)
class Synthetic(Settings):
    """The generated hospital; only with data.source synthetic."""

    patients: int = setting(1500, "The number of patients.", least=1, most=10_000_000)
    seed: int = setting(0, "The seed of the whole hospital.", least=0, most=2**63 - 1)
    sites: int = setting(
        1, "The number of hospitals; with several, each has codes of its own.", least=1, most=1000
    )
    note_signal: float = setting(
        1.0,
        "How strongly outcomes depend on facts that only notes state; 0 is not at all.",
        least=0,
    )
    knowledge_signal: float | None = setting(
        None,
        "How strongly deaths depend on the severity of a rare disease, which notes name and the "
        "knowledge graph describes; with None notes name no disease. With cohort.split='source' "
        "the diseases of test patients are not those of training patients.",
        least=0,
    )
