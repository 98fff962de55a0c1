"""Codes of several hospitals: the same diagnoses, drugs and procedures under codes of each its own.

What one hospital calls "SITE2:drug 214", another calls "SITE0:drug 214", and nothing but the names,
each in its hospital's way of writing, says that they are the same. A visit's local codes are known
as its codes were; its ICD diagnoses, from which outcomes are made, are billed days after its end.
"""

import datetime

import numpy as np
import polars as pl

from ehr_jax.records.common import tables

BILLED_AFTER = datetime.timedelta(days=3)
_STYLES = ("{}", "{}, local entry", "{} (see chart)", "order set: {}", "list of {}")


def localise(
    codes: pl.DataFrame,
    code_names: pl.DataFrame,
    visits: pl.DataFrame,
    sites: int,
    rng: np.random.Generator,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns (codes, code names) as `sites` hospitals write them; each patient has one hospital.

    codes, code_names, visits: tables.CODES, tables.CODE_NAMES, tables.VISITS.
    """
    subjects = visits["subject_id"].unique(maintain_order=True)
    site = pl.DataFrame({"subject_id": subjects, "site": rng.integers(0, sites, len(subjects))})
    numbered = code_names.with_columns(number=pl.int_range(pl.len()).over("kind"))
    every = numbered.join(pl.DataFrame({"site": np.arange(sites)}), how="cross")
    every = every.with_columns(local=pl.format("SITE{}:{} {}", "site", "kind", "number"))
    style = pl.Series(_STYLES).gather((every["site"] % len(_STYLES)).cast(pl.UInt32))
    names = every.select(
        code="local",
        kind="kind",
        name=pl.Series(
            [form.format(name) for form, name in zip(style, every["name"], strict=True)]
        ),
    )
    coded = codes.join(visits.select("visit_id", "subject_id", "end"), on="visit_id").join(
        site, on="subject_id"
    )
    local = coded.join(every.select("code", "site", "local"), on=["code", "site"])
    billed = coded.join(code_names.filter(kind="diagnosis").select("code"), on="code", how="semi")
    merged = pl.concat(
        [
            tables.conform(local.with_columns(code="local"), tables.CODES),
            tables.conform(billed.with_columns(time=pl.col("end") + BILLED_AFTER), tables.CODES),
        ]
    )
    known = tables.conform(code_names.filter(kind="diagnosis"), tables.CODE_NAMES)
    return merged.sort("visit_id", "code"), pl.concat(
        [known, tables.conform(names, tables.CODE_NAMES)]
    )
