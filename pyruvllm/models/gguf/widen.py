"""Data of a tensor as float32, for every kind that is read.

Blocks that no kernel multiplies with, little-endian, scales float16, y the 32 values of a block (or of a sub-block):

    q4_1   20 bytes    d | m | 16 bytes: low nibbles are q of y[0:16], high ones of y[16:32]          y = d q + m
    q5_0   22 bytes    d | 32 bits, the fifth of each q | 16 bytes of nibbles as above                y = d (q - 16)
    q5_1   24 bytes    d | m | 32 bits | 16 bytes                                                     y = d q + m
    q5_k  176 bytes    d | dmin | 12 bytes of 6-bit numbers as q4_k has them | 32 bytes of fifth bits, bit j of byte i that of y[i] in
                       sub-block j | 128 bytes of nibbles as q4_k has them                            y = d sc[j] q - dmin m[j]
"""

from collections.abc import Callable

import numpy as np

from ...errors import GgufError
from ...kernels.reference import blocks
from .head import Tensor


def dequantize(tensor: Tensor, data: bytes | memoryview | np.ndarray) -> np.ndarray:
    """The data of a tensor to float32 of its shape. GgufError where it has not the size that the directory says."""
    raw = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    if raw.size != tensor.size:
        raise GgufError(f"the tensor {tensor.name!r} is {tensor.size} bytes as {tensor.kind.name}, not {raw.size}")
    name = tensor.kind.name
    if name in _WIDEN:
        return _WIDEN[name](raw).reshape(tensor.shape)
    return blocks.dequantize(name, raw, tensor.shape)


def _bf16(raw: np.ndarray) -> np.ndarray:
    return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q4_1(raw: np.ndarray) -> np.ndarray:
    b = raw.reshape(-1, 20)
    return _half(b, 0) * _nibbles(b[:, 4:]) + _half(b, 2)


def _q5_0(raw: np.ndarray) -> np.ndarray:
    b = raw.reshape(-1, 22)
    return _half(b, 0) * ((_nibbles(b[:, 6:]) | _fifth(b[:, 2:6])).astype(np.int8) - np.int8(16))


def _q5_1(raw: np.ndarray) -> np.ndarray:
    b = raw.reshape(-1, 24)
    return _half(b, 0) * (_nibbles(b[:, 8:]) | _fifth(b[:, 4:8])) + _half(b, 2)


def _q5_k(raw: np.ndarray) -> np.ndarray:
    b = raw.reshape(-1, 176)
    scales, minima, q = blocks.unpack_q4_k(np.concatenate((b[:, :16], b[:, 48:]), axis=1))
    fifth = (b[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1) << 4  # (n, 8, 32)
    return scales[..., None] * (q.reshape(-1, 8, 32) | fifth) - minima[..., None]


def _half(b: np.ndarray, at: int) -> np.ndarray:
    return np.ascontiguousarray(b[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(b: np.ndarray) -> np.ndarray:
    return np.concatenate((b & 15, b >> 4), axis=1)


def _fifth(b: np.ndarray) -> np.ndarray:
    return np.unpackbits(b, axis=1, bitorder="little") << 4


_WIDEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "f32": lambda raw: raw.view("<f4").astype(np.float32),
    "f16": lambda raw: raw.view("<f2").astype(np.float32),
    **{"bf16": _bf16, "q4_1": _q4_1, "q5_0": _q5_0, "q5_1": _q5_1, "q5_k": _q5_k},
}
