"""What the numbers in the three coded columns of Diabetes 130-US hospitals stand for."""

import csv
import pathlib
import re

from ehr_jax import errors, packaged

COLUMNS = ("admission_type_id", "discharge_disposition_id", "admission_source_id")

ELECTIVE, NO_TYPE = 3, (5, 6, 8)
# The sources that are hospitals: "from a hospital" and "from a critical access hospital".
OTHER_HOSPITALS, NO_SOURCE = (4, 10), (9, 15, 17, 20, 21)

_ROWS = packaged.rows("ehr_jax.records.diabetes130", "data/ids.csv")  # in the publisher's words
_TEXTS = {
    column: {int(row["number"]): row["text"] for row in _ROWS if row["column"] == column}
    for column in COLUMNS
}
# Number of a discharge to what it means here.
DISPOSITIONS = {int(row["number"]): row["disposition"] for row in _ROWS if row["disposition"]}


def decoding(folder: str | pathlib.Path) -> dict[str, dict[int, str]]:
    """Returns column to number to text, from IDs_mapping.csv or, without it, from here.

    The file is three tables below one another, each with its header and a row "," between.
    Raises RecordsError for a line or a missing table that does not fit that.
    """
    path = pathlib.Path(folder).expanduser() / "IDs_mapping.csv"
    if not path.is_file():
        return _TEXTS
    found, column = {}, None
    for line, fields in enumerate(_lines(path), 1):
        if not any(fields):
            continue
        if len(fields) == 2 and fields[0].strip().lower() in COLUMNS:
            column = fields[0].strip().lower()
            found[column] = {}
        elif len(fields) == 2 and re.fullmatch("[0-9]{1,6}", fields[0].strip()) and column:
            found[column][int(fields[0])] = _tidy(fields[1])
        else:
            raise errors.RecordsError(
                f"{path.name}: line {line} is neither 'number,description' nor a header such "
                "as 'admission_type_id,description'; fetch the file again, or remove it: the "
                "publisher's list is built in"
            )
    missing = set(COLUMNS) - set(found)
    if missing:
        raise errors.RecordsError(
            f"{path.name}: no table for {', '.join(sorted(missing))}; fetch the file again, or "
            "remove it: the publisher's list is built in"
        )
    return found


def _lines(path: pathlib.Path) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            return list(csv.reader(file))
    except (csv.Error, OSError) as error:
        raise errors.RecordsError(
            f"{path.name}: cannot be read as CSV ({type(error).__name__}); fetch the file again, "
            "or remove it: the publisher's list is built in"
        ) from None


def _tidy(text: str) -> str:
    text = text.strip().rstrip(" .")
    return {"NULL": "not recorded", "Not Available": "not available"}.get(text, text)
