"""The edges of a graph as flat arrays (compressed sparse rows), both ways, for walks over many of them.

A base is laid out at once and changed in place where an edge takes another weight or goes; edges that come later stand beside it in
dicts until there are enough of them to lay the base out anew. 1,000,000 edges take 20 MB and the names of their nodes.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GONE = -1.0  # the weight of an edge that was removed
BESIDE = 4096  # edges that may stand beside the base, or an eighth of it

Step = tuple[str, str, str]  # (a node, relation, the next node)


@dataclass(frozen=True)
class Level:
    """Nodes that a walk reaches with its next step, each once: by its heaviest edge."""

    node: np.ndarray  # (n,) int32
    parent: np.ndarray  # (n,) int32
    relation: np.ndarray  # (n,) int16
    weight: np.ndarray  # (n,) float32


class Rows:
    """The edges by one of their ends."""

    def __init__(self, near: np.ndarray, far: np.ndarray, relation: np.ndarray, weight: np.ndarray, nodes: int):
        order = np.argsort(near, kind="stable")
        self.start = np.concatenate([[0], np.cumsum(np.bincount(near, minlength=nodes))])  # (nodes + 1,) int64
        self.other, self.relation, self.weight = far[order], relation[order], weight[order]
        self.beside: dict[int, dict[tuple[int, int], float]] = defaultdict(dict)  # node -> (other, relation) -> weight

    def put(self, near: int, far: int, relation: int, weight: float) -> bool:
        """Gives an edge a weight; whether it was there."""
        if near < len(self.start) - 1:
            low, high = self.start[near], self.start[near + 1]
            match = np.flatnonzero((self.other[low:high] == far) & (self.relation[low:high] == relation))
            if len(match):
                self.weight[low + match[0]] = weight
                return True
        row = self.beside[near] if weight >= 0 else self.beside.get(near, {})
        known = (far, relation) in row
        if weight >= 0:
            row[far, relation] = weight
        else:
            row.pop((far, relation), None)
        return known

    def of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(near, far, relation, weight) of all edges of these nodes, removed ones among them."""
        laid = nodes[nodes < len(self.start) - 1]
        counts = self.start[laid + 1] - self.start[laid]
        near = np.repeat(laid, counts)
        ends = np.cumsum(counts)
        places = np.arange(len(near)) + np.repeat(self.start[laid] - ends + counts, counts)
        extra = [
            (node, far, relation, weight)
            for node in (nodes.tolist() if self.beside else ())
            for (far, relation), weight in self.beside.get(node, {}).items()
        ]
        columns = near, self.other[places], self.relation[places], self.weight[places]
        if not extra:
            return columns
        return tuple(  # type: ignore[return-value]
            np.concatenate([column, np.asarray(more, column.dtype)]) for column, more in zip(columns, zip(*extra, strict=True), strict=True)
        )


