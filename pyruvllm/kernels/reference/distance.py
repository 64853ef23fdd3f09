"""How far rows are from a query, and which are nearest.

Vectors are float32; or int8 with one positive float32 scale per row, standing for whole number x scale; or 1-bit codes in bytes, of which
the spare bits are the same in all. `gather_NAME` is NAME over the rows of a table that slots (n,) int32 name.
"""

import numpy as np

from ...errors import OperandError

METRICS = ("dot", "l2", "cosine")  # by the number that the top-k scans take; as scores, higher is nearer: l2 counts negative
BLOCK = 4096  # rows scored at a time, so that the intermediate arrays of a large table stay small
BITS = np.array([byte.bit_count() for byte in range(256)], np.uint8)  # that are set in a byte


def dot(query, rows, scores, n, dim):
    """query (dim,), rows (n, dim) to scores (n,)."""
    scores.reshape(-1)[:n] = dots(_row(query, dim), _rows(rows, n, dim))


def l2(query, rows, distances, n, dim):
    """query (dim,), rows (n, dim) to squared distances (n,)."""
    distances.reshape(-1)[:n] = l2s(_row(query, dim), _rows(rows, n, dim))


def cosine(query, rows, scores, n, dim):
    """query (dim,), rows (n, dim) to cosines (n,)."""
    scores.reshape(-1)[:n] = cosines(_row(query, dim), _rows(rows, n, dim))


def dot_i8(query, rows, scales, scores, n, dim, query_scale):
    """query (dim,), rows (n, dim) int8, scales (n,) to scores (n,) float32."""
    scores.reshape(-1)[:n] = dots_i8(_row(query, dim), _rows(rows, n, dim), np.float32(query_scale), _row(scales, n))


def l2_i8(query, rows, scales, distances, n, dim, query_scale):
    """query (dim,), rows (n, dim) int8, scales (n,) to squared distances (n,) float32."""
    distances.reshape(-1)[:n] = l2s_i8(_row(query, dim), _rows(rows, n, dim), np.float32(query_scale), _row(scales, n))


def cosine_i8(query, rows, scores, n, dim):
    """query (dim,), rows (n, dim) int8 to cosines (n,) float32."""
    scores.reshape(-1)[:n] = cosines_i8(_row(query, dim), _rows(rows, n, dim))


def hamming(query, rows, distances, n, bytes):
    """query (bytes,), rows (n, bytes) to the number of bits that differ (n,) uint32."""
    distances.reshape(-1)[:n] = hammings(_row(query, bytes), _rows(rows, n, bytes))


def gather_dot(query, table, slots, scores, total, n, dim):
    scores.reshape(-1)[:n] = dots(_row(query, dim), _named("gather_dot", table, slots, total, n, dim))


def gather_l2(query, table, slots, distances, total, n, dim):
    distances.reshape(-1)[:n] = l2s(_row(query, dim), _named("gather_l2", table, slots, total, n, dim))


def gather_cosine(query, table, slots, scores, total, n, dim):
    scores.reshape(-1)[:n] = cosines(_row(query, dim), _named("gather_cosine", table, slots, total, n, dim))


def gather_dot_i8(query, table, scales, slots, scores, total, n, dim, query_scale):
    rows = _named("gather_dot_i8", table, slots, total, n, dim)
    scores.reshape(-1)[:n] = dots_i8(_row(query, dim), rows, np.float32(query_scale), scales.reshape(-1)[_row(slots, n)])


def gather_l2_i8(query, table, scales, slots, distances, total, n, dim, query_scale):
    rows = _named("gather_l2_i8", table, slots, total, n, dim)
    distances.reshape(-1)[:n] = l2s_i8(_row(query, dim), rows, np.float32(query_scale), scales.reshape(-1)[_row(slots, n)])


def gather_cosine_i8(query, table, slots, scores, total, n, dim):
    scores.reshape(-1)[:n] = cosines_i8(_row(query, dim), _named("gather_cosine_i8", table, slots, total, n, dim))


def gather_hamming(query, table, slots, distances, total, n, bytes):
    distances.reshape(-1)[:n] = hammings(_row(query, bytes), _named("gather_hamming", table, slots, total, n, bytes))


def topk_scan(queries, rows, allowed, slots, scores, count, total, dim, k, metric):
    """queries (count, dim), rows (total, dim), allowed (total bits) to slots (count, k) int32 and scores (count, k), best first.

    Equal scores stand in the order of their slots. A score that is NaN or -inf is no hit; missing ones are -1 and -inf.
    """
    rows = _rows(rows, total, dim)
    measure = (dots, lambda query, part: -l2s(query, part), cosines)[metric]
    for at, query in enumerate(_rows(queries, count, dim)):
        _best(at, lambda part, query=query: measure(query, rows[part]), allowed, slots, scores, total, k)


