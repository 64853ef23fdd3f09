"""Codes of random vectors, and graphs that hnsw_pure built over them."""

import numpy as np

from hnsw_pure import HNSW
from hnsw_pure.codec import codec
from hnsw_pure.metric import METRICS, Metric

from . import case
from .hnsw import built_once, graph_fault, linked, searched

SLACK = 5.0  # errors: hardly an estimate is further off


def same_codes(expected, found):
    """Numbers and signs but for a few that lie on the border of two, floats but for rounding."""
    bytes_of_signs = expected["dims"] // 8
    want, got = expected["codes"], found["codes"]
    off = int((want[:, :bytes_of_signs] != got[:, :bytes_of_signs]).sum())
    if expected["tails"] is not None:
        off += int((expected["tails"] != found["tails"]).sum())
    if off > want.size // 500:
        return f"{off} bytes of {want.size} differ"
    want, got = (np.ascontiguousarray(codes[:, bytes_of_signs:]).view("<f4") for codes in (want, got))
    far = ~(np.abs(got - want) <= 2e-3 * np.abs(want).max(axis=0, initial=0) + 1e-6)
    return f"factors are {got[far]}, of the twin {want[far]}" if far.any() else None


def same_hits(expected, found):
    """Scores as good as the twin's but for the bits of a query that are left out; as many hits, in order."""
    want, got = expected["scores"], found["scores"]
    if not np.array_equal(want > -np.inf, got > -np.inf) or not np.array_equal(expected["found"] >= 0, found["found"] >= 0):
        return f"it found {found['found'].tolist()}, the twin {expected['found'].tolist()}"
    if (got[:, 1:] > got[:, :-1]).any():
        return "the scores are not in order"
    hits = want > -np.inf
    scale = 1.0 if METRICS[expected["metric"]] == "cosine" else _scale(expected)
    limit = scale * (0.02 if expected["tails"] is not None else 0.2)
    worst = np.abs(want[hits] - got[hits]).max(initial=0)
    return f"a score differs by {worst}, of {limit} allowed" if worst > limit else None


def same_graph(expected, found):
    """Both a graph, whose lists on the ground hold about as many of the nearest as codes tell."""

    def nearness(arguments, nodes):
        made = codec("bit1" if arguments["tails"] is None else "int8", Metric("ip", arguments["dims"]))
        rows = made.rows({name: arguments[name][nodes] for name in made.fields})
        return rows.closeness(rows)

    return graph_fault(expected, found, nearness)


def _scale(arguments) -> float:
    """The longest query times the longest vector, the vectors as far as the centre and the factors tell."""
    factors = np.ascontiguousarray(arguments["codes"][:, arguments["dims"] // 8 :]).view("<f4")
    longest = factors[:, 0].max() * np.sqrt(arguments["dims"]) + np.linalg.norm(arguments["centre"])
    return float(longest * (longest + np.linalg.norm(arguments["queries"], axis=1).max(initial=0)))


@built_once
def grown(rng, size, metric):
    """An index over codes after additions and deletions."""
    count, dim, m = ((12, 3, 2), (100, 130, 3), (400, 256, 8))[size]
    count += int(rng.integers(0, 10))
    index = HNSW(dim, M=m, ef_construction=m + 10, metric=metric, seed=int(rng.integers(1000)), codec=("int8", "bit1")[rng.integers(2)])
    index.add(rng.permutation(3 * count)[:count], rng.standard_normal((count, dim)) + 0.5)
    index.delete(rng.permutation(index.ids)[: count // 5])
    return index


def stored(index):
    return {"codes": index._table.codes["codes"], "tails": index._table.codes.get("tails"), "dims": index._codec.dims}


def turned(index):
    return {"centre": index._codec.centre, "factors": index._codec.rotation.factors, "dim": index.dim}


@case(same=same_codes)
def code_encode(rng, size):
    dim, count, metric = (3, 150, 768)[size], int(rng.integers(0, 5)) + 3 * size, METRICS[rng.integers(3)]
    made = codec(("int8", "bit1")[rng.integers(2)], Metric(metric, dim), int(rng.integers(1000)))
    rows = rng.standard_normal((count, dim)).astype(np.float32)
    rows[: count // 4] = 0 if metric != "cosine" else 1
    made.centre[:] = rows.mean(axis=0) if count > 2 else 0
    room = {name: np.zeros((count, *shape), dtype) for name, (shape, dtype) in made.fields.items()}
    return {
        "rows": rows, "centre": made.centre, "factors": made.rotation.factors, "codes": room["codes"], "tails": room.get("tails"),
        "count": count, "dim": dim, "dims": made.dims, "metric": METRICS.index(metric),
    }  # fmt: skip


@case(same=same_hits)
def code_search(rng, size):
    """With an ef above the size: what is met in which order depends on the last bits of scores."""
    index = grown(rng, size, METRICS[rng.integers(3)])
    top = len(index._table.ids)
    given = {**linked(index), **searched(rng, index, size), **stored(index), **turned(index)}
    return {
        **given, "ef": top + int(rng.integers(3)), "visited": np.zeros(top + 1, np.uint16), "visits": 2**32 - 1, "slack": SLACK,
        "met": np.zeros(given["count"], np.uint32),
    }  # fmt: skip


@case(same=same_hits)
def code_scan(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)])
    return {**searched(rng, index, size), **stored(index), **turned(index), "top": len(index._table.ids), "slack": SLACK}


@case(same=same_graph)
def code_insert(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)])
    table, graph = index._table, index._graph
    entry, new = graph.entry, rng.standard_normal((3 + 20 * size, index.dim)).astype(np.float32)
    ids = 10_000 + np.arange(len(new))
    slots = table.put(ids, index._metric.prepare(*index._metric.read(new, "new")))
    graph.reserve(len(table.ids))
    graph.enrol(slots, graph.draw_levels(ids))
    top = len(table.ids)
    return {
        **linked(index), **stored(index), "slots": slots.astype(np.int32), "parent": graph.parent,
        "touched": np.zeros(-(-top // 16), np.uint8), "visited": np.zeros(top + 1, np.uint16),
        "count": len(slots), "ef": index.ef_construction, "run": 16, "runs": -(-top // 16), "entry": entry, "slack": SLACK,
    }  # fmt: skip


@case(same=same_graph)
def code_unlink(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)])
    top, levels = len(index._table.ids), index._graph.levels
    given = {name: value for name, value in linked(index).items() if name != "entry"}
    return {
        **given, **stored(index), "parent": index._graph.parent, "dead": ((levels >= 0) & (rng.random(top) < 0.2)).view(np.uint8),
        "touched": np.zeros(-(-top // 16), np.uint8), "uppers": np.zeros(128, np.uint8), "visited": np.zeros(top + 1, np.uint16),
        "ef": index.ef_construction, "run": 16, "runs": -(-top // 16),
    }  # fmt: skip
