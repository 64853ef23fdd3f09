"""The kinds of tensors and of metadata values, with the numbers that a file has for them."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


@dataclass(frozen=True)
class Kind:
    """How numbers of a tensor are kept: in blocks of ``values`` numbers and ``bytes`` bytes."""

    name: str
    number: int
    values: int
    bytes: int

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor whose rows, the last axis, are whole blocks."""
        count = 1
        for length in shape:
            count *= length
        return count // self.values * self.bytes


_KINDS = (
    *(Kind("f32", 0, 1, 4), Kind("f16", 1, 1, 2), Kind("bf16", 30, 1, 2)),
    *(Kind("q4_0", 2, 32, 18), Kind("q4_1", 3, 32, 20), Kind("q5_0", 6, 32, 22), Kind("q5_1", 7, 32, 24), Kind("q8_0", 8, 32, 34)),
    *(Kind("q4_k", 12, 256, 144), Kind("q5_k", 13, 256, 176), Kind("q6_k", 14, 256, 210)),
)
KINDS = {kind.name: kind for kind in _KINDS}
BY_NUMBER = {kind.number: kind for kind in _KINDS}

# Kinds that exist and are not read here: named when a file has them.
OTHERS = {9: "q8_1", 10: "q2_k", 11: "q3_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl", 21: "iq3_s"}
OTHERS |= {
    22: "iq2_s",
    23: "iq4_xs",
    24: "i8",
    25: "i16",
    26: "i32",
    27: "i64",
    28: "f64",
    29: "iq1_m",
    34: "tq1_0",
    35: "tq2_0",
    39: "mxfp4",
}


class ValueType(IntEnum):
    """Of a metadata value."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


NUMBERS = {
    ValueType.UINT8: np.dtype("u1"),
    ValueType.INT8: np.dtype("i1"),
    ValueType.UINT16: np.dtype("<u2"),
    ValueType.INT16: np.dtype("<i2"),
    ValueType.UINT32: np.dtype("<u4"),
    ValueType.INT32: np.dtype("<i4"),
    ValueType.FLOAT32: np.dtype("<f4"),
    ValueType.UINT64: np.dtype("<u8"),
    ValueType.INT64: np.dtype("<i8"),
    ValueType.FLOAT64: np.dtype("<f8"),
}
