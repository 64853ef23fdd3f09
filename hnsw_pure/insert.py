"""Taking new nodes into a graph: candidates, neighbour selection, links both ways (Malkov and Yashunin, algorithms 1 and 4)."""

import numpy as np

from .graph import Graph
from .search import Visited, beam, descend
from .table import VectorTable

SCAN_BELOW = 8192  # nodes per new node, for up to 16 new ones together: below, one matrix product finds candidates faster than walks
_BLOCK = 4_000_000  # closenesses at a time, 16 MB
_TOGETHER = 12  # candidates that are held against those after them in one product, though some may turn out to be dropped


def link(graph: Graph, table: VectorTable, slots: np.ndarray, ef: int, visited: Visited) -> None:
    """Links new slots (n,), which the table holds already. Each finds those before it, whether older or of the same call.

    ef: candidates per new node (ef_construction). Among few nodes they are found by an exact scan, else by walking the graph.
    """
    graph.reserve(len(table.ids))
    step = int(np.clip(_BLOCK // table.top, 16, len(slots)))
    for start in range(0, len(slots), step):
        _link_together(graph, table, slots[start : start + step], ef, visited)


def _link_together(graph: Graph, table: VectorTable, slots: np.ndarray, ef: int, visited: Visited) -> None:
    levels = graph.draw_levels(table.ids[slots])
    older = np.flatnonzero(graph.levels >= 0)
    if len(older) <= SCAN_BELOW * min(len(slots), 16):
        candidates = scan(table, older, slots, ef)
    else:
        candidates = walk(graph, table, slots, ef, visited)
    members = [layer.members() for layer in graph.upper]
    graph.enrol(slots, levels)
    connect(graph, table, 0, slots, *candidates, ef)
    for level in range(1, int(levels.max()) + 1):
        new = slots[levels >= level]
        old = members[level - 1] if level <= len(members) else older[:0]
        connect(graph, table, level, new, *scan(table, old, new, ef), ef)


def scan(table: VectorTable, older: np.ndarray, slots: np.ndarray, ef: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates for slots (n,): the ef nearest of older (o,), (n, min(ef, o)) int64 in any order, and their closeness, float32."""
    values = table.against(table.rows(slots), older)
    if len(older) <= ef:
        return np.broadcast_to(older, values.shape), values
    best = np.argpartition(values, -ef, axis=1)[:, -ef:]
    return older[best], np.take_along_axis(values, best, axis=1)


def walk(graph: Graph, table: VectorTable, slots: np.ndarray, ef: int, visited: Visited) -> tuple[np.ndarray, np.ndarray]:
    """The same as `scan` over the whole graph, by walking it: (n, ef) each, closeness -inf where fewer were found."""
    pool = np.zeros((len(slots), ef), np.int64)
    values = np.full((len(slots), ef), -np.inf, np.float32)
    for i, slot in enumerate(slots.tolist()):
        query = table.rows(np.array([slot]))
        found, near = beam(graph.ground, table, query, descend(graph, table, query), ef, visited)
        pool[i, : len(found)] = found
        values[i, : len(found)] = near
    return pool, values


def connect(graph: Graph, table: VectorTable, level: int, slots: np.ndarray, pool: np.ndarray, values: np.ndarray, ef: int) -> None:
    """Links slots (n,) on one layer to the best of their candidates (n, c) and of the slots before them, and these back to them."""
    layer = graph.layers[level]
    among = pairs(table, slots, slots)
    among[np.triu_indices(len(slots))] = -np.inf  # neither itself nor those after it
    pool = np.concatenate((pool, np.broadcast_to(slots, among.shape)), axis=1)
    values = np.concatenate((values, among), axis=1)
    order = np.argsort(-values, axis=1)[:, :ef]
    targets, sources = [], []
    for i, slot in enumerate(slots.tolist()):
        best = order[i][values[i, order[i]] > -np.inf]
        if not len(best):
            continue  # the first one
        near = pool[i, best]
        near = near[diverse(table, near, values[i, best], graph.m)]
        layer.assign(slot, near)
        if level == 0:
            graph.attach(slot, int(near[0]))
            near = near[near != graph.parent[slot]]  # that link runs both ways already
        targets.append(near)
        sources.append(np.full(len(near), slot))
    graph.touch(level, slots)
    if targets:
        _link_back(graph, table, level, np.concatenate(targets), np.concatenate(sources))


def _link_back(graph: Graph, table: VectorTable, level: int, targets: np.ndarray, sources: np.ndarray) -> None:
    """Adds sources[i] to the list of targets[i], (n,) each; lists that overflow are selected anew."""
    layer = graph.layers[level]
    order = np.argsort(targets, kind="stable")
    targets, sources = targets[order], sources[order]
    slots, starts, counts = np.unique(targets, return_index=True, return_counts=True)
    degrees = (layer.lists(slots) >= 0).sum(axis=1)
    fits = degrees + counts <= layer.width
    places = np.arange(len(targets)) + np.repeat(degrees - starts, counts)
    fitting = np.repeat(fits, counts)
    layer.append(targets[fitting], places[fitting], sources[fitting])
    for slot, start, count in zip(slots[~fits].tolist(), starts[~fits], counts[~fits], strict=True):
        prune(graph, table, level, slot, np.concatenate((layer.list(slot), sources[start : start + count])))
    graph.touch(level, slots)


def prune(graph: Graph, table: VectorTable, level: int, slot: int, near: np.ndarray) -> None:
    """Makes the best of near (n,) the list of a slot. Tree links among them stay in any case.

    An eighth of the list is left free: were it filled, the very next link to it would make all of this necessary again.
    """
    layer = graph.layers[level]
    values = pairs(table, np.array([slot]), near)[0]
    order = np.argsort(-values)
    near, values = near[order], values[order]
    pinned = graph.pinned(slot, near) if level == 0 else None
    layer.assign(slot, near[diverse(table, near, values, layer.width - layer.width // 8, pinned)])


def diverse(table: VectorTable, near: np.ndarray, values: np.ndarray, m: int, pinned: np.ndarray | None = None) -> np.ndarray:
    """Algorithm 4: which of near (n,), sorted by closeness `values` (n,) to a node, to link it to. Positions, ascending, at most m.

    The nearest is taken, whatever is nearer to it than to the node is dropped, and so on with what is left: links point in different
    directions. pinned (n,) bool are taken in any case; there are fewer than m of them.
    """
    rows = table.rows(near)
    left = np.arange(len(near))
    chosen = []
    room = m if pinned is None else m - int(pinned.sum())
    while len(left):
        some = min(len(left), _TOGETHER)
        dropped = ~(rows.at(slice(some)).closeness(rows) < values[left])  # [i, j]: j is, where i is chosen
        if pinned is not None:
            dropped &= ~pinned[left]
        stays = np.ones(len(left), bool)
        for place in range(some):
            if not stays[place]:
                continue
            chosen.append(left[place])
            if pinned is None or not pinned[left[place]]:
                room -= 1
            if room == 0:
                after = left[place + 1 :]
                return np.array(chosen if pinned is None else [*chosen, *after[pinned[after]]], np.int64)
            stays &= ~dropped[place]
        stays[:some] = False
        left, rows = left[stays], rows.at(stays)
    return np.array(chosen, np.int64)


def pairs(table: VectorTable, slots: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Closeness of each of slots (n,) to each of others (o,), (n, o) float32."""
    return table.rows(slots).closeness(table.rows(others))
