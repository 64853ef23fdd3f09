import numpy as np

from ..reference import distance
from . import case

SIZES = ((3, 5), (17, 70), (64, 768))  # rows and components; no size is a multiple of 16 but the last
TOTAL = (7, 40, 300)


def floats(rng, size, table):
    n, dim = SIZES[size]
    rows = rng.standard_normal((TOTAL[size] if table else n, dim), np.float32)
    rows[-1] = 0
    return {"query": rng.standard_normal(dim, np.float32), **named(rng, size, rows, table), "n": n, "dim": dim}


def wholes(rng, size, table, scaled=True):
    n, dim = SIZES[size]
    rows = rng.integers(-128, 128, (TOTAL[size] if table else n, dim), np.int8)
    rows[0], rows[-1] = -128, 0
    scales = {"scales": rng.uniform(0.001, 0.1, len(rows)).astype(np.float32), "query_scale": 0.037} if scaled else {}
    query = rng.integers(-128, 128, dim, np.int8) if size else np.full(dim, -128, np.int8)
    return {"query": query, **named(rng, size, rows, table), **scales, "n": n, "dim": dim}


def codes(rng, size, table):
    n, width = ((3, 3), (17, 29), (64, 96))[size]
    rows = rng.integers(0, 256, (TOTAL[size] if table else n, width), np.uint8)
    return {"query": rng.integers(0, 256, width, np.uint8), **named(rng, size, rows, table), "n": n, "bytes": width}


def named(rng, size, rows, table):
    if not table:
        return {"rows": rows}
    slots = rng.integers(0, len(rows), SIZES[size][0]).astype(np.int32)
    slots[:2] = len(rows) - 1, 0
    return {"table": rows, "slots": slots, "total": len(rows)}


def measured(make, table, result, dtype=np.float32, **more):
    return lambda rng, size: {**make(rng, size, table, **more), result: np.zeros(SIZES[size][0], dtype)}


dot, gather_dot = (case(rtol=1e-5, atol=1e-4)(measured(floats, table, "scores")) for table in (False, True))
l2, gather_l2 = (case(rtol=1e-5)(measured(floats, table, "distances")) for table in (False, True))
cosine, gather_cosine = (case(rtol=1e-5, atol=1e-6)(measured(floats, table, "scores")) for table in (False, True))
dot_i8, gather_dot_i8 = (case()(measured(wholes, table, "scores")) for table in (False, True))
l2_i8, gather_l2_i8 = (case()(measured(wholes, table, "distances")) for table in (False, True))
cosine_i8, gather_cosine_i8 = (case()(measured(wholes, table, "scores", scaled=False)) for table in (False, True))
hamming, gather_hamming = (case()(measured(codes, table, "distances", np.uint32)) for table in (False, True))


def room(rng, size, total, width):
    """The arguments that all top-k scans share; half the time with a filter."""
    count, k = ((2, 3), (3, 12), (5, 10))[size]
    allowed = rng.integers(0, 256, -(-total // 8), np.uint8) if rng.random() < 0.5 else None
    results = {"slots": np.zeros((count, k), np.int32), "scores": np.zeros((count, k), np.float32)}
    return {"allowed": allowed, **results, "count": count, "total": total, **width, "k": k}


def same_hits(expected, found):
    """Sums in another order may swap rows that are equally near: scores agree place by place, and each slot has the score it is given."""
    if not np.allclose(found["scores"], expected["scores"], rtol=1e-5, atol=1e-4):
        return f"scores {found['scores'].tolist()}, the twin has {expected['scores'].tolist()}"
    measure = (distance.dots, lambda query, rows: -distance.l2s(query, rows), distance.cosines)[found["metric"]]
    for query, slots, scores in zip(found["queries"], found["slots"], found["scores"], strict=True):
        hits = slots[slots >= 0]
        scored = measure(query, found["rows"][hits])
        if len(set(hits.tolist())) != len(hits) or not np.allclose(scored, scores[: len(hits)], rtol=1e-5, atol=1e-4):
            return f"slots {slots.tolist()} do not have the scores {scores.tolist()}"
        if found["allowed"] is not None and not np.unpackbits(found["allowed"], bitorder="little")[hits].all():
            return f"slots {slots.tolist()} are not all allowed"
    return None


@case(same=same_hits)
def topk_scan(rng, size):
    total, dim = ((2, 5), (131, 70), (3000, 384))[size]
    shared = room(rng, size, total, {"dim": dim})
    queries, rows = rng.standard_normal((shared["count"], dim), np.float32), rng.standard_normal((total, dim), np.float32)
    rows[total // 2] = np.nan
    return {"queries": queries, "rows": rows, **shared, "metric": int(rng.integers(3))}


@case()
def topk_scan_i8(rng, size):
    total, dim = ((2, 5), (131, 71), (3000, 384))[size]
    shared = room(rng, size, total, {"dim": dim})
    queries, rows = rng.integers(-128, 128, (shared["count"], dim), np.int8), rng.integers(-3, 4, (total, dim), np.int8)
    rows[total // 2 :: 3] = rows[0]  # equally near
    scales = rng.uniform(0.001, 0.1, total).astype(np.float32)
    scales[total // 2 :: 3] = scales[0]
    query_scales = rng.uniform(0.001, 0.1, shared["count"]).astype(np.float32)
    return {"queries": queries, "query_scales": query_scales, "rows": rows, "scales": scales, **shared, "metric": int(rng.integers(3))}


@case()
def topk_scan_hamming(rng, size):
    total, width = ((2, 3), (131, 29), (20_000, 96))[size]
    shared = room(rng, size, total, {"bytes": width})
    queries, rows = (rng.integers(0, 256, (rows, width), np.uint8) for rows in (shared["count"], total))
    return {"queries": queries, "rows": rows, **shared}