class Adjacency:
    def __init__(self, slices: Iterable[Sequence[Any]]):
        """From slices of rows (source, relation, target, weight)."""
        self.names: list[str] = []
        self.relations: list[str] = []
        self._places: dict[str, int] = {}
        self._relations: dict[str, int] = {}
        columns: list[tuple[np.ndarray, ...]] = []
        for rows in slices:
            count = len(rows)
            columns.append(
                (
                    np.fromiter((self._place(row[0]) for row in rows), np.int32, count),
                    np.fromiter((self._place(row[2]) for row in rows), np.int32, count),
                    np.fromiter((self._relation(row[1]) for row in rows), np.int16, count),
                    np.fromiter((row[3] for row in rows), np.float32, count),
                )
            )
        self._lay(*(np.concatenate(parts) for parts in zip(*columns, strict=True)) if columns else _nothing())

    def _lay(self, source: np.ndarray, target: np.ndarray, relation: np.ndarray, weight: np.ndarray) -> None:
        self.out = Rows(source, target, relation, weight, len(self.names))
        self.into = Rows(target, source, relation, weight, len(self.names))
        self._laid, self._beside = len(source), 0

    def __len__(self) -> int:
        """Edges."""
        return int((self.out.weight >= 0).sum()) + sum(map(len, self.out.beside.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for rows in (self.out, self.into) for a in (rows.start, rows.other, rows.relation, rows.weight))

    def set(self, source: str, relation: str, target: str, weight: float) -> None:
        ends, kind = (self._place(source), self._place(target)), self._relation(relation)
        known = self.out.put(*ends, kind, weight)
        self.into.put(*reversed(ends), kind, weight)
        self._beside += not known
        if self._beside > max(BESIDE, self._laid // 8):
            near, far, kinds, weights = self.out.of(np.arange(len(self.names), dtype=np.int32))
            left = weights >= 0
            self._lay(near[left].astype(np.int32), far[left], kinds[left], weights[left])

    def drop(self, source: str, relation: str, target: str) -> None:
        if source in self._places and target in self._places and relation in self._relations:
            ends, kind = (self._places[source], self._places[target]), self._relations[relation]
            self.out.put(*ends, kind, GONE)
            self.into.put(*reversed(ends), kind, GONE)

    def detach(self, nodes: Iterable[str]) -> None:
        for node in self.places(nodes).tolist():
            for rows, other in ((self.out, self.into), (self.into, self.out)):
                _, far, kinds, _ = rows.of(np.array([node], np.int32))
                for end, kind in zip(far.tolist(), kinds.tolist(), strict=True):
                    rows.put(node, end, kind, GONE)
                    other.put(end, node, kind, GONE)

    def places(self, names: Iterable[str]) -> np.ndarray:
        """(n,) int32 of those of the nodes that have edges or had some."""
        return np.array([self._places[name] for name in dict.fromkeys(names) if name in self._places], np.int32)

    def relations_of(self, names: Sequence[str] | str | None) -> np.ndarray | None:
        """Their numbers, (n,) int16; None for all."""
        if names is None:
            return None
        wanted = [names] if isinstance(names, str) else names
        return np.array([self._relations[name] for name in wanted if name in self._relations], np.int16)

    def levels(self, starts: np.ndarray, relations: np.ndarray | None, direction: str, least: float) -> Iterator[Level]:
        """Breadth first: with each step the nodes that no step before it reached, until there are none."""
        seen = np.zeros(len(self.names), bool)
        seen[starts] = True
        nodes = starts
        while len(nodes):
            near, far, kinds, weights = self._edges(nodes, relations, direction, least)
            new = ~seen[far]
            near, far, kinds, weights = near[new], far[new], kinds[new], weights[new]
            order = np.lexsort((near, -weights, far))  # of the edges to one node the heaviest first
            first = order[np.flatnonzero(np.diff(far[order], prepend=-1))]
            nodes = far[first]
            seen[nodes] = True
            if len(nodes):
                yield Level(nodes, near[first], kinds[first], weights[first])

    def fewest(self, source: int, target: int, relations: np.ndarray | None, direction: str, least: float) -> list[Step] | None:
        """The way with the fewest edges."""
        came: dict[int, tuple[int, int]] = {}
        for level in self.levels(np.array([source], np.int32), relations, direction, least):
            came.update(zip(level.node.tolist(), zip(level.parent.tolist(), level.relation.tolist(), strict=True), strict=True))
            if target in came:
                return self._way(came, source, target)
        return None

    def cheapest(self, source: int, target: int, relations: np.ndarray | None, direction: str, least: float) -> list[Step] | None:
        """The way with the least sum of 1 / weight; an edge without weight is no way."""
        costs, came, done = {source: 0.0}, dict[int, tuple[int, int]](), set[int]()
        queue = [(0.0, source)]
        while queue:
            cost, node = heapq.heappop(queue)
            if node == target:
                return self._way(came, source, target)
            if node in done:
                continue
            done.add(node)
            _, far, kinds, weights = self._edges(np.array([node], np.int32), relations, direction, least)
            for other, kind, weight in zip(far.tolist(), kinds.tolist(), weights.tolist(), strict=True):
                if weight > 0 and (reached := cost + 1 / weight) < costs.get(other, np.inf):
                    costs[other], came[other] = reached, (node, kind)
                    heapq.heappush(queue, (reached, other))
        return None

    def _way(self, came: dict[int, tuple[int, int]], source: int, target: int) -> list[Step]:
        steps: list[Step] = []
        while target != source:
            parent, kind = came[target]
            steps.append((self.names[parent], self.relations[kind], self.names[target]))
            target = parent
        return steps[::-1]

    def _edges(
        self, nodes: np.ndarray, relations: np.ndarray | None, direction: str, least: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        sides = [rows.of(nodes) for rows, name in ((self.out, "out"), (self.into, "in")) if direction in (name, "both")]
        near, far, kinds, weights = (np.concatenate(parts) for parts in zip(*sides, strict=True))
        kept = weights >= max(least, 0.0)
        if relations is not None:
            kept &= np.isin(kinds, relations)
        return near[kept], far[kept], kinds[kept], weights[kept]

    def _place(self, name: str) -> int:
        place = self._places.setdefault(name, len(self.names))
        if place == len(self.names):
            self.names.append(name)
        return place

    def _relation(self, name: str) -> int:
        place = self._relations.setdefault(name, len(self.relations))
        if place == len(self.relations):
            self.relations.append(name)
        return place


def _nothing() -> tuple[np.ndarray, ...]:
    return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int16), np.empty(0, np.float32)
