"""--mode=download: the open data set that config.data.source names, from its publisher."""

import pathlib

import ml_collections

from ehr_jax import data_use
from ehr_jax.download import fetch, publishers, settings
from ehr_jax.records import sources


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Fetches config.download.name into config.data.root, or else the user cache."""
    name = config.download.name
    settings.check_name(name)
    wanted = publishers.DATA_SETS[name]
    root = pathlib.Path(config.data.root).expanduser() if config.data.root else None
    folder = root or sources.cache_folder() / wanted.folder
    fetched = fetch.data_set(wanted, folder)
    data_use.note(folder, data_use.RECORDS.format(terms=wanted.terms))
    print(f"{name}: {fetched} of {len(wanted.files)} file(s) fetched, all there: {folder}")
    print(f"terms: {wanted.terms}")
    return 0
