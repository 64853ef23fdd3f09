"""Sessions: conversations, what they are about and where their state is (ADR-002, role B).

A session is a record of the collection "sessions" whose text is its title and whose vector says what the conversation is about; its
turns are rows of their own. In the graph a session ``contains`` the witness entries of its requests.

A session is live from its first turn or opening until it has been idle, or has lived, for too long (``SessionConfig``); a pinned one
does not expire. What ends then is its live state: keys and values in memory are given up, and ``kv_cache_ref`` says so. The conversation
stays and can be found, listed and taken up again, which makes it live again. Only ``SessionConfig.keep_ms``, off by default, removes
conversations.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from inspect import ismethod
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np

from ..embed.cache import clear
from ..errors import ConfigError, NotFoundError, RuvLLMError
from ..types import Draft, Metadata
from .cache_reference import KvCacheRef
from .columns import Removed, checked_text, checked_vector, cleaned_text, from_blob, shortened, to_json
from .records import dump

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "sessions"
UNTITLED = "New conversation"
TITLE = 60  # characters at most
ROLES = ("user", "assistant", "system", "tool")
WEIGHT = 0.2  # of a turn in the context embedding, from the fifth on; the ones before are averaged

SELECT = """SELECT r.id, r.text, r.metadata, s.user_id, s.active_adapter, s.kv_cache, s.turn_count, s.started_at, s.last_active,
    s.number, s.embedded_turns, s.pinned, s.live_since, v.embedding
    FROM sessions AS s JOIN records AS r ON r.number = s.number LEFT JOIN vectors AS v ON v.number = s.number"""
EXPIRED = """SELECT r.id FROM sessions AS s JOIN records AS r ON r.number = s.number
    WHERE s.live_since IS NOT NULL AND NOT s.pinned AND (s.last_active <= ? OR s.live_since <= ?) ORDER BY s.last_active LIMIT ?"""
OLD = """SELECT r.id FROM sessions AS s JOIN records AS r ON r.number = s.number
    WHERE NOT s.pinned AND s.last_active <= ? ORDER BY s.last_active LIMIT ?"""
AT_ONCE = 64  # sessions that expire in one slice

log = logging.getLogger("pyruvllm")


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
    pinned: bool = False  # never expires
    live: bool = False  # whether it may have state beyond its rows


@dataclass(frozen=True)
class Turn:
    role: str  # "user", "assistant", "system", "tool"
    text: str
    created_at: int
    witness: str | None = None  # id of the witness entry of the request it belongs to
    metadata: Metadata = field(default_factory=dict)


class SessionIndex:
    """All but ``delete`` and ``search`` is synchronous and durable with the next flush of the memory.

    Sessions that were read lately are held ready. Where an event loop runs, those that are due expire by themselves.
    """

    def __init__(self, memory: "UnifiedMemory"):
        self.memory, self.config = memory, memory.config.session
        self._warm: OrderedDict[str, Session] = OrderedDict()
        self._places: dict[int, str] = {}  # number of the record -> id, of those
        self._ended: list[Callable[[], Callable[[str], None] | None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        memory.operations.add("sessions.delete", self._delete)
        memory.watch(COLLECTION, self._cool)
        memory.on_close(self._stop)
        memory.told.append(self._told)
        self._set_timer()

    def open(self, id: str | None = None, user_id: str | None = None, metadata: Metadata | None = None) -> Session:
        """The session of that id, live, made if it is not there; without an id a new one.

        One that is nobody's yet becomes the user's, with all that was said in it. ConfigError if it is another user's.
        """
        known = self.check_user(id, user_id)
        if known is not None:
            if user_id is not None and known.user_id is None:
                self._set(known.id, "user_id = ?", user_id)
                known = self.get(known.id)
            return known if known.live or not self.memory.writable else self._revived(known.id)
        if id is not None:
            checked_text(id, "a session's id")
        id, now = id or self.memory.clock.new_id(), self.memory.clock.now_ms()
        with self.memory.transaction():
            self.memory.put(COLLECTION, [Draft(UNTITLED, id, metadata or {})])
            self.memory.driver.execute(
                """INSERT INTO sessions (number, user_id, turn_count, embedded_turns, started_at, last_active, live_since)
                SELECT number, ?, 0, 0, ?, ?, ? FROM records WHERE id = ?""",
                (user_id, now, now, now, id),
            )
        self._set_timer()
        return self.get(id)

    def check_user(self, id: str | None, user_id: str | None) -> Session | None:
        """The session of that id, if it is there. ConfigError if it is another user's, or if there can be no such user."""
        if user_id is not None:
            checked_text(user_id, "a user's id")
        known = self._found(id) if id is not None else None
        if known is not None and user_id is not None and known.user_id not in (None, user_id):
            raise ConfigError(f"session {id!r} belongs to the user {known.user_id!r}, not to {user_id!r}")
        return known

    def _revived(self, id: str) -> Session:
        now = self.memory.clock.now_ms()
        self._set(id, "live_since = ?, last_active = ?", now, now)
        self._set_timer()
        return self.get(id)

    def get(self, id: str) -> Session:
        """NotFoundError."""
        session = self._found(id)
        if session is None:
            raise NotFoundError(f"no session {id!r}")
        return session

    def _found(self, id: str) -> Session | None:
        """From those held ready, else from the rows."""
        session = self._warm.get(id)
        if session is not None:
            self._warm.move_to_end(id)
            return session
        rows = self._rows("r.id = ?", [id])
        if not rows:
            return None
        session = self._session(rows[0])
        if not self.memory.busy:  # else what was read may be taken back
            self._warm[id], self._places[rows[0][9]] = session, id
            if len(self._warm) > self.config.warm:
                self._warm.popitem(last=False)
            if len(self._places) > 2 * self.config.warm:
                self._places = {number: id for number, id in self._places.items() if id in self._warm}
        return session

    def _cool(self, numbers: Set[int] | None) -> None:
        """Lets these be read again."""
        for number in self._places if numbers is None else numbers:
            self._warm.pop(self._places.get(number, ""), None)

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
                """UPDATE sessions SET turn_count = turn_count + 1, embedded_turns = ?, last_active = ?,
                live_since = coalesce(live_since, ?) WHERE number = ?""",
                (embedded + (vector is not None), now, now, number),
            )
            self._warm.pop(id, None)
            title = (shortened(text, TITLE) or None) if role == "user" and session.title == UNTITLED else None
            context = None if vector is None else _moved(session.context_embedding, vector, embedded)
            if title is not None or context is not None:
                memory.revise(id, text=title, vector=context)
        self._set_timer()
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
        """Sets ``active_adapter``, ``kv_cache_ref`` or ``metadata``; another adapter takes the cache of the one before with it, unless one
        is given. NotFoundError, ConfigError: then nothing was changed.
        """
        unknown = sorted(set(changes) - {"active_adapter", "kv_cache_ref", "metadata"})
        if unknown:
            raise ConfigError(f"a session has no {unknown[0]!r} to set; active_adapter, kv_cache_ref and metadata can be")
        cache = changes.get("kv_cache_ref")
        if not isinstance(cache, (KvCacheRef, type(None))):
            raise ConfigError(f"kv_cache_ref is {cache!r}; a KvCacheRef or None would be right")
        with self.memory.transaction():
            self._row(id)
            if "active_adapter" in changes:
                self.switch_adapter(id, changes["active_adapter"])
            if "kv_cache_ref" in changes:
                self._set(id, "kv_cache = ?", None if cache is None else to_json(asdict(cache), "kv_cache_ref"))
            if "metadata" in changes:
                self.memory.revise(id, metadata=changes["metadata"])
        return self.get(id)

    def switch_adapter(self, id: str, adapter: str | None) -> Session:
        """The adapter that its next turns are answered with, where the loaded model has it: else the bare model answers, and the answer
        says so. None: the bare model. Keys and values of another adapter are of no use to it. NotFoundError, ConfigError.
        """
        if adapter is not None:
            checked_text(adapter, "an adapter's id")
        if self.get(id).active_adapter == adapter:
            return self.get(id)
        with self.memory.transaction():
            self._set(id, "active_adapter = ?, kv_cache = NULL", adapter)
        return self.get(id)

    def pin(self, id: str, pinned: bool = True) -> Session:
        """A pinned session does not expire, however long it is idle, and is not removed by age. NotFoundError."""
        self._row(id)
        self._set(id, "pinned = ?", int(pinned))
        self._set_timer()
        return self.get(id)

    def list(
        self,
        limit: int | None = None,
        offset: int = 0,
        *,
        user_id: str | None = None,
        adapter: str | None = None,
        live: bool | None = None,
    ) -> list[Session]:
        """The most recently active first; of one user, with one adapter, those that are live or are not, if asked."""
        condition, values = _which(user_id, adapter, live)
        rows = self._rows(
            f"{condition} ORDER BY s.last_active DESC, s.number DESC LIMIT ? OFFSET ?", [*values, -1 if limit is None else limit, offset]
        )
        return [self._session(row) for row in rows]

    def count(self, *, user_id: str | None = None, adapter: str | None = None, live: bool | None = None) -> int:
        """How many there are of those."""
        condition, values = _which(user_id, adapter, live)
        return int(self.memory.driver.query(f"SELECT count(*) FROM sessions AS s WHERE {condition}", values)[0][0])  # type: ignore[arg-type]

    async def search(
        self,
        query: str | np.ndarray,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        *,
        user_id: str | None = None,
        adapter: str | None = None,
        live: bool | None = None,
    ) -> Sequence[Session]:
        """Sessions that are about something like ``query``, best first; ``where`` filters by their metadata, the others as in ``list``."""
        if (user_id, adapter, live) != (None, None, None):
            condition, values = _which(user_id, adapter, live)
            sql = f"SELECT r.id FROM sessions AS s JOIN records AS r ON r.number = s.number WHERE {condition}"
            among = {"id": {"$in": [id for (id,) in self.memory.driver.query(sql, values)]}}
            where = {"$and": [where, among]} if where else among
        hits = await self.memory.search(query, k, where=where, collections=(COLLECTION,))
        return [self.get(hit.id) for hit in hits]

    # Expiry

    def on_expired(self, callback: Callable[[str], None]) -> None:
        """Calls back with the id of each session that expires, before its row says so: whoever holds state of it lets go.

        A callback that saves the state says where in ``kv_cache_ref``; a "cold" one stays, any other is cleared.
        """
        self._ended.append(WeakMethod(callback) if ismethod(callback) else lambda: callback)  # a model that is let go of is not held

    def expire(self, limit: int | None = None) -> "list[str]":
        """Ends the live state of sessions that are due, those idle longest first, and returns their ids.

        Where ``SessionConfig.keep_ms`` says so, conversations that were idle for that long are removed, too.
        """
        now, c = self.memory.clock.now_ms(), self.config
        rows: Any = self.memory.driver.query(EXPIRED, [now - c.idle_ms, now - c.lifetime_ms, -1 if limit is None else limit])
        ended = [id for (id,) in rows if self._end(id)]
        if c.keep_ms is not None:
            for (id,) in self.memory.driver.query(OLD, [now - c.keep_ms, AT_ONCE]):
                self.remove(str(id))
        return ended

    def _end(self, id: str) -> bool:
        try:
            for callback in [known for told in self._ended if (known := told()) is not None]:
                callback(id)
        except RuvLLMError as error:
            log.warning("the session %r stays live: %s", id, error)
            return False
        cache = self.get(id).kv_cache_ref
        gone = cache is not None and cache.tier != "cold"
        self._set(id, "live_since = NULL, kv_cache = NULL" if gone else "live_since = NULL")
        return True

    def _set_timer(self, soon: bool = False) -> None:
        """Lets what is due expire in time, where an event loop runs: it looks ten times in the shorter of the two times."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # none runs: the next opening or turn that finds one sets it
            return
        if self.memory.writable and (self._timer is None or loop is not self._loop):
            delay_ms = 0 if soon else min(self.config.idle_ms, self.config.lifetime_ms) / 10
            self._loop, self._timer = loop, loop.call_later(delay_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            ended = self.expire(AT_ONCE)
            if self.config.keep_ms is not None or self.count(live=True):  # else it rests until one is
                self._set_timer(soon=len(ended) == AT_ONCE)
        except RuvLLMError as error:
            log.warning("sessions that are due did not expire, which is tried again: %s", error)
            self._set_timer()

    def _told(self, what: str, why: str) -> None:
        if what == "writer":  # as a follower it ended none
            self._set_timer(soon=True)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def delete(self, id: str) -> Removed:
        """Removes the session, its turns and its edges; durable on return. NotFoundError.

        Its witness entries stay, with what was asked: ``RuvLLM.forget(session=...)`` takes those out, too.
        """
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

    def _set(self, id: str, assignments: str, *values: Any) -> None:
        self.memory.driver.execute(
            f"UPDATE sessions SET {assignments} WHERE number = (SELECT number FROM records WHERE id = ?)", (*values, id)
        )
        self._warm.pop(id, None)

    def _row(self, id: str) -> Any:
        rows = self._rows("r.id = ?", [id])
        if not rows:
            raise NotFoundError(f"no session {id!r}")
        return rows[0]

    def _rows(self, condition: str, parameters: Sequence[Any]) -> Any:
        return self.memory.driver.query(f"{SELECT} WHERE {condition}", parameters)

    def _session(self, row: Any) -> Session:
        id, title, metadata, user_id, adapter, cache, turns, started_at, last_active, _, embedded, pinned, live, vector = row
        context = from_blob(vector, "<f2") if embedded else None
        known = (started_at, last_active, json.loads(metadata), bool(pinned), live is not None)
        return Session(id, title, user_id, context, KvCacheRef.read(cache), adapter, turns, *known)


def _which(user_id: str | None, adapter: str | None, live: bool | None) -> tuple[str, "list[Any]"]:
    """A condition on ``sessions AS s``."""
    tests, values = ["1"], list[Any]()
    for column, value in (("user_id", user_id), ("active_adapter", adapter)):
        if value is not None:
            tests.append(f"s.{column} = ?")
            values.append(value)
    if live is not None:
        tests.append(f"s.live_since IS {'NOT ' if live else ''}NULL")
    return " AND ".join(tests), values


def _moved(context: np.ndarray | None, turn: np.ndarray, before: int) -> np.ndarray:
    """The context embedding after one more turn: the mean of the first few, then fading, always of unit length."""
    weight = max(1 / (before + 1), WEIGHT)
    mixed = turn if context is None else (1 - weight) * context + weight * turn
    length = float(np.linalg.norm(mixed))
    if length < 1e-6:  # the turn says the very opposite: it has the word
        mixed, length = turn, float(np.linalg.norm(turn))
    return (mixed / length).astype(np.float32)
