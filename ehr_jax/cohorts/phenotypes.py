"""The 25 phenotypes of the MIMIC-III benchmark, as sets of ICD-9-CM codes.

They are the groups of the Clinical Classifications Software (AHRQ HCUP, 2015) that the benchmark
of Harutyunyan et al. (2019) predicts. Each is held as the shortest code prefixes that single it
out: "584" takes every code below 584, "2766$" the code 2766 alone. No code has two phenotypes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from ehr_jax import packaged

SYSTEM = "ICD9CM:"


class Phenotype(NamedTuple):
    """A phenotype; `kind` is "acute" or "chronic" as the benchmark's definitions type it."""

    label: str
    name: str
    kind: str
    codes: str


PHENOTYPES = tuple(
    Phenotype(**row) for row in packaged.rows("ehr_jax.cohorts", "data/phenotypes.csv")
)
LABELS = tuple(phenotype.label for phenotype in PHENOTYPES)


def phenotypes_of(code: str) -> tuple[str, ...]:
    """Returns the labels of an ICD-9-CM diagnosis ("ICD9CM:5849", "5849" or "584.9").

    A category whose codes belong to different phenotypes ("276") has none: what cannot be told
    is not guessed. A code of another system has none.
    """
    digits = code.removeprefix(SYSTEM).replace(".", "")
    label = _EXACT.get(digits)
    for length in range(3, len(digits) + 1):
        label = label or _PREFIX.get(digits[:length])
    return (label,) if label else ()


def table(codes: Iterable[str]) -> pl.DataFrame:
    """Returns one row (code, phenotype) for each distinct ICD-9-CM code of `codes` that has one."""
    rows = [
        (code, label)
        for code in sorted(set(codes))
        if code.startswith(SYSTEM)
        for label in phenotypes_of(code)
    ]
    return pl.DataFrame(rows, schema={"code": pl.String, "phenotype": pl.String}, orient="row")


_PREFIX = {p: row.label for row in PHENOTYPES for p in row.codes.split() if p[-1] != "$"}
_EXACT = {p[:-1]: row.label for row in PHENOTYPES for p in row.codes.split() if p[-1] == "$"}
