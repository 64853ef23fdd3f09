"""Graphs that hnsw_pure built, over vectors whose components are small whole numbers: their products are exact in any order of adding."""

import copy
from functools import lru_cache, wraps

import numpy as np

from hnsw_pure import HNSW
from hnsw_pure.graph import Graph
from hnsw_pure.metric import METRICS

from . import case


def same_hits(expected, found):
    """Under ip and l2 all is exact, ties included; under cosine equal scores may stand for each other."""
    exact = [name for name in ("found", "met") if name in found and METRICS[expected["metric"]] != "cosine"]
    if not all(np.array_equal(expected[name], found[name]) for name in exact):
        return f"it found {found['found'].tolist()}, the twin {expected['found'].tolist()}"
    if (found["scores"][:, 1:] > found["scores"][:, :-1]).any():
        return "the scores are not in order"
    with np.errstate(invalid="ignore"):
        far = ~((np.abs(found["scores"] - expected["scores"]) <= 1e-5) | (found["scores"] == expected["scores"]))
    return f"{int(far.sum())} scores of {far.size} differ" if far.any() else None


def same_graph(expected, found):
    """Both a graph, whose lists on the ground hold about as many of the nearest."""

    def nearness(arguments, nodes):
        vectors = arguments["vectors"][nodes]
        values = vectors @ vectors.T
        return values if arguments.get("halves") is None else values - arguments["halves"][nodes]

    return graph_fault(expected, found, nearness)


def graph_fault(expected, found, nearness):
    """What is wrong with a graph beside the twin's; nearness: (arguments, nodes (n,)) to how near they are to each other (n, n)."""
    levels = found["levels"].copy()
    levels[found.get("dead", np.zeros_like(levels)) != 0] = -1
    live = levels >= 0
    shares = []
    for arguments in (expected, found):
        graph = Graph.over(arguments["m"], levels, *(arguments[name] for name in ("parent", "ground", "first", "upper")), None)
        fault = graph.fault(live)
        if fault:
            return fault
        nodes = np.flatnonzero(live)
        values = nearness(arguments, nodes)
        np.fill_diagonal(values, -np.inf)
        nearest = nodes[np.argsort(-values, axis=1)[:, : arguments["m"]]]
        shares.append(np.mean([np.isin(near, graph.ground.list(node)).mean() for node, near in zip(nodes, nearest, strict=True)]))
    slack = 0.05 if len(nodes) > 300 else 0.15
    return None if shares[1] > shares[0] - slack else f"{shares[1]:.3f} of the nearest are linked, by the twin {shares[0]:.3f}"


def built_once(build):
    """``build`` from a seed that is drawn: the operations' cases of one seed begin alike, and building takes the longest."""
    kept = lru_cache(maxsize=16)(lambda seed, *given, **named: build(np.random.default_rng(seed), *given, **named))
    return wraps(build)(lambda rng, *given, **named: copy.deepcopy(kept(int(rng.integers(2**32)), *given, **named)))


@built_once
def grown(rng, size, metric, whole=True):
    """An index after additions and deletions."""
    count, dim, m = ((12, 3, 2), (150, 21, 3), (500, 64, 8))[size]
    count += int(rng.integers(0, 10))
    index = HNSW(dim, M=m, ef_construction=m + 10, metric=metric, seed=int(rng.integers(1000)))
    vectors = rng.integers(-9, 10, (count, dim)) if whole else rng.standard_normal((count, dim))
    vectors[:, 0] += 20  # none is zero
    index.add(rng.permutation(3 * count)[:count], vectors)
    index.delete(rng.permutation(index.ids)[: count // 5])
    return index


def stored(index):
    codes = index._table.codes
    return {"vectors": codes["vectors"], "halves": codes.get("halves"), "dim": index.dim}


def linked(index):
    graph = index._graph
    return {
        "levels": graph.levels, "ground": graph.ground.links, "first": graph.towers.first, "upper": graph.towers.links,
        "top": len(index._table.ids), "width": 2 * index.M, "rows": len(graph.towers.links), "m": index.M, "entry": graph.entry,
    }  # fmt: skip


def searched(rng, index, size):
    count, k = int(rng.integers(size > 0, 4)), int(rng.integers(1, 12))
    queries = rng.integers(-9, 10, (count, index.dim)).astype(np.float32)
    queries[:, 0] += 20
    return {
        "queries": queries, "ids": index._table.ids, "allowed": (rng.random(len(index._table.ids)) < 0.6).view(np.uint8) if k % 2 else None,
        "found": np.zeros((count, k), np.int64), "scores": np.zeros((count, k), np.float32), "count": count, "k": k,
        "metric": METRICS.index(index.metric),
    }  # fmt: skip


@case(same=same_hits)
def hnsw_search(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)])
    visited = np.zeros(len(index._table.ids) + 1, np.uint16)
    visited[0] = rng.choice([0, 7, 65534])
    given = {**linked(index), **stored(index), **searched(rng, index, size)}
    return {
        **given, "ef": int(rng.integers(1, 40)), "visited": visited, "visits": int(rng.choice([1, 30, 2**32 - 1])),
        "met": np.zeros(given["count"], np.uint32),
    }  # fmt: skip


@case(same=same_hits)
def hnsw_scan(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)])
    return {**stored(index), **searched(rng, index, size), "top": len(index._table.ids)}


@case(same=same_graph)
def hnsw_insert(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)], whole=False)
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
        "count": len(slots), "ef": index.ef_construction, "run": 16, "runs": -(-top // 16), "entry": entry,
    }  # fmt: skip


@case(same=same_graph)
def hnsw_unlink(rng, size):
    index = grown(rng, size, METRICS[rng.integers(3)])
    top, levels = len(index._table.ids), index._graph.levels
    return {
        **{name: value for name, value in linked(index).items() if name != "entry"}, **stored(index), "parent": index._graph.parent,
        "dead": ((levels >= 0) & (rng.random(top) < 0.2)).view(np.uint8), "touched": np.zeros(-(-top // 16), np.uint8),
        "uppers": np.zeros(128, np.uint8), "visited": np.zeros(top + 1, np.uint16), "ef": index.ef_construction, "run": 16,
        "runs": -(-top // 16),
    }  # fmt: skip
