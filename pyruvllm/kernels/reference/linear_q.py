"""Products with quantised weights.

A matrix of blocks is repacked at load into groups of four rows (``wasm_kernels/linear_q.h`` has the layouts); rows beyond the last are
zero bytes. Nothing is lost: ``rows_q4_0`` of all indices gives what ``blocks.dequantize`` gives of the file's blocks.

    y[b, r] = sum over c of rounded(x)[b, c] * W[r, c]

with ``rounded`` below: what the kernels see of the activations. The sums are in float64 here, in the kernels exact within a block and
in float32 over blocks.
"""

from collections.abc import Callable

import numpy as np

from ...errors import OperandError
from . import blocks as gguf

_BIAS = 102  # between the exponents of these scales and of float32
WIDENED = 4096  # rows that are numbers at once, a multiple of 4


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 (batch, cols) to float64: per block of 32 columns d * q,
    with d = max |x| / 127 and q = x (127 / max |x|) to nearest, ties to even.

    A block whose values are all below 2**-100 is zero.
    """
    x = x.reshape(len(x), x.shape[1] // 32, 32)
    most = np.abs(x).max(axis=2, keepdims=True, initial=0)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        small = most < np.float32(2.0**-100)
        inverse = np.where(small, np.float32(0), np.float32(127) / most)
        d = np.where(small, np.float32(0), most / np.float32(127))
        q = np.rint(x * inverse)
        return (d.astype(np.float64) * q).reshape(len(x), x.shape[1] * 32)


def _grouped(rows: np.ndarray) -> np.ndarray:
    """(rows, ...) to (groups, 4, ...), zeros behind the last row."""
    out = np.zeros((-(-len(rows) // 4) * 4, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out.reshape(-1, 4, *rows.shape[1:])


def _scales(values: np.ndarray, kind: str = "<f4") -> np.ndarray:
    """(rows, n) to bytes (groups, n, 4 * width): four numbers of that type."""
    lanes = np.ascontiguousarray(_grouped(values.astype(kind)).swapaxes(1, 2))
    return lanes.view(np.uint8)


def _halves(kind: str, d: np.ndarray) -> np.ndarray:
    """Scales, float32 that float16 holds, (rows, n) to bytes (groups, n, 8): float16 whose exponents are 10 lower, so none is subnormal."""
    if not (np.abs(d) < 128).all():
        raise OperandError(f"repack_{kind}: blocks holds a scale that is not below 128")
    bits = d.view(np.uint32)
    size = np.where(d == 0, 0, (bits & 0x7FFFFFFF) - (_BIAS << 23)) >> 13
    return _scales(bits >> 16 & 0x8000 | size, "<u2")


def _chunks(q: np.ndarray, width: int) -> np.ndarray:
    """(rows, n, columns) bytes to (groups, n, columns * 4): ``width`` columns of four rows beside each other."""
    q = _grouped(q.reshape(*q.shape[:2], -1, width)).transpose(0, 2, 3, 1, 4)
    return q.reshape(*q.shape[:2], -1)


def _nibble_chunks(q: np.ndarray) -> np.ndarray:
    """(rows, n, 32) of 0 ... 15 to (groups, n, 64)."""
    return _chunks(q[:, :, :16] | q[:, :, 16:] << 4, 4)


def _parts_q4_0(data: np.ndarray, rows: int, cols: int) -> tuple[np.ndarray, ...]:
    """The file's blocks, uint8 (blocks, bytes), to what a block of the layout holds, (groups, blocks, bytes) each."""
    d, q = gguf.unpack_q4_0(data)
    return _halves("q4_0", d.reshape(rows, -1)), _nibble_chunks(q.reshape(rows, -1, 32))


def _parts_q8_0(data: np.ndarray, rows: int, cols: int) -> tuple[np.ndarray, ...]:
    d, q = gguf.unpack_q8_0(data)
    return _halves("q8_0", d.reshape(rows, -1)), _chunks(np.ascontiguousarray(q).view(np.uint8).reshape(rows, -1, 32), 2)


