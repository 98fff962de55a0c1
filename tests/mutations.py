"""Damages files as copies, exports and editors do: byte by byte, and table by table.

`of(files)` draws a damaged copy of a folder (name to content); a file whose form is known by its
name (CSV, parquet, NDJSON, an archive, npz) is also damaged from within, so that it still opens.
"""

import copy
import csv
import datetime
import gzip
import io
import json
import pathlib
import re
import tarfile
import zipfile
import zlib
from typing import NamedTuple

import numpy as np
import polars as pl
from hypothesis import strategies as st

Files = dict[str, bytes | None]  # None: a folder stands where the file should

HOSTILE = (
    "", " ", "NaN", "inf", "-inf", "1e400", "-1", "0", "1.5", "1,5", "1e3", "true", "NULL", "0x1F",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1" * 400, "2147483648",
    "0000-00-00", "0001-01-01", "0001-01-01 00:00:00", "9999-12-31", "9999-12-31 23:59:59",
    "2150-02-30", "99999-01-01", "-0001-01-01 00:00:00", "2150-01-01T00:00:00+99:99", "25:61:61",
    "1677-01-01 00:00:00", "2150-01-03 00:00:00.123456789", "2150", "2150-13", "é漢🏥", "\u202e",
    "²", "١٢٣", "\ufeff", "a\x00b", "\x00", '"', 'a"b', "line\nbreak", "a\r\nb", "\r", ",", "a,b",
    "\t", "x" * 200_000, "{0}", "%s", "$1", "//", ":", "[70-80", "[9999999999-99999999999)", "><",
    "V", "E", ".", "0.", "(?i", "\\", "..", "../x", "died", "Encounter/", "LAB//", "> 89",
)  # fmt: skip

MARKS = ("?", "NA", "N/A", "-1", "<5", "NULL", "none", ".", "")
YEARS = ("0001", "0050", "1677", "1899", "2262", "2263", "9999", "0000")

_TYPES = (
    pl.String, pl.Int8, pl.Int64, pl.UInt64, pl.Int128, pl.Float32, pl.Float64, pl.Boolean,
    pl.Binary, pl.Date, pl.Time, pl.Null, pl.Categorical, pl.Decimal(38, 2), pl.Datetime("ms"),
    pl.Datetime("ns"), pl.Datetime("us", "Europe/Berlin"), pl.Duration("us"), pl.List(pl.String),
    pl.Struct({"x": pl.String}),
)  # fmt: skip
_NUMBERS = (-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 10**7)
_REALS = (float("nan"), float("inf"), float("-inf"), -1.0, 1e300, 1.5, -0.0)
_JUNK = (
    None, True, 0, -1, 1.5, 2**70, 1e300, "", "x", [], {}, [[]], [None], [{}], {"x": {"y": [1]}},
    ["a", 1, None],
)  # fmt: skip
_DEPTH = 5_000
_UNEDITABLE = (
    ValueError, TypeError, IndexError, KeyError, OSError, EOFError, MemoryError, SyntaxError,
    NotImplementedError, zlib.error, csv.Error, tarfile.TarError, zipfile.BadZipFile,
    pl.exceptions.PolarsError, pl.exceptions.PanicException,
)  # fmt: skip


class Damaged(NamedTuple):
    files: Files
    said: tuple[str, ...]  # what was done

    def __repr__(self) -> str:
        return f"Damaged({', '.join(self.said)})"


def of(files: Files) -> st.SearchStrategy[Damaged]:
    """Draws copies of `files` that were damaged once, twice or three times."""

    @st.composite
    def damaged(draw) -> Damaged:
        changed, said = dict(files), []
        for _ in range(_pick(draw, (1, 1, 1, 2, 3))):
            held = sorted(name for name, content in changed.items() if content is not None)
            if held:
                name = _pick(draw, held)
                said.append(f"{name}: {_one(draw, changed, name)}")
        return Damaged(changed, tuple(said))

    return damaged()


