"""A hospital of a few hand-written visits."""

import datetime

import polars as pl

from ehr_jax.records.common import tables

DAY_ONE = datetime.datetime(2100, 1, 1)


def day(number: float) -> datetime.datetime:
    """The moment `number` days after the first."""
    return DAY_ONE + datetime.timedelta(days=number)


def visit(subject: int, start: float | None, end: float | None, *codes: str, **columns) -> dict:
    """A visit of a patient, from one day to another, with ICD-9-CM codes."""
    return {
        "subject_id": subject,
        "start": None if start is None else day(start),
        "end": None if end is None else day(end),
        "age": 60.0,
        "disposition": "home",
        "planned": False,
        "transferred_in": False,
        "emergency": False,
        "readmitted_30d": None,
        "codes": codes,
        **columns,
    }


def records(
    visits: list[dict], stays: tuple = (), deaths: dict[int, datetime.datetime] | None = None
) -> tables.Records:
    """Records of `visits`, numbered from 0 as listed; a stay is (visit number, start, end day)."""
    deaths = deaths or {}
    seen = {}
    rows, codes = [], []
    for number, columns in enumerate(visits):
        subject = columns["subject_id"]
        seen[subject] = seen.get(subject, -1) + 1
        rows.append({**columns, "visit_id": number, "order": seen[subject]})
        codes += [
            {"visit_id": number, "code": f"ICD9CM:{code}", "time": None, "position": position}
            for position, code in enumerate(columns["codes"], 1)
        ]
    stay_rows = [
        {
            "stay_id": number,
            "visit_id": of,
            "subject_id": visits[of]["subject_id"],
            "start": day(start),
            "end": None if end is None else day(end),
            "unit": "MICU",
        }
        for number, (of, start, end) in enumerate(stays)
    ]
    people = [
        {"subject_id": subject, "sex": "F", "birth_time": None, "death_time": deaths.get(subject)}
        for subject in seen
    ]
    names = sorted({row["code"] for row in codes})
    return tables.check(
        tables.Records(
            source="hospital",
            patients=pl.DataFrame(people, schema=tables.PATIENTS),
            visits=_frame(rows, tables.VISITS).sort("subject_id", "order"),
            stays=pl.DataFrame(stay_rows, schema=tables.STAYS),
            codes=pl.DataFrame(codes, schema=tables.CODES),
            code_names=pl.DataFrame(
                [{"code": code, "kind": "diagnosis", "name": code} for code in names],
                schema=tables.CODE_NAMES,
            ),
            attributes=tables.empty(tables.ATTRIBUTES),
            measurements=tables.empty(tables.MEASUREMENTS).lazy(),
            notes=tables.empty(tables.NOTES).lazy(),
            terms="none",
        )
    )


def _frame(rows: list[dict], schema) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)