def _parts_q4_k(data: np.ndarray, rows: int, cols: int) -> tuple[np.ndarray, ...]:
    d, least = (np.ascontiguousarray(data[:, at : at + 2]).view("<f2").astype(np.float32).reshape(rows, -1) for at in (0, 2))
    scales, minima = (_scales(each.reshape(rows, -1), "u1") for each in gguf.sixes_q4_k(data))
    _, _, q = gguf.unpack_q4_k(data)
    parts = np.concatenate([scales, minima, _nibble_chunks(q.reshape(rows, -1, 32))], axis=2)
    return _scales(d), _scales(least), parts.reshape(len(parts), -1, 8 * 72)


def _parts_q6_k(data: np.ndarray, rows: int, cols: int) -> tuple[np.ndarray, ...]:
    d = np.ascontiguousarray(data[:, 208:]).view("<f2").astype(np.float32)
    _, q = gguf.unpack_q6_k(data)
    scales = _scales(data[:, 192:208].reshape(rows, -1), "u1")  # (groups, 16-column blocks, 4)
    scales = scales.reshape(len(scales), -1, 8)
    chunks = _chunks((q + 32).astype(np.uint8).reshape(rows, -1, 16), 4)
    chunks = chunks.reshape(*chunks.shape[:2], 4, 16)
    three = chunks[:, :, :3] | (chunks[:, :, 3:] >> np.array([[0], [2], [4]], np.uint8) & 3) << 6
    parts = np.concatenate([scales, three.reshape(len(scales), -1, 96)], axis=2)
    return _scales(d.reshape(rows, -1)), parts.reshape(len(parts), -1, 8 * 104)


