"""The edges of a graph as flat arrays, for walks over many of them: each edge has a slot, and the slots are sorted by either end.

Slots are laid out at once (compressed sparse rows) and changed in place when an edge takes another weight or goes. Edges that come
later take the spare slots behind, found through dicts, until there are none left and all is laid out anew. Weights are float64, as the
rows have them, so that fading and pruning do the same here as there. 1,000,000 edges take 26 MB.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

GONE = -1.0  # the weight of a slot whose edge was removed
SPARE = 4096  # slots behind those that are laid out, or an eighth of them

Numbers = tuple[int, int, int]  # of an edge's source, relation and target


@dataclass(frozen=True)
class Level:
    """Nodes that a walk reaches with its next step, each once: by its heaviest edge, of equals the one from the smallest number."""

    node: np.ndarray  # (n,) int32
    parent: np.ndarray  # (n,) int32
    slot: np.ndarray  # (n,) int32


class Adjacency:
    def __init__(self, source: np.ndarray, relation: np.ndarray, target: np.ndarray, weight: np.ndarray):
        """(n,) each: int32, int16, int32, float64. Nodes and relations are small integers."""
        self._lay(source, relation, target, weight)

    def _lay(self, source: np.ndarray, relation: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        order, count = np.argsort(source, kind="stable"), len(source)
        room = count + max(SPARE, count // 8)
        self.source, self.target = np.zeros(room, np.int32), np.zeros(room, np.int32)
        self.relation, self.weight = np.zeros(room, np.int16), np.full(room, GONE)
        self.source[:count], self.target[:count] = source[order], target[order]
        self.relation[:count], self.weight[:count] = relation[order], weight[order]
        self.nodes = int(max(source.max(), target.max())) + 1 if count else 0  # above every number of a node
        self._out = _starts(self.source[:count], self.nodes)
        self._in = _starts(self.target[:count], self.nodes)
        self._by_target = np.argsort(self.target[:count], kind="stable").astype(np.int32)  # slots
        self._laid = self._used = count
        self._later_out: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)  # source -> (relation, target) -> slot
        self._later_in: dict[int, list[int]] = defaultdict(list)  # target -> slots

    def __len__(self) -> int:
        """Edges."""
        return int((self.weight[: self._used] >= 0).sum())

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in (self.source, self.target, self.relation, self.weight, self._out, self._in, self._by_target))

    # Changes

    def put(self, edges: Sequence[tuple[int, int, int, float]]) -> None:
        """Edges (source, relation, target, weight), known or new."""
        if len(edges) > max(SPARE, self._laid // 8):
            return self._lay_with(edges)
        for source, relation, target, weight in edges:
            slot = self.slot(source, relation, target)
            if slot is None:
                slot = self._new(source, relation, target)
            self.weight[slot] = weight

    def _new(self, source: int, relation: int, target: int) -> int:
        if self._used == len(self.source):
            self._lay(*self._left())
        slot, self._used = self._used, self._used + 1
        self.source[slot], self.relation[slot], self.target[slot] = source, relation, target
        self.nodes = max(self.nodes, source + 1, target + 1)
        self._later_out[source][relation, target] = slot
        self._later_in[target].append(slot)
        return slot

    def _left(self) -> tuple[np.ndarray, ...]:
        left = np.flatnonzero(self.weight[: self._used] >= 0)
        return self.source[left], self.relation[left], self.target[left], self.weight[left]

    def _lay_with(self, edges: Sequence[tuple[int, int, int, float]]) -> None:
        more = columns(edges)
        source, relation, target, weight = (np.concatenate(parts) for parts in zip(self._left(), more, strict=True))
        order = np.lexsort((np.arange(len(source)), target, relation, source))
        keys = np.stack([source, relation, target])[:, order]
        last = order[np.append((np.diff(keys) != 0).any(axis=0), True)]  # of the same edge the one that came last
        self._lay(source[last], relation[last], target[last], weight[last])

    def drop(self, edge: Numbers) -> None:
        slot = self.slot(*edge)
        if slot is not None:
            self.weight[slot] = GONE

    def detach(self, nodes: Iterable[int]) -> None:
        """Removes every edge of these nodes."""
        _, _, slots = self.of(np.array(list(nodes), np.int32), None, "both", 0.0)
        self.weight[slots] = GONE

    def fade(self, relations: Sequence[int], factor: float, low: int, high: int) -> None:
        """Multiplies the weights of the edges of these relations whose source is above ``low`` and not above ``high``."""
        self.weight[self._edges_of(relations, low, high)] *= factor

    def prune(self, relations: Sequence[int], below: float, low: int, high: int) -> None:
        """Removes those of them that are lighter."""
        slots = self._edges_of(relations, low, high)
        self.weight[slots[self.weight[slots] < below]] = GONE

    def _edges_of(self, relations: Sequence[int], low: int, high: int) -> np.ndarray:
        first, last = (self._out[min(end + 1, len(self._out) - 1)] for end in (low, high))
        sources = self.source[self._laid : self._used]
        slots = np.concatenate([np.arange(first, last), np.flatnonzero((sources > low) & (sources <= high)) + self._laid])
        return slots[np.isin(self.relation[slots], np.array(relations, np.int16)) & (self.weight[slots] >= 0)]

    # Looking

    def slot(self, source: int, relation: int, target: int) -> int | None:
        """Where an edge is, or was before it was removed."""
        if source < len(self._out) - 1:
            low, high = self._out[source], self._out[source + 1]
            match = np.flatnonzero((self.target[low:high] == target) & (self.relation[low:high] == relation))
            if len(match):
                return int(low + match[0])
        return self._later_out[source].get((relation, target)) if source in self._later_out else None

    def edge(self, slot: int) -> Numbers:
        return int(self.source[slot]), int(self.relation[slot]), int(self.target[slot])

    def of(
        self, nodes: np.ndarray, relations: np.ndarray | None, direction: str, least: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The edges of nodes (n,) int32: which of the nodes, the node at the other end, the slot, (m,) each.

        ``relations``: their numbers, None for all; ``least``: the lightest that count.
        """
        near, far, slots = [], [], []
        if direction in ("out", "both"):
            laid = _runs(self._out, nodes)
            later = [slot for node in nodes.tolist() for slot in self._later_out.get(node, {}).values()] if self._later_out else []
            found = np.concatenate([laid, np.array(later, np.int32)]).astype(np.int32)
            near, far, slots = [self.source[found]], [self.target[found]], [found]
        if direction in ("in", "both"):
            laid = self._by_target[_runs(self._in, nodes)]
            later = [slot for node in nodes.tolist() for slot in self._later_in.get(node, ())] if self._later_in else []
            found = np.concatenate([laid, np.array(later, np.int32)]).astype(np.int32)
            near, far, slots = [*near, self.target[found]], [*far, self.source[found]], [*slots, found]
        ends, others, places = np.concatenate(near), np.concatenate(far), np.concatenate(slots)
        kept = self.weight[places] >= max(least, 0.0)
        if relations is not None:
            kept &= np.isin(self.relation[places], relations)
        return ends[kept], others[kept], places[kept]

    # Walks

    def levels(self, starts: np.ndarray, relations: np.ndarray | None, direction: str, least: float) -> Iterator[Level]:
        """Breadth first: with each step the nodes that no step before it reached, until there are none."""
        starts = starts[starts < self.nodes]
        seen = np.zeros(self.nodes, bool)
        seen[starts] = True
        while len(starts):
            near, far, slots = self.of(starts, relations, direction, least)
            new = ~seen[far]
            near, far, slots = near[new], far[new], slots[new]
            order = np.lexsort((slots, near, -self.weight[slots], far))
            first = order[_firsts(far[order])]
            starts = far[first]
            seen[starts] = True
            if len(starts):
                yield Level(starts, near[first], slots[first])

    def fewest(self, source: int, target: int, relations: np.ndarray | None, direction: str, least: float) -> list[int] | None:
        """Slots of the way with the fewest edges: level by level from both ends, always from the side that has fewer, until they meet."""
        back = {"out": "in", "in": "out", "both": "both"}[direction]
        sides = [
            _Side(self.levels(np.array([end], np.int32), relations, way, least), end) for end, way in ((source, direction), (target, back))
        ]
        while True:
            one = min(sides, key=lambda side: side.width)
            level = next(one.levels, None)
            if level is None:
                return None
            one.take(level)
            other = sides[1 - sides.index(one)]
            met = [node for node in level.node.tolist() if node in other.came]
            if met:
                return [*reversed(sides[0].way(min(met))), *sides[1].way(min(met))]

    def cheapest(self, source: int, target: int, relations: np.ndarray | None, direction: str, least: float) -> list[int] | None:
        """Slots of the way with the least sum of 1 / weight; an edge without weight is no way.

        All edges of the nodes that became cheaper are tried at once, as long as one is cheaper than the way that is known (Bellman and
        Ford): Dijkstra's order would need a step of Python for each node.
        """
        if max(source, target) >= self.nodes:
            return None
        costs, came = np.full(self.nodes, np.inf), np.full(self.nodes, -1, np.int32)
        parent = np.full(self.nodes, -1, np.int32)
        costs[source] = 0.0
        active = np.array([source], np.int32)
        while len(active):
            near, far, slots = self.of(active, relations, direction, least)
            heavy = self.weight[slots] > 0
            near, far, slots = near[heavy], far[heavy], slots[heavy]
            cost = costs[near] + 1 / self.weight[slots]
            better = (cost < costs[far]) & (cost < costs[target])
            near, far, slots, cost = near[better], far[better], slots[better], cost[better]
            order = np.lexsort((slots, cost, far))
            first = order[_firsts(far[order])]
            active = far[first]
            costs[active], came[active], parent[active] = cost[first], slots[first], near[first]
        if not np.isfinite(costs[target]):
            return None
        way, node = [], target
        while node != source:
            way.append(int(came[node]))
            node = int(parent[node])
        return way[::-1]


