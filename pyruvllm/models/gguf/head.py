"""The head of a GGUF file: metadata and the tensor directory, of the first bytes of a file that may be hostile.

Nothing that a file says is believed before it was held against what else it says and how large it is: no count allocates more than the
bytes that must stand behind it. What does not fit raises GgufError, which names the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import GgufError
from .kinds import BY_NUMBER, NUMBERS, OTHERS, Kind, ValueType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32  # unless the metadata says otherwise
MOST_ALIGNMENT = 1 << 20
MOST_HEAD = 256 << 20  # bytes: vocabularies of a million tokens fit
MOST_TENSORS = 1 << 16
MOST_PAIRS = 1 << 16
MOST_AXES = 4
MOST_NAME = 64  # bytes of a tensor's name
MOST_KEY = 65535
MOST_DEPTH = 4  # of arrays in arrays

Value = int | float | bool | str | list | np.ndarray


class Incomplete(Exception):
    """More of the file is needed than was given: at least its first ``needed`` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"the head goes on beyond {needed} bytes")
        self.needed = needed


@dataclass(frozen=True)
class Tensor:
    name: str
    kind: Kind
    shape: tuple[int, ...]  # as numpy has it: rows first, the axis that lies together last
    offset: int  # in the file
    size: int  # bytes


@dataclass(frozen=True, eq=False)
class Head:
    """metadata: numbers and strings as Python's, arrays of numbers as numpy's, other arrays as lists; types: as the file has them, of an
    array its elements'. size: bytes up to the data of the tensors.
    """

    version: int
    alignment: int
    metadata: Mapping[str, Value]
    types: Mapping[str, ValueType]
    tensors: Mapping[str, Tensor]
    size: int

    @property
    def needed(self) -> int:
        """How many bytes the file has at least."""
        return max((tensor.offset + tensor.size for tensor in self.tensors.values()), default=self.size)


def read_head(data: bytes | memoryview, size: int | None = None) -> Head:
    """Of the first bytes of a file; size: of the whole file, where known.

    Raises GgufError where the file is wrong, Incomplete where it may be right but more of it is needed.
    """
    return _Reader(memoryview(data).cast("B"), size).head()


