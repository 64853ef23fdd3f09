"""Searching and building a graph of several layers, on the arrays of hnsw_pure (its table.py, graph.py, layers.py).

    queries (count, dim)    vectors (top, dim)    ground (top, width)    upper (rows, m)    found, scores (count, k)

Malkov and Yashunin 2018. The search takes one node at a time, as its algorithm 2 does, where hnsw_pure takes eight.
"""

import heapq
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from hnsw_pure.codec import Float32
from hnsw_pure.errors import NonFiniteError, ZeroVectorError
from hnsw_pure.graph import Graph
from hnsw_pure.insert import connect, scan
from hnsw_pure.metric import METRICS, Metric
from hnsw_pure.repair import unlink
from hnsw_pure.search import Visited, beam, descend
from hnsw_pure.table import VectorTable

from ...errors import OperandError


def hnsw_search(queries, vectors, halves, ids, levels, ground, first, upper, allowed, visited, found, scores, met,
                count, top, dim, width, rows, m, k, ef, metric, visits, entry):  # fmt: skip
    measure = _metric("hnsw_search", metric, dim, halves)
    prepared = prepared_of("hnsw_search", queries, count, measure)
    vectors, halves = rows_of(vectors, top, dim), halves if metric == METRICS.index("l2") else None
    walk = walker("hnsw_search", ground, upper, first, levels, top, width, rows, m, entry)

    for i, query in enumerate(prepared):

        def closeness(slots: list[int], query=query) -> np.ndarray:
            return vectors[slots] @ query if halves is None else vectors[slots] @ query - halves[slots]

        slots, met[i] = walk(closeness, ef, allowed, visited, visits, min(k, ef))
        slots = slots[:k]
        answer(ids, slots, measure.scores(vectors[slots], query), i, k, found, scores)


def walker(operation: str, ground, upper, first, levels, top: int, width: int, rows: int, m: int, entry: int) -> Callable:
    """(closeness of slots, ef, allowed, visited, visits, needed) to the slots that a walk finds, best first, and how many it met.

    `visited` counts the searches; which nodes were met is a set here.
    """
    ground, upper = rows_of(ground, top, width), rows_of(upper, rows, m)
    if not 0 <= entry < top or levels[entry] < 0:
        raise OperandError(f"{operation}: entry {entry} is no node of {top}")

    def neighbours(slot: int, level: int) -> list[int]:
        row = int(first[slot]) + level - 1
        if levels[slot] < level or (level and not 0 <= row < rows):
            raise OperandError(f"{operation}: slot {slot} has no list on layer {level}")
        held = upper[row] if level else ground[slot]
        near = held[: int(np.argmax(held < 0))] if (held < 0).any() else held
        if near.max(initial=-1) >= top:
            raise OperandError(f"{operation}: slot {slot} has a neighbour {near.max()}; there are {top} slots")
        return near.tolist()

    def walk(closeness, ef, allowed, visited, visits, needed):
        def keys(slots: list[int]) -> list[tuple[float, int]]:
            """Greater is nearer; of equally near ones the lower slot is greater."""
            return [(value, -slot) for value, slot in zip(closeness(slots).tolist(), slots, strict=True)] if slots else []

        if visited[0] == 0xFFFF:
            visited[:] = 0
        visited[0] += 1
        here = keys([entry])[0]
        for level in range(int(levels[entry]), 0, -1):
            while True:
                step = max(keys(neighbours(-here[1], level)), default=here, key=lambda key: key[0])
                if step[0] <= here[0]:
                    break
                here = step
        met, waiting, nearest = set(), [], []
        fresh = [-here[1]]
        while True:
            met.update(fresh)
            for key in keys(fresh):
                if len(nearest) == ef and key < nearest[0]:
                    continue
                heapq.heappush(waiting, (-key[0], -key[1]))
                if allowed is None or allowed.reshape(-1)[-key[1]]:
                    (heapq.heappush if len(nearest) < ef else heapq.heappushpop)(nearest, key)
            if not waiting or (len(met) >= visits and len(nearest) >= needed):
                break
            value, slot = heapq.heappop(waiting)
            if len(nearest) == ef and (-value, -slot) < nearest[0]:
                break
            fresh = [near for near in dict.fromkeys(neighbours(slot, 0)) if near not in met]
        return np.array([-slot for _, slot in sorted(nearest, reverse=True)], np.int64), len(met)

    return walk


def hnsw_scan(queries, vectors, halves, ids, allowed, found, scores, count, top, dim, k, metric):
    measure = _metric("hnsw_scan", metric, dim, halves)
    prepared = prepared_of("hnsw_scan", queries, count, measure)
    vectors = rows_of(vectors, top, dim)
    counts = ids.reshape(-1)[:top] >= 0
    if allowed is not None:
        counts &= allowed.reshape(-1)[:top] != 0
    slots = np.flatnonzero(counts)
    for i, query in enumerate(prepared):
        values = vectors[slots] @ query
        if measure.name == "l2":
            values = values - halves[slots]
        best = slots[np.argsort(-values, kind="stable")[:k]]
        answer(ids, best, measure.scores(vectors[best], query), i, k, found, scores)