def write(files: Files, folder: pathlib.Path) -> pathlib.Path:
    """Writes the files to the new folder `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if content is None else path.write_bytes(content)
    folder.mkdir(exist_ok=True)
    return folder


def load(folder: pathlib.Path) -> Files:
    """Returns the files below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def packed(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def _pick(draw, choices):
    if not choices:
        raise IndexError("nothing to choose from")
    return draw(st.sampled_from(choices))


def _upto(draw, largest: int) -> int:
    return _between(draw, 0, largest)


def _between(draw, low: int, high: int) -> int:
    if low > high:
        raise IndexError("nothing to choose from")
    return draw(st.integers(low, high))


def _one(draw, files: Files, name: str) -> str:
    level = _pick(draw, ("inside", "inside", "inside", "bytes", "bytes", "file"))
    if level == "file":
        return _file(draw, files, name)
    content = files[name]
    if level == "inside" and (edit := _editor(name)):
        try:
            files[name], said = edit(draw, content)
            return said
        except _UNEDITABLE:  # an earlier change left nothing to edit
            pass
    files[name], said = _bytes(draw, content)
    return said


def _editor(name: str):
    name = name.lower()
    if name.endswith(".gz") and not name.endswith(".tar.gz"):
        inner = _editor(name.removesuffix(".gz"))

        def unpacked(draw, content):
            edited, said = inner(draw, gzip.decompress(content))
            return packed(edited), said

        return inner and unpacked
    for suffix, edit in _EDITORS.items():
        if name.endswith(suffix):
            return edit
    return None


def _file(draw, files: Files, name: str) -> str:
    what = _pick(draw, ("removed", "emptied", "a folder", "swapped", "renamed", "twice",
                                 "packed", "unpacked", "wrong suffix"))  # fmt: skip
    content = files[name]
    if what == "removed":
        del files[name]
    elif what == "emptied":
        files[name] = b""
    elif what == "a folder":
        files[name] = None
    elif what == "swapped":
        other = _pick(draw, sorted(files))
        files[name], files[other] = files[other], content
    elif what == "renamed":
        files[name.upper()] = files.pop(name)
    elif what == "twice":
        stem, dot, suffix = name.partition(".")
        files[f"{stem}2{dot}{suffix}"] = content
    elif what == "packed":
        files[name] = packed(content)
    elif what == "unpacked" and content[:2] == b"\x1f\x8b":
        try:
            files[name] = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            pass
    elif what == "wrong suffix":
        suffix = _pick(draw, (".csv", ".csv.gz", ".parquet", ".ndjson", ".zip"))
        files[name.partition(".")[0] + suffix] = files.pop(name)
    return what


def _bytes(draw, content: bytes) -> tuple[bytes, str]:
    what = _pick(draw, ("flip", "overwrite", "delete", "insert", "truncate", "swap",
                                 "repeat", "zeros", "inner", "utf-16", "latin-1", "bom", "crlf",
                                 "cr", "tail"))  # fmt: skip
    if what == "inner" and content[:2] == b"\x1f\x8b":
        try:
            edited, said = _bytes(draw, gzip.decompress(content))
            return packed(edited), f"inner {said}"
        except (OSError, EOFError, zlib.error):
            what = "flip"
    # Headers and footers matter most.
    place = st.integers(0, len(content)) | st.integers(0, min(len(content), 64))
    place |= st.integers(max(0, len(content) - 400), len(content))
    start = draw(place)
    end = min(len(content), start + draw(st.integers(1, 8) | st.integers(1, 400)))
    if what == "overwrite":
        new = draw(st.binary(min_size=end - start, max_size=end - start))
        content = content[:start] + new + content[end:]
    elif what == "delete":
        content = content[:start] + content[end:]
    elif what == "insert":
        content = content[:start] + draw(st.binary(min_size=1, max_size=40)) + content[start:]
    elif what == "truncate":
        content = content[:start]
    elif what == "swap":
        other = draw(place)
        first, second = sorted((start, other))
        size = min(end - start, second - first, len(content) - second)
        blocks = content[first : first + size], content[second : second + size]
        content = (content[:first] + blocks[1] + content[first + size : second] + blocks[0]
                   + content[second + size :])  # fmt: skip
    elif what == "repeat":
        content = content[:end] + content[start:]
    elif what == "zeros":
        content = content[:start] + bytes(end - start) + content[end:]
    elif what == "utf-16":
        content = content.decode("utf-8", "replace").encode("utf-16")
    elif what == "latin-1":
        content = content[:start] + "Müllér".encode("latin-1") + content[start:]
    elif what == "bom":
        content = b"\xef\xbb\xbf" + content
    elif what == "crlf":
        content = content.replace(b"\n", b"\r\n")
    elif what == "cr":
        content = content.replace(b"\n", b"\r")
    elif what == "tail":
        tails = (b"\n\n\n", b"\x00" * 512, b"x", b'"', b",,,,\n", content[:64])
        content = content + _pick(draw, tails)
    elif content and start < len(content):
        flipped = content[start] ^ (1 << _upto(draw, 7))
        content, what = content[:start] + bytes([flipped]) + content[start + 1 :], "flip"
    return content, f"{what} at {start}"


def _table(draw, content: bytes) -> tuple[bytes, str]:
    text = content.decode("utf-8", "surrogateescape")
    tab = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=tab))
    said = _rows(draw, rows)
    out = io.StringIO(newline="")
    ending = _pick(draw, ("\n", "\n", "\n", "\r\n"))
    csv.writer(out, delimiter=tab, lineterminator=ending).writerows(rows)
    return out.getvalue().encode("utf-8", "surrogateescape"), said


