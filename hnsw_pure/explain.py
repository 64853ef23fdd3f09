"""The way of one search through an index, for a person."""

from dataclasses import dataclass, field

import numpy as np

from .graph import Graph
from .search import Visited, beam, descend
from .table import VectorTable


@dataclass(frozen=True)
class Step:
    """A node that the descent went to, or began at. looked_at: vectors, to get there."""

    layer: int
    id: int
    score: float
    looked_at: int


@dataclass(frozen=True)
class Explanation:
    """why: it walked or scanned; steps: of the descent, none of a scan; turns and looked_at: on the ground, how many times the nearest
    nodes were taken to go on from, and vectors; ids and scores (n,): the hits, best first."""

    why: str
    steps: tuple[Step, ...]
    turns: int
    looked_at: int
    ids: np.ndarray = field(compare=False)
    scores: np.ndarray = field(compare=False)

    def __str__(self) -> str:
        lines = [self.why]
        lines += [f"  layer {step.layer}: id {step.id}, score {step.score:.4f}, {step.looked_at} vectors looked at" for step in self.steps]
        ground = f"{self.looked_at} vectors looked at"
        lines.append(f"  ground: {ground} in {self.turns} turns" if self.turns else f"  {ground}")
        lines += [f"  {rank}. id {id}, score {score:.4f}" for rank, (id, score) in enumerate(zip(self.ids, self.scores, strict=True), 1)]
        return "\n".join(lines)


class _Counting:
    """A table that writes down which slots were looked at, call by call."""

    def __init__(self, table: VectorTable) -> None:
        self._table = table
        self.ids = table.ids
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []

    def closeness(self, slots: np.ndarray, query) -> np.ndarray:
        values = self._table.closeness(slots, query)
        self.calls.append((slots, values))
        return values


def walked(graph: Graph, table: VectorTable, query: np.ndarray, ef: int, allowed: np.ndarray | None) -> tuple[tuple[Step, ...], int, int]:
    """Steps of the descent, turns on the ground and vectors looked at there, for a prepared query (dim,)."""
    asked, counting = table.codec.ask(query[None]), _Counting(table)
    start = descend(graph, counting, asked)
    path, layers = [], iter(range(len(graph.upper), 0, -1))
    layer, best = next(layers, 0), -np.inf
    for slots, values in counting.calls:
        place = int(values.argmax())
        if values[place] > best:
            best, here = values[place], int(slots[place])
            score = float(table.scores(np.array([here]), query)[0])
            path.append(Step(layer, int(table.ids[here]), score, len(slots)))
        else:
            path.append(Step(layer, path[-1].id, path[-1].score, len(slots)))
            layer = next(layers, 0)
    counting.calls.clear()
    beam(graph.ground, counting, asked, start, ef, Visited(), allowed)
    return tuple(path), len(counting.calls) - 1, sum(len(slots) for slots, _ in counting.calls)
