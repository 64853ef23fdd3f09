"""Patterns: what worked for a kind of request, gathered from many (a ReasoningBank: Ouyang et al. 2025, after ADR-002's pattern bank).

A pattern is a record of the collection "patterns": its text says what was learned, its vector is the centre of the requests that it was
learned from, its metadata the parameters that worked. What is learned near enough to a pattern of its kind becomes part of it. In the
graph a pattern is ``derived`` from every entry, session or document that it was learned from.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, NotFoundError
from ..types import Draft, Metadata
from .columns import checked_text, checked_vector, from_blob
from .graph import Edge
from .parameters import PatternPolicy, between

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "patterns"
DAY_MS = 24 * 3600 * 1000
NEAR = 8  # looked at, or four times as many as are asked for, before a search is narrowed to a kind
SPARE = 0.002  # of the capacity is made free at once
SLOWEST = 0.1  # weight of one more outcome in a quality that has had many

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
    """Synchronous; durable with the next flush of the memory. ``policy``, or what it returns now, says what is one pattern, which are
    matched and how many there may be: over that the least useful make room. Inside a transaction what was learned in it is not matched yet.
    """

    def __init__(self, memory: "UnifiedMemory", policy: PatternPolicy | Callable[[], PatternPolicy] | None = None):
        self.memory, self._policy = memory, policy or PatternPolicy()
        self._count: int | None = None
        memory.watch(COLLECTION, self._changed)

    @property
    def policy(self) -> PatternPolicy:
        return self._policy if isinstance(self._policy, PatternPolicy) else self._policy()

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
        ``learned_from`` are ids of entries, sessions, documents or whatever else; they are taken as they are, for an entry may still be
        queued: an id of nothing is a source that no forgetting will ever name. ConfigError, SpaceError.
        """
        if isinstance(learned_from, str):
            raise ConfigError(f"learned_from is {learned_from!r}; a list of ids would be right")
        sources = [checked_text(id, "an id of what a pattern is learned from") for id in dict.fromkeys(learned_from)]
        checked_text(text, "a pattern"), checked_text(kind, "a pattern's kind"), between("quality", quality, 0, 1)
        vector = checked_vector(embedding, "embedding")
        if vector is None or not np.any(vector):
            raise ConfigError("a pattern has an embedding that points somewhere: what is it about?")
        now = self.memory.clock.now_ms()
        vector = vector / np.linalg.norm(vector)
        lesson = Pattern(text, vector, kind, dict(parameters or {}), float(quality), learned_at=now, last_used=now)
        known = self._same(vector, kind)
        with self.memory.transaction():
            pattern = self._insert(lesson) if known is None else self._merge(known, lesson)
            self.memory.graph.link_many(Edge(pattern.id, source, "derived") for source in sources)
        self._make_room()
        return pattern

    def match(self, vector: np.ndarray, k: int = 5, *, kind: str | None = None, least: float = 0.0) -> list[tuple[Pattern, float]]:
        """The patterns nearest to a request, (768,), with their cosines, best first; of one kind, and from a cosine on, if asked.

        Those whose quality is below the policy's ``minimum_quality`` are passed over.
        """
        wanted, found = (kind, self.policy.minimum_quality), list[tuple[Pattern, float]]()
        for allowed in (None, wanted):  # the few that do not count are cheaper to drop than to filter
            near = self.memory.nearest(COLLECTION, vector, max(NEAR, 4 * k), None if allowed is None else self._numbers(*allowed))
            patterns = {row[0]: _pattern(row) for row in self._in(number for number, _ in near)}
            good = [(patterns[number], cosine) for number, cosine in near if number in patterns and _fits(patterns[number], *wanted)]
            found = [(pattern, cosine) for pattern, cosine in good if cosine >= least][:k]
            if len(good) >= k or len(near) < max(NEAR, 4 * k) or near[-1][1] < least:
                break
        return found

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
            edges = self.memory.graph.edges(id, "derived", "out")
            self.memory.graph.reinforce_many([(edge.source, "derived", edge.target) for edge in edges], quality >= 0.5)
        return new

    def decay(self, limit: int = 1000) -> int:
        """Halves the quality for every half-life without use, counted since the last decay, of patterns that rested for a day.

        Of at most ``limit``, the longest unused first; returns of how many, so that a loop can go on until it is 0.
        """
        now = self.memory.clock.now_ms()
        rows: Any = self.memory.driver.query(
            """SELECT number, quality, max(last_used, decayed_at) AS since FROM patterns WHERE max(last_used, decayed_at) <= ?
            ORDER BY since LIMIT ?""",
            [now - DAY_MS, limit],
        )
        half_life = self.policy.half_life_days * DAY_MS
        with self.memory.transaction():
            self.memory.driver.executemany(
                "UPDATE patterns SET quality = ?, decayed_at = ? WHERE number = ?",
                [(quality * 0.5 ** ((now - since) / half_life), now, number) for number, quality, since in rows],
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
                    self.memory.remove([gone.id])
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
        if self._count is None or self.memory.busy:
            self._count = int(self.memory.driver.query("SELECT count(*) FROM patterns")[0][0])  # type: ignore[arg-type]
        return self._count

    def learned_from(self, id: str) -> "list[str]":
        """Ids of what it was learned from, what proved most useful first. NotFoundError."""
        self.get(id)
        return self.memory.graph.neighbours(id, "derived", "out")

    def remove(self, ids: Sequence[str]) -> int:
        """NotFoundError: then none was removed."""
        for id in ids:
            self.get(id)
        return self.memory.remove(ids)

    def evict(self, count: int) -> int:
        """Removes the least useful: by quality, how often it was used, and how long ago; returns how many."""
        sql = """SELECT r.id FROM patterns AS p JOIN records AS r ON r.number = p.number
            ORDER BY p.quality * (p.size + p.uses) / (1.0 + (? - p.last_used) / ?), p.last_used, p.number LIMIT ?"""
        rows = self.memory.driver.query(sql, [self.memory.clock.now_ms(), self.policy.half_life_days * DAY_MS, count])
        return self.memory.remove([str(id) for (id,) in rows])

    def _make_room(self) -> None:
        if self.count() > self.policy.capacity:
            self.evict(self.count() - self.policy.capacity + int(self.policy.capacity * SPARE))

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
        close = self._of_kind(near, kind, but)
        if not close and len(near) == NEAR and near[-1][1] >= self.policy.similarity:
            close = self._of_kind(self.memory.nearest(COLLECTION, vector, 2, self._numbers(kind, 0.0)), kind, but)
        return close[0] if close else None

    def _of_kind(self, near: Sequence[tuple[int, float]], kind: str, but: int | None) -> "list[int]":
        close = [number for number, cosine in near if cosine >= self.policy.similarity and number != but]
        kinds = {row[0]: row[4] for row in self._in(close)}
        return [number for number in close if kinds.get(number) == kind]

    def _numbers(self, kind: str | None, quality: float) -> np.ndarray:
        rows: Any = self.memory.driver.query(
            "SELECT number FROM patterns WHERE (?1 IS NULL OR kind = ?1) AND quality >= ?2 ORDER BY number", [kind, quality]
        )
        return np.fromiter((number for (number,) in rows), np.int64, len(rows))

    def _changed(self, numbers: Set[int] | None) -> None:
        self._count = None

    def _in(self, numbers: Iterable[int]) -> Any:
        return self._rows("p.number IN (SELECT value FROM json_each(?))", json.dumps(list(numbers)))

    def _rows(self, condition: str, *values: Any) -> Any:
        return self.memory.driver.query(f"{SELECT} WHERE {condition}", values)


def _fits(pattern: Pattern, kind: str | None, quality: float) -> bool:
    return (kind is None or pattern.kind == kind) and pattern.quality >= quality


def _pattern(row: Any) -> Pattern:
    _, id, text, metadata, kind, quality, size, uses, learned_at, last_used, embedding = row
    vector = from_blob(embedding, "<f2")
    return Pattern(text, vector, kind, json.loads(metadata), quality, size, uses, id, learned_at, last_used)  # type: ignore[arg-type]