def hnsw_insert(slots, vectors, halves, levels, ground, parent, first, upper, touched, visited,
                count, top, dim, width, rows, m, ef, run, runs, entry):  # fmt: skip
    graph = graph_of(m, top, width, rows, levels[:top], parent, ground, first, upper, touched, np.zeros(128, np.uint8), run)
    insert("hnsw_insert", graph, _table(vectors, halves, top, dim), slots[:count], ef, entry)


def insert(operation: str, graph: Graph, table: VectorTable, slots: np.ndarray, ef: int, entry: int) -> None:
    """On upper layers, which are small, candidates are the exact nearest of the nodes before."""
    levels, top = graph.levels, table.top
    if len(slots) and (slots.min() < 0 or slots.max() >= top or (levels[slots] < 0).any()):
        raise OperandError(f"{operation}: slots {slots.min()} ... {slots.max()} are not all among {top} with levels")
    if entry >= top or (entry >= 0 and levels[entry] < 0):
        raise OperandError(f"{operation}: entry {entry} is no node of {top}")
    met = Visited()
    linked = levels >= 0
    linked[slots] = False
    graph.parent[slots] = -1
    graph.touch(0, slots)
    for slot in slots:
        query = table.rows(slot[None])
        if entry >= 0:
            graph.entry = entry
            graph.keep_layers(int(levels[entry]))
            near, values = beam(graph.ground, table, query, descend(graph, table, query), ef, met)
            graph.keep_layers(int(levels[slot]))
            connect(graph, table, 0, slot[None], near[None], values[None], ef)
        for level in range(int(levels[slot]), 0, -1):
            older = np.flatnonzero(linked & (levels >= level))
            connect(graph, table, level, slot[None], *scan(table, older, slot[None], ef), ef)
        linked[slot] = True
        if entry < 0 or levels[slot] > levels[entry]:
            entry = int(slot)


def hnsw_unlink(dead, vectors, halves, levels, ground, parent, first, upper, touched, uppers, visited,
                top, dim, width, rows, m, ef, run, runs):  # fmt: skip
    graph = graph_of(m, top, width, rows, levels[:top], parent, ground, first, upper, touched, uppers, run)
    remove("hnsw_unlink", graph, _table(vectors, halves, top, dim), dead, ef)


def remove(operation: str, graph: Graph, table: VectorTable, dead: np.ndarray, ef: int) -> None:
    slots = np.flatnonzero(dead[: table.top])
    if (graph.levels[slots] < 0).any():
        raise OperandError(f"{operation}: dead names slots that are not in the graph")
    graph.touch(0, slots)
    unlink(graph, table, slots, ef)


def _table(vectors, halves, top: int, dim: int) -> VectorTable:
    """A table of hnsw_pure whose vectors are these."""
    codes = {"vectors": rows_of(vectors, top, dim)} | ({} if halves is None else {"halves": halves[:top]})
    return VectorTable.over(Float32(Metric("ip" if halves is None else "l2", dim)), codes, top)


def graph_of(m: int, top: int, width: int, rows: int, levels, parent, ground, first, upper, touched, uppers, run: int) -> Graph:
    """A graph of hnsw_pure whose lists are these arrays, and which marks what changes."""

    def layer(name: str) -> None:
        uppers[int(name.removeprefix("upper/"))] = 1

    def slots(part: str, changed: np.ndarray) -> None:
        touched[np.asarray(changed) // run] = uppers[0] = 1

    marks = SimpleNamespace(touch=slots, touch_name=layer)
    return Graph.over(m, levels, parent[:top], rows_of(ground, top, width), first[:top], rows_of(upper, rows, m), marks)


def rows_of(array: np.ndarray, count: int, width: int) -> np.ndarray:
    return array.reshape(-1)[: count * width].reshape(count, width)


def prepared_of(operation: str, queries, count: int, measure: Metric) -> np.ndarray:
    """Queries as they are compared, (count, dim) float32."""
    try:
        return measure.prepare(*measure.read(rows_of(queries, count, measure.dim), "queries"))
    except (NonFiniteError, ZeroVectorError) as error:
        raise OperandError(f"{operation}: {error}") from None


def _metric(operation: str, metric: int, dim: int, halves) -> Metric:
    measure = Metric(METRICS[metric], dim)
    if measure.name == "l2" and halves is None:
        raise OperandError(f"{operation}: l2 needs halves")
    return measure


def answer(ids, slots: np.ndarray, values: np.ndarray, i: int, k: int, found, scores) -> None:
    """Slots (n,) with scores (n,) as row i of the results: best first, equal scores by id."""
    found, scores = found.reshape(-1)[i * k : (i + 1) * k], scores.reshape(-1)[i * k : (i + 1) * k]
    found[:], scores[:] = -1, -np.inf
    order = np.lexsort((ids.reshape(-1)[slots], -values))
    found[: len(slots)], scores[: len(slots)] = ids.reshape(-1)[slots][order], values[order]
