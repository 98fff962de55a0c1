"""The sections `data` and `synthetic`: which records a run reads."""

import dataclasses

from ehr_jax import plugins
from ehr_jax.settings import setting

# The names of `sources.SOURCES`, here without their readers.
SOURCES = (
    "diabetes130", "eicu", "fhir", "meds", "mimic3", "mimic4", "omop", "physionet2012",
)  # fmt: skip
GROUP = "ehr_jax.sources"  # of entry points of other packages
NAMES = plugins.Names(GROUP, ("synthetic", *SOURCES))


@dataclasses.dataclass(frozen=True)
class Data:
    """The records."""

    source: str = setting(
        "synthetic", "The generated hospital, or a source of files.", choices=NAMES
    )
    root: str = setting(
        "", "The folder of the source; '' looks in $EHR_JAX_DATA and in the user cache."
    )
    series: str = setting(
        "", "Of source eicu: a folder with an hourly series (YAIB dyn.parquet) of its stays."
    )


@dataclasses.dataclass(frozen=True)
class OtherData:
    """The records that --mode=predict scores."""

    source: str | None = setting(
        None, "In place of the source that the run was trained on.", choices=NAMES
    )
    root: str | None = setting(None, "In place of the folder of the run's records.")
    series: str | None = setting(None, "In place of the hourly series of the run's records.")


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """The generated hospital; it is read if data.source is synthetic."""

    patients: int = setting(1500, "How many patients there are.", least=1, most=10_000_000)
    seed: int = setting(0, "The seed of all that is drawn.", least=0, most=2**63 - 1)
    sites: int = setting(
        1, "Hospitals; if there are several, each writes codes of its own.", least=1, most=1000
    )
    note_signal: float = setting(
        1.0, "How far outcomes depend on what only notes tell; at 0 they do not.", least=0
    )
    knowledge_signal: float | None = setting(
        None,
        "How far deaths depend on what is known of a rare disease that the notes name; None names "
        "no disease. With cohort.split='source' the test diseases are not those of training.",
        least=0,
    )
