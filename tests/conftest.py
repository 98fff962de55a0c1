"""What every room's tests share."""

import atexit
import os
import pathlib
import shutil
import tempfile

import hypothesis
import pytest

from ehr_jax import storage

# Many tests, and the runs they start, compile the same programs: once is enough. Set before jax.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.mkdtemp(prefix="ehr_jax_compiled_")
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

# Samples that one test prepared are none of another's, and nothing is kept in the user's own cache.
# What costs time and holds nothing of a test is shared: compiled kernels, graphs, vectors.
SHARED_CACHES = ("native", "graphs", "vectors")
USERS_CACHE = storage.cache_folder("native").parent


def _new_cache() -> str:
    root = pathlib.Path(tempfile.mkdtemp(prefix="ehr_jax_cache_"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name in SHARED_CACHES:
        (USERS_CACHE / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(USERS_CACHE / name)
    return str(root)


OF_SESSION = os.environ["EHR_JAX_CACHE"] = _new_cache()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch):
    """Gives every test a cache of prepared samples of its own, if its module has chosen none."""
    if os.environ["EHR_JAX_CACHE"] == OF_SESSION:
        monkeypatch.setenv("EHR_JAX_CACHE", _new_cache())


# A slow machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=int,
        default=0,
        metavar="N",
        help="give every reader N new damaged inputs of each of its containers (records/test_fuzz)",
    )


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    """The folder of open data sets; tests that need real records skip without it."""
    root = os.environ.get("EHR_JAX_DATA")
    if not root:
        pytest.skip("EHR_JAX_DATA is not set: this test reads real records")
    return pathlib.Path(root)
