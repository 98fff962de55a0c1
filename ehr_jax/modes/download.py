"""--mode=download: the open data set that config.data.source names, from its publisher."""

import pathlib

import ml_collections

from ehr_jax import data_use, errors
from ehr_jax.download import fetch, publishers
from ehr_jax.records import sources


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Fetches config.download.name into config.data.root, or else the user cache."""
    name = config.download.name
    if name in publishers.CREDENTIALED:
        demo = f" The open demo: --config.download.name={name}_demo."
        raise errors.DownloadError(
            f"'{name}' is credentialed data: apply at {publishers.CREDENTIALED[name]}, fetch it "
            f"there, and give its folder as --config.data.root.{demo}"
        )
    if name not in publishers.DATA_SETS:
        known = ", ".join(publishers.DATA_SETS)
        near = errors.did_you_mean(name, publishers.DATA_SETS)
        raise errors.ConfigError(
            f"config.download.name is '{name}'; expected one of {known}.{near}"
        )
    wanted = publishers.DATA_SETS[name]
    root = pathlib.Path(config.data.root).expanduser() if config.data.root else None
    folder = root or sources.cache_folder() / wanted.folder
    fetched = fetch.data_set(wanted, folder)
    data_use.note(folder, data_use.RECORDS.format(terms=wanted.terms))
    print(f"{name}: {fetched} of {len(wanted.files)} file(s) fetched, all there: {folder}")
    print(f"terms: {wanted.terms}")
    return 0
