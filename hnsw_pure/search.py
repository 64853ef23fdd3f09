"""Searching a graph: greedy descent through the upper layers, then a beam on the ground (Malkov and Yashunin, algorithms 2 and 5)."""

import numpy as np

from .codec import Rows
from .graph import Graph, Layer
from .table import VectorTable

WIDTH = 8  # nodes expanded at a time: fewer and larger numpy calls, for a few vectors more than one at a time would look at


class Visited:
    """Which slots a search has met. Stamps only grow, so a new search needs no clearing."""

    def __init__(self) -> None:
        self._stamps = np.empty(0, np.int64)
        self._next = 0
        self._start = 0

    def begin(self, capacity: int) -> None:
        """Starts a search over slots 0 ... capacity - 1."""
        if len(self._stamps) <= capacity:
            self._stamps = np.full(capacity * 3 // 2 + 1, -1, np.int64)
            self._stamps[-1] = np.iinfo(np.int64).max  # where -1, the padding of neighbour lists, looks: always met
        self._start = self._next

    @property
    def met(self) -> int:
        """Slots that this search came by, some of them more than once."""
        return self._next - self._start

    def fresh(self, slots: np.ndarray) -> np.ndarray:
        """Those of slots (n,) that were not met before, each once; from now on they are met."""
        slots = slots[self._stamps[slots] < self._start]
        marks = np.arange(self._next, self._next + len(slots))
        self._next += len(slots)
        self._stamps[slots] = marks  # of equal slots the last one's mark stays
        return slots[self._stamps[slots] == marks]


def descend(graph: Graph, table: VectorTable, query: Rows) -> int:
    """The slot where the search on the ground begins: on each upper layer, step to the nearest neighbour while that gets nearer."""
    here = graph.entry
    best = table.closeness(np.array([here]), query)[0]
    for layer in reversed(graph.upper):
        while True:
            near = layer.list(here)
            if not len(near):
                break
            values = table.closeness(near, query)
            step = int(values.argmax())
            if values[step] <= best:
                break
            here, best = int(near[step]), values[step]
    return here


def beam(
    layer: Layer,
    table: VectorTable,
    query: Rows,
    start: int,
    ef: int,
    visited: Visited,
    allowed: np.ndarray | None = None,
    visits: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ef nearest that a walk from `start` finds: slots (n,), best first, and their closeness (n,), n <= ef.

    With `allowed`, a mask over slots (top,) bool, the walk still goes through every node, but only allowed ones count and come back.
    Once it met so many slots as `visits` says, it opens no further list.
    """
    visited.begin(len(table.ids))
    slots = visited.fresh(np.array([start]))
    values = table.closeness(slots, query)
    waiting = np.ones(1, bool)  # seen, but not expanded
    full = False
    while True:
        frontier = np.flatnonzero(waiting)[:WIDTH]
        if not len(frontier) or (visits is not None and visited.met >= visits):
            break
        waiting[frontier] = False
        near = visited.fresh(layer.lists(slots[frontier]).ravel())
        if not len(near):
            continue
        reached = table.closeness(near, query)
        if full:
            better = reached > values[-1]
            near, reached = near[better], reached[better]
            if not len(near):
                continue
        slots = np.concatenate((slots, near))
        values = np.concatenate((values, reached))
        waiting = np.concatenate((waiting, np.ones(len(near), bool)))
        order = np.argsort(-values)
        if allowed is not None:  # keep all that is at least as near as the ef-th allowed one
            counted = np.flatnonzero(allowed[slots[order]])
            full = len(counted) >= ef
            order = order[: counted[ef - 1] + 1] if full else order
        else:
            full = len(order) >= ef
            order = order[:ef]
        slots, values, waiting = slots[order], values[order], waiting[order]
    if allowed is None:
        return slots, values
    counts = allowed[slots]
    return slots[counts], values[counts]