def _rows(draw, rows: list[list[str]]) -> str:
    """Changes a table in place: `rows`, the header first."""
    what = _pick(draw, ("cell", "cell", "cell", "cell", "column", "swap", "drop", "rename",
                                 "duplicate", "headers", "repeat", "remove", "shuffle", "wider",
                                 "shorter", "no header", "no rows", "header again", "numeric",
                                 "padded", "identifiers", "years", "all twice"))  # fmt: skip
    row = _between(draw, 1, len(rows) - 1)
    at = _upto(draw, len(rows[row]) - 1)
    if what == "cell":
        rows[row][at] = _pick(draw, HOSTILE)
    elif what == "column":
        value = _pick(draw, HOSTILE)
        for cells in rows[1:]:
            cells[at] = value
    elif what == "swap":
        other = _between(draw, 1, len(rows) - 1)
        to = _upto(draw, len(rows[other]) - 1)
        rows[row][at], rows[other][to] = rows[other][to], rows[row][at]
    elif what == "drop":
        for cells in rows:
            del cells[at]
    elif what == "rename":
        rows[0][at] = _pick(draw, (*rows[0], *HOSTILE, "__row__", "x"))
    elif what == "duplicate":
        for cells in rows:
            cells.append(cells[at])
    elif what == "headers":
        other = _upto(draw, len(rows[0]) - 1)
        rows[0][at], rows[0][other] = rows[0][other], rows[0][at]
    elif what == "repeat":
        rows.insert(draw(st.integers(1, len(rows))), list(rows[row]))
    elif what == "remove":
        del rows[row]
    elif what == "shuffle":
        rows[1:] = draw(st.permutations(rows[1:]))
    elif what == "wider":
        rows[row].append("Qwertz")
    elif what == "shorter":
        del rows[row][at:]
    elif what == "numeric":  # what a writer makes of a column that it takes for numbers
        form = _pick(draw, ("{:.1f}", "{:.0f}", "{:e}"))
        for cells in rows[1:]:
            cells[at] = _as_number(cells[at], form)
    elif what == "padded":
        mark = _pick(draw, MARKS)
        for cells in rows[1:] if draw(st.booleans()) else [rows[row]]:
            cells[at] = f" {mark} "
    elif what == "identifiers":
        ids = [i for i, name in enumerate(rows[0]) if name.lower().endswith(("id", "_nbr", "pid"))]
        first, second = _pick(draw, ids), _pick(draw, ids)
        for cells in rows[1:]:
            cells[first], cells[second] = cells[second], cells[first]
    elif what == "years":
        year = _pick(draw, YEARS)
        for cells in rows[1:] if draw(st.booleans()) else [rows[row]]:
            cells[:] = [re.sub(r"^\d{4}(?=-\d\d-\d\d)", year, cell) for cell in cells]
    elif what == "all twice":
        rows += [list(cells) for cells in rows[1:]]
    elif what == "no header":
        del rows[0]
    elif what == "no rows":
        del rows[1:]
    else:
        rows.insert(row, list(rows[0]))
    return f"{what} (row {row}, column {at})"