class _Side:
    """One end of a search from both: where each node of it was come to from."""

    def __init__(self, levels: Iterator[Level], end: int):
        self.levels, self.end, self.width = levels, end, 1
        self.came: dict[int, tuple[int, int]] = {end: (end, -1)}  # node -> (the node before it, the slot)

    def take(self, level: Level) -> None:
        self.width = len(level.node)
        steps = zip(level.parent.tolist(), level.slot.tolist(), strict=True)
        self.came.update(zip(level.node.tolist(), steps, strict=True))

    def way(self, node: int) -> list[int]:
        """Slots from a node back to the end."""
        slots = []
        while node != self.end:
            node, slot = self.came[node]
            slots.append(slot)
        return slots


def columns(edges: Sequence[tuple[int, int, int, float]]) -> tuple[np.ndarray, ...]:
    """Rows (source, relation, target, weight) as the arrays of an Adjacency."""
    kinds = (np.int32, np.int16, np.int32, np.float64)
    return tuple(np.fromiter((edge[place] for edge in edges), kind, len(edges)) for place, kind in enumerate(kinds))


def _starts(ends: np.ndarray, nodes: int) -> np.ndarray:
    """(nodes + 1,) int32: where the run of each node begins."""
    return np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=nodes))]).astype(np.int32)


def _runs(starts: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """All places of the runs of these nodes."""
    laid = nodes[nodes < len(starts) - 1]
    counts = starts[laid + 1] - starts[laid]
    return np.arange(counts.sum()) + np.repeat(starts[laid] - np.cumsum(counts) + counts, counts)


def _firsts(values: np.ndarray) -> np.ndarray:
    """Places in a sorted array where a value begins."""
    return np.flatnonzero(np.diff(values, prepend=-1))
