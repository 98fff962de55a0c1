"""Identifiers of patients where others may look: findings of the audit, prepared samples."""

import hashlib

import polars as pl


def hashed(values: pl.Series) -> pl.Series:
    """Returns 12 hex digits for each identifier, the same wherever it is shown.

    An identifier is a small number and could be found by hashing all of them: the hash keeps it
    out of sight, not secret. A sample is found again by `sample_id`, the row of the cohort.
    """
    distinct = values.unique()
    digests = [hashlib.blake2b(f"audit {v}".encode(), digest_size=6).hexdigest() for v in distinct]
    return values.replace_strict(distinct, digests, return_dtype=pl.String)
