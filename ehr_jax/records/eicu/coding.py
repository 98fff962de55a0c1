"""eICU's codes: diagnoses, treatments and drugs, each known from the minute it was entered.

"ICD9CM:4280", "ICD10CM:I509" and "ICD9PROC:311" from the column icd9code, which holds both
versions side by side; "EICUDX:" and "EICUTX:" with the path a diagnosis or treatment was picked by;
"DRUG:" with a name in lower case, of an order or an infusion.
"""

import re
from collections.abc import Container, Iterable

import polars as pl

from ehr_jax.records.common import code_spelling, icd9, reading, tables, tally, when
from ehr_jax.records.eicu import events

# Position of a diagnosis: the rank of its priority. A stay may have several of each.
PRIORITIES = {"primary": 1, "major": 2, "other": 3}

_PROCEDURES = ("31.1",)  # that the release has among its diagnoses
_PROCEDURE = re.compile(r"\d{2}\.\d{1,2}")
# External causes of ICD-9 have three digits after the E; with two it is ICD-10's fourth chapter.
_ICD9 = re.compile(
    r"\d{3}(\.?\d{1,2})?|V([0-8]\d|9[01])(\.?\d{1,2})?|E(0[0-2]\d|030|[89]\d\d)(\.?\d)?"
)
_ICD10 = re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?")
# "Fentanyl (mcg/hr)", "Morphine ()", "Heparin (Unknown)": the unit is no part of the drug.
_UNIT = r"(?i)(\s*\((unknown|[^()]*/[^()]*|)\))+$"


def icd_code(text: str) -> str | None:
    """Returns one entry of the column icd9code as "ICD9CM:…", "ICD10CM:…" or "ICD9PROC:…".

    Told apart by form: digits first is ICD-9 (two before the dot: a procedure), as are V codes to
    V91 and E with three digits; other letters, and E with two digits, are ICD-10-CM. None where it
    is neither. The rule is ours (inferred from the codes of the release, which names no version).
    """
    text = text.strip().upper()
    bare = text.replace(".", "")
    if _PROCEDURE.fullmatch(text):
        return f"ICD9PROC:{bare}"
    if _ICD9.fullmatch(text):
        return f"ICD9CM:{bare}"
    return f"ICD10CM:{bare}" if _ICD10.fullmatch(text) else None


def icd_codes(
    texts: Iterable[str], known: Container[str]
) -> tuple[dict[str, str | None], list[str], list[str]]:
    """Returns the entries of the column icd9code as `icd_code` does, and which of them had lost a
    zero and which may have.

    In a column that somewhere became one of numbers no entry begins with 0: "38.9" is then 038.9,
    and "250.0" may be 250.00. Such an entry becomes the one diagnosis of the dictionary (`known`)
    that it can be, without a dictionary the shortest; what can be several is kept and named.
    """
    texts = sorted({text.strip() for text in texts})
    read = {text: icd_code(text) for text in texts}
    numeric = [text for text in texts if re.fullmatch(r"\d+(\.\d*)?", text)]
    if any(text.startswith("0") for text in numeric):
        return read, [], []
    lost, unsure = [], []
    floats = len(numeric) == len(texts) and all("." in text for text in numeric)
    for text in numeric:
        whole, _, detail = text.partition(".")
        if text in _PROCEDURES or (len(whole) > 2 and not floats):
            continue
        endings = {detail} | ({detail.rstrip("0"), detail + "0"} if floats else set())
        forms = sorted(form for end in endings if (form := whole.rjust(3, "0") + end) in known)
        if not known and len(whole) < 3:
            forms = [whole.rjust(3, "0") + detail]
        if len(forms) == 1 and read[text] != f"ICD9CM:{forms[0]}":
            lost.append(text)
            read[text] = f"ICD9CM:{forms[0]}"
        elif len(forms) > 1:
            unsure.append(text)
    return read, lost, unsure