def _as_number(cell: str, form: str) -> str:
    try:
        return form.format(float(cell))
    except (ValueError, OverflowError):
        return cell


def _parquet(draw, content: bytes) -> tuple[bytes, str]:
    frame = pl.read_parquet(io.BytesIO(content))
    what = _pick(draw, ("type", "type", "value", "value", "value", "text", "drop",
                                 "rename", "empty", "shuffle", "repeat", "all null", "bare",
                                 "swap", "upper"))  # fmt: skip
    name = _pick(draw, frame.columns)
    column = frame[name]
    if what == "type":
        dtype = _pick(draw, _TYPES)
        try:
            frame = frame.with_columns(column.cast(dtype, strict=False))
        except pl.exceptions.PolarsError:
            frame = frame.with_columns(pl.Series(name, [None] * frame.height, dtype=dtype))
        what = f"type {dtype}"
    elif what in ("value", "text"):
        row = _upto(draw, frame.height - 1)
        frame = frame.with_columns(_with_value(draw, column, row, what == "text"))
    elif what == "drop":
        frame = frame.drop(name)
    elif what == "rename":
        new = _pick(draw, (name.upper(), f" {name} ", "", "x", "__row__", "é"))
        frame = frame.rename({name: new})
    elif what == "empty":
        frame = frame.clear()
    elif what == "shuffle":
        frame = frame[draw(st.permutations(range(frame.height)))]
    elif what == "repeat":
        frame = pl.concat([frame, frame])
    elif what == "all null":
        frame = frame.with_columns(pl.lit(None, column.dtype).alias(name))
    elif what == "bare":
        frame = pl.DataFrame()
    elif what == "upper":
        frame = frame.rename(str.upper)
    else:
        other = _pick(draw, frame.columns)
        frame = frame.rename({name: other, other: name} if other != name else {})
    out = io.BytesIO()
    frame.write_parquet(out, compression=_pick(draw, ("zstd", "uncompressed", "snappy")))
    return out.getvalue(), f"{what} in {name}"


def _with_value(draw, column: pl.Series, row: int, as_text: bool) -> pl.Series:
    """Returns a column with a hostile value in one row, of its own type where `as_text` is not."""
    dtype = column.dtype
    if as_text or not (dtype.is_numeric() or dtype.is_temporal()):
        column = column.cast(pl.String, strict=False)
        values = column.to_list()
        values[row] = _pick(draw, (*HOSTILE, None))
        return pl.Series(column.name, values, pl.String)
    if dtype.is_float():
        values = column.to_list()
        values[row] = _pick(draw, (*_REALS, None))
        return pl.Series(column.name, values, dtype)
    if dtype == pl.Date:
        column, dtype = column.cast(pl.Datetime("us")), pl.Datetime("us")
    whole = column.to_physical().cast(pl.Int64).to_list()
    early = int((datetime.datetime(1, 1, 1) - datetime.datetime(1970, 1, 1)).total_seconds())
    whole[row] = _pick(draw, (*_NUMBERS, early * 10**6, None))
    return pl.Series(column.name, whole, pl.Int64).cast(dtype, strict=False)


