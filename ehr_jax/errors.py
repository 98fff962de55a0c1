"""The errors a user can cause and mend.

Every room raises a subclass of `UserError` for them; `ehr_jax.main` prints its message without a
traceback and exits with status 2. A message names the file, column, row or config key, what was
found, what was expected and what to do. It never holds note text or a raw patient identifier.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something outside the program is wrong: input, configuration, disk."""


class RecordsError(UserError):
    """A source's files cannot be read as records."""


class CohortError(UserError):
    """A task cannot be built from these records."""


class AuditError(UserError):
    """A cohort or its inputs break what the `strict` protocol promises."""


class ConfigError(UserError):
    """A config key is unknown, of the wrong type, or its value is not possible."""


class DownloadError(UserError):
    """An open data set could not be fetched from its publisher, or is not what was expected."""


class TextError(UserError):
    """A text encoder or its cache cannot be used."""


class KnowledgeError(UserError):
    """A knowledge graph, or an index made of one, cannot be used."""


class RunFolderError(UserError):
    """A run folder belongs to another config, or cannot be written."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the nearest known name, or "" when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
