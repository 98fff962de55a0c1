"""ICD-9-CM: one spelling of a code, its category, and a readable name for either.

Codes are kept undotted with every leading zero ("008", "25083", "V4581", "E8495"). A name comes
from the best of what is there: a title table (MIMIC's D_ICD_DIAGNOSES), the AHRQ multi-level CCS
file, and, always, the names in `data/`: the blocks of the whole classification, and titles of
common categories, shortened where the official wording runs long or says "other", then with the
condition most often meant.
"""

import bisect
import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

import polars as pl

from ehr_jax import errors, packaged
from ehr_jax.records.common import damage, reading

_LONGEST = 6  # characters of a code, an E code's
CCS_FILE = "code_maps/ccs_multi_dx_tool_2015.csv.gz"


def canonical(code: str) -> str:
    """Returns a diagnosis code undotted and with its leading zeros: "8" and "8." give "008".

    A dot tells the category's end, so "8.5" is 008.5. Without a dot only a category that is too
    short is filled ("250" may be nothing else; "8" must be 008; see `with_zeros` for the rest).
    """
    code = code.strip().upper()
    category, _, detail = code.partition(".")
    letter = category[:1] if category[:1] in ("V", "E") else ""
    digits = category[len(letter) :]
    return letter + digits.rjust(2 if letter == "V" else 3, "0") + detail


def category(code: str) -> str:
    """Returns the category of an undotted diagnosis code: 3 characters, of an E code 4."""
    return code[: 4 if code.startswith("E") else 3]


def with_zeros(codes: Iterable[str], titles: Mapping[str, str], longest: int) -> dict[str, str]:
    """Returns undotted spelling to spelling with the zeros a spreadsheet or database took away.

    `codes` is a whole column of the source and `titles` what its dictionary knows. A column in
    which some numeric code still begins with 0 lost nothing and is left alone, as is a code the
    dictionary knows, as long as none is shorter than three digits, which no ICD-9 code is. Else a
    code becomes its longest filled form (up to `longest` characters) that the dictionary knows.
    """
    codes = sorted(set(codes))
    if kept_zeros(codes):
        return {code: code for code in codes}
    spelling = {}
    for code in codes:
        forms = _filled(code, titles, longest)
        stands = code in titles or not forms
        spelling[code] = (code if len(code) > 2 else code.rjust(3, "0")) if stands else forms[0]
    return spelling


def unsure(codes: Iterable[str], titles: Mapping[str, str], longest: int) -> list[str]:
    """Returns the codes that may have lost zeros and are two codes of the dictionary either way.

    "331" may be 331 (an incision of the lung) or 0331 (a spinal tap).
    """
    codes = sorted(set(codes))
    if kept_zeros(codes):
        return []
    return [c for c in codes if len(_filled(c, titles, longest)) + (c in titles) > 1]


def kept_zeros(codes: Iterable[str]) -> bool:
    """Says whether some numeric code of a column begins with 0, so that none was lost."""
    return any(code.isdigit() and code.startswith("0") for code in codes)


def without_point(codes: pl.Series, before: int) -> pl.Series:
    """Returns codes without the ".0" that a writer of floating numbers put behind whole ones.

    A column is such a writer's if no point in it is followed by more than zeros; a dotted column
    has other digits, too. With more than `before` digits before its point a code is no dotted one.
    """
    ends = codes.str.contains(r"^\d+\.0+$")
    written = not (codes.str.contains(".", literal=True) & ~ends).any()
    numbers = ends & (written | (codes.str.len_chars() > before + 2))
    return codes.set(numbers.fill_null(False), None).fill_null(codes.str.replace(r"\.0+$", ""))


def without_shown_point(codes: pl.Series, before: int) -> pl.Series:
    """Returns codes as `without_point` does, where one of more than `before` digits before its
    point shows that the column was written as numbers; others are dotted codes."""
    shown = codes.str.contains(rf"^\d{{{before + 1},}}\.0+$").any()
    return without_point(codes, before) if shown else codes


def _filled(code: str, titles: Mapping[str, str], longest: int) -> list[str]:
    """Returns the spellings of a numeric code with more zeros that the dictionary has."""
    if not code.isdigit():
        return []
    forms = [code.rjust(n, "0") for n in range(longest, max(len(code), 2), -1)]
    return [form for form in forms if form in titles]


@dataclasses.dataclass(frozen=True)
class Titles:
    """`exact`: code to title. `groups`: code to labels of its clinical groups, coarsest first."""

    exact: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]
    by_category: Mapping[str, tuple[str, ...]]  # category to the codes above below it

    @classmethod
    def of(cls, exact: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]) -> "Titles":
        below = collections.defaultdict(list)
        for code in sorted(set(exact) | set(groups)):
            below[category(code)].append(code)
        return cls(exact, groups, {key: tuple(codes) for key, codes in below.items()})


def load(root: str | pathlib.Path | None = None, exact: Mapping[str, str] | None = None) -> Titles:
    """Returns the titles found in `root` (D_ICD_DIAGNOSES; `exact` if given) and in the CCS file.

    The CCS file is looked for as `code_maps/...` in `$EHR_JAX_DATA` and beside `root`; without
    either file the titles are empty and names are those of the blocks.
    """
    if root is not None and exact is None and pathlib.Path(root).is_dir():
        exact = mimic_titles(root, "D_ICD_DIAGNOSES")
    file = _ccs_file(root)
    groups = ccs_groups(file) if file else {}
    return Titles.of(exact or {}, groups)


def state(root: str | pathlib.Path | None) -> list[int]:
    """Returns what changes with the CCS file that `load` reads for `root`: its size and time."""
    file = _ccs_file(root)
    return list(damage.stamp(file) or ()) if file else []