def _lines(draw, content: bytes) -> tuple[bytes, str]:
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    at = _upto(draw, len(lines) - 1)
    what = _pick(draw, ("value",) * 6 + ("repeat", "remove", "indent", "deep", "other",
                                                  "key twice", "shuffle", "all twice", "changed",
                                                  "identifiers", "years", "numeric"))  # fmt: skip
    if what == "value":
        resource = json.loads(lines[at])
        what = _json_value(draw, resource)
        lines[at] = json.dumps(resource)
    elif what == "repeat":
        lines.append(lines[at])
    elif what == "all twice":
        lines += lines
    elif what == "changed":  # a newer version of a resource, that says so or does not
        resource = json.loads(lines[at])
        _json_value(draw, resource)
        resource |= _pick(draw, ({}, {"meta": {"lastUpdated": "2020-01-01T00:00:00Z"}}))
        lines.append(json.dumps(resource))
    elif what == "identifiers":
        lines = [re.sub(r"(Patient|Encounter)/", _exchanged, line) for line in lines]
    elif what == "years":
        year = _pick(draw, YEARS)
        lines[at] = re.sub(r'"\d{4}(?=-\d\d)', f'"{year}', lines[at])
    elif what == "numeric":
        lines = [re.sub(r'"code": ?"(\d+)"', r'"code": \1', line) for line in lines]
    elif what == "remove":
        del lines[at]
    elif what == "indent":
        lines[at] = json.dumps(json.loads(lines[at]), indent=1)
    elif what == "deep":
        nested = "[" * _DEPTH + "]" * _DEPTH
        lines[at] = _pick(draw, (nested, '{"x":' + nested + "," + lines[at][1:]))
    elif what == "other":
        others = ("[]", "null", "1", '"text"', "{}", "NaN", "{'a': 1}", f"[{lines[at]}]", "[{}]",
                  lines[at] + lines[at], lines[at] + ",", '{"resourceType": 1}')  # fmt: skip
        lines[at] = _pick(draw, others)
    elif what == "key twice":
        key = _pick(draw, sorted(json.loads(lines[at])))
        lines[at] = f'{{"{key}": {json.dumps(_pick(draw, _JUNK))},' + lines[at][1:]
    else:
        lines = draw(st.permutations(lines))
    text = "".join(line + "\n" for line in lines)
    return text.encode("utf-8", "surrogateescape"), f"{what} (line {at + 1})"


def _exchanged(match: re.Match) -> str:
    return {"Patient": "Encounter/", "Encounter": "Patient/"}[match[1]]


def _json_value(draw, value) -> str:
    """Changes one value somewhere below a JSON object, in place."""
    path = []
    while True:
        keys = sorted(value) if isinstance(value, dict) else list(range(len(value)))
        key = _pick(draw, keys)
        path.append(str(key))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or _upto(draw, 3) == 0:
            break
        value = inner
    what = _pick(draw, ("junk", "junk", "hostile", "hostile", "delete", "list", "bare"))
    if what == "junk":
        value[key] = copy.deepcopy(_pick(draw, _JUNK))
    elif what == "hostile":
        value[key] = _pick(draw, HOSTILE)
    elif what == "delete":
        del value[key]
    elif what == "list":
        value[key] = [value[key]]
    else:
        value[key] = value[key][0] if isinstance(value[key], list) and value[key] else {"x": inner}
    return f"{what} at {'.'.join(path)}"


def _json(draw, content: bytes) -> tuple[bytes, str]:
    value = json.loads(content)
    said = _json_value(draw, value)
    return json.dumps(value).encode(), said


def _tar(draw, content: bytes) -> tuple[bytes, str]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        members = [[m.name, archive.extractfile(m).read()] for m in archive if m.isfile()]
    said, kind = _members(draw, members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if kind:
            member = tarfile.TarInfo("set-a/999.txt")
            member.type, member.linkname = kind, "../../x"
            archive.addfile(member)
    return out.getvalue(), said


def _zip(draw, content: bytes) -> tuple[bytes, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[m.filename, archive.read(m)] for m in archive.infolist()]
    said, kind = _members(draw, members)
    out = io.BytesIO()
    pack = _pick(draw, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(out, "w", pack) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, pack)
        if kind:
            link = zipfile.ZipInfo("set-a/999.txt")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "../../x")
    return out.getvalue(), said