def _laid(w: np.ndarray, rows: int, cols: int, columns: int, size: int) -> np.ndarray:
    """(groups, blocks, bytes of a block)"""
    shape = (-(-rows // 4), cols // columns, size)
    return w.reshape(-1)[: int(np.prod(shape))].reshape(shape)


def _lanes(scales: np.ndarray, rows: int, kind: str = "<f4") -> np.ndarray:
    """The inverse of ``_scales``, (rows, n, 1)."""
    lanes = np.ascontiguousarray(scales).view(kind).swapaxes(1, 2)
    return lanes.reshape(-1, lanes.shape[2], 1)[:rows]


def _wide(scales: np.ndarray, rows: int) -> np.ndarray:
    """The inverse of ``_halves``, float32 (rows, n, 1)."""
    bits = _lanes(scales, rows, "<u2").astype(np.uint32)
    return ((bits & 0x8000) << 16 | (bits & 0x7FFF) << 13).view(np.float32) * np.float32(2.0**_BIAS)


def _levels(chunks: np.ndarray, rows: int, width: int) -> np.ndarray:
    """The inverse of ``_chunks``."""
    q = chunks.reshape(*chunks.shape[:2], -1, 4, width).transpose(0, 3, 1, 2, 4)
    return q.reshape(-1, chunks.shape[1], chunks.shape[2] // 4)[:rows]


def _nibbles(chunks: np.ndarray, rows: int) -> np.ndarray:
    both = _levels(chunks, rows, 4)
    return np.concatenate([both & 15, both >> 4], axis=2).astype(np.float32)


def _values_q4_0(w: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The matrix, float32 (rows, cols)."""
    laid = _laid(w, rows, cols, 32, 72)
    return (_wide(laid[:, :, :8], rows) * (_nibbles(laid[:, :, 8:], rows) - 8)).reshape(rows, cols)


def _values_q8_0(w: np.ndarray, rows: int, cols: int) -> np.ndarray:
    laid = _laid(w, rows, cols, 32, 136)
    return (_wide(laid[:, :, :8], rows) * _levels(laid[:, :, 8:], rows, 2).view(np.int8)).reshape(rows, cols)


def _values_q4_k(w: np.ndarray, rows: int, cols: int) -> np.ndarray:
    laid = _laid(w, rows, cols, 256, 608)
    parts = laid[:, :, 32:].reshape(len(laid), -1, 72)
    d, least = (_lanes(laid[:, :, at : at + 16], rows).repeat(8, axis=1) for at in (0, 16))
    scale, minimum = (_lanes(parts[:, :, at : at + 4], rows, "u1") for at in (0, 4))
    return (d * scale * _nibbles(parts[:, :, 8:], rows) - least * minimum).reshape(rows, cols)


def _values_q6_k(w: np.ndarray, rows: int, cols: int) -> np.ndarray:
    laid = _laid(w, rows, cols, 256, 848)
    parts = laid[:, :, 16:].reshape(len(laid), -1, 104)
    scales = _lanes(parts[:, :, :8].reshape(len(laid), -1, 4), rows, "i1")
    three = parts[:, :, 8:].reshape(len(laid), -1, 3, 16)
    fourth = (three >> 6 << np.array([[0], [2], [4]], np.uint8)).sum(axis=2, dtype=np.uint8)
    chunks = np.concatenate([three & 63, fourth[:, :, None]], axis=2).reshape(len(laid), -1, 64)
    d = _lanes(laid[:, :, :16], rows).repeat(16, axis=1)
    return (d * scales * (_levels(chunks, rows, 4).astype(np.float32) - 32)).reshape(rows, cols)


def _operations(
    kind: str, columns: int, size: int, parts: Callable[..., tuple[np.ndarray, ...]], values: Callable[..., np.ndarray]
) -> tuple[Callable[..., None], ...]:
    """The twins of repack_TYPE, rows_TYPE and linear_TYPE: ``parts`` makes the layout, ``values`` reads it; a block of it holds four rows
    of ``columns`` in ``size`` bytes. No more of a matrix is widened at once than is needed: it may be an embedding of 65,536 rows.
    """

    def repack(blocks: np.ndarray, w: np.ndarray, rows: int, cols: int) -> None:
        if rows * cols:
            data = blocks.reshape(-1)[: rows * gguf.row_bytes(kind, cols)].reshape(-1, gguf.BLOCKS[kind][1])
            laid = np.concatenate(parts(data, rows, cols), axis=2).reshape(-1)
            w.reshape(-1)[: laid.size] = laid

    def groups(w: np.ndarray, rows: int, cols: int) -> np.ndarray:
        return _laid(w, rows, cols, columns, size)

    def rows_of(w: np.ndarray, index: np.ndarray, y: np.ndarray, n: int, rows: int, cols: int) -> None:
        chosen = index.reshape(-1)[:n].astype(np.int64)
        if (chosen >= rows).any():
            raise OperandError(f"rows_{kind}: index holds an index that is out of range for n {n}, rows {rows}, cols {cols}")
        if n * cols:
            four = values(groups(w, rows, cols)[chosen // 4], 4 * n, cols).reshape(n, 4, cols)
            y.reshape(-1)[: n * cols] = four[np.arange(n), chosen % 4].reshape(-1)

    def linear(x: np.ndarray, w: np.ndarray, y: np.ndarray, batch: int, rows: int, cols: int, first: int, count: int) -> None:
        seen = rounded(x.reshape(-1)[: batch * cols].reshape(batch, cols))
        made = y.reshape(-1)[: batch * rows].reshape(batch, rows)
        if not cols:
            made[:, first : first + count] = 0
            return
        for start in range(first // 4 * 4, first + count, WIDENED):
            end = min(start + WIDENED, rows)
            some = values(groups(w, rows, cols)[start // 4 : -(-end // 4)], end - start, cols).astype(np.float64)
            low, high = max(start, first), min(end, first + count)
            made[:, low:high] = seen @ some[low - start : high - start].T

    return repack, rows_of, linear


repack_q4_0, rows_q4_0, linear_q4_0 = _operations("q4_0", 32, 72, _parts_q4_0, _values_q4_0)
repack_q4_k, rows_q4_k, linear_q4_k = _operations("q4_k", 256, 608, _parts_q4_k, _values_q4_k)
repack_q8_0, rows_q8_0, linear_q8_0 = _operations("q8_0", 32, 136, _parts_q8_0, _values_q8_0)
repack_q6_k, rows_q6_k, linear_q6_k = _operations("q6_k", 256, 848, _parts_q6_k, _values_q6_k)
