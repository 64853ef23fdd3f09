"""Making codes of vectors, and searching and building a graph over them: hnsw_pure's codec.py on the arrays of its table.py and graph.py.

    rows, queries (count, dim)    codes (top, dims / 8 + 16)    tails (top, dims / 8 * 7), None of 1-bit codes    factors (4, dims)

What kernels save is not repeated here: every vector that a walk meets is scored by its whole code and the query as it is, where they use
eight bits of the query, of 1-bit codes four, and leave out what an estimate rules out.
"""

from functools import partial

import numpy as np

from hnsw_pure.codec import Codes, Int8, Rows, Signs
from hnsw_pure.metric import METRICS, Metric
from hnsw_pure.table import VectorTable

from .hnsw import answer, graph_of, insert, prepared_of, remove, rows_of, walker


def code_encode(rows, centre, factors, codes, tails, count, dim, dims, metric):
    codec = _codec(METRICS[metric], dim, dims, tails is not None, centre, factors)
    made = codec.encode(rows_of(rows, count, dim))
    for name, array in (("codes", codes), ("tails", tails)):
        if array is not None:
            array.reshape(-1)[: made[name].size] = made[name].reshape(-1)


def code_search(queries, centre, factors, codes, tails, ids, levels, ground, first, upper, allowed, visited, found, scores, met,
                count, top, dim, dims, width, rows, m, k, ef, metric, visits, entry, slack):  # fmt: skip
    codec = _codec(METRICS[metric], dim, dims, tails is not None, centre, factors)
    walk = walker("code_search", ground, upper, first, levels, top, width, rows, m, entry)
    table = VectorTable.over(codec, _codes(codes, tails, top, dims), top)
    for i, query in enumerate(prepared_of("code_search", queries, count, codec.metric)):
        asked = codec.ask(query[None])
        closeness = partial(_closeness, table, asked)
        slots, met[i] = walk(closeness, ef, allowed, visited, visits, min(k, ef))
        answer(ids, slots[:k], table.scores(slots[:k], query), i, k, found, scores)


def code_scan(queries, centre, factors, codes, tails, ids, allowed, found, scores, count, top, dim, dims, k, metric, slack):
    codec = _codec(METRICS[metric], dim, dims, tails is not None, centre, factors)
    table = VectorTable.over(codec, _codes(codes, tails, top, dims), top)
    counts = ids.reshape(-1)[:top] >= 0
    if allowed is not None:
        counts &= allowed.reshape(-1)[:top] != 0
    slots = np.flatnonzero(counts)
    for i, query in enumerate(prepared_of("code_scan", queries, count, codec.metric)):
        values = table.scores(slots, query)
        best = np.argsort(-values, kind="stable")[:k]
        answer(ids, slots[best], values[best], i, k, found, scores)


def code_insert(slots, codes, tails, levels, ground, parent, first, upper, touched, visited,
                count, top, dims, width, rows, m, ef, run, runs, entry, slack):  # fmt: skip
    graph = graph_of(m, top, width, rows, levels[:top], parent, ground, first, upper, touched, np.zeros(128, np.uint8), run)
    insert("code_insert", graph, _table(codes, tails, top, dims), slots[:count], ef, entry)


def code_unlink(dead, codes, tails, levels, ground, parent, first, upper, touched, uppers, visited,
                top, dims, width, rows, m, ef, run, runs):  # fmt: skip
    graph = graph_of(m, top, width, rows, levels[:top], parent, ground, first, upper, touched, uppers, run)
    remove("code_unlink", graph, _table(codes, tails, top, dims), dead, ef)


def _closeness(table: VectorTable, asked: Rows, slots: list[int]) -> np.ndarray:
    return table.closeness(np.array(slots), asked)


def _codec(metric: str, dim: int, dims: int, has_tails: bool, centre=None, factors=None) -> Signs:
    """A codec with this centre and rotation."""
    codec = (Int8 if has_tails else Signs)(Metric(metric, dim))
    codec.dims = dims
    if centre is not None:
        codec.learned["centre"] = centre[:dim]
        codec.rotation.dims, codec.rotation.factors = dims, rows_of(factors, 4, dims)
    return codec


def _codes(codes, tails, top: int, dims: int) -> Codes:
    made = {"codes": rows_of(codes, top, dims // 8 + 16)}
    return made if tails is None else {**made, "tails": rows_of(tails, top, dims // 8 * 7)}


def _table(codes, tails, top: int, dims: int) -> VectorTable:
    """A table on these codes, for all that asks of them how near they are to each other."""
    return VectorTable.over(_codec("ip", dims, dims, tails is not None), _codes(codes, tails, top, dims), top)
