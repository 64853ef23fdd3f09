"""The quantised block formats of GGUF files (ggml's block formats), in numpy: what their bits are, and how values become blocks.

A row of a weight matrix is a sequence of blocks. All numbers are little-endian, scales float16; ``y`` are the block's values.

    q8_0   32 values, 34 bytes    scale d | 32 int8 q                                                      y = d q
    q4_0   32 values, 18 bytes    scale d | 16 bytes: low nibbles are q of y[0:16], high ones of y[16:32]   y = d (q - 8)
    q4_k  256 values, 144 bytes   scale d | scale dmin | 12 bytes of 6-bit numbers | 128 bytes of q         y = d sc[j] q - dmin m[j]
                                  sc and m belong to sub-blocks j = 0 ... 7 of 32 values; for j < 4, byte j is sc[j] + (high 2 bits of
                                  sc[j + 4] << 6), byte 4 + j the same of m, byte 8 + j the low 4 bits of sc[j + 4] + (those of
                                  m[j + 4] << 4). Of q, bytes 32 g ... hold y[64 g : 64 g + 32] in low nibbles, the next 32 in high ones
    q6_k  256 values, 210 bytes   128 bytes of low 4 bits | 64 bytes of high 2 bits | 16 int8 sc | scale d  y = d sc[j] (q - 32)
                                  sub-blocks j are 16 values. Of each half (128 values, 64 and 32 bytes), low-bits byte i holds y[i] and
                                  y[64 + i], high-bits byte i holds y[i], y[32 + i], y[64 + i], y[96 + i], lowest bits first

q8_0 and q4_0 are quantised to the bytes that ggml's reference gives. The K formats leave their scales to the writer; here they are
searched by least squares (``fit_affine``, ``fit_scale``). Arithmetic is float32 throughout, sums in the order of four lanes, so that
the compiled kernels give the same bytes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import OperandError

BLOCKS = {"q8_0": (32, 34), "q4_0": (32, 18), "q4_k": (256, 144), "q6_k": (256, 210)}  # values and bytes of a block
LIMIT = 65504.0  # the largest float16: beyond it nothing is quantised
MOST_IMPORTANCE = 1e6

# How many steps of the level grid the range of a sub-block is cut into, one candidate each; the first best is kept.
AFFINE_STEPS = np.arange(13.0, 17.0, 0.25, dtype=np.float32)  # of 15 that a nibble has
SCALE_STEPS = np.arange(27.5, 33.5, 0.5, dtype=np.float32)  # of 32 on the side of the largest value

_TINY = np.float32(1e-36)
_PIECE = 1 << 16  # values worked on at once, so that temporaries stay in the cache


def row_bytes(kind: str, cols: int) -> int:
    """Bytes of a row of ``cols`` values. Raises OperandError where that is no whole number of blocks, or no such kind."""
    if kind not in BLOCKS:
        raise OperandError(f"there is no block format {kind!r}; there are {', '.join(BLOCKS)}")
    values, size = BLOCKS[kind]
    if cols % values:
        raise OperandError(f"{kind} blocks hold {values} values: a row of {cols} is no whole number of them")
    return cols // values * size


def dequantize(kind: str, blocks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Blocks, as bytes or uint8 of any shape, to float32 of ``shape``, whose last axis is a row of whole blocks."""
    data = np.frombuffer(blocks, np.uint8) if isinstance(blocks, (bytes, bytearray, memoryview)) else np.ascontiguousarray(blocks)
    size = row_bytes(kind, shape[-1]) * int(np.prod(shape[:-1]))
    if data.dtype != np.uint8 or data.size != size:
        raise OperandError(f"{kind} blocks for {tuple(shape)} are {size} bytes (uint8), not {data.size} of {data.dtype}")
    data, out = data.reshape(-1, BLOCKS[kind][1]), np.empty((int(np.prod(shape)) // BLOCKS[kind][0], BLOCKS[kind][0]), np.float32)
    step = _PIECE // BLOCKS[kind][0]
    for start in range(0, len(data), step):
        out[start : start + step] = _WIDEN[kind](data[start : start + step])
    return out.reshape(shape)


def quantize(kind: str, values: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
    """float32 (rows, cols), or any shape whose last axis is a row, to uint8 (rows, bytes of a row).

    importance: float32 (cols,), 0 ... 1e6, best near 1: how much the squared error of a column counts in the search of the K formats.
    Raises OperandError for values that float16 does not reach, NaN among them.
    """
    values = np.asarray(values, np.float32)
    size, cols = row_bytes(kind, values.shape[-1]), values.shape[-1]
    if not (np.abs(values) <= LIMIT).all():
        raise OperandError(f"quantize_{kind}: x holds NaN or a value beyond {LIMIT:g}, the largest float16")
    if importance is not None:
        importance = np.asarray(importance, np.float32).reshape(-1)
        if importance.size != cols or not ((importance >= 0) & (importance <= MOST_IMPORTANCE)).all():
            raise OperandError(f"quantize_{kind}: importance is {cols} numbers in 0 ... {MOST_IMPORTANCE:g}")
    per = BLOCKS[kind][0]
    x, out = values.reshape(-1, per), np.empty((values.size // per, BLOCKS[kind][1]), np.uint8)
    step = _PIECE // per
    for start in range(0, len(x), step):
        piece = x[start : start + step]
        if kind in ("q8_0", "q4_0"):
            out[start : start + step] = _NARROW[kind](piece)
            continue
        weights = np.ones((1, per), np.float32)
        if importance is not None:
            weights = importance.reshape(-1, per)[np.arange(start, start + len(piece)) % (cols // per)]
        out[start : start + step] = _NARROW[kind](piece, np.broadcast_to(weights, piece.shape))
    return out.reshape(-1, size)


def unpack_q8_0(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 34) to scales float32 (n,) and q int8 (n, 32)."""
    return _half(blocks, 0), blocks[:, 2:].view(np.int8)


def pack_q8_0(scales: np.ndarray, q: np.ndarray) -> np.ndarray:
    """float16 (n,) and int8 (n, 32) to (n, 34)."""
    return np.concatenate([_bytes(scales), q.astype(np.int8).view(np.uint8)], axis=1)


def unpack_q4_0(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 18) to scales float32 (n,) and q uint8 0 ... 15 (n, 32)."""
    nibbles = blocks[:, 2:]
    return _half(blocks, 0), np.concatenate([nibbles & 15, nibbles >> 4], axis=1)


def pack_q4_0(scales: np.ndarray, q: np.ndarray) -> np.ndarray:
    """float16 (n,) and 0 ... 15 (n, 32) to (n, 18)."""
    q = q.astype(np.uint8)
    return np.concatenate([_bytes(scales), q[:, :16] | q[:, 16:] << 4], axis=1)


def unpack_q4_k(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 144) to scales d sc float32 (n, 8), minima dmin m float32 (n, 8) and q uint8 0 ... 15 (n, 256)."""
    sc, m = sixes_q4_k(blocks)
    nibbles = blocks[:, 16:].reshape(-1, 4, 1, 32)
    q = np.concatenate([nibbles & 15, nibbles >> 4], axis=2).reshape(-1, 256)
    return _half(blocks, 0)[:, None] * sc, _half(blocks, 2)[:, None] * m, q


def sixes_q4_k(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 144) to sc and m, uint8 0 ... 63 (n, 8) each."""
    low, mid, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    sc = np.concatenate([low & 63, high & 15 | low >> 6 << 4], axis=1)
    return sc, np.concatenate([mid & 63, high >> 4 | mid >> 6 << 4], axis=1)


def pack_q4_k(d: np.ndarray, dmin: np.ndarray, sc: np.ndarray, m: np.ndarray, q: np.ndarray) -> np.ndarray:
    """float16 (n,) twice, 0 ... 63 (n, 8) twice, 0 ... 15 (n, 256) to (n, 144)."""
    sc, m, q = sc.astype(np.uint8), m.astype(np.uint8), q.astype(np.uint8).reshape(-1, 4, 2, 32)
    low, mid = sc[:, :4] | sc[:, 4:] >> 4 << 6, m[:, :4] | m[:, 4:] >> 4 << 6
    high = sc[:, 4:] & 15 | (m[:, 4:] & 15) << 4
    return np.concatenate([_bytes(d), _bytes(dmin), low, mid, high, (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)], axis=1)


def unpack_q6_k(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 210) to scales d sc float32 (n, 16) and q int8 -32 ... 31 (n, 256)."""
    low, high = blocks[:, :128].reshape(-1, 2, 64), blocks[:, 128:192].reshape(-1, 2, 32)
    low = np.concatenate([low & 15, low >> 4], axis=2)
    high = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    q = (low | high << 4).astype(np.int8) - np.int8(32)
    return _half(blocks, 208)[:, None] * blocks[:, 192:208].view(np.int8), q.reshape(-1, 256)


def pack_q6_k(d: np.ndarray, sc: np.ndarray, q: np.ndarray) -> np.ndarray:
    """float16 (n,), int8 (n, 16), -32 ... 31 (n, 256) to (n, 210)."""
    q = (q.astype(np.int16) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = (q[:, :, :2] & 15 | (q[:, :, 2:] & 15) << 4).reshape(-1, 128)
    high = q >> 4 << np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = np.bitwise_or.reduce(high, axis=2).reshape(-1, 64)
    return np.concatenate([low, high, sc.astype(np.int8).view(np.uint8), _bytes(d)], axis=1)


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    """The float16 at byte ``at`` of each block, as float32 (n,)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2")[:, 0].astype(np.float32)


def _bytes(scales: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(scales, "<f2").reshape(-1, 1).view(np.uint8)


def _widen_q8_0(blocks: np.ndarray) -> np.ndarray:
    scales, q = unpack_q8_0(blocks)
    return scales[:, None] * q


def _widen_q4_0(blocks: np.ndarray) -> np.ndarray:
    scales, q = unpack_q4_0(blocks)
    return scales[:, None] * (q.astype(np.float32) - 8)


def _widen_q4_k(blocks: np.ndarray) -> np.ndarray:
    scales, minima, q = unpack_q4_k(blocks)
    return (scales[:, :, None] * q.reshape(-1, 8, 32) - minima[:, :, None]).reshape(-1, 256)


def _widen_q6_k(blocks: np.ndarray) -> np.ndarray:
    scales, q = unpack_q6_k(blocks)
    return (scales[:, :, None] * q.reshape(-1, 16, 16)).reshape(-1, 256)


def _narrow_q8_0(x: np.ndarray) -> np.ndarray:
    """(n, 32) to (n, 34): d = largest |x| / 127; q = x / d to nearest, ties away from zero; all zero where d is zero as float16."""
    d = np.abs(x).max(axis=1) / np.float32(127)
    scaled = x * _inverse(d, d.astype(np.float16))[:, None]
    size = np.abs(scaled)
    floor = np.floor(size)
    return pack_q8_0(d.astype(np.float16), np.copysign(floor + np.floor((size - floor) * 2), scaled))


def _narrow_q4_0(x: np.ndarray) -> np.ndarray:
    """(n, 32) to (n, 18): d = (x of largest size, the first of them) / -8; q = x / d + 8 to nearest, ties up; 8 where d is zero."""
    d = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)[:, 0] / np.float32(-8)
    q = np.trunc(x * _inverse(d, d.astype(np.float16))[:, None] + np.float32(8.5))
    return pack_q4_0(d.astype(np.float16), q.clip(0, 15))


def _narrow_q4_k(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, 256) twice to (n, 144)."""
    d, dmin, sc, m = scales_q4_k(x, weights)
    return pack_q4_k(d, dmin, sc, m, levels_q4_k(x, d, dmin, sc, m))


def scales_q4_k(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What ``pack_q4_k`` takes before q: the best scale and minimum of each sub-block, the largest of eight at 63."""
    scale, low = fit_affine(x.reshape(-1, 32), weights.reshape(-1, 32))
    found = []
    for each in (scale.reshape(-1, 8), low.reshape(-1, 8)):
        unit = (each.max(axis=1) / np.float32(63)).astype(np.float16)
        found.append((unit, np.rint(each * _inverse(unit.astype(np.float32), unit)[:, None]).clip(0, 63)))
    return found[0][0], found[1][0], found[0][1], found[1][1]


def levels_q4_k(x: np.ndarray, d: np.ndarray, dmin: np.ndarray, sc: np.ndarray, m: np.ndarray) -> np.ndarray:
    """0 ... 15 (n, 256): each value's nearest level, ties to even, on the scales as they are stored."""
    scale, low = d.astype(np.float32)[:, None] * sc, dmin.astype(np.float32)[:, None] * m
    q = np.rint((x.reshape(-1, 8, 32) + low[:, :, None]) * _inverse(scale, scale)[:, :, None])
    return q.clip(0, 15).reshape(-1, 256)


def _narrow_q6_k(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, 256) twice to (n, 210)."""
    d, sc = scales_q6_k(x, weights)
    return pack_q6_k(d, sc, levels_q6_k(x, d, sc))


def scales_q6_k(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What ``pack_q6_k`` takes before q: the best scale of each sub-block, the largest of sixteen (the first of them) at -128."""
    scale = fit_scale(x.reshape(-1, 16), weights.reshape(-1, 16), 32, SCALE_STEPS).reshape(-1, 16)
    most = np.take_along_axis(scale, np.abs(scale).argmax(axis=1)[:, None], axis=1)[:, 0]
    d = (most / np.float32(-128)).astype(np.float16)
    return d, np.rint(scale * _inverse(d.astype(np.float32), d)[:, None]).clip(-128, 127)


def levels_q6_k(x: np.ndarray, d: np.ndarray, sc: np.ndarray) -> np.ndarray:
    """-32 ... 31 (n, 256): as ``levels_q4_k``."""
    scale = d.astype(np.float32)[:, None] * sc
    return np.rint(x.reshape(-1, 16, 16) * _inverse(scale, scale)[:, :, None]).clip(-32, 31).reshape(-1, 256)


def fit_affine(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scale >= 0 and low >= 0, each (n,), such that levels 0 ... 15 in ``scale * level - low`` come near to x (n, 32).

    For each candidate grid the levels are those nearest to x, and the scale and offset that fit these levels best are the solution of
    a weighted regression; the candidate that leaves the least error is kept. The error of a regression is what x had less its gain,
    so gains are compared.
    """
    bottom, top = np.minimum(x.min(axis=1), 0), x.max(axis=1)
    spread = (top - bottom) + np.float32(0)  # no -0, here and below: its sign would be stored
    scale, low, best = spread / np.float32(15), np.float32(0) - bottom, np.zeros(len(x), np.float32)
    shifted = x - bottom[:, None]
    weighted = weights * x
    sw, sx = _sum(weights), _sum(weighted)
    for steps in AFFINE_STEPS:
        q = np.rint(shifted * (steps * _inverse(spread, spread))[:, None]).clip(0, 15)
        wq = weights * q
        sq, sqq, sxq = _sum(wq), _sum(wq * q), _sum(weighted * q)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = sw * sqq - sq * sq
            slope, offset = (sw * sxq - sx * sq) / both, (sqq * sx - sq * sxq) / both
            alone = ~(offset <= 0)  # the format has no positive offset: then the scale by itself
            slope, offset = np.where(alone, sxq / sqq, slope), np.where(alone, np.float32(0), offset)
            gain = slope * sxq + offset * sx
            better = (gain > best) & (slope > 0)
        scale, low, best = np.where(better, slope, scale), np.where(better, np.float32(0) - offset, low), np.where(better, gain, best)
    return scale, low


def fit_scale(x: np.ndarray, weights: np.ndarray, levels: int, grids: np.ndarray) -> np.ndarray:
    """(n,): such that -levels ... levels - 1 times it come near to x (n, 4 k). The largest value (the first of them) gets a negative level.

    grids: how many steps the largest value may be away from zero, the candidates.
    """
    most = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)[:, 0]
    scale, best = most / np.float32(-levels), np.zeros(len(x), np.float32)
    weighted = weights * x
    for steps in grids:
        q = np.rint(x * (-steps * _inverse(most, most))[:, None]).clip(-levels, levels - 1)
        sqq, sxq = _sum(weights * q * q), _sum(weighted * q)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = sxq / sqq
            gain = slope * sxq
            better = gain > best
        scale, best = np.where(better, slope, scale), np.where(better, gain, best)
    return scale


def _inverse(x: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """1 / x, and 0 where what is stored of it is 0 or x is so small that the inverse, in steps of a grid, would leave float32."""
    nothing = (stored == 0) | (np.abs(x) < _TINY)
    return np.where(nothing, np.float32(0), np.float32(1) / np.where(nothing, np.float32(1), x))


def _sum(terms: np.ndarray) -> np.ndarray:
    """(n, 4 k) to (n,), in the order of a kernel that adds k vectors of four lanes and then the lanes."""
    lanes = terms[:, 0:4].copy()
    for at in range(4, terms.shape[1], 4):
        lanes += terms[:, at : at + 4]
    return (lanes[:, 0] + lanes[:, 2]) + (lanes[:, 1] + lanes[:, 3])


_WIDEN: dict[str, Callable[..., np.ndarray]] = {"q8_0": _widen_q8_0, "q4_0": _widen_q4_0, "q4_k": _widen_q4_k, "q6_k": _widen_q6_k}
_NARROW: dict[str, Callable[..., np.ndarray]] = {"q8_0": _narrow_q8_0, "q4_0": _narrow_q4_0, "q4_k": _narrow_q4_k, "q6_k": _narrow_q6_k}
