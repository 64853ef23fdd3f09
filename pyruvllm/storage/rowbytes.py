"""Rows of SQL values as one run of bytes, the form in which they cross between Python and JavaScript in one copy.

The twin of ``web/src/bridge/rows.ts``. Little-endian:

    uint32 rows, uint32 columns
    uint8 kind per value, row by row, filled up with zeros to a multiple of 8
    8 bytes per value: int64, float64, or for text and blobs uint32 offset and uint32 length in what follows
    the bytes of all text (UTF-8) and blobs
"""

import struct
from collections.abc import Sequence
from functools import cache
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np

from ..errors import StorageError
from .driver import Blobs, Row, Value

NULL, INTEGER, FLOAT, TEXT, BLOB = range(5)
HEADER = struct.Struct("<II")
CODES = bytes.maketrans(bytes((NULL, INTEGER, FLOAT, TEXT, BLOB)), b"qqdqq")  # of struct, by kind


def pack(rows: Sequence[Sequence[Value]]) -> bytes:
    """StorageError for rows of different lengths and for values that SQL has no place for."""
    columns = len(rows[0]) if rows else 0
    other = next((len(row) for row in rows if len(row) != columns), None)
    if other is not None:
        raise StorageError(f"all rows of parameters must have the same length: one has {columns}, another {other}")
    slots: list[Any] = list(chain.from_iterable(rows))
    kinds = bytes(map(kind_of, map(type, slots)))
    heap: list[bytes] = []
    end = 0  # of the heap, bytes
    for place, kind in enumerate(kinds):
        if kind >= TEXT:
            content = encoded(slots[place]) if kind == TEXT else bytes(slots[place])
            heap.append(content)
            slots[place] = end | len(content) << 32
            end += len(content)
        elif kind == NULL:
            slots[place] = 0
    if end >= 1 << 31:
        raise StorageError(f"{end} bytes of parameters at once are more than the {1 << 31} that can be bound")
    try:
        packed = struct.pack("<" + kinds.translate(CODES).decode(), *slots)
    except struct.error:
        raise StorageError("an integer does not fit into SQL's 64 bits") from None
    return b"".join([HEADER.pack(len(rows), columns), kinds, bytes(-len(kinds) % 8), packed, *heap])


@cache
def kind_of(of: type) -> int:
    """The kind of the values of a type."""
    for kind, types in ((NULL, NoneType), (INTEGER, int), (FLOAT, float), (TEXT, str), (BLOB, (bytes, bytearray, memoryview))):
        if issubclass(of, types):
            return kind
    raise StorageError(f"a value of type {of.__name__} cannot be stored: None, int, float, str and bytes can")


def encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise StorageError(f"a text that is no Unicode text cannot be stored: {error}") from error


def unpack(packed: memoryview) -> list[Row]:
    """``packed``: unsigned bytes, contiguous. Column by column, since a column mostly has one kind."""
    rows, columns = HEADER.unpack_from(packed)
    if not rows:
        return []
    start = HEADER.size + rows * columns
    start += -(rows * columns) % 8
    kinds = bytes(packed[HEADER.size : HEADER.size + rows * columns])
    slots = packed[start : start + 8 * rows * columns]
    integers: Any = slots.cast("q").tolist()
    floats: Any = slots.cast("d").tolist()
    heap = packed[start + len(slots) :]
    return list(zip(*(column(kinds[i::columns], integers[i::columns], floats[i::columns], heap) for i in range(columns)), strict=True))


def unpack_blobs(packed: memoryview) -> Blobs:
    """Rows of an integer and a blob each, without taking them apart: the blobs lie in their order already."""
    rows, columns = HEADER.unpack_from(packed)
    if not rows:
        return Blobs(np.empty(0, np.int64), np.empty(0, np.int64), b"")
    start = HEADER.size + rows * columns
    start += -(rows * columns) % 8
    if columns != 2 or bytes(packed[HEADER.size : HEADER.size + 2 * rows]) != bytes((INTEGER, BLOB)) * rows:
        raise StorageError("blobs are read by a statement that selects an integer and a blob")
    slots = np.frombuffer(packed, "<i8", 2 * rows, start).reshape(rows, 2)
    return Blobs(slots[:, 0].copy(), slots[:, 1] >> 32, packed[start + 16 * rows :])


def column(kinds: bytes, integers: list[int], floats: list[float], heap: memoryview) -> Sequence[Value]:
    """The values of one column."""
    present = set(kinds)
    if present == {INTEGER}:
        return integers
    if present == {FLOAT}:
        return floats
    return [single(*value, heap) for value in zip(kinds, integers, floats, strict=True)]


def single(kind: int, integer: int, floating: float, heap: memoryview) -> Value:
    if kind == NULL:
        return None
    if kind == INTEGER:
        return integer
    if kind == FLOAT:
        return floating
    start = integer & 0xFFFFFFFF
    content = heap[start : start + (integer >> 32)]
    if kind == BLOB:
        return bytes(content)
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"a stored text is no UTF-8: {error}") from error