def _members(draw, members: list[list]) -> tuple[str, bytes]:
    """Changes the members of an archive in place; returns also the kind of a link to add."""
    at = _upto(draw, len(members) - 1)
    what = _pick(draw, ("table", "table", "table", "bytes", "remove", "repeat", "rename",
                                 "link", "large", "none", "many", "empty"))  # fmt: skip
    name, data = members[at]
    kind = b""
    if what == "table":
        members[at][1], what = _table(draw, data)
    elif what == "bytes":
        members[at][1], what = _bytes(draw, data)
    elif what == "remove":
        del members[at]
    elif what == "repeat":
        members.append([_pick(draw, (name, f"other/{name}")), data])
    elif what == "rename":
        odd = (
            "../x.txt",
            "/x.txt",
            "x.txt",
            "C:\\x.txt",
            "set-a/٣.txt",
            "set-a/²é.txt",
            "set-a/" + "9" * 40 + ".txt",
            "set-a/.txt",
            "set-a/0.txt",
            "a/" * 200 + "1.txt",
        )
        members[at][0] = _pick(draw, odd)
    elif what == "link":
        kind = _pick(draw, (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))
    elif what == "large":
        members[at][1] = data + b"00:00,HR,1\n" * 500_000
    elif what == "many":
        members += [[f"set-a/{n}.txt", data] for n in range(300)]
    elif what == "empty":
        members[at][1] = b""
    else:
        members.clear()
    return f"{what} in member {at + 1}", kind


def _npz(draw, content: bytes) -> tuple[bytes, str]:
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = _pick(draw, sorted(arrays))
    what = _pick(draw, ("value", "value", "value", "type", "type", "shape", "drop",
                                 "empty", "swap", "shorter", "objects", "header"))  # fmt: skip
    array = arrays[name]
    if what == "value":
        wide = array.astype(np.int64) if array.dtype.kind in "iu" else array.copy()
        values = _NUMBERS if array.dtype.kind in "iu" else _REALS
        wide.flat[_upto(draw, array.size - 1)] = _pick(draw, values)
        arrays[name] = wide
    elif what == "type":
        kinds = ("i1", "u8", ">i4", "f2", "f8", "c16", "?", "S5", "U5", "M8[s]", "V4", "i4,f4")
        kind = _pick(draw, kinds)
        fresh = kind in ("V4", "i4,f4")
        arrays[name] = np.zeros(array.shape, kind) if fresh else array.astype(kind)
        what = f"type {kind}"
    elif what == "shape":
        arrays[name] = array.reshape(_pick(draw, ((-1, 1), (1, -1), (1, 1, -1))))
    elif what == "drop":
        del arrays[name]
    elif what == "empty":
        arrays[name] = _pick(draw, (array[:0], np.array(3), np.zeros((0, 3), int)))
    elif what == "swap":
        other = _pick(draw, sorted(arrays))
        arrays[name], arrays[other] = arrays[other], array
    elif what == "shorter":
        arrays[name] = array[:-1]
    elif what == "objects":
        arrays[name] = np.array([None, {}], object)
    out = io.BytesIO()
    np.savez(out, **arrays)
    content = out.getvalue()
    if what == "header":  # a shape that nobody has the memory for
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {m: archive.read(m) for m in archive.namelist()}
        header = f"({array.shape[0]},)".encode()
        large = _pick(draw, (10**4, 10**10, 10**14, 2**63))
        member = members[f"{name}.npy"]
        members[f"{name}.npy"] = member.replace(header + b", }", f"({large},), }}".encode())
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        content = out.getvalue()
    return content, f"{what} in {name}"


_EDITORS = {
    ".csv": _table,
    ".txt": _table,
    ".parquet": _parquet,
    ".ndjson": _lines,
    ".json": _json,
    ".tar.gz": _tar,
    ".zip": _zip,
    ".npz": _npz,
}
