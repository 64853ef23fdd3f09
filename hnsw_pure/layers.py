"""Neighbour lists: those of the ground in one array, those of all layers above it in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arrays import Empty, grown, shortened

if TYPE_CHECKING:
    from .graph import Graph


class Layer:
    """The ground layer: the list of slot s is row s of `links` (capacity, width) int32, padded at its end with -1."""

    def __init__(self, width: int, empty: Empty) -> None:
        self.width = width
        self.links = empty((0, width), np.int32)
        self._empty = empty

    def reserve(self, capacity: int) -> None:
        self.links = grown(self._empty, self.links, capacity, -1)

    def shrink(self, length: int) -> None:
        self.links = shortened(self._empty, self.links, length)

    def lists(self, slots: np.ndarray) -> np.ndarray:
        """Neighbours of slots (n,), (n, width) int32, padded with -1; of a single slot a view (width,)."""
        return self.links[slots]

    def list(self, slot: int) -> np.ndarray:
        """Neighbours of one slot, (degree,) int32."""
        held = self.lists(slot)
        return held[held >= 0]

    def assign(self, slot: int, neighbours: np.ndarray) -> None:
        row = self.lists(slot)
        row[: len(neighbours)] = neighbours
        row[len(neighbours) :] = -1

    def append(self, slots: np.ndarray, places: np.ndarray, neighbours: np.ndarray) -> None:
        """Writes neighbours (n,) at places (n,) of the lists of slots (n,)."""
        self.links[slots, places] = neighbours

    def holders(self, dead: np.ndarray) -> np.ndarray:
        """Slots whose lists name a dead one; `dead` is a mask over slots whose last entry, where -1 looks, is False."""
        return np.flatnonzero(dead[self.links].any(axis=1))


def renamed(array: np.ndarray, low: int, new: np.ndarray) -> np.ndarray:
    """Writes new[i] in place of low + i wherever an array (n, ...) names it. Returns the rows that changed, (n,) bool."""
    named = (array >= low) & (array < low + len(new))
    array[named] = new[array[named] - low]
    return named.any(axis=tuple(range(1, named.ndim)))


class Towers:
    """The lists of all upper layers: those of one slot follow each other, its list on layer l is row first[slot] + l - 1 of `links`.

    links  (rows, width) int32, padded with -1
    first  (capacity,) int32, -1 where a slot is on no upper layer
    """

    def __init__(self, width: int, empty: Empty) -> None:
        self.links = empty((0, width), np.int32)
        self.first = empty(0, np.int32)
        self._empty = empty
        self._used = 0  # rows that are in a tower, or were
        self._free: dict[int, list[int]] = {}  # by height, first rows of towers whose slot is gone

    def reserve(self, capacity: int) -> None:
        self.first = grown(self._empty, self.first, capacity, -1)

    def enrol(self, slots: np.ndarray, heights: np.ndarray) -> None:
        """Gives slots (n,) towers of heights (n,) >= 1 with empty lists."""
        for slot, height in zip(slots.tolist(), heights.tolist(), strict=True):
            if self._free.get(height):
                self.first[slot] = self._free[height].pop()
            else:
                self.first[slot] = self._used
                self._used += height
        self.links = grown(self._empty, self.links, self._used, -1)

    def expel(self, slots: np.ndarray, heights: np.ndarray) -> None:
        """Takes slots (n,) and their towers of heights (n,) >= 1 out."""
        for slot, height in zip(slots.tolist(), heights.tolist(), strict=True):
            first = int(self.first[slot])
            self.links[first : first + height] = -1
            self._free.setdefault(height, []).append(first)
        self.first[slots] = -1

    def shrink(self, heights: np.ndarray) -> None:
        """Keeps slots 0 ... n - 1, with towers of heights (n,) >= 0, and puts these in order and next to each other."""
        starts = np.cumsum(heights) - heights
        rows = np.repeat(self.first[: len(heights)] - starts, heights.astype(np.intp)) + np.arange(heights.sum())
        links, first = self._empty((len(rows), self.links.shape[1]), np.int32), self._empty(len(heights), np.int32)
        links[...] = self.links[rows]
        first[...] = np.where(heights > 0, starts, -1)
        self.links, self.first, self._used, self._free = links, first, len(rows), {}


class UpperLayer(Layer):
    """A layer of few nodes, all those whose level is at least its own; its lists are in the graph's towers."""

    def __init__(self, width: int, level: int, graph: Graph) -> None:
        self.width = width
        self._level = level
        self._graph = graph

    def members(self) -> np.ndarray:
        """Slots on this layer, ascending, (n,) int64."""
        return np.flatnonzero(self._graph.levels >= self._level)

    def rows(self, slots: np.ndarray) -> np.ndarray:
        """Where the lists of slots (n,) are in the towers, (n,) int32."""
        return self._graph.towers.first[slots] + (self._level - 1)

    def lists(self, slots: np.ndarray) -> np.ndarray:
        return self._graph.towers.links[self.rows(slots)]

    def append(self, slots: np.ndarray, places: np.ndarray, neighbours: np.ndarray) -> None:
        self._graph.towers.links[self.rows(slots), places] = neighbours

    def holders(self, dead: np.ndarray) -> np.ndarray:
        members = self.members()
        return members[dead[self.lists(members)].any(axis=1)]
