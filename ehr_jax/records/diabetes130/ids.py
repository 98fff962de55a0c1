"""What the numbers in the three coded columns of Diabetes 130-US hospitals stand for."""

import csv
import pathlib
import re

from ehr_jax import errors

COLUMNS = ("admission_type_id", "discharge_disposition_id", "admission_source_id")

ELECTIVE, NO_TYPE = 3, (5, 6, 8)
# The sources that are hospitals: "from a hospital" and "from a critical access hospital".
OTHER_HOSPITALS, NO_SOURCE = (4, 10), (9, 15, 17, 20, 21)

TYPES = {
    1: "Emergency",
    2: "Urgent",
    3: "Elective",
    4: "Newborn",
    5: "not available",
    6: "not recorded",
    7: "Trauma Center",
    8: "Not Mapped",
}

# Number to (what it means here, the publisher's words).
DISPOSITIONS = {
    1: ("home", "Discharged to home"),
    2: ("transfer", "Discharged/transferred to another short term hospital"),
    3: ("facility", "Discharged/transferred to SNF"),
    4: ("facility", "Discharged/transferred to ICF"),
    5: ("transfer", "Discharged/transferred to another type of inpatient care institution"),
    6: ("home", "Discharged/transferred to home with home health service"),
    7: ("other", "Left AMA"),
    8: ("home", "Discharged/transferred to home under care of Home IV provider"),
    9: ("other", "Admitted as an inpatient to this hospital"),
    10: ("transfer", "Neonate discharged to another hospital for neonatal aftercare"),
    11: ("died", "Expired"),
    12: ("other", "Still patient or expected to return for outpatient services"),
    13: ("hospice", "Hospice / home"),
    14: ("hospice", "Hospice / medical facility"),
    15: (
        "facility",
        "Discharged/transferred within this institution to Medicare approved swing bed",
    ),
    16: ("other", "Discharged/transferred/referred another institution for outpatient services"),
    17: ("other", "Discharged/transferred/referred to this institution for outpatient services"),
    18: ("unknown", "not recorded"),
    19: ("died", "Expired at home. Medicaid only, hospice"),
    20: ("died", "Expired in a medical facility. Medicaid only, hospice"),
    21: ("died", "Expired, place unknown. Medicaid only, hospice"),
    22: (
        "facility",
        "Discharged/transferred to another rehab fac including rehab units of a hospital",
    ),
    23: ("facility", "Discharged/transferred to a long term care hospital"),
    24: (
        "facility",
        "Discharged/transferred to a nursing facility certified under Medicaid but not "
        "certified under Medicare",
    ),
    25: ("unknown", "Not Mapped"),
    26: ("unknown", "Unknown/Invalid"),
    27: ("transfer", "Discharged/transferred to a federal health care facility"),
    28: (
        "transfer",
        "Discharged/transferred/referred to a psychiatric hospital of psychiatric distinct "
        "part unit of a hospital",
    ),
    29: ("transfer", "Discharged/transferred to a Critical Access Hospital (CAH)"),
    30: (
        "facility",
        "Discharged/transferred to another Type of Health Care Institution not Defined Elsewhere",
    ),
}

SOURCES = {
    1: "Physician Referral",
    2: "Clinic Referral",
    3: "HMO Referral",
    4: "Transfer from a hospital",
    5: "Transfer from a Skilled Nursing Facility (SNF)",
    6: "Transfer from another health care facility",
    7: "Emergency Room",
    8: "Court/Law Enforcement",
    9: "not available",
    10: "Transfer from critial access hospital",
    11: "Normal Delivery",
    12: "Premature Delivery",
    13: "Sick Baby",
    14: "Extramural Birth",
    15: "not available",
    17: "not recorded",
    18: "Transfer From Another Home Health Agency",
    19: "Readmission to Same Home Health Agency",
    20: "Not Mapped",
    21: "Unknown/Invalid",
    22: "Transfer from hospital inpt/same fac reslt in a sep claim",
    23: "Born inside this hospital",
    24: "Born outside this hospital",
    25: "Transfer from Ambulatory Surgery Center",
    26: "Transfer from Hospice",
}


def decoding(folder: str | pathlib.Path) -> dict[str, dict[int, str]]:
    """Returns column to number to text, from IDs_mapping.csv or, without it, from here.

    The file is three tables below one another, each with its header and a row "," between.
    Raises RecordsError for a line or a missing table that does not fit that.
    """
    path = pathlib.Path(folder).expanduser() / "IDs_mapping.csv"
    if not path.is_file():
        return {
            "admission_type_id": TYPES,
            "discharge_disposition_id": {n: text for n, (_, text) in DISPOSITIONS.items()},
            "admission_source_id": SOURCES,
        }
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
