"""The graph over all that has an id: typed, weighted, timed edges, in SQL and so in the transactions of what they connect.

Relations that are laid on write: ``contains`` (a document its passages, a session its witness entries), ``follows`` (a passage the one
before it), ``similar`` (a query earlier ones like it), ``recalled`` (an entry the passages it was given), ``same_topic`` and
``duplicates`` (a passage others that are close to it, or all but the same), ``derived`` (a pattern what it was learned from). Any other
name is as good. The ids may be of anything; when a record or a document of such an id goes, so do its edges.

Neighbours are read from the rows. Walks over many edges go through ``Adjacency``, flat arrays made from the rows, which follow each
commit and never run ahead of one.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..config import Clock
from ..errors import ConfigError, NotFoundError
from ..storage.driver import Driver
from .adjacency import Adjacency, columns
from .columns import is_number

Direction = Literal["out", "in", "both"]
Relations = Sequence[str] | str | None  # of one, of several, of all
STRUCTURE = ("follows", "contains", "cites", "derived")  # what is so; it neither fades nor is pruned unless it is named
USEFUL, USELESS = 1.05, 0.98  # what a weight is multiplied with when the edge helped, or did not
HEAVIEST = 10.0
SLICE = 10_000  # rows read at a time
SWEPT = 1000  # edges that fade, or are looked at for pruning, in one slice, and those of the last source
LARGE = 20_000  # edges from which on the arrays are made behind what goes on, not by the first walk
COLUMNS = "source, target, relation, weight, confidence, created_at"
# By numbers, of edges given as JSON lists [source, relation, target] of names.
NUMBERED = """SELECT l.source, l.relation, l.target, l.weight FROM json_each(?) AS j
    CROSS JOIN nodes AS s ON s.id = json_extract(j.value, '$[0]') CROSS JOIN relations AS r ON r.name = json_extract(j.value, '$[1]')
    CROSS JOIN nodes AS t ON t.id = json_extract(j.value, '$[2]')
    CROSS JOIN links AS l ON l.source = s.number AND l.relation = r.number AND l.target = t.number"""
ONE = "source = ? AND relation = ? AND target = ?"


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
    """``transaction``: of the memory, which calls ``applied`` when its outermost one is committed and ``took_back`` when one failed."""

    def __init__(self, driver: Driver, clock: Clock, transaction: Callable[[], AbstractContextManager[None]]):
        self._driver, self._clock, self._transaction = driver, clock, transaction
        self._adjacency: Adjacency | None = None
        self._read: list[tuple[tuple[np.ndarray, ...], Any]] | None = None  # columns and last key of each slice, while arrays are made
        self._late: list[tuple[str, Any]] = []  # what was committed meanwhile
        self._large = False
        self.changes: list[tuple[str, Any]] = []  # of the open transaction: methods of Adjacency and what they are given

    # The arrays

    @property
    def adjacency(self) -> Adjacency:
        """The edges in memory. Made when first asked for, and anew inside a transaction that has changed edges: walk before or after."""
        if self.changes:
            return Adjacency(*_joined([columns(rows) for rows in self._slices()]))
        while self._adjacency is None:
            self.prepare()
        return self._adjacency

    def prepare(self) -> None:
        """One slice of making the arrays."""
        read = self._read = [] if self._read is None else self._read
        rows = next(self._slices(read[-1][1] if read else None), None)
        if rows is not None:
            read.append((columns(rows), rows[-1][:3]))
            return
        self._adjacency, late = Adjacency(*_joined([part for part, _ in read])), self._late
        self._read, self._late = None, []
        self._follow(late)

    @property
    def awaited(self) -> bool:
        """Whether the arrays are large enough to be made before a walk asks for them, and not made yet."""
        return self._large and self._adjacency is None

    def forget_adjacency(self) -> None:
        """Lets the arrays be made anew: the rows are not what they followed."""
        self._adjacency, self._read, self._late = None, None, []
        self._large = bool(self._driver.query("SELECT 1 FROM links LIMIT 1 OFFSET ?", [LARGE - 1]))

    def applied(self) -> None:
        """What the transaction changed is committed: the arrays follow."""
        changes, self.changes = self.changes, []
        if self._adjacency is not None:
            self._follow(changes)
        elif any(method == "fade" for method, _ in changes):  # some weights were read before it, and others would be after
            self._read, self._late = None, []
        elif self._read is not None:
            self._late += changes

    def took_back(self, mark: int) -> None:
        """All changes from that one on are not so."""
        del self.changes[mark:]

    def _follow(self, changes: Sequence[tuple[str, Any]]) -> None:
        for method, given in changes:
            getattr(self._adjacency, method)(*given)

    def _slices(self, key: Any = None) -> Iterator[Any]:
        """Rows (source, relation, target, weight) in their order, those after ``key``."""
        key = key or (0, 0, 0)
        sql = f"""SELECT source, relation, target, weight FROM links WHERE (source, relation, target) > (?, ?, ?)
            ORDER BY source, relation, target LIMIT {SLICE}"""
        while rows := self._driver.query(sql, key):
            yield rows
            key = rows[-1][:3]

    # Writing

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
            if not (0 <= edge.weight < float("inf") and 0 <= edge.confidence <= 1):  # NaN fails both
                raise ConfigError(f"an edge has a finite weight of 0 or more and a confidence between 0 and 1, {edge} does not")
        with self._transaction():
            nodes = self._numbered("nodes", "id", (id for e in written for id in (e.source, e.target)))
            kinds = self._numbered("relations", "name", (e.relation for e in written))
            keys = [(nodes[e.source], kinds[e.relation], nodes[e.target]) for e in written]
            self._driver.executemany(
                "INSERT INTO links (source, relation, target, weight, confidence, created_at) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (source, relation, target) DO UPDATE SET weight = excluded.weight, confidence = excluded.confidence",
                [(*key, e.weight, e.confidence, e.created_at) for key, e in zip(keys, written, strict=True)],
            )
            self.changes.append(("put", ([(*key, e.weight) for key, e in zip(keys, written, strict=True)],)))
        return written

    def _numbered(self, table: str, column: str, names: Iterable[str]) -> dict[str, int]:
        """Numbers of nodes or relations, given where they have none."""
        given = dict.fromkeys(names)
        sql = f"SELECT t.{column}, t.number FROM json_each(?) AS j CROSS JOIN {table} AS t ON t.{column} = j.value"
        found: dict[str, int] = dict(self._driver.query(sql, [json.dumps(list(given))]))  # type: ignore[arg-type]
        if new := [name for name in given if name not in found]:
            sql = f"INSERT INTO {table} ({column}) SELECT value FROM json_each(?) RETURNING {column}, number"
            found.update(self._driver.query(sql, [json.dumps(new)]))  # type: ignore[arg-type]
        return found

    def scale(self, source: str, target: str, relation: str, factor: float, *, most: float = HEAVIEST) -> Edge:
        """Multiplies an edge's weight; see ``scale_many``. NotFoundError."""
        if not self.scale_many([(source, relation, target)], factor, most=most):
            raise NotFoundError(f"no edge {source!r} {relation!r} {target!r}")
        return self._edge(source, relation, target)

    def scale_many(self, keys: Sequence[tuple[str, str, str]], factor: float, *, most: float = HEAVIEST) -> int:
        """Multiplies the weights of edges (source, relation, target); returns of how many: others are passed over.

        Weights grow up to ``most``; what was linked with more than that stays as heavy as it is. ConfigError.
        """
        if not is_number(factor) or factor < 0:
            raise ConfigError(f"a factor is a finite number of 0 or more, not {factor!r}")
        given = list(dict.fromkeys(keys))
        with self._transaction():
            rows: Any = self._driver.query(NUMBERED, [json.dumps(given)])
            after = [(*row[:3], max(row[3], min(most, row[3] * factor)) if factor > 1 else row[3] * factor) for row in rows]
            self._driver.executemany(f"UPDATE links SET weight = ? WHERE {ONE}", [(row[3], *row[:3]) for row in after])
            self.changes.append(("put", (after,)))
        return len(after)

    def reinforce(self, source: str, target: str, relation: str, useful: bool) -> Edge:
        """5 % heavier where the edge helped, up to 10, and never lighter; 2 % lighter where it did not. NotFoundError."""
        return self.scale(source, target, relation, USEFUL if useful else USELESS)

    def reinforce_many(self, keys: Sequence[tuple[str, str, str]], useful: bool) -> int:
        """The same for many edges (source, relation, target); returns how many there are. Edges that are not there are passed over."""
        return self.scale_many(keys, USEFUL if useful else USELESS)

    async def decay(self, factor: float, relation: str | None = None) -> int:
        """Multiplies the weights of one relation, or of all that are not structure; returns of how many edges. In slices."""
        if not is_number(factor) or not 0 <= factor <= 1:
            raise ConfigError(f"weights fade by a factor between 0 and 1, not {factor!r}")
        return await self._swept("UPDATE links SET weight = weight * ?", "fade", factor, relation)

    async def prune(self, below: float, relation: str | None = None) -> int:
        """Removes edges lighter than that, of one relation or of all that are not structure; returns how many. In slices. ConfigError."""
        if not is_number(below):
            raise ConfigError(f"edges are pruned below a weight, which is a finite number, not {below!r}; none was removed")
        return await self._swept("DELETE FROM links WHERE weight < ? AND", "prune", below, relation)

    async def _swept(self, sql: str, method: str, value: float, relation: str | None) -> int:
        """Runs a statement over all edges that fade, those of some sources at a time."""
        sql, changed, low = sql if sql.endswith("AND") else f"{sql} WHERE", 0, 0
        kinds = self._fading(relation)
        while ends := self._driver.query("SELECT source FROM links WHERE source > ? ORDER BY source LIMIT ?", [low, SWEPT]):
            high = int(ends[-1][0])  # type: ignore[arg-type]
            with self._transaction():
                self.changes.append((method, (kinds, value, low, high)))
                changed += self._driver.execute(f"{sql} relation IN ({_list(kinds)}) AND source > ? AND source <= ?", [value, low, high])
            low = high
            await asyncio.sleep(0)
        return changed

    def _fading(self, relation: str | None) -> list[int]:
        if not isinstance(relation, (str, type(None))):
            raise ConfigError(f"a relation is a string, not {relation!r}; no edge was changed")
        test, names = ("name = ?", [relation]) if relation is not None else (f"name NOT IN ({', '.join('?' * len(STRUCTURE))})", STRUCTURE)
        return [int(number) for (number,) in self._driver.query(f"SELECT number FROM relations WHERE {test}", names)]  # type: ignore[arg-type]

    def unlink(self, source: str, target: str, relation: str) -> None:
        """Removes one edge. NotFoundError."""
        with self._transaction():
            rows = self._driver.query(NUMBERED, [json.dumps([(source, relation, target)])])
            if not rows:
                raise NotFoundError(f"no edge {source!r} {relation!r} {target!r}")
            self._driver.execute(f"DELETE FROM links WHERE {ONE}", rows[0][:3])
            self.changes.append(("drop", (rows[0][:3],)))

    def detach(self, nodes: Sequence[str]) -> int:
        """Removes every edge that touches one of the nodes; returns how many there were."""
        with self._transaction():
            numbers = [number for _, number in self._numbers(nodes)]
            given = json.dumps(numbers)
            touched = "SELECT source, relation, target FROM links WHERE {} IN (SELECT value FROM json_each(?))"
            sql = f"SELECT count(*) FROM ({touched.format('source')} UNION {touched.format('target')})"
            count = self._driver.query(sql, [given, given])[0][0]
            self._driver.execute("DELETE FROM nodes WHERE number IN (SELECT value FROM json_each(?))", [given])  # the links go with them
            self.changes.append(("detach", (numbers,)))
        return int(count)  # type: ignore[arg-type]

    # Reading

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

    def neighbours(self, node: str, relation: str | None = None, direction: Direction = "both", limit: int | None = None) -> list[str]:
        """Ids at the other ends, heaviest edge first, each once."""
        found = self.edges(node, relation, direction)
        return list(dict.fromkeys(e.target if e.source == node else e.source for e in found))[:limit]

    def count(self, relation: str | None = None) -> int:
        test, names = ("", []) if relation is None else (" WHERE relation = (SELECT number FROM relations WHERE name = ?)", [relation])
        return int(self._driver.query(f"SELECT count(*) FROM links{test}", names)[0][0])  # type: ignore[arg-type]

    def beside(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """(later, earlier) numbers of records, one pair per ``follows`` edge that touches one of ``numbers``."""
        given = json.dumps([int(number) for number in numbers])
        # CROSS JOIN keeps SQLite to this order: from the few that are given, through the keys, to the few beside them.
        sides = [
            f"""SELECT {near}, {far} FROM json_each(?) AS j CROSS JOIN records AS r ON r.number = j.value
            CROSS JOIN nodes AS n ON n.id = r.id CROSS JOIN links AS l ON l.{here} = n.number
                AND l.relation = (SELECT number FROM relations WHERE name = 'follows')
            CROSS JOIN nodes AS m ON m.number = l.{there} CROSS JOIN records AS o ON o.id = m.id"""
            for near, far, here, there in (
                ("r.number", "o.number", "source", "target"),
                ("o.number", "r.number", "target", "source"),
            )
        ]
        return self._driver.query(" UNION ".join(sides), [given, given])  # type: ignore[return-value]

    # Walking

    def traverse(
        self,
        start: str | Sequence[str],
        *,
        depth: int = 2,
        relations: Relations = None,
        direction: Direction = "both",
        least: float = 0.0,
        limit: int = 1000,
    ) -> list[Reached]:
        """What can be reached over edges of these relations (None: all) of at least that weight: the nearest first, then the heaviest."""
        if depth < 1 or limit < 1:
            raise ConfigError(f"depth and limit are 1 or more, not {depth} and {limit}")
        edges, found = self.adjacency, list[tuple[int, int, int, int]]()
        starts = np.array([number for _, number in self._numbers([start] if isinstance(start, str) else start)], np.int32)
        levels = edges.levels(starts, self._kinds(relations), _direction(direction), least)
        for step, level in zip(range(1, depth + 1), levels, strict=False):
            order = np.argsort(-edges.weight[level.slot], kind="stable")[: limit - len(found)]
            found += [(int(level.node[place]), step, int(level.parent[place]), int(level.slot[place])) for place in order]
            if len(found) >= limit:
                break
        names = self._names({number for node, _, parent, _ in found for number in (node, parent)})
        kinds = self._relation_names()
        return [
            Reached(names[node], step, float(edges.weight[slot]), kinds[int(edges.relation[slot])], names[parent])
            for node, step, parent, slot in found
        ]

    def shortest_path(
        self,
        source: str,
        target: str,
        *,
        by: Literal["hops", "weight"] = "hops",
        relations: Relations = None,
        direction: Direction = "both",
        least: float = 0.0,
    ) -> list[Edge] | None:
        """The edges from one node to another, in order, each as it is written; None where there is no way.

        ``by`` "hops": the fewest edges; "weight": the least sum of 1 / weight, so that heavy edges are short.
        """
        if by not in ("hops", "weight"):
            raise ConfigError(f"by is {by!r}; hops and weight are right")
        _direction(direction)
        if source == target:
            return []
        edges, ends = self.adjacency, dict(self._numbers([source, target]))
        if len(ends) < 2:
            return None
        walk = edges.fewest if by == "hops" else edges.cheapest
        slots = walk(ends[source], ends[target], self._kinds(relations), direction, least)
        return None if slots is None else self._edges([edges.edge(slot) for slot in slots])

    def _edges(self, keys: Sequence[tuple[int, int, int]]) -> list[Edge]:
        names, kinds = self._names({number for key in keys for number in (key[0], key[2])}), self._relation_names()
        return [self._edge(names[source], kinds[relation], names[target]) for source, relation, target in keys]

    def _edge(self, source: str, relation: str, target: str) -> Edge:
        return Edge(*self._driver.query(f"SELECT {COLUMNS} FROM edges WHERE {ONE}", [source, relation, target])[0])  # type: ignore[arg-type]

    def _numbers(self, ids: Sequence[str]) -> list[tuple[str, int]]:
        """(id, number) of those that have edges or had some."""
        sql = "SELECT n.id, n.number FROM json_each(?) AS j CROSS JOIN nodes AS n ON n.id = j.value"
        return self._driver.query(sql, [json.dumps(list(dict.fromkeys(ids)))])  # type: ignore[return-value]

    def _names(self, numbers: Iterable[int]) -> dict[int, str]:
        sql = "SELECT n.number, n.id FROM json_each(?) AS j CROSS JOIN nodes AS n ON n.number = j.value"
        return dict(self._driver.query(sql, [json.dumps(list(numbers))]))  # type: ignore[arg-type]

    def _relation_names(self) -> dict[int, str]:
        return dict(self._driver.query("SELECT number, name FROM relations"))  # type: ignore[arg-type]

    def _kinds(self, names: Relations) -> np.ndarray | None:
        """The numbers of relations, (n,) int16; None for all."""
        if names is None:
            return None
        wanted = {names} if isinstance(names, str) else set(names)
        return np.array([number for number, name in self._relation_names().items() if name in wanted], np.int16)


def _joined(parts: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True)) if parts else columns([])


def _direction(direction: str) -> Direction:
    if direction not in ("out", "in", "both"):
        raise ConfigError(f"a direction is out, in or both, not {direction!r}")
    return direction  # type: ignore[return-value]


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
