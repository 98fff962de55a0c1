"""What the package declares is what it is, and rooms import only what stands below them."""

import ast
import configparser
import pathlib
import re
import sys
from collections.abc import Iterator

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")
# Where the import's name is not that of the distribution.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "aces": "es-aces",
    "ahocorasick": "pyahocorasick",
    "orbax": "orbax-checkpoint",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
}

# Room (folder or file of ehr_jax) to the rooms it may import, beside those of EVERYWHERE, and
# to the packages. config, main and modes put the rooms together, so they may import all.
ROOMS = {
    "earlier": ((), ()),
    "errors": ((), ()),
    "progress": ((), ("rich",)),
    "stopping": ((), ()),
    "storage": ((), ()),
    "stored": ((), ()),
    "data_use": ((), ()),
    "terminal": ((), ()),
    "disclosure": ((), ("numpy",)),
    "packaged": ((), ()),
    "plugins": ((), ()),
    "notebook": ((), ()),
    "config_files": ((), ("ml_collections",)),
    "settings": ((), ("ml_collections",)),
    "jax_check": ((), ("jax", "numpy")),
    "nn": ((), ("flax", "jax", "jraph", "numpy")),
    "text": (
        ("nn",),
        (
            "flax",
            "huggingface_hub",
            "jax",
            "ml_dtypes",
            "numpy",
            "safetensors",
            "tokenizers",
            "torch",
            "transformers",
        ),
    ),
    "knowledge": (
        ("nn", "records", "text"),
        ("ahocorasick", "jax", "numpy", "polars", "safetensors"),
    ),
    "records": ((), ("numpy", "polars")),
    "synthetic": (("records",), ("numpy", "polars")),
    "cohorts": (("records",), ("aces", "numpy", "polars")),
    "features": (
        ("cohorts", "knowledge", "nn", "records", "text"),
        (
            "grain",
            "jraph",
            "ml_collections",
            "numpy",
            "polars",
            "scipy",
            "sklearn",
            "tensorflow_datasets",
        ),
    ),
    "audit": (
        ("cohorts", "evaluation", "features", "models", "nn", "records", "training"),
        ("jraph", "ml_collections", "numpy", "polars", "scipy", "sklearn"),
    ),
    "download": ((), ()),
    "embedding": (("records", "training"), ("numpy", "polars", "safetensors")),
    "models": (
        ("nn",),
        ("flax", "jax", "jraph", "lightgbm", "ml_collections", "numpy", "scipy", "sklearn"),
    ),
    "training": (
        ("cohorts", "features", "models", "nn"),
        (
            "flax",
            "grain",
            "jax",
            "ml_collections",
            "numpy",
            "optax",
            "orbax",
            "tensorboardX",
        ),
    ),
    "evaluation": ((), ("jax", "numpy")),
    "reporting": (("evaluation",), ("matplotlib", "numpy", "polars")),
}
EVERYWHERE = (
    "data_use", "disclosure", "earlier", "errors", "notebook", "packaged", "plugins", "progress",
    "settings", "stopping", "storage", "stored", "terminal",
)  # fmt: skip
ASSEMBLING = ("api", "config", "doctor", "experiment", "listing", "main", "modes", "sweeps")


def imports() -> Iterator[tuple[str, str, str]]:
    """Yields (file, its room, dotted name) for every import in the package, wherever it stands."""
    for path in sorted((REPOSITORY / "ehr_jax").rglob("*.py")):
        file = path.relative_to(REPOSITORY / "ehr_jax")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                if name.split(".")[0] not in sys.stdlib_module_names:
                    yield str(file), file.parts[0].removesuffix(".py"), name


def declared(option: str) -> set[str]:
    section, key = option.split(":")
    return set(re.findall(r"^[\w-]+", SETUP[section][key], re.MULTILINE))


