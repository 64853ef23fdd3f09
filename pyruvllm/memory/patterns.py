"""Patterns: what worked for a kind of request, gathered from many (a ReasoningBank: Ouyang et al. 2025, after ADR-002's pattern bank).

A pattern is a record of the collection "patterns": its text says what was learned, its vector is the centre of the requests that it was
learned from, its metadata the parameters that worked. What is learned near enough to a pattern of its kind becomes part of it. In the
graph a pattern is ``derived`` from every entry, session or document that it was learned from.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, NotFoundError
from ..types import Draft, Metadata
from .columns import checked_text, checked_vector, from_blob
from .graph import Edge
from .parameters import between

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "patterns"
SAME = 0.85  # cosine from which two patterns of a kind are one
CAPACITY = 100_000
SPARE = 0.01  # of the capacity is made free at once
NEAR = 8  # looked at before a search is narrowed to a kind
SLOWEST = 0.1  # weight of one more outcome in a quality that has had many
HALF_LIFE_MS = 30 * 24 * 3600 * 1000

SELECT = """SELECT p.number, r.id, r.text, r.metadata, p.kind, p.quality, p.size, p.uses, p.learned_at, p.last_used, v.embedding
    FROM patterns AS p JOIN records AS r ON r.number = p.number LEFT JOIN vectors AS v ON v.number = p.number"""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Times are UTC milliseconds."""

    text: str
    embedding: np.ndarray  # (768,) float32, unit length
    kind: str = "answer"
    parameters: Metadata = field(default_factory=dict)
    quality: float = 0.5  # 0 ... 1, of the outcomes so far
    size: int = 1  # how many lessons it is made of
    uses: int = 0  # how often its use had an outcome
    id: str = ""
    learned_at: int = 0
    last_used: int = 0