def _ccs_file(root: str | pathlib.Path | None) -> pathlib.Path | None:
    places = [pathlib.Path(os.environ["EHR_JAX_DATA"])] if os.environ.get("EHR_JAX_DATA") else []
    if root is not None:
        places.append(pathlib.Path(root).expanduser().resolve().parent)
    return next((place / CCS_FILE for place in places if (place / CCS_FILE).is_file()), None)


def procedure_name(code: str, titles: Mapping[str, str]) -> str:
    """Returns the title of an undotted ICD-9-CM procedure, or of the first one below it."""
    if code in titles:
        return titles[code]
    below = sorted(other for other in titles if other.startswith(code))
    return titles[below[0]] if below else f"ICD-9-CM procedure {code[:2]}.{code[2:]}"


def code_name(code: str, titles: Titles) -> str:
    """Returns a name for a code ("ICD9CM:4280", "DRUG:heparin") that its source does not name."""
    system, rest = code.split(":", 1)
    if system == "ICD9CM":
        return name_of(rest, titles)
    if system == "ICD9PROC":
        return procedure_name(rest, {})
    return rest if system == "DRUG" else f"{system} {rest}"


def mimic_titles(root: str | pathlib.Path, table: str) -> dict[str, str]:
    """Returns undotted code to long title of a MIMIC dictionary; empty where it is absent."""
    path = reading.find_table(root, table, required=False)
    if path is None:
        return {}
    frame = reading.read(path, {"icd9_code": pl.String, "long_title": pl.String})
    frame = frame.drop_nulls().with_columns(pl.col(pl.String).str.strip_chars())
    codes = without_point(frame["icd9_code"], before=3)
    titles = dict(zip(codes, frame["long_title"], strict=True))
    # A dictionary that lost its own zeros has two titles for one number: neither is believed.
    twice = frame.select(codes, "long_title").unique()["icd9_code"]
    return {code: titles[code] for code in titles.keys() - set(twice.filter(twice.is_duplicated()))}


def ccs_groups(path: str | pathlib.Path) -> dict[str, tuple[str, ...]]:
    """Returns undotted code to its CCS labels, coarsest first, without the groups' numbers."""
    labels = [f"ccs lvl {level} label" for level in (1, 2, 3, 4)]
    frame = reading.read(path, {"icd-9-cm code": pl.String} | dict.fromkeys(labels, pl.String))
    groups = {}
    for code, *found in frame.select("icd-9-cm code", *labels).iter_rows():
        code = (code or "").strip(" '\"")
        tidy = [re.sub(r"\s*\[.*$", "", (label or "").strip(" '\"")) for label in found]
        # The leftover group says nothing ("Residual codes; unclassified; all E codes"): no label.
        tidy = [label for label in tidy if label and not label.startswith("Residual codes")]
        if code and len(tidy) > 1:
            groups[code] = tuple(tidy)
    if not groups:
        raise errors.RecordsError(f"{pathlib.Path(path).name}: no CCS group was found in it")
    return groups


def name_of(code: str, titles: Titles) -> str:
    """Returns a readable name of an undotted code or category; never empty.

    In turn: its own title; for a common category, its title in `data/`; its own
    finest group; the finest group that more than half of the codes below it share; the words with
    which all titles below it begin; the name of the next shorter code; its block.
    """
    if code in titles.exact:
        return titles.exact[code]
    if code in _CATEGORIES:
        return _CATEGORIES[code]
    if code in titles.groups:
        return titles.groups[code][-1]
    below = [
        child for child in titles.by_category.get(category(code), ()) if child.startswith(code)
    ]
    name = _shared_group([titles.groups.get(child, ()) for child in below])
    name = name or _shared_words([titles.exact[child] for child in below if child in titles.exact])
    if name:
        return name
    if len(code) == len(category(code)):
        return block(code)
    return name_of(code[: min(len(code) - 1, _LONGEST)], titles)


def block(code: str) -> str:
    """Returns the name of the block of ICD-9-CM a code lies in, e.g. "Hypertensive disease"."""
    letter = code[:1] if code[:1] in ("V", "E") else ""
    digits = category(code)[len(letter) :]
    if digits.isdigit():
        firsts, rows = _BLOCKS[letter]
        at = bisect.bisect_right(firsts, int(digits)) - 1
        if at >= 0 and int(digits) <= rows[at][1]:
            return rows[at][2]
    return f"ICD-9-CM {code}"


def _shared_group(paths: list[tuple[str, ...]]) -> str:
    # Level 0 is a chapter, and level 1 nearly one where finer levels exist: a block says more.
    finer = any(len(path) > 2 for path in paths)
    for level in (3, 2) if finer else (1,):
        found = collections.Counter(path[level] for path in paths if len(path) > level)
        if found and 2 * found.most_common(1)[0][1] > len(paths):
            return found.most_common(1)[0][0]
    return ""


def _shared_words(titles: list[str]) -> str:
    words = os.path.commonprefix([title.split() for title in titles])
    return " ".join(words).rstrip(" ,;:") if len(words) >= 2 else ""


def _blocks() -> dict[str, tuple[list[int], list[tuple[int, int, str]]]]:
    rows = {"": [], "V": [], "E": []}
    for row in packaged.rows("ehr_jax.records.common", "data/icd9_blocks.csv"):
        letter = row["first"][0] if row["first"][0] in "VE" else ""
        first, last = (int(row[end].lstrip("VE")) for end in ("first", "last"))
        rows[letter].append((first, last, row["name"]))
    return {letter: ([row[0] for row in blocks], blocks) for letter, blocks in rows.items()}


_BLOCKS = _blocks()
_CATEGORIES = {
    row["category"]: row["title"]
    for row in packaged.rows("ehr_jax.records.common", "data/icd9_categories.csv")
}