def codes(
    root, units: pl.DataFrame, visits: pl.DataFrame, oddities: dict[str, int]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the tables of codes and of their names, and counts what was mended or left out.

    Of a code that stands more than once in a visit the earliest row is kept. A row after the
    discharge keeps its time, so that nothing predicted in the visit or at its end sees it.
    """
    found = [
        _diagnosed(root, units, visits, oddities),
        _treated(root, units, visits, oddities),
        _ordered(root, units, visits, oddities),
    ]
    if reading.find_table(root, "infusiondrug", required=False):
        found.append(_infused(root, units, visits, oddities))
    rows = code_spelling.joined(pl.concat(found, how="vertical"), oddities)
    distinct = code_spelling.once(rows, oddities)
    end = distinct.join(visits.select("visit_id", "end"), on="visit_id", how="left")
    oddities["codes entered after the discharge only, known to no prediction in the visit"] = int(
        end.select(pl.col("time") > pl.col("end")).to_series().sum()
    )
    return tables.conform(distinct, tables.CODES), _names(root, rows)


def _diagnosed(root, units, visits, oddities) -> pl.DataFrame:
    columns = ("icd9code", "diagnosisstring", "diagnosispriority")
    raw = _rows(root, "diagnosis", columns, ("diagnosisoffset",), units, visits, oddities)
    cells = raw["icd9code"].drop_nulls().unique().to_list()
    entries = {cell: [text for text in cell.split(",") if text.strip()] for cell in cells}
    titles = icd9.load(root)
    read, lost, unsure = icd_codes(
        (text for texts in entries.values() for text in texts), {*titles.exact, *titles.groups}
    )
    held = {cell: [read[text.strip()] for text in texts] for cell, texts in entries.items()}
    if unsure:
        named = ", ".join(unsure[:5]) + ", ..." * (len(unsure) > 5)
        rule = (
            f"different entries of icd9code that are ambiguous, as a zero is lost ({named}), kept"
        )
        oddities[rule] = len(unsure)
    coded = pl.DataFrame(
        {
            "icd9code": cells,
            "code": [sorted({code for code in held[cell] if code}) or None for cell in cells],
            "unread": [sum(code is None for code in held[cell]) for cell in cells],
            "lost": [sum(text.strip() in lost for text in entries[cell]) for cell in cells],
        },
        schema={
            "icd9code": pl.String,
            "code": pl.List(pl.String),
            "unread": pl.Int64,
            "lost": pl.Int64,
        },
    )
    raw = raw.join(coded, on="icd9code", how="left", maintain_order="left")
    oddities["entries of icd9code that had lost a zero, restored"] = int(raw["lost"].sum())
    oddities["entries of icd9code that are no ICD code, left out"] = int(raw["unread"].sum())
    oddities["diagnosis rows without an ICD code, kept as EICUDX"] = raw["code"].null_count()
    path = pl.col("diagnosisstring").str.strip_chars()
    nameless = pl.col("code").is_null() & path.is_null()
    rule = "diagnosis rows without code and name, left out"
    raw = oddities.sift("diagnosis", raw, ~nameless, rule)
    priority = pl.col("diagnosispriority").str.strip_chars().str.to_lowercase()
    return (
        raw.explode("code")
        .select(
            "visit_id",
            pl.coalesce("code", "EICUDX:" + path).alias("code"),
            "time",
            priority.replace_strict(PRIORITIES, default=None, return_dtype=pl.Int64).alias(
                "position"
            ),
            pl.lit("diagnosis").alias("kind"),
            _readable(path).alias("name"),
        )
        .with_columns(
            kind=pl.when(pl.col("code").str.starts_with("ICD9PROC:"))
            .then(pl.lit("procedure"))
            .otherwise("kind")
        )
    )


def _treated(root, units, visits, oddities) -> pl.DataFrame:
    raw = _rows(
        root, "treatment", ("treatmentstring",), ("treatmentoffset",), units, visits, oddities
    )
    raw = _named(raw, "treatmentstring", "treatment", oddities)
    path = pl.col("treatmentstring").str.strip_chars()
    return _plain(raw, "EICUTX:" + path, "procedure", _readable(path))


def _ordered(root, units, visits, oddities) -> pl.DataFrame:
    """Drugs ordered, cancelled orders too: that an order was cancelled is known only later."""
    offsets = ("drugorderoffset", "drugstartoffset")
    raw = _rows(root, "medication", ("drugname",), offsets, units, visits, oddities)
    raw = _named(raw, "drugname", "medication", oddities)
    name = _drug(pl.col("drugname"))
    return _plain(raw, "DRUG:" + name, "drug", name)


def _infused(root, units, visits, oddities) -> pl.DataFrame:
    raw = _rows(root, "infusiondrug", ("drugname",), ("infusionoffset",), units, visits, oddities)
    raw = _named(raw, "drugname", "infusiondrug", oddities)
    name = _drug(pl.col("drugname").str.strip_chars().str.replace(_UNIT, ""))
    return _plain(raw, "DRUG:" + name, "drug", name)


def _rows(root, stem, columns, offsets, units, visits, oddities) -> pl.DataFrame:
    """Returns a table's rows of known unit stays, with visit_id and `time`.

    `time` is the latest of the offsets (a drug is known neither before its order nor its start),
    null where the row has none.
    """
    path = reading.find_table(root, stem)
    schema = dict.fromkeys(columns, pl.String)
    schema |= dict.fromkeys(("patientunitstayid", *offsets), pl.Int64)
    optional = {"drugorderoffset", "diagnosispriority"}
    raw = reading.read(path, schema, optional).rename({"patientunitstayid": "stay_id"})
    oddities.begin(stem, raw.height)
    named = pl.col("stay_id").is_not_null()
    raw = oddities.sift(stem, raw, named, f"{stem} rows without a unit stay, left out")
    joined = raw.join(
        units.select("stay_id", "visit_id", "start"), on="stay_id", how="left",
        maintain_order="left",
    )  # fmt: skip
    rule = f"{stem} rows of unknown unit stays, left out"
    known = oddities.sift(stem, joined, pl.col("visit_id").is_not_null(), rule)
    tally.require_match(stem, known.height, raw.height - known.height)
    timed = known.with_columns(time=events.after("start", pl.max_horizontal(*offsets)))
    bounds = visits.select("visit_id", "start", "end")
    timed = timed.drop("start").join(bounds, on="visit_id", maintain_order="left")
    near = when.near(timed, f"{stem} rows", oddities, "time")
    oddities[f"{stem} rows without a time, known at discharge"] = near["time"].null_count()
    return near


def _named(raw: pl.DataFrame, column: str, stem: str, oddities: dict) -> pl.DataFrame:
    named = pl.col(column).is_not_null()
    return oddities.sift(stem, raw, named, f"{stem} rows without a name, left out")


def _plain(raw: pl.DataFrame, code: pl.Expr, kind: str, name: pl.Expr) -> pl.DataFrame:
    return raw.select(
        "visit_id",
        code.alias("code"),
        "time",
        pl.lit(None, pl.Int64).alias("position"),
        pl.lit(kind).alias("kind"),
        name.alias("name"),
    )


def _names(root, rows: pl.DataFrame) -> pl.DataFrame:
    """Names codes: ICD-9 diagnoses by their titles, all else by the words they come with most."""
    counted = rows.group_by("code", "kind", "name").len()
    common = counted.sort("code", "len", "name", descending=[False, True, False], nulls_last=True)
    common = common.unique("code", keep="first", maintain_order=True)
    titles = icd9.load(root)
    named = [
        icd9.name_of(code.removeprefix("ICD9CM:"), titles)
        if code.startswith("ICD9CM:")
        else name or code.split(":", 1)[1]
        for code, name in common.select("code", "name").iter_rows()
    ]
    named = common.with_columns(pl.Series("name", named, dtype=pl.String))
    return tables.conform(named, tables.CODE_NAMES)


def _drug(name: pl.Expr) -> pl.Expr:
    return name.str.strip_chars().str.to_lowercase()


def _readable(path: pl.Expr) -> pl.Expr:
    """ "renal|disorder of kidney|acute renal failure" as "renal: disorder of kidney: …"."""
    return path.str.replace_all(r"\s*\|\s*", ": ")