class _Reader:
    def __init__(self, data: memoryview, size: int | None) -> None:
        self._data, self._at = data, 0
        self._size = size
        self._end = min(MOST_HEAD, MOST_HEAD if size is None else size)

    def head(self) -> Head:
        magic = bytes(self._take(4, "magic"))
        if magic != MAGIC:
            raise GgufError(f"magic is {magic!r}; a GGUF file begins with {MAGIC!r}")
        version = self._number(ValueType.UINT32, "version")
        if version not in VERSIONS:
            swapped = int.from_bytes(int(version).to_bytes(4, "little"), "big") in VERSIONS
            raise GgufError(f"version is {version}" + ("; big-endian files are not read" if swapped else "; 2 and 3 are read"))
        tensors = self._count("tensor_count", MOST_TENSORS, 24)
        pairs = self._count("metadata_kv_count", MOST_PAIRS, 13)
        metadata, types = self._metadata(pairs)
        alignment = self._alignment(metadata)
        directory = [self._tensor() for _ in range(tensors)]
        start = -(-self._at // alignment) * alignment
        return Head(version, alignment, metadata, types, self._placed(directory, start, alignment), start)

    def _metadata(self, pairs: int) -> tuple[dict[str, Value], dict[str, ValueType]]:
        metadata: dict[str, Value] = {}
        types: dict[str, ValueType] = {}
        for place in range(pairs):
            key = self._string(f"key {place}", MOST_KEY)
            if not key or key in metadata:
                raise GgufError(f"key {place} is {key!r}, which is {'there twice' if key else 'empty'}")
            kind = self._type(key)
            types[key], metadata[key] = self._array(key, 0) if kind is ValueType.ARRAY else (kind, self._value(kind, key))
        return metadata, types

    def _alignment(self, metadata: Mapping[str, Value]) -> int:
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or not 8 <= alignment <= MOST_ALIGNMENT or alignment & (alignment - 1):
            raise GgufError(f"general.alignment is {alignment!r}; a power of two from 8 to {MOST_ALIGNMENT} would be right")
        return alignment

    def _tensor(self) -> tuple[str, Kind, tuple[int, ...], int]:
        name = self._string("the name of a tensor", MOST_NAME)
        axes = self._number(ValueType.UINT32, f"n_dims of {name!r}")
        if not 1 <= axes <= MOST_AXES:
            raise GgufError(f"n_dims of {name!r} is {axes}; 1 to {MOST_AXES} would be right")
        shape = tuple(self._number(ValueType.UINT64, f"dimension {axis} of {name!r}") for axis in range(axes))[::-1]
        number = self._number(ValueType.UINT32, f"type of {name!r}")
        if number not in BY_NUMBER:
            known = f"{OTHERS[number]}, which is not read here" if number in OTHERS else "none that exists"
            raise GgufError(f"type of {name!r} is {number}: {known}")
        return name, BY_NUMBER[number], shape, self._number(ValueType.UINT64, f"offset of {name!r}")

    def _placed(self, directory: list[tuple[str, Kind, tuple[int, ...], int]], start: int, alignment: int) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, kind, shape, offset in directory:
            if name in tensors:
                raise GgufError(f"the tensor {name!r} is there twice")
            if not all(shape):
                raise GgufError(f"shape of {name!r} is {shape}; every axis is at least 1")
            if shape[-1] % kind.values:
                raise GgufError(f"shape of {name!r} is {shape}; rows of {kind.name} are whole blocks of {kind.values}")
            size = kind.size(shape)  # Python's integers do not overflow
            if offset % alignment:
                raise GgufError(f"offset of {name!r} is {offset}, no multiple of the alignment {alignment}")
            if start + offset + size > (2**53 if self._size is None else self._size):
                whole = "" if self._size is None else f" of {self._size} bytes"
                raise GgufError(
                    f"the tensor {name!r} ends at byte {start + offset + size} of a file{whole}: truncated, or its offset is wrong"
                )
            tensors[name] = Tensor(name, kind, shape, start + offset, size)
        ordered = sorted(tensors.values(), key=lambda tensor: tensor.offset)
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one.offset + one.size > other.offset:
                raise GgufError(f"the tensors {one.name!r} and {other.name!r} overlap in the file")
        return tensors

    def _type(self, of: str) -> ValueType:
        number = self._number(ValueType.UINT32, f"the type of {of!r}")
        try:
            return ValueType(number)
        except ValueError:
            raise GgufError(f"the type of {of!r} is {number}; 0 to {max(ValueType)} are types") from None

    def _value(self, kind: ValueType, of: str) -> Any:
        if kind is ValueType.STRING:
            return self._string(f"the value of {of!r}")
        if kind is ValueType.BOOL:
            return self._truth(self._take(1, f"the value of {of!r}"), of)[0]
        return self._number(kind, f"the value of {of!r}")

    def _array(self, of: str, depth: int) -> tuple[ValueType, Value]:
        if depth == MOST_DEPTH:
            raise GgufError(f"{of!r} is an array {MOST_DEPTH + 1} deep; {MOST_DEPTH} are read")
        kind = self._type(of)
        least = {ValueType.STRING: 8, ValueType.ARRAY: 12, ValueType.BOOL: 1}.get(kind) or NUMBERS[kind].itemsize
        length = self._count(f"the length of {of!r}", self._end, least)
        if kind is ValueType.STRING:
            return kind, self._strings(of, length)
        if kind is ValueType.ARRAY:
            return kind, [self._array(f"{of}[{place}]", depth + 1)[1] for place in range(length)]
        data = self._take(length * least, f"the values of {of!r}")
        return kind, self._truth(data, of) if kind is ValueType.BOOL else np.frombuffer(bytes(data), NUMBERS[kind])

    def _truth(self, data: memoryview, of: str) -> list[bool]:
        values = bytes(data)
        if values.strip(b"\0\1"):
            raise GgufError(f"{of!r} is a truth value of {values.strip(bytes(2) + bytes([1]))[0]}; 0 and 1 are right")
        return [byte == 1 for byte in values]

    def _number(self, kind: ValueType, what: str) -> Any:
        return np.frombuffer(self._take(NUMBERS[kind].itemsize, what), NUMBERS[kind])[0].item()

    def _count(self, what: str, most: int, least: int) -> int:
        """A number of things of which each takes ``least`` bytes or more."""
        count = self._number(ValueType.UINT64, what)
        if count > most or self._at + count * least > self._end:
            raise GgufError(f"{what} is {count}; no more than {min(most, max(0, self._end - self._at) // least)} can be there")
        return count

    def _string(self, what: str, most: int | None = None) -> str:
        length = self._number(ValueType.UINT64, f"the length of {what}")
        if most is not None and length > most:
            raise GgufError(f"the length of {what} is {length}; at most {most} bytes are right")
        data = bytes(self._take(length, what))
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise GgufError(f"{what} is no UTF-8: byte {error.start} is {data[error.start]:#x}") from None

    def _strings(self, of: str, length: int) -> list[str]:
        """A vocabulary has a hundred thousand. What is wrong with one ``_string`` finds out."""
        found: list[str] = []
        at, raw = 0, bytes(self._data[self._at : self._end])
        for _ in range(length):
            start = at + 8
            stop = start + int.from_bytes(raw[at:start], "little")
            if stop > len(raw):
                break
            try:
                found.append(raw[start:stop].decode())
            except UnicodeDecodeError:
                break
            at = stop
        self._at += at
        return found + [self._string(f"{of}[{place}]") for place in range(len(found), length)]

    def _take(self, length: int, what: str) -> memoryview:
        end = self._at + length
        if end > self._end:
            raise GgufError(f"{what} ends at byte {end}, and the {'file' if self._end != MOST_HEAD else 'head at most'} at {self._end}")
        if end > len(self._data):
            raise Incomplete(end)
        taken, self._at = self._data[self._at : end], end
        return taken