def test_every_room_has_its_rule():
    here = {
        path.name.removesuffix(".py")
        for path in (REPOSITORY / "ehr_jax").iterdir()
        if path.name not in ("__init__.py", "__pycache__")
    }
    assert here == set(ROOMS) | set(ASSEMBLING)


def test_rooms_import_only_what_stands_below_them():
    wrong = []
    for file, room, name in imports():
        if room in ASSEMBLING or room == "__init__":
            continue
        rooms, packages = ROOMS[room]
        top, inner = (name.split(".") + [""])[:2]
        if top == "ehr_jax":
            allowed = inner in (room, *EVERYWHERE, *rooms)
        else:
            allowed = top in packages
        if not allowed:
            wrong.append(f"{file} imports {name}")
    assert not wrong


def test_the_engine_and_sweeps_know_no_door():
    above = {"experiment": ("sweeps", "modes", "main"), "sweeps": ("modes", "main")}
    wrong = [
        f"{file} imports {name}"
        for file, room, name in imports()
        if name.split(".")[0] == "ehr_jax" and name.split(".")[1] in above.get(room, ())
    ]
    assert not wrong


def test_every_imported_package_is_declared_and_no_other():
    used = {name.split(".")[0] for _, _, name in imports()} - {"ehr_jax"}
    used = {DISTRIBUTIONS.get(name, name) for name in used}
    needed = declared("options:install_requires")
    # No extra can declare es-aces, whose bound on polars contradicts ours; its own needs are one.
    # The user of the converter brings torch.
    optional = declared("options.extras_require:baselines") | {"es-aces", "torch"}
    optional |= declared("options.extras_require:knowledge")
    optional |= declared("options.extras_require:optuna")
    assert used == needed | optional


def test_torch_is_wanted_by_the_converter_alone_and_that_by_nothing():
    using = {file for file, _, name in imports() if name.split(".")[0] == "torch"}
    using |= {file for file, _, name in imports() if name.startswith("safetensors.torch")}
    assert using == {"text/convert_bin.py"}
    assert not [file for file, _, name in imports() if name.endswith("convert_bin")]


def test_an_optional_package_is_not_needed_to_import_the_others():
    optional = declared("options.extras_require:baselines")
    files = {file for file, _, name in imports() if name.split(".")[0] in optional}
    assert files == {"models/baselines/lightgbm_trees.py"}
    files.add("models/baselines/lightgbm_windows.py")  # made of the other
    for file, _, name in imports():
        if file in files:
            continue
        for optional_file in files:
            module = "ehr_jax." + optional_file.removesuffix(".py").replace("/", ".")
            assert name != module, f"{file} imports {module} by name, so it needs an extra"


def test_no_dependency_brings_tensorflow_or_torch():
    everything = declared("options:install_requires") | declared("options.extras_require:baselines")
    assert not everything & {"tensorflow", "tensorflow-cpu", "torch", "clu"}


def test_accelerator_extras_are_jax_and_its_plugin():
    for extra in ("cuda12", "cuda13", "tpu"):
        assert SETUP["options.extras_require"][extra] == f"jax[{extra}]"


@pytest.mark.parametrize(
    "found",
    [
        "/" + "work/",
        "/" + "root/",
        "/" + "home/",
        "pypi" + ".org",
        "python" + "hosted",
        "npm" + "js",
    ],
)
def test_no_file_names_a_machine_path_or_a_package_registry(found):
    holding = [str(path) for path in project_files() if found in path.read_text(encoding="utf-8")]
    assert not holding


def project_files() -> Iterator[pathlib.Path]:
    """Yields the project's own text files."""
    folders = ("ehr_jax", "configs", "launch", "tests", "docs", "benchmarks", ".ci")
    for path in REPOSITORY.iterdir():
        if path.is_file() and path.suffix in (".md", ".cfg", ".toml"):
            yield path
    for folder in folders:
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and path.suffix in ("", ".md", ".py", ".sh", ".json", ".csv", ".txt"):
                yield path
