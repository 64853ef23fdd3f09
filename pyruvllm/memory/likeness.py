"""Edges that take a search to find: a query is ``similar`` to earlier ones, a passage is on the ``same_topic`` as one of another
document or ``duplicates`` it, and an entry of the witness log ``recalled`` the passages that it was given.

They are laid soon after the rows that they connect, a slice at a time behind what goes on, so that no write waits for them. Up to which
record that is done is written in the same transaction as the edges: a crash leaves none out. Near duplicates stay two passages, for
each is quoted, shown and forgotten with its own document.
"""

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RuvLLMError
from .crossing import Pace
from .graph import Edge

if TYPE_CHECKING:
    from .unified import UnifiedMemory

log = logging.getLogger("pyruvllm.memory")

MOST = 4  # edges of these relations from one record
LOOKED_AT = 16  # nearest ones, of which the later ones and those beside it do not count
FIRST = 8  # records in the first slice, before it is known how many fit


@dataclass(frozen=True)
class Rule:
    """relations: (name, least cosine), the closest first. apart: which rows say what a record is a part of, whose parts do not count."""

    relations: tuple[tuple[str, float], ...]
    apart: str | None = None


RULES = {
    "witness": Rule((("similar", 0.8),)),
    "documents": Rule((("duplicates", 0.95), ("same_topic", 0.75)), "SELECT number, document FROM passages"),
}

BEHIND = """SELECT r.number, r.id, v.embedding, json_extract(r.metadata, '$.context_ids') FROM records AS r
    JOIN vectors AS v ON v.number = r.number WHERE r.collection = ? AND r.number > ? ORDER BY r.number LIMIT ?"""


class Likeness:
    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory
        self.behind = set(RULES)  # collections with records whose edges are not laid yet
        self._pace = Pace(memory.clock, FIRST)

    def note(self, collection: str) -> None:
        """Something was written to it."""
        if collection in RULES:
            self.behind.add(collection)

    def step(self) -> None:
        """Lays the edges of the next few records. What cannot be laid now is left for the next open."""
        name = min(self.behind)
        try:
            with self._pace as count:
                done = self._lay(name, count)
        except RuvLLMError as error:
            log.warning("edges between what is alike in %r are not laid for now: %s", name, error)
            done = True
        if done:
            self.behind.discard(name)

    def _lay(self, name: str, count: int) -> bool:
        """Whether that was the last of a collection."""
        driver = self.memory.driver
        progress: Any = driver.query("SELECT number FROM link_progress WHERE collection = ?", [name])
        rows: Any = driver.query(BEHIND, [name, progress[0][0] if progress else 0, count])
        if not rows:
            return True
        edges = [edge for number, id, blob, _ in rows for edge in self._alike(name, number, id, np.frombuffer(blob, "<f2"))]
        edges += self._recalled([(id, json.loads(given)) for _, id, _, given in rows if given and name == "witness"])
        with self.memory.transaction():
            self.memory.graph.link_many(edges)
            driver.execute("INSERT OR REPLACE INTO link_progress (collection, number) VALUES (?, ?)", [name, rows[-1][0]])
        return len(rows) < count

    def _alike(self, name: str, number: int, id: str, vector: np.ndarray) -> list[Edge]:
        rule = RULES[name]
        least = rule.relations[-1][1]
        near = [(other, cosine) for other, cosine in self.memory.nearest(name, vector, LOOKED_AT) if other < number and cosine >= least]
        if near and rule.apart:
            given = json.dumps([number, *(other for other, _ in near)])
            of = dict(self.memory.driver.query(f"{rule.apart} WHERE number IN (SELECT value FROM json_each(?))", [given]))
            near = [(other, cosine) for other, cosine in near if of.get(other) is None or of.get(other) != of.get(number)]
        shown = self.memory.records.shown([other for other, _ in near[:MOST]])
        return [
            Edge(id, str(shown[other][0]), next(relation for relation, from_ in rule.relations if cosine >= from_), min(1.0, cosine))
            for other, cosine in near[:MOST]
        ]

    def _recalled(self, given: list[tuple[str, list[str]]]) -> list[Edge]:
        there = set(self.memory.records.taken([passage for _, passages in given for passage in passages]))
        return [Edge(entry, passage, "recalled") for entry, passages in given for passage in passages if passage in there]
