"""The data sets by name: where their publishers keep them, what the files must be, the terms.

Only open data is fetched. For credentialed data the page to apply at is given and nothing is tried.
"""

from typing import NamedTuple

from ehr_jax.download import checksums


class File(NamedTuple):
    """One file of a data set.

    Attributes:
      url: at the publisher.
      path: in the data set's folder.
      sha256: of the file as served; None where it is not known here: then `sums` or `members` or,
        failing these, `size` tells a whole file from a broken one.
      size: bytes, where known.
      sums: address of the publisher's own list of checksums ("<sha256> <name>" a line).
      members: of a zip to unpack: member name to (path, sha256 or None); the zip is not kept.
    """

    url: str
    path: str
    sha256: str | None = None
    size: int | None = None
    sums: str | None = None
    members: dict[str, tuple[str, str | None]] | None = None


class DataSet(NamedTuple):
    """A data set: its folder's name, its files, and the terms to say."""

    folder: str
    files: tuple[File, ...]
    terms: str


def _physionet(project: str, version: str, sums: dict[str, str]) -> tuple[File, ...]:
    base = f"https://physionet.org/files/{project}/{version}"
    return tuple(File(f"{base}/{name}", name, sha256) for name, sha256 in sums.items())


_CHALLENGE = "https://physionet.org/files/challenge-2012/1.0.0"
_DOID = (
    "https://raw.githubusercontent.com/DiseaseOntology/HumanDiseaseOntology/"
    "9fbefd6651b79526165453395d06c8fd4bfe4247/DOreports"
)
_HETIONET = (
    "https://raw.githubusercontent.com/dhimmel/integrate/"
    "93feba1765fbcd76fd79e22f25121f5399629148/data"
)
_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile"
_OPEN_DATABASE = "Open Database License (ODbL) 1.0"

DATA_SETS = {
    "diabetes130": DataSet(
        "diabetes_130",
        (
            File(
                "https://archive.ics.uci.edu/static/public/296/"
                "diabetes+130-us+hospitals+for+years+1999-2008.zip",
                "diabetes.zip",
                members={
                    "diabetic_data.csv": (
                        "diabetic_data.csv",
                        "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97",
                    ),
                    "IDS_mapping.csv": (
                        "IDs_mapping.csv",
                        "f1bb82b471cb34649352597572c9b1fb00bd27f77b9f5a22a03dc3eb1039749e",
                    ),
                },
            ),
        ),
        "CC BY 4.0 (UCI Machine Learning Repository, Strack et al. 2014)",
    ),
    "physionet2012": DataSet(
        "physionet_2012",
        (
            *(
                File(f"{_CHALLENGE}/{name}", name, sums=f"{_CHALLENGE}/SHA256SUMS.txt")
                for name in ("set-a.tar.gz", "set-b.tar.gz", "Outcomes-b.txt")
            ),
            File(
                f"{_CHALLENGE}/Outcomes-a.txt",
                "Outcomes-a.txt",
                "2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2",
            ),
        ),
        "Open Data Commons Attribution License 1.0 (PhysioNet)",
    ),
    "mimic3_demo": DataSet(
        "mimic_iii_demo_1.4",
        _physionet("mimiciii-demo", "1.4", checksums.MIMIC3_DEMO),
        f"{_OPEN_DATABASE} (PhysioNet)",
    ),
    "mimic4_demo": DataSet(
        "mimic_iv_demo_2.2",
        _physionet("mimic-iv-demo", "2.2", checksums.MIMIC4_DEMO),
        f"{_OPEN_DATABASE} (PhysioNet)",
    ),
    "eicu_demo": DataSet(
        "eicu_demo_2.0.1",
        _physionet("eicu-crd-demo", "2.0.1", checksums.EICU_DEMO),
        f"{_OPEN_DATABASE} (PhysioNet)",
    ),
    # Both repositories are named by commit, so what is served cannot change.
    "disease_ontology": DataSet(
        "disease_ontology",
        (
            File(
                f"{_DOID}/HumanDO.tsv",
                "HumanDO.tsv",
                "c862a3523b0308ae82df6ffd5b0781af83cc561a9e9aa2b25a3cee7e2b33452d",
            ),
            File(
                f"{_DOID}/allXREFinDO.tsv",
                "allXREFinDO.tsv",
                "5cc96c482609e61fe89bb929bc11fd9a4006018b44631b0c22766ea4b09c986c",
            ),
        ),
        "CC0 1.0 (Human Disease Ontology)",
    ),
    "hetionet": DataSet(
        "hetionet",
        (
            File(
                f"{_HETIONET}/edges-5k.sif.gz",
                "edges-5k.sif.gz",
                "c6bc934a764fd4c5b6f57cfcdfd4102bf306fbddc7a534fc85de6844ac102fdd",
            ),
        ),
        "CC0 for the original content; its sources have terms of their own (Hetionet 1.0)",
    ),
    "primekg": DataSet(
        "primekg",
        (
            File(f"{_DATAVERSE}/6180620", "kg.csv"),
            File(f"{_DATAVERSE}/6180619", "drug_features.tab"),
            File(f"{_DATAVERSE}/6180618", "disease_features.tab"),
        ),
        "the terms of its sources (PrimeKG, Harvard Dataverse, doi 10.7910/DVN/IXA7BM)",
    ),
}

# Credentialed: where to apply.
CREDENTIALED = {
    "mimic3": "https://physionet.org/content/mimiciii/1.4/",
    "mimic4": "https://physionet.org/content/mimiciv/3.1/",
    "eicu": "https://physionet.org/content/eicu-crd/2.0/",
}
