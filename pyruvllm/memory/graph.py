"""The graph over records, documents and sessions: edges between ids, kept in SQL alone, so that they share the fate of the rows.

Relations in use: ``follows`` (from a passage or turn to the one before it), ``contains``, ``cites``, ``same_topic``, ``agent_step``,
``derived``. Any other name is as good.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..config import Clock
from ..errors import ConfigError, NotFoundError
from ..storage.driver import Driver

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


class Graph:
    def __init__(self, driver: Driver, clock: Clock):
        self._driver, self._clock = driver, clock

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
        return written

    def edges(
        self, node: str, relation: str | None = None, direction: Literal["out", "in", "both"] = "both", limit: int | None = None
    ) -> list[Edge]:
        """The edges of a node, heaviest first."""
        sides = {"out": ["source"], "in": ["target"], "both": ["source", "target"]}.get(direction)
        if sides is None:
            raise ConfigError(f"a direction is out, in or both, not {direction!r}")
        test = " AND relation = ?" if relation else ""
        parameters = [node, relation] if relation else [node]
        # UNION and not OR: each half goes through its own index.
        sql = " UNION ".join(f"SELECT {COLUMNS} FROM edges WHERE {side} = ?{test}" for side in sides)
        rows = self._driver.query(
            f"{sql} ORDER BY weight DESC, created_at, source, target LIMIT ?",
            [*(parameters * len(sides)), -1 if limit is None else limit],
        )
        return [Edge(*row) for row in rows]  # type: ignore[arg-type]

    def neighbours(self, node: str, relation: str | None = None, direction: Literal["out", "in", "both"] = "both") -> list[str]:
        """Ids at the other ends, heaviest edge first, each once."""
        return list(dict.fromkeys(e.target if e.source == node else e.source for e in self.edges(node, relation, direction)))

    def scale(self, source: str, target: str, relation: str, factor: float, *, most: float = 10.0) -> Edge:
        """Multiplies an edge's weight, up to ``most``: 1.05 for one that was of use, 0.98 for one that was not. NotFoundError."""
        if not 0 <= factor < float("inf"):
            raise ConfigError(f"a factor is 0 or more, not {factor!r}")
        key = [source, relation, target]
        changed = self._driver.execute(
            "UPDATE edges SET weight = min(?, weight * ?) WHERE source = ? AND relation = ? AND target = ?", [most, factor, *key]
        )
        if not changed:
            raise NotFoundError(f"no edge {source!r} {relation!r} {target!r}")
        rows = self._driver.query(f"SELECT {COLUMNS} FROM edges WHERE source = ? AND relation = ? AND target = ?", key)
        return Edge(*rows[0])  # type: ignore[arg-type]

    def unlink(self, source: str, target: str, relation: str) -> None:
        """Removes one edge. NotFoundError."""
        sql = "DELETE FROM edges WHERE source = ? AND relation = ? AND target = ?"
        if not self._driver.execute(sql, [source, relation, target]):
            raise NotFoundError(f"no edge {source!r} {relation!r} {target!r}")

    def detach(self, nodes: Sequence[str]) -> int:
        """Removes every edge that touches one of the nodes; returns how many there were."""
        ids = json.dumps(list(nodes))
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
