"""The graph over records, documents and sessions: edges between ids, kept in SQL alone, so that they share the fate of the rows.

Relations in use: ``follows`` (from a passage or turn to the one before it), ``contains``, ``cites``, ``same_topic``, ``similar`` (a query
to earlier ones like it), ``agent_step``, ``derived`` (what was learned, to what it was learned from). Any other name is as good.
Walks over many edges go through ``Adjacency``, flat arrays that are made from the rows at the first walk.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..config import Clock
from ..errors import ConfigError, NotFoundError
from ..storage.driver import Driver
from .adjacency import Adjacency

Direction = Literal["out", "in", "both"]
STRUCTURE = ("follows", "contains", "cites", "derived")  # what is so; it neither fades nor is pruned unless it is named
USEFUL, USELESS = 1.05, 0.98  # what a weight is multiplied with when the edge helped, or did not
HEAVIEST = 10.0
SLICE = 50_000  # rows read at a time
COLUMNS = "source, target, relation, weight, confidence, created_at"


@dataclass(frozen=True)
class Edge:
    """``source`` relation ``target``, as in: the second passage ``follows`` the first. Times are UTC milliseconds."""

    source: str
    target: str
    relation: str
    weight: float = 1.0
    confidence: float = 1.0
    created_at: int = 0  # 0: filled in when it is written


@dataclass(frozen=True)
class Reached:
    """A node that a walk came to: in how many steps, and by which edge from which node (the heaviest of those that lead there)."""

    id: str
    depth: int
    weight: float
    relation: str
    through: str


class Graph:
    def __init__(self, driver: Driver, clock: Clock):
        self._driver, self._clock = driver, clock
        self._adjacency: Adjacency | None = None

    @property
    def adjacency(self) -> Adjacency:
        """The edges in memory, made from the rows when they are first asked for."""
        if self._adjacency is None:
            self._adjacency = Adjacency(self._slices())
        return self._adjacency

    def forget_adjacency(self) -> None:
        """Lets it be made anew: the rows are not what it followed."""
        self._adjacency = None

    def _slices(self) -> Iterable[list[Any]]:
        key: tuple[Any, ...] = ("", "", "")
        sql = f"""SELECT source, relation, target, weight FROM edges WHERE (source, relation, target) > (?, ?, ?)
            ORDER BY source, relation, target LIMIT {SLICE}"""
        while rows := self._driver.query(sql, key):
            yield rows
            key = rows[-1][:3]

    def link(self, source: str, target: str, relation: str, *, weight: float = 1.0, confidence: float = 1.0) -> Edge:
        """One edge; see ``link_many``."""
        return self.link_many([Edge(source, target, relation, weight, confidence)])[0]

    def link_many(self, edges: Iterable[Edge]) -> list[Edge]:
        """Writes edges; one that is there already takes the new weight and confidence and keeps its time. All or none."""
        now = self._clock.now_ms()
        written = [Edge(e.source, e.target, e.relation, float(e.weight), float(e.confidence), e.created_at or now) for e in edges]
        for edge in written:
            if not (edge.source and edge.target and edge.relation):
                raise ConfigError(f"an edge names its source, target and relation, {edge} does not")
            if not (edge.weight >= 0 and 0 <= edge.confidence <= 1):  # NaN fails both
                raise ConfigError(f"an edge has a weight of 0 or more and a confidence between 0 and 1, {edge} does not")
        with self._driver.transaction():
            self._driver.executemany(
                f"INSERT INTO edges ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (source, relation, target) "
                "DO UPDATE SET weight = excluded.weight, confidence = excluded.confidence",
                [(e.source, e.target, e.relation, e.weight, e.confidence, e.created_at) for e in written],
            )
        if self._adjacency is not None:
            for edge in written:
                self._adjacency.set(edge.source, edge.relation, edge.target, edge.weight)
        return written

    def edges(self, node: str, relation: str | None = None, direction: Direction = "both", limit: int | None = None) -> list[Edge]:
        """The edges of a node, heaviest first."""
        sides = {"out": ["source"], "in": ["target"], "both": ["source", "target"]}[_direction(direction)]
        test = " AND relation = ?" if relation else ""
        parameters = [node, relation] if relation else [node]
        # UNION and not OR: each half goes through its own index.
        sql = " UNION ".join(f"SELECT {COLUMNS} FROM edges WHERE {side} = ?{test}" for side in sides)
        rows = self._driver.query(
            f"{sql} ORDER BY weight DESC, created_at, source, target LIMIT ?",
            [*(parameters * len(sides)), -1 if limit is None else limit],
        )
        return [Edge(*row) for row in rows]  # type: ignore[arg-type]

    def neighbours(self, node: str, relation: str | None = None, direction: Direction = "both") -> list[str]:
        """Ids at the other ends, heaviest edge first, each once."""
        return list(dict.fromkeys(e.target if e.source == node else e.source for e in self.edges(node, relation, direction)))

    def traverse(
        self,
        start: str | Sequence[str],
        *,
        depth: int = 2,
        relations: Sequence[str] | str | None = None,
        direction: Direction = "both",
        least: float = 0.0,
        limit: int = 1000,
    ) -> list[Reached]:
        """What can be reached over edges of these relations (None: all) of at least that weight: the nearest first, then the heaviest."""
        if depth < 1 or limit < 1:
            raise ConfigError(f"depth and limit are 1 or more, not {depth} and {limit}")
        edges = self.adjacency
        starts = edges.places([start] if isinstance(start, str) else start)
        found: list[Reached] = []
        levels = edges.levels(starts, edges.relations_of(relations), _direction(direction), least)
        for step, level in zip(range(1, depth + 1), levels, strict=False):
            order = np.argsort(-level.weight, kind="stable")[: limit - len(found)]
            for place in order.tolist():
                node, parent = edges.names[level.node[place]], edges.names[level.parent[place]]
                found.append(Reached(node, step, float(level.weight[place]), edges.relations[level.relation[place]], parent))
            if len(found) >= limit:
                break
        return found

    def shortest_path(
        self,
        source: str,
        target: str,
        *,
        by: Literal["hops", "weight"] = "hops",
        relations: Sequence[str] | str | None = None,
        direction: Direction = "both",
        least: float = 0.0,
    ) -> list[Edge] | None:
        """The edges from one node to another, in order; None where there is no way.

        ``by`` "hops": the fewest edges; "weight": the least sum of 1 / weight, so that heavy edges are short (Dijkstra 1959).
        """
        if by not in ("hops", "weight"):
            raise ConfigError(f"by is {by!r}; hops and weight are right")
        edges = self.adjacency
        places = edges.places([source, target])
        if source == target:
            return []
        if len(places) < 2:
            return None
        walk = edges.fewest if by == "hops" else edges.cheapest
        steps = walk(int(places[0]), int(places[1]), edges.relations_of(relations), _direction(direction), least)
        return None if steps is None else [self._step(*step) for step in steps]

    def _step(self, one: str, relation: str, other: str) -> Edge:
        sql = f"""SELECT {COLUMNS} FROM edges WHERE source = ?1 AND relation = ?2 AND target = ?3
            UNION SELECT {COLUMNS} FROM edges WHERE source = ?3 AND relation = ?2 AND target = ?1 ORDER BY weight DESC"""
        return Edge(*self._driver.query(sql, [one, relation, other])[0])  # type: ignore[arg-type]

    def scale(self, source: str, target: str, relation: str, factor: float, *, most: float = HEAVIEST) -> Edge:
        """Multiplies an edge's weight, up to ``most``. NotFoundError."""
        if not 0 <= factor < float("inf"):
            raise ConfigError(f"a factor is 0 or more, not {factor!r}")
        key = [source, relation, target]
        changed = self._driver.execute(
            "UPDATE edges SET weight = min(?, weight * ?) WHERE source = ? AND relation = ? AND target = ?", [most, factor, *key]
        )
        if not changed:
            raise NotFoundError(f"no edge {source!r} {relation!r} {target!r}")
        rows = self._driver.query(f"SELECT {COLUMNS} FROM edges WHERE source = ? AND relation = ? AND target = ?", key)
        edge = Edge(*rows[0])  # type: ignore[arg-type]
        if self._adjacency is not None:
            self._adjacency.set(source, relation, target, edge.weight)
        return edge

    def reinforce(self, source: str, target: str, relation: str, useful: bool) -> Edge:
        """5 % heavier where the edge helped, up to 10; 2 % lighter where it did not. NotFoundError."""
        return self.scale(source, target, relation, USEFUL if useful else USELESS)

    def decay(self, factor: float, relation: str | None = None) -> int:
        """Multiplies the weights of one relation, or of all that are not structure; returns of how many edges."""
        if not 0 <= factor <= 1:
            raise ConfigError(f"weights fade by a factor between 0 and 1, not {factor!r}")
        test, names = _fading(relation)
        return self._rewritten(f"UPDATE edges SET weight = weight * ? WHERE {test}", [factor, *names])

    def prune(self, below: float, relation: str | None = None) -> int:
        """Removes edges lighter than that, of one relation or of all that are not structure; returns how many."""
        test, names = _fading(relation)
        return self._rewritten(f"DELETE FROM edges WHERE weight < ? AND {test}", [below, *names])

    def _rewritten(self, sql: str, parameters: Sequence[Any]) -> int:
        changed = self._driver.execute(sql, parameters)
        self.forget_adjacency()
        return changed

    def unlink(self, source: str, target: str, relation: str) -> None:
        """Removes one edge. NotFoundError."""
        sql = "DELETE FROM edges WHERE source = ? AND relation = ? AND target = ?"
        if not self._driver.execute(sql, [source, relation, target]):
            raise NotFoundError(f"no edge {source!r} {relation!r} {target!r}")
        if self._adjacency is not None:
            self._adjacency.drop(source, relation, target)

    def detach(self, nodes: Sequence[str]) -> int:
        """Removes every edge that touches one of the nodes; returns how many there were."""
        ids = json.dumps(list(nodes))
        if self._adjacency is not None:
            self._adjacency.detach(nodes)
        with self._driver.transaction():
            # Both in one statement would scan the table; each alone uses its index.
            return sum(
                self._driver.execute(f"DELETE FROM edges WHERE {side} IN (SELECT value FROM json_each(?))", [ids])
                for side in ("source", "target")
            )

    def count(self, relation: str | None = None) -> int:
        if relation is None:
            return int(self._driver.query("SELECT count(*) FROM edges")[0][0])  # type: ignore[arg-type]
        return int(self._driver.query("SELECT count(*) FROM edges WHERE relation = ?", [relation])[0][0])  # type: ignore[arg-type]

    def beside(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """(later, earlier) numbers of records, one pair per ``follows`` edge that touches one of ``numbers``."""
        given = json.dumps([int(number) for number in numbers])
        # CROSS JOIN keeps SQLite to this order: from the few that are given, through the keys, to the few beside them.
        sql = """
            SELECT r.number, o.number FROM json_each(?) AS j CROSS JOIN records AS r CROSS JOIN edges AS e CROSS JOIN records AS o
                WHERE r.number = j.value AND e.source = r.id AND e.relation = 'follows' AND o.id = e.target
            UNION
            SELECT o.number, r.number FROM json_each(?) AS j CROSS JOIN records AS r CROSS JOIN edges AS e CROSS JOIN records AS o
                WHERE r.number = j.value AND e.target = r.id AND e.relation = 'follows' AND o.id = e.source
        """
        return self._driver.query(sql, [given, given])  # type: ignore[return-value]


def _direction(direction: str) -> Direction:
    if direction not in ("out", "in", "both"):
        raise ConfigError(f"a direction is out, in or both, not {direction!r}")
    return direction  # type: ignore[return-value]


def _fading(relation: str | None) -> tuple[str, Sequence[str]]:
    if relation is not None:
        return "relation = ?", [relation]
    return f"relation NOT IN ({', '.join('?' * len(STRUCTURE))})", STRUCTURE