class PatternStore:
    """Synchronous; durable with the next flush of the memory. Over ``capacity`` the least useful make room."""

    def __init__(self, memory: "UnifiedMemory", capacity: int = CAPACITY):
        if capacity < 1:
            raise ConfigError(f"capacity is {capacity}; 1 or more would be right")
        self.memory, self.capacity = memory, capacity
        self._count: int | None = None

    def learn(
        self,
        text: str,
        embedding: np.ndarray,
        *,
        kind: str = "answer",
        parameters: Mapping[str, Any] | None = None,
        quality: float = 0.5,
        learned_from: Iterable[str] = (),
    ) -> Pattern:
        """Takes in a lesson: it becomes part of the nearest pattern of its kind (cosine of 0.85 or more), or a pattern of its own.

        The pattern that it becomes part of keeps its text, takes the parameters of the better one, and moves its centre and quality.
        """
        checked_text(text, "a pattern"), checked_text(kind, "a pattern's kind"), between("quality", quality, 0, 1)
        vector = checked_vector(embedding, "embedding")
        if vector is None:
            raise ConfigError("a pattern has an embedding: what is it about?")
        now = self.memory.clock.now_ms()
        lesson = Pattern(text, vector, kind, dict(parameters or {}), float(quality), learned_at=now, last_used=now)
        known = self._same(vector, kind)
        with self.memory.transaction():
            pattern = self._insert(lesson) if known is None else self._merge(known, lesson)
            self.memory.graph.link_many(Edge(pattern.id, source, "derived") for source in dict.fromkeys(learned_from))
        self._make_room()
        return pattern

    def match(self, vector: np.ndarray, k: int = 5, *, kind: str | None = None, least: float = 0.0) -> list[tuple[Pattern, float]]:
        """The patterns nearest to a request, (768,), with their cosines, best first; of one kind, and from a cosine on, if asked."""
        found = self._nearest(vector, k, kind)
        patterns = {row[0]: _pattern(row) for row in self._in(number for number, _ in found)}
        return [(patterns[number], cosine) for number, cosine in found if cosine >= least and number in patterns]

    def reinforce(self, id: str, quality: float) -> Pattern:
        """An outcome of its use, 0 ... 1, moves its quality: the first ones much, later ones less. NotFoundError.

        The edges to what it was learned from become 5 % heavier by a good one, 2 % lighter by a bad one.
        """
        between("quality", quality, 0, 1)
        old = self.get(id)
        weight = max(1 / (old.size + old.uses + 1), SLOWEST)
        new = replace(old, quality=old.quality + weight * (quality - old.quality), uses=old.uses + 1, last_used=self.memory.clock.now_ms())
        with self.memory.transaction():
            self._update(new)
            for edge in self.memory.graph.edges(id, "derived", "out"):
                self.memory.graph.reinforce(edge.source, edge.target, "derived", quality >= 0.5)
        return new

    def decay(self, half_life_ms: float = HALF_LIFE_MS) -> int:
        """Halves the quality for every half-life without use, counted since the last decay; returns of how many patterns."""
        if not half_life_ms > 0:
            raise ConfigError(f"half_life_ms is {half_life_ms!r}; more than 0 would be right")
        now = self.memory.clock.now_ms()
        rows: Any = self.memory.driver.query(
            "SELECT number, quality, max(last_used, decayed_at) FROM patterns WHERE max(last_used, decayed_at) < ?", [now]
        )
        with self.memory.transaction():
            self.memory.driver.executemany(
                "UPDATE patterns SET quality = ?, decayed_at = ? WHERE number = ?",
                [(quality * 0.5 ** ((now - since) / half_life_ms), now, number) for number, quality, since in rows],
            )
        return len(rows)

    def consolidate(self, limit: int = 1000) -> int:
        """Makes one of patterns that have come within a cosine of 0.85, looking at the ``limit`` last used; returns how many are gone."""
        merged = 0
        for (id,) in self.memory.driver.query(
            "SELECT r.id FROM patterns AS p JOIN records AS r ON r.number = p.number ORDER BY p.last_used DESC LIMIT ?", [limit]
        ):
            rows = self._rows("r.id = ?", id)
            twin = self._same(_pattern(rows[0]).embedding, rows[0][4], but=rows[0][0]) if rows else None
            if twin is not None:
                with self.memory.transaction():
                    gone = _pattern(rows[0])
                    sources = self.memory.graph.edges(gone.id, "derived", "out")
                    into = self._merge(twin, gone)
                    self.memory.graph.link_many(replace(edge, source=into.id) for edge in sources if edge.target != into.id)
                    self.remove([gone.id])
                merged += 1
        return merged

    def get(self, id: str) -> Pattern:
        """NotFoundError."""
        rows = self._rows("r.id = ?", id)
        if not rows:
            raise NotFoundError(f"no pattern {id!r}")
        return _pattern(rows[0])

    def list(self, kind: str | None = None, limit: int | None = None) -> "list[Pattern]":
        """The best first."""
        rows = self._rows(
            "?1 IS NULL OR p.kind = ?1 ORDER BY p.quality DESC, p.last_used DESC, p.number LIMIT ?2", kind, -1 if limit is None else limit
        )
        return [_pattern(row) for row in rows]

    def count(self) -> int:
        if self._count is None:
            self._count = int(self.memory.driver.query("SELECT count(*) FROM patterns")[0][0])  # type: ignore[arg-type]
        return self._count

    def learned_from(self, id: str) -> "list[str]":
        """Ids of what it was learned from, what proved most useful first."""
        return self.memory.graph.neighbours(id, "derived", "out")

    def remove(self, ids: Sequence[str]) -> int:
        """NotFoundError: then none was removed."""
        self._count = None
        return self.memory.remove(ids)

    def evict(self, count: int) -> int:
        """Removes the least useful: by quality, how often it was used, and how long ago; returns how many."""
        sql = """SELECT r.id FROM patterns AS p JOIN records AS r ON r.number = p.number
            ORDER BY p.quality * (p.size + p.uses) / (1.0 + (? - p.last_used) / ?), p.last_used LIMIT ?"""
        rows = self.memory.driver.query(sql, [self.memory.clock.now_ms(), float(HALF_LIFE_MS), count])
        return self.remove([str(id) for (id,) in rows])

    def _make_room(self) -> None:
        if self.count() > self.capacity:
            self.evict(self.count() - self.capacity + int(self.capacity * SPARE))

    def _insert(self, pattern: Pattern) -> Pattern:
        pattern = replace(pattern, id=self.memory.clock.new_id())
        self.memory.put(COLLECTION, [Draft(pattern.text, pattern.id, pattern.parameters, pattern.embedding)])
        self.memory.driver.execute(
            """INSERT INTO patterns (number, kind, quality, size, uses, learned_at, last_used, decayed_at)
            SELECT number, ?, ?, ?, ?, ?, ?, ? FROM records WHERE id = ?""",
            (
                *(pattern.kind, pattern.quality, pattern.size, pattern.uses),
                *(pattern.learned_at, pattern.last_used, pattern.learned_at, pattern.id),
            ),
        )
        self._count = None
        return pattern

    def _merge(self, number: int, lesson: Pattern) -> Pattern:
        old = _pattern(self._in([number])[0])
        size = old.size + lesson.size
        centre = (old.size * old.embedding + lesson.size * lesson.embedding) / size
        better = lesson if lesson.quality > old.quality and lesson.parameters else old
        new = replace(
            old,
            embedding=(centre / np.linalg.norm(centre)).astype(np.float32),
            parameters=better.parameters,
            quality=(old.size * old.quality + lesson.size * lesson.quality) / size,
            size=size,
            uses=old.uses + lesson.uses,
            last_used=max(old.last_used, lesson.last_used),
        )
        self.memory.revise(new.id, vector=new.embedding, metadata=new.parameters)
        self._update(new)
        return new

    def _update(self, pattern: Pattern) -> None:
        self.memory.driver.execute(
            "UPDATE patterns SET quality = ?, size = ?, uses = ?, last_used = ? WHERE number = (SELECT number FROM records WHERE id = ?)",
            (pattern.quality, pattern.size, pattern.uses, pattern.last_used, pattern.id),
        )

    def _same(self, vector: np.ndarray, kind: str, but: int | None = None) -> int | None:
        """The number of the pattern of that kind that a vector is part of. Most often it is among the nearest of any kind."""
        near = self.memory.nearest(COLLECTION, vector, NEAR)
        if len(near) == NEAR and near[-1][1] >= SAME and not self._of_kind(near, kind, but):
            near = self._nearest(vector, 2, kind)
        return next(iter(self._of_kind(near, kind, but)), None)

    def _of_kind(self, near: Sequence[tuple[int, float]], kind: str, but: int | None) -> "list[int]":
        close = [number for number, cosine in near if cosine >= SAME and number != but]
        kinds = {row[0]: row[4] for row in self._in(close)}
        return [number for number in close if kinds.get(number) == kind]

    def _nearest(self, vector: np.ndarray, k: int, kind: str | None) -> "list[tuple[int, float]]":
        allowed = None
        if kind is not None:
            rows: Any = self.memory.driver.query("SELECT number FROM patterns WHERE kind = ? ORDER BY number", [kind])
            allowed = np.fromiter((number for (number,) in rows), np.int64, len(rows))
        return self.memory.nearest(COLLECTION, vector, k, allowed)

    def _in(self, numbers: Iterable[int]) -> Any:
        return self._rows("p.number IN (SELECT value FROM json_each(?))", json.dumps(list(numbers)))

    def _rows(self, condition: str, *values: Any) -> Any:
        return self.memory.driver.query(f"{SELECT} WHERE {condition}", values)


def _pattern(row: Any) -> Pattern:
    _, id, text, metadata, kind, quality, size, uses, learned_at, last_used, embedding = row
    vector = from_blob(embedding, "<f2")
    return Pattern(text, vector, kind, json.loads(metadata), quality, size, uses, id, learned_at, last_used)  # type: ignore[arg-type]
