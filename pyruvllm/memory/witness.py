"""The witness log: what was decided for each request, how long it took and how good it was (ADR-002, role C).

An entry is a record of the collection "witness" whose text is the query, so that one search covers the log too. Its metadata holds
what a filter may ask for: ``session, model, quality, timestamp, latency.total_ms`` (and the other steps), ``routing.confidence`` (and
the rest of the decision), ``context_ids, error.kind, error.message``. ``record`` only queues; the entries of a batch are written in
one transaction, each with its vector, its side row and the edge ``session contains entry``. What is queued can be read like what is
written.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import WritebackConfig
from ..errors import ConfigError, DuplicateError, NotFoundError, RuvLLMError, StorageError
from ..types import Draft, ErrorInfo, Latency, RoutingDecision
from .columns import checked_text, checked_vector, cleaned_text, from_blob, to_blob
from .filters import compile_filter
from .graph import Edge
from .writeback import WritebackQueue

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "witness"

# A batch crosses into the database faster the fewer values it has: typed columns are taken from the metadata there, not sent again.
COLUMNS = {
    **{name: name for name in ("timestamp", "session", "model", "quality")},
    **{name: f"routing.{name}" for name in ("context_size", "temperature", "top_p", "confidence", "policy", "model_probs")},
    **{name: f"latency.{name}" for name in (field.name for field in fields(Latency))},
    **{"error_kind": "error.kind", "error_message": "error.message"},
}
INSERT = f"""INSERT INTO witness (number, {", ".join(COLUMNS)}, response_embedding)
    SELECT number, {", ".join(f"json_extract(metadata, '$.{path}')" for path in COLUMNS.values())}, ? FROM records WHERE id = ?"""
SELECT = """SELECT r.id, r.text, r.metadata, v.embedding, w.response_embedding
    FROM witness AS w JOIN records AS r ON r.number = w.number LEFT JOIN vectors AS v ON v.number = w.number"""
MATCHING = "w.number IN (SELECT number FROM records WHERE collection = 'witness' AND {})"
# A typed column says the same as the metadata and has an index: a filter's plain comparisons are put to both.
INDEXED = {"session": "session", "quality": "quality", "timestamp": "timestamp", "error.kind": "error_kind"}

log = logging.getLogger("pyruvllm")


@dataclass(frozen=True, eq=False)
class WitnessEntry:
    """One request. Vectors are (768,) float32 of unit length; without ``query_embedding`` the entry is found by its words only."""

    request_id: str
    session_id: str
    query: str
    routing_decision: RoutingDecision
    model_used: str
    latency: Latency = field(default_factory=Latency)
    context_doc_ids: tuple[str, ...] = ()
    query_embedding: np.ndarray | None = None
    response_embedding: np.ndarray | None = None
    quality_score: float | None = None  # 0 ... 1; None: nobody said
    timestamp: int = 0  # UTC milliseconds; 0: when it is recorded
    error: ErrorInfo | None = None

    def __post_init__(self) -> None:
        for name in ("request_id", "session_id", "model_used"):
            checked_text(getattr(self, name), name)
        object.__setattr__(self, "query", cleaned_text(self.query, "query"))  # whatever was asked, it was asked
        if self.error is not None:
            object.__setattr__(self, "error", ErrorInfo(self.error.kind, cleaned_text(self.error.message, "an error's message")))
        object.__setattr__(self, "query_embedding", checked_vector(self.query_embedding, "query_embedding"))
        object.__setattr__(self, "response_embedding", checked_vector(self.response_embedding, "response_embedding"))
        object.__setattr__(self, "quality_score", _quality(self.quality_score))


class WitnessLog:
    """``refused`` counts entries that the memory would not take, such as one from another embedding space; they are logged."""

    def __init__(self, memory: "UnifiedMemory", config: WritebackConfig | None = None):
        self.memory = memory
        self.queue: WritebackQueue[str] = WritebackQueue(self._write, config or memory.config.writeback, memory.clock)
        self.refused = 0
        self._waiting: dict[str, WitnessEntry] = {}  # what the queue holds, by id, oldest first

    def record(self, entry: WitnessEntry) -> bool:
        """Queues an entry and returns at once. False: read-only, or the queue is full or closed; it is dropped and counted.

        DuplicateError if an entry of that id is waiting.
        """
        if entry.request_id in self._waiting:
            raise DuplicateError(f"the witness entry {entry.request_id!r} is recorded already")
        if not entry.timestamp:
            entry = replace(entry, timestamp=self.memory.clock.now_ms())
        if not self.memory.writable:
            self.queue.dropped += 1
            return False
        if not self.queue.put(entry.request_id):
            return False
        self._waiting[entry.request_id] = entry
        return True

    def get(self, id: str) -> WitnessEntry:
        """NotFoundError."""
        return self._waiting[id] if id in self._waiting else self._row(id)

    def list(self, where: Mapping[str, Any] | None = None, limit: int | None = 50, offset: int = 0) -> list[WitnessEntry]:
        """The newest first. FilterError."""
        self._store_waiting()
        test, values = _matching(where)
        rows = self.memory.driver.query(
            f"{SELECT} WHERE {test} ORDER BY w.timestamp DESC, w.number DESC LIMIT ? OFFSET ?",
            [*values, -1 if limit is None else limit, offset],
        )
        return [_entry(row) for row in rows]

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """FilterError."""
        self._store_waiting()
        test, values = _matching(where)
        return int(self.memory.driver.query(f"SELECT count(*) FROM witness AS w WHERE {test}", values)[0][0])  # type: ignore[arg-type]

    async def search(self, query: str | np.ndarray, k: int = 10, where: Mapping[str, Any] | None = None) -> "list[WitnessEntry]":
        """Entries whose query is like this text or vector, best first: "errors similar to this one". FilterError."""
        self._store_waiting()
        hits = await self.memory.search(query, k, where=where, collections=(COLLECTION,))
        return [self.get(hit.id) for hit in hits]

    async def rate(self, id: str, quality: float) -> None:
        """Sets the quality, 0 to 1, of an entry, queued or written; durable on return. NotFoundError, ConfigError."""
        score = _quality(quality)
        if score is None:
            raise ConfigError("quality is None; a number between 0 and 1 would be right")
        if id in self._waiting:
            self._waiting[id] = replace(self._waiting[id], quality_score=score)
            if id not in self._written([id]):
                await self.queue.flush()
                self._row(id)  # not there if the memory refused it
                return
        with self.memory.transaction():
            entry = replace(self._row(id), quality_score=score)
            self.memory.revise(id, metadata=_metadata(entry))
            sql = "UPDATE witness SET quality = ? WHERE number = (SELECT number FROM records WHERE id = ?)"
            self.memory.driver.execute(sql, (score, id))
        await self.memory.flush()

    async def flush(self) -> None:
        """Returns when everything recorded before the call is durable."""
        with self.memory.waiting.somebody():
            await self.queue.flush()

    async def close(self) -> None:
        await self.queue.close()

    async def _write(self, ids: "list[str]") -> None:
        """A batch of the queue: rows in, durable, forgotten here."""
        self._store(ids)
        await self.memory.flush()
        for id in ids:
            self._waiting.pop(id, None)

    def _store_waiting(self) -> None:
        """Puts queued entries into the tables ahead of their turn, so that a query sees them; the queue makes them durable."""
        ids = list(self._waiting)
        try:
            for start in range(0, len(ids), self.queue.config.batch):
                self._store(ids[start : start + self.queue.config.batch])
        except StorageError as error:  # the queue meets it too, and says so to whoever flushes; what is there can be read
            log.warning("of %d queued witness entries some are not in the tables yet: %s", len(ids), error)

    def _store(self, ids: "list[str]") -> None:
        """Rows, vectors and edges of the entries that have none yet, in one transaction. StorageError: none was written."""
        written = self._written(ids)
        entries = [self._waiting[id] for id in ids if id in self._waiting and id not in written]
        try:
            self._insert(entries)
        except StorageError:
            raise
        except RuvLLMError:  # an entry that can never be written must not hold up the others
            for entry in entries:
                try:
                    self._insert([entry])
                except StorageError:
                    raise
                except RuvLLMError as error:
                    self.refused += 1
                    self._waiting.pop(entry.request_id)
                    log.error("the witness entry %s was refused: %s", entry.request_id, error)

    def _written(self, ids: "list[str]") -> set[Any]:
        """Those of the entries that have their rows. The tables are asked, for a transaction around an earlier look may have failed."""
        sql = "SELECT r.id FROM json_each(?) AS j JOIN records AS r ON r.id = j.value JOIN witness AS w ON w.number = r.number"
        return {row[0] for row in self.memory.driver.query(sql, (json.dumps(ids),))}

    def _insert(self, entries: "list[WitnessEntry]") -> None:
        if not entries:
            return
        memory = self.memory
        with memory.transaction():
            memory.put(COLLECTION, [Draft(e.query, e.request_id, _metadata(e), e.query_embedding) for e in entries])
            memory.driver.executemany(INSERT, [(to_blob(e.response_embedding, "<f2"), e.request_id) for e in entries])
            there = set(memory.records.taken([e.session_id for e in entries]))  # an edge from a session that is gone would dangle
            memory.graph.link_many(Edge(e.session_id, e.request_id, "contains") for e in entries if e.session_id in there)

    def _row(self, id: str) -> WitnessEntry:
        rows = self.memory.driver.query(f"{SELECT} WHERE r.id = ?", (id,))
        if not rows:
            raise NotFoundError(f"no witness entry {id!r}")
        return _entry(rows[0])


def _matching(where: Mapping[str, Any] | None) -> tuple[str, "list[Any]"]:
    """The filter as a condition on ``witness AS w``."""
    if not where:
        return "1", []
    test, values = compile_filter(where)
    tests, typed = [MATCHING.format(test)], []
    for key, value in where.items():
        comparisons = value.items() if isinstance(value, Mapping) else [("$eq", value)]
        for operator, operand in comparisons if key in INDEXED else ():
            sign = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}.get(operator)
            if sign and operand is not None and not isinstance(operand, bool):
                tests.insert(0, f"w.{INDEXED[key]} {sign} ?")
                typed.insert(0, operand)
    return " AND ".join(tests), [*typed, *values]


def _metadata(entry: WitnessEntry) -> dict[str, Any]:
    routing = entry.routing_decision
    return {
        "session": entry.session_id,
        "model": entry.model_used,
        "quality": entry.quality_score,
        "timestamp": entry.timestamp,
        "routing": {**vars(routing), "model_probs": list(routing.model_probs)},
        "latency": dict(vars(entry.latency)),
        "context_ids": list(entry.context_doc_ids),
        "error": None if entry.error is None else dict(vars(entry.error)),
    }


def _entry(row: Any) -> WitnessEntry:
    id, query, metadata, embedding, response = row
    kept = json.loads(metadata)
    routing, error = kept["routing"], kept["error"]
    return WitnessEntry(
        request_id=id,
        session_id=kept["session"],
        query=query,
        routing_decision=RoutingDecision(**{**routing, "model_probs": tuple(routing["model_probs"])}),
        model_used=kept["model"],
        latency=Latency(**kept["latency"]),
        context_doc_ids=tuple(kept["context_ids"]),
        query_embedding=from_blob(embedding, "<f2"),
        response_embedding=from_blob(response, "<f2"),
        quality_score=kept["quality"],
        timestamp=kept["timestamp"],
        error=None if error is None else ErrorInfo(**error),
    )


def _quality(value: Any) -> float | None:
    if value is None:
        return None
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ConfigError(f"quality is {value!r}; a number between 0 and 1 would be right")
    return float(value)
