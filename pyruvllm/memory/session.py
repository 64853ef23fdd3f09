"""Sessions: conversations, what they are about and where their state is (ADR-002, role B).

A session is a record of the collection "sessions" whose text is its title and whose vector says what the conversation is about; its
turns are rows of their own. In the graph a session ``contains`` the witness entries of its requests.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embed.cache import clear
from ..errors import ConfigError, NotFoundError
from ..types import Draft, Metadata
from .columns import Removed, checked_text, checked_vector, cleaned_text, shortened, to_json
from .records import dump

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "sessions"
UNTITLED = "New conversation"
TITLE = 60  # characters at most
ROLES = ("user", "assistant", "system", "tool")
TIERS = ("hot", "warm", "cold")
WEIGHT = 0.2  # of a turn in the context embedding, from the fifth on; the ones before are averaged

SELECT = """SELECT r.id, r.text, r.metadata, s.user_id, s.active_adapter, s.kv_cache, s.turn_count, s.started_at, s.last_active,
    s.number, s.embedded_turns FROM sessions AS s JOIN records AS r ON r.number = s.number"""


@dataclass(frozen=True)
class CacheQuantization:
    """How exactly cached keys and values are kept: a tail of the newest tokens, a store of the older ones, or both."""

    tail_length: int = 0  # tokens
    tail_precision: str | None = None
    store_precision: str | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True)
class KvCacheRef:
    """Where the KV cache of a session is."""

    tier: str  # "hot", "warm", "cold"
    location: str
    cached_tokens: int
    quantization: CacheQuantization
    created_at: int  # UTC milliseconds

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ConfigError(f"tier is {self.tier!r}; one of {', '.join(TIERS)} would be right")
        if self.cached_tokens < 0:
            raise ConfigError(f"cached_tokens is {self.cached_tokens}; 0 or more would be right")


@dataclass(frozen=True, eq=False)
class Session:
    id: str
    title: str  # the first question, shortened
    user_id: str | None
    context_embedding: np.ndarray | None  # (768,) float32 of unit length; None until a turn with a vector came
    kv_cache_ref: KvCacheRef | None
    active_adapter: str | None
    turn_count: int
    created_at: int
    last_active: int
    metadata: Metadata


@dataclass(frozen=True)
class Turn:
    role: str  # "user", "assistant", "system", "tool"
    text: str
    created_at: int
    witness: str | None = None  # id of the witness entry of the request it belongs to
    metadata: Metadata = field(default_factory=dict)


class SessionIndex:
    """All but ``delete`` and ``search`` is synchronous and durable with the next flush of the memory."""

    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory
        memory.operations.add("sessions.delete", self._delete)

    def open(self, id: str | None = None, user_id: str | None = None, metadata: Metadata | None = None) -> Session:
        """The session of that id, made if it is not there; without an id a new one. ConfigError if it is another user's."""
        known = self._rows("r.id = ?", [id]) if id is not None else []
        if known:
            session = self._session(known[0])
            if user_id is not None and session.user_id != user_id:
                raise ConfigError(f"session {id!r} belongs to the user {session.user_id!r}, not to {user_id!r}")
            return session
        if id is not None:
            checked_text(id, "a session's id")
        id, now = id or self.memory.clock.new_id(), self.memory.clock.now_ms()
        with self.memory.transaction():
            self.memory.put(COLLECTION, [Draft(UNTITLED, id, metadata or {})])
            self.memory.driver.execute(
                """INSERT INTO sessions (number, user_id, turn_count, embedded_turns, started_at, last_active)
                SELECT number, ?, 0, 0, ?, ? FROM records WHERE id = ?""",
                (user_id, now, now, id),
            )
        return self.get(id)

    def get(self, id: str) -> Session:
        """NotFoundError."""
        return self._session(self._row(id))

    def append(
        self,
        id: str,
        role: str,
        text: str,
        vector: np.ndarray | None = None,
        witness: str | None = None,
        metadata: Metadata | None = None,
    ) -> Turn:
        """Adds a turn. With a vector, (768,) of unit length, it moves the context embedding towards it. NotFoundError, ConfigError."""
        if role not in ROLES:
            raise ConfigError(f"role is {role!r}; one of {', '.join(ROLES)} would be right")
        text = cleaned_text(text, "a turn")  # whatever was said, it was said
        vector, details = checked_vector(vector, "a turn's vector"), dump(metadata or {})
        memory, driver, now = self.memory, self.memory.driver, self.memory.clock.now_ms()
        with memory.transaction():
            row = self._row(id)
            session, number, embedded = self._session(row), row[9], row[10]
            driver.execute(
                "INSERT INTO turns (session, ordinal, role, said_at, witness, details, content) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, session.turn_count, role, now, witness, details, text),
            )
            driver.execute(
                "UPDATE sessions SET turn_count = turn_count + 1, embedded_turns = ?, last_active = ? WHERE number = ?",
                (embedded + (vector is not None), now, number),
            )
            title = (shortened(text, TITLE) or None) if role == "user" and session.title == UNTITLED else None
            context = None if vector is None else _moved(session.context_embedding, vector, embedded)
            if title is not None or context is not None:
                memory.revise(id, text=title, vector=context)
        return Turn(role, text, now, witness, metadata or {})

    def history(self, id: str, limit: int | None = None) -> list[Turn]:
        """The turns in their order; with a limit only that many of the last. NotFoundError."""
        number = self._row(id)[9]
        rows: Any = self.memory.driver.query(
            "SELECT role, content, said_at, witness, details FROM turns WHERE session = ? ORDER BY ordinal DESC LIMIT ?",
            (number, -1 if limit is None else limit),
        )
        return [Turn(role, content, said_at, witness, json.loads(details)) for role, content, said_at, witness, details in reversed(rows)]

    def update(self, id: str, **changes: Any) -> Session:
        """Sets ``active_adapter``, ``kv_cache_ref`` or ``metadata``. NotFoundError, ConfigError."""
        unknown = sorted(set(changes) - {"active_adapter", "kv_cache_ref", "metadata"})
        if unknown:
            raise ConfigError(f"a session has no {unknown[0]!r} to set; active_adapter, kv_cache_ref and metadata can be")
        with self.memory.transaction():
            number = self._row(id)[9]
            if "active_adapter" in changes:
                self.memory.driver.execute("UPDATE sessions SET active_adapter = ? WHERE number = ?", (changes["active_adapter"], number))
            if "kv_cache_ref" in changes:
                cache = changes["kv_cache_ref"]
                kept = None if cache is None else to_json(asdict(cache), "kv_cache_ref")
                self.memory.driver.execute("UPDATE sessions SET kv_cache = ? WHERE number = ?", (kept, number))
            if "metadata" in changes:
                self.memory.revise(id, metadata=changes["metadata"])
        return self.get(id)

    def list(self, limit: int | None = None, offset: int = 0, *, user_id: str | None = None, adapter: str | None = None) -> list[Session]:
        """The most recently active first; of one user, or with one adapter, if asked."""
        rows = self._rows(
            """(?1 IS NULL OR s.user_id = ?1) AND (?2 IS NULL OR s.active_adapter = ?2)
            ORDER BY s.last_active DESC, s.number DESC LIMIT ?3 OFFSET ?4""",
            [user_id, adapter, -1 if limit is None else limit, offset],
        )
        return [self._session(row) for row in rows]

    async def search(self, query: str | np.ndarray, k: int = 10, where: Mapping[str, Any] | None = None) -> Sequence[Session]:
        """Sessions that are about something like ``query``, best first; ``where`` filters by their metadata."""
        hits = await self.memory.search(query, k, where=where, collections=(COLLECTION,))
        return [self.get(hit.id) for hit in hits]

    async def delete(self, id: str) -> Removed:
        """Removes the session, its turns and its edges; durable on return. Witness entries are the witness log's. NotFoundError."""
        return Removed(**await self.memory.operations.run("sessions.delete", of=id))

    async def _delete(self, of: str) -> dict[str, int]:
        with self.memory.transaction():
            removed = asdict(self.remove(of))
            self.memory.operations.record(removed)
        await self.memory.flush()
        return removed

    def remove(self, id: str) -> Removed:
        """The same, durable with the next flush."""
        memory = self.memory
        with memory.transaction():
            session = self.get(id)
            edges = memory.graph.detach([id])
            memory.remove([id])  # the turns go with the record
            clear(memory.driver)
        return Removed(turns=session.turn_count, vectors=int(session.context_embedding is not None), edges=edges)

    def _row(self, id: str) -> Any:
        rows = self._rows("r.id = ?", [id])
        if not rows:
            raise NotFoundError(f"no session {id!r}")
        return rows[0]

    def _rows(self, condition: str, parameters: Sequence[Any]) -> Any:
        return self.memory.driver.query(f"{SELECT} WHERE {condition}", parameters)

    def _session(self, row: Any) -> Session:
        id, title, metadata, user_id, adapter, cache, turns, started_at, last_active, _, embedded = row
        context = self.memory.vector(id) if embedded else None
        return Session(id, title, user_id, context, _cache(cache), adapter, turns, started_at, last_active, json.loads(metadata))


def _moved(context: np.ndarray | None, turn: np.ndarray, before: int) -> np.ndarray:
    """The context embedding after one more turn: the mean of the first few, then fading, always of unit length."""
    weight = max(1 / (before + 1), WEIGHT)
    mixed = turn if context is None else (1 - weight) * context + weight * turn
    length = float(np.linalg.norm(mixed))
    if length < 1e-6:  # the turn says the very opposite: it has the word
        mixed, length = turn, float(np.linalg.norm(turn))
    return (mixed / length).astype(np.float32)


def _cache(text: str | None) -> KvCacheRef | None:
    if text is None:
        return None
    values = json.loads(text)
    return KvCacheRef(**{**values, "quantization": CacheQuantization(**values["quantization"])})
