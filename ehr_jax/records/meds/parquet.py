"""Writes parquet files whose text columns other Arrow programs read as the MEDS schema asks.

polars has one type of text, which pyarrow takes for `large_string`; MEDS asks for `string`, and for
`large_string` in `text_value` alone. What pyarrow takes is told by the Arrow schema that a parquet
file carries in its metadata: a flatbuffer, in which the type of a column is one byte.
"""

import base64
import io
import pathlib
import struct
from collections.abc import Iterable

import polars as pl

# Tags of the union `Type` in Arrow's Schema.fbs, large to plain. All four are tables without
# fields, so the tag alone makes the difference.
_PLAIN = {20: 5, 21: 12}  # LargeUtf8 to Utf8, LargeList to List

_START = 8  # where the flatbuffer begins: after a continuation mark and its length


def write(frame: pl.DataFrame, path: str | pathlib.Path, large: Iterable[str] = ()) -> None:
    """Writes `frame` as parquet; text and lists are plain except in the columns `large`."""
    frame.write_parquet(path, metadata={"ARROW:schema": _arrow_schema(frame, set(large))})


def _arrow_schema(frame: pl.DataFrame, large: set[str]) -> str:
    stream = io.BytesIO()
    frame.clear().write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    message = bytearray(stream.getvalue())
    del message[_START + _number(message, 4) :]
    schema = _follow(message, _slot(message, _follow(message, _START), 2))
    _make_plain(message, _follow(message, _slot(message, schema, 1)), large)
    return base64.b64encode(message).decode()


def _make_plain(message: bytearray, fields: int, large: set[str]) -> None:
    """Changes the types of a vector of Field tables (slots: 0 name, 2 type tag, 5 children)."""
    for k in range(_number(message, fields)):
        field = _follow(message, fields + 4 * (k + 1))
        name = _follow(message, _slot(message, field, 0))
        if message[name + 4 : name + 4 + _number(message, name)].decode() in large:
            continue
        tag = _slot(message, field, 2)
        message[tag] = _PLAIN.get(message[tag], message[tag])
        if children := _slot(message, field, 5):
            _make_plain(message, _follow(message, children), large)


def _slot(message: bytearray, table: int, k: int) -> int:
    """Returns where field `k` of a flatbuffer table lies; 0 where it is absent."""
    layout = table - struct.unpack_from("<i", message, table)[0]
    if 4 + 2 * k >= struct.unpack_from("<H", message, layout)[0]:
        return 0
    offset = struct.unpack_from("<H", message, layout + 4 + 2 * k)[0]
    return table + offset if offset else 0


def _follow(message: bytearray, at: int) -> int:
    return at + _number(message, at)


def _number(message: bytearray, at: int) -> int:
    return struct.unpack_from("<I", message, at)[0]