def topk_scan_i8(queries, query_scales, rows, scales, allowed, slots, scores, count, total, dim, k, metric):
    """The same: queries (count, dim) int8, query_scales (count,), rows (total, dim) int8, scales (total,)."""
    rows, scales = _rows(rows, total, dim), _row(scales, total)
    for at, (query, scale) in enumerate(zip(_rows(queries, count, dim), _row(query_scales, count), strict=True)):
        measure = (
            lambda part, query=query, scale=scale: dots_i8(query, rows[part], scale, scales[part]),
            lambda part, query=query, scale=scale: -l2s_i8(query, rows[part], scale, scales[part]),
            lambda part, query=query: cosines_i8(query, rows[part]),
        )[metric]
        _best(at, measure, allowed, slots, scores, total, k)


def topk_scan_hamming(queries, rows, allowed, slots, scores, count, total, bytes, k):
    """The same: queries (count, bytes) and rows (total, bytes) uint8."""
    rows = _rows(rows, total, bytes)
    for at, query in enumerate(_rows(queries, count, bytes)):
        _best(at, lambda part, query=query: -hammings(query, rows[part]).astype(np.float32), allowed, slots, scores, total, k)


@np.errstate(all="ignore")
def dots(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows @ query


@np.errstate(all="ignore")
def l2s(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """From differences, which keeps near ones exact."""
    away = rows - query
    return np.einsum("ij,ij->i", away, away)


@np.errstate(all="ignore")
def cosines(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """In -1 ... 1; 0 where the query or a row has no length, whatever the other holds; else NaN where one holds NaN or an infinity.

    A vector so short that its squares are 0 in float32 has no length, and neither have two whose lengths' product is 0.
    """
    length, others = np.sqrt(query @ query), np.sqrt(np.einsum("ij,ij->i", rows, rows))
    none = (length == 0) | (others == 0) | (length * others == 0)
    return np.where(none, np.float32(0), np.clip(rows @ query / (length * others), -1, 1))


@np.errstate(all="ignore")
def dots_i8(query: np.ndarray, rows: np.ndarray, query_scale: np.float32, scales: np.ndarray) -> np.ndarray:
    """The sum of products, exact, as float32; times (query_scale x scale)."""
    return _sums(rows, query).astype(np.float32) * (query_scale * scales)


@np.errstate(all="ignore")
def l2s_i8(query: np.ndarray, rows: np.ndarray, query_scale: np.float32, scales: np.ndarray) -> np.ndarray:
    """|t x - s y|^2 = t^2 xx + s^2 yy - 2 t s xy in float64 from the exact sums; at least 0; rounded to float32 once."""
    t, s = np.float64(query_scale), scales.astype(np.float64)
    found = (t * t * _sums(query[None], query) + s * s * _sums(rows, rows)) - 2 * t * s * _sums(rows, query)
    return np.where(found < 0, 0, found).astype(np.float32)


@np.errstate(all="ignore")
def cosines_i8(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """xy / sqrt(xx yy) in float64 from the exact sums, rounded to float32 once; 0 where one of them is 0. Scales drop out."""
    squares = _sums(query[None], query).astype(np.float64) * _sums(rows, rows)
    return np.where(squares > 0, _sums(rows, query) / np.sqrt(squares), 0).astype(np.float32)


def hammings(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return BITS[rows ^ query].sum(1, dtype=np.uint32)


def _sums(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of products along the last axis, (n,) int32. Exact for 131,071 components."""
    return np.einsum("ij,ij->i", x, np.broadcast_to(y, x.shape), dtype=np.int32)


def _best(at, measure, allowed, slots, scores, total, k):
    """Fills row ``at`` of slots and scores with the k best rows; measure: a slice of rows to their scores."""
    parts = [slice(start, min(start + BLOCK, total)) for start in range(0, total, BLOCK)]
    found = np.concatenate([np.empty(0, np.float32), *(measure(part) for part in parts)])
    hits = found > -np.inf
    if allowed is not None:
        hits &= np.unpackbits(allowed.reshape(-1), count=total, bitorder="little").astype(bool)
    hits = np.flatnonzero(hits)
    hits = hits[np.argsort(-found[hits], kind="stable")][:k]
    to = slice(at * k, at * k + k)
    slots.reshape(-1)[to], scores.reshape(-1)[to] = -1, -np.inf
    to = slice(at * k, at * k + len(hits))
    slots.reshape(-1)[to], scores.reshape(-1)[to] = hits, found[hits]


def _row(array: np.ndarray, n: int) -> np.ndarray:
    return array.reshape(-1)[:n]


def _rows(array: np.ndarray, n: int, dim: int) -> np.ndarray:
    return array.reshape(-1)[: n * dim].reshape(n, dim)


def _named(operation: str, table: np.ndarray, slots: np.ndarray, total: int, n: int, dim: int) -> np.ndarray:
    """The rows that slots name, (n, dim)."""
    slots = _row(slots, n)
    if n and not (slots.min() >= 0 and slots.max() < total):
        raise OperandError(f"{operation}: slots holds an index that is out of range for total {total}; nothing more was done")
    return _rows(table, total, dim)[slots]
