"""Writes GGUF version 3: metadata in the order it is given, then tensors, each at a multiple of the alignment."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import GgufError
from ...kernels.reference import blocks
from .head import ALIGNMENT, MAGIC, MOST_AXES, MOST_NAME
from .kinds import KINDS, NUMBERS, Kind, ValueType

PLAIN = {"f32": np.dtype("<f4"), "f16": np.dtype("<f2")}


class GgufWriter:
    """w = GgufWriter({"general.architecture": "lfm2", ...}); w.add("token_embd.weight", values, "q4_0"); w.write(file.write)

    types: of values that are to have another type than theirs: Python's integers become uint32, or int64 where these do not reach,
    floats float32, arrays of numpy what they are. Raises GgufError, naming the key, for what the format cannot say.
    """

    def __init__(self, metadata: Mapping[str, Any], types: Mapping[str, ValueType] | None = None) -> None:
        self.metadata = dict(metadata)
        self.types = dict(types or {})
        self.alignment = int(self.metadata.get("general.alignment", ALIGNMENT))
        self._tensors: list[tuple[str, Kind, tuple[int, ...], np.ndarray]] = []

    def add(self, name: str, values: np.ndarray, kind: str = "f32") -> None:
        """A tensor of numbers, rounded to ``kind``: f32, f16, q8_0, q4_0, q4_k or q6_k."""
        values = np.asarray(values)
        if kind in PLAIN:
            return self.add_raw(name, values.astype(PLAIN[kind]), kind, values.shape)
        if kind not in blocks.BLOCKS:
            raise GgufError(f"the kind of {name!r} is {kind!r}; {', '.join([*PLAIN, *blocks.BLOCKS])} are written")
        return self.add_raw(name, blocks.quantize(kind, values), kind, values.shape)

    def add_raw(self, name: str, data: bytes | np.ndarray, kind: str, shape: tuple[int, ...]) -> None:
        """A tensor whose bytes are as a file has them."""
        raw = (
            np.frombuffer(data, np.uint8) if isinstance(data, bytes | memoryview) else np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        )
        if kind not in KINDS:
            raise GgufError(f"the kind of {name!r} is {kind!r}; one of {', '.join(KINDS)} would be right")
        if not name or len(name.encode()) > MOST_NAME or any(name == other for other, *_ in self._tensors):
            raise GgufError(f"a tensor's name {name!r} is empty, there already, or longer than {MOST_NAME} bytes")
        if not 1 <= len(shape) <= MOST_AXES or not all(shape) or shape[-1] % KINDS[kind].values:
            raise GgufError(f"the shape of {name!r} is {shape}: 1 to {MOST_AXES} axes, rows of whole blocks of {KINDS[kind].values}")
        if raw.size != KINDS[kind].size(shape):
            raise GgufError(f"the tensor {name!r} is {KINDS[kind].size(shape)} bytes as {kind} {shape}, not {raw.size}")
        self._tensors.append((name, KINDS[kind], tuple(shape), raw))

    def write(self, out: Callable[[bytes], object]) -> int:
        """Hands the file to ``out``, piece by piece; returns its size."""
        head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(self._tensors), len(self.metadata)))
        for key, value in self.metadata.items():
            head += _string(key) + self._pair(key, value)
        offset = 0
        for name, kind, shape, raw in self._tensors:
            head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind.number, offset)
            offset += self._padded(raw.size)
        head += bytes(self._padded(len(head)) - len(head))
        out(bytes(head))
        for _, _, _, raw in self._tensors:
            out(raw.tobytes() + bytes(self._padded(raw.size) - raw.size))
        return len(head) + offset

    def bytes(self) -> bytes:
        """The whole file."""
        parts: list[bytes] = []
        self.write(parts.append)
        return b"".join(parts)

    def _padded(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    def _pair(self, key: str, value: Any) -> bytes:
        kind = self.types.get(key)
        if isinstance(value, list | tuple | np.ndarray):
            return struct.pack("<I", ValueType.ARRAY) + _array(key, value, kind)
        kind = kind or _type_of(key, value)
        return struct.pack("<I", kind) + _plain(key, value, kind)


def _array(key: str, values: Any, kind: ValueType | None) -> bytes:
    if isinstance(values, np.ndarray) and values.dtype != bool:
        kind = kind or next((k for k, dtype in NUMBERS.items() if dtype == values.dtype), None)
        if kind is None or values.ndim != 1:
            raise GgufError(f"{key!r} is an array {values.dtype} {values.shape}; one axis of integers or floats would be right")
    values = list(values)
    if kind is None and values and isinstance(values[0], list | tuple | np.ndarray):
        return struct.pack("<IQ", ValueType.ARRAY, len(values)) + b"".join(_array(key, value, None) for value in values)
    if kind is None:
        kinds = {_type_of(key, value) for value in values} or {ValueType.INT32}
        wider = {ValueType.UINT32, ValueType.INT64}
        kind = ValueType.INT64 if kinds == wider else kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        raise GgufError(f"{key!r} is an array of several types")
    return struct.pack("<IQ", kind, len(values)) + b"".join(_plain(key, value, kind) for value in values)


def _type_of(key: str, value: Any) -> ValueType:
    if isinstance(value, bool | np.bool_):
        return ValueType.BOOL
    if isinstance(value, int):
        return ValueType.UINT32 if 0 <= value < 2**32 else ValueType.INT64
    if isinstance(value, float):
        return ValueType.FLOAT32
    if isinstance(value, str):
        return ValueType.STRING
    raise GgufError(f"{key!r} is {value!r}; a number, a truth value, a string or an array of these would be right")


def _plain(key: str, value: Any, kind: ValueType) -> bytes:
    if kind is ValueType.STRING:
        return _string(value)
    if kind is ValueType.BOOL:
        return bytes([bool(value)])
    dtype = NUMBERS[kind]
    whole = dtype.kind in "iu"
    if isinstance(value, str | bool) or (whole and not (int(value) == value and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)):
        raise GgufError(f"{key!r} is {value!r}, which is no {kind.name.lower()}")
    return np.array(value, dtype).tobytes()


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
