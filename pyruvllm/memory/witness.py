"""The witness log: what was decided for each request, how long it took and how good it was (ADR-002, role C).

An entry is a record of the collection "witness" whose text is the query, so that one search covers the log too. Its metadata holds
what a filter may ask for: ``session, model, quality, timestamp, latency.total_ms`` (and the other steps), ``routing.confidence`` (and
the rest of the decision), ``context_ids, error.kind, error.message``, and where a language model answered ``generated.model`` (and its
tokens and times). ``record`` only queues. Of what waits, AHEAD at a time are put into the tables and on their way to the disk when the
event loop is free, so that the batch that makes them durable has little left to write. Entries are written in one transaction with
their vectors, side rows, edges ``session contains entry`` and links in the chain. What is queued can be read like what is written. What
can be asked of the log, and what becomes of its entries, is in ``audit``.
"""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..config import WritebackConfig
from ..errors import ConfigError, DuplicateError, FencedError, MemoryStoreError, NotFoundError, RuvLLMError, StorageError
from .audit.audited import Audited
from .audit.chain import RATED, RECORDED, Chain
from .audit.entry import COLLECTION, COLUMNS, SELECT, WitnessEntry, entry_of
from .audit.entry import quality as checked_quality
from .audit.prepared import prepared
from .collection import check_space
from .graph import Edge
from .writeback import WritebackQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .unified import UnifiedMemory

__all__ = ["COLLECTION", "WitnessEntry", "WitnessLog"]

INSERT = f"""INSERT INTO witness (number, {", ".join(COLUMNS)}, response_embedding, salt) VALUES (?{", ?" * len(COLUMNS)}, ?, ?)"""
SESSIONS = """SELECT r.id, s.user_id FROM json_each(?) AS j JOIN records AS r ON r.id = j.value
    LEFT JOIN sessions AS s ON s.number = r.number"""
AHEAD = 24  # entries
LATELY = 4096

log = logging.getLogger("pyruvllm")


class WitnessLog(Audited):
    """What can be known of an entry is checked when it is recorded. ``refused`` counts those that the memory would not take after all,
    such as one whose id was taken meanwhile; they are logged, and ``flush`` tells.
    """

    def __init__(self, memory: "UnifiedMemory", config: WritebackConfig | None = None):
        self.memory = memory
        self.queue: WritebackQueue[str] = WritebackQueue(self._write, config or memory.config.writeback, memory.clock)
        self.refused = 0
        self._refusals: dict[str, RuvLLMError] = {}  # that no flush told of
        self.chain = Chain(memory.driver, memory.clock)
        self._waiting: dict[str, WitnessEntry] = {}  # what the queue holds, by id, oldest first
        self._tried: dict[str, bool] = {}  # ids of these that may have their rows already; True: they had them
        self._fresh: dict[str, None] = {}  # ids of the others, oldest first
        self._saving: set[asyncio.Task[None]] = set()
        self._lately: dict[str, None] = {}  # ids that were written, the newest LATELY: asking the tables takes longer than recording may
        memory.operations.add("witness.rate", self._rate)
        self.serve()
        if memory.writable:
            self.chain.adopt()

    def record(self, entry: WitnessEntry) -> bool:
        """Queues an entry and returns at once. False: read-only, or the queue is full or closed; it is dropped and counted.

        DuplicateError for an id that is waiting or was written lately, SpaceError for a vector while the log's are of another space. An id
        that somebody else has is found out when it is written: ``flush`` tells.
        """
        if entry.request_id in self._waiting:
            raise DuplicateError(f"the witness entry {entry.request_id!r} is recorded already")
        if not self.memory.writable:
            self.queue.dropped += 1
            return False
        if entry.request_id in self._lately and self.memory.records.taken([entry.request_id]):
            raise DuplicateError(f"the id {entry.request_id!r} is taken; the witness entry was not recorded")
        if entry.query_embedding is not None:
            check_space(COLLECTION, self.memory.collection(COLLECTION).space, self.memory.embedder.space)
        if not entry.timestamp:
            entry = replace(entry, timestamp=self.memory.clock.now_ms())
        if not self.queue.put(entry.request_id):
            return False
        self._waiting[entry.request_id] = entry
        self._fresh[entry.request_id] = None
        if len(self._fresh) == AHEAD:
            self._soon()
        return True

    def waits(self, id: str) -> bool:
        """Whether that entry is not known to be durable yet."""
        return id in self._waiting

    def written(self, ids: "Sequence[str]") -> set[Any]:
        """Those of the entries that have their rows."""
        if not ids:
            return set()
        sql = "SELECT r.id FROM json_each(?) AS j JOIN records AS r ON r.id = j.value JOIN witness AS w ON w.number = r.number"
        return {row[0] for row in self.memory.driver.query(sql, (json.dumps(ids),))}

    def give_up(self) -> "list[WitnessEntry]":
        """Gives up the entries that are not known to be durable, for another tab to write."""
        entries = list(self._waiting.values())
        self._waiting, self._tried, self._fresh = {}, {}, {}
        return entries

    def get(self, id: str) -> WitnessEntry:
        """NotFoundError."""
        row = self._found(id)
        if row is None and (id not in self._waiting or self._tried.get(id)):  # it had one, and was removed
            raise NotFoundError(f"no witness entry {id!r}")
        return self._waiting[id] if row is None else row

    async def rate(self, id: str, quality: float) -> None:
        """Sets the quality, 0 to 1, of an entry, queued or written; durable on return. NotFoundError, ConfigError."""
        score = checked_quality(quality)
        if score is None:
            raise ConfigError("quality is None; a number between 0 and 1 would be right")
        await self.memory.operations.run("witness.rate", of=id, score=score)

    async def _rate(self, of: str, score: float) -> None:
        id = of
        if id in self._waiting:
            self._waiting[id] = replace(self._waiting[id], quality_score=score)
            if self._found(id) is None:
                await self.queue.flush()
                self.get(id)  # not there if the memory refused it
                return
        with self.memory.transaction():
            self.amend(self.get(id), RATED, "quality", score)
            self.memory.operations.record()
        await self.memory.flush()

    async def flush(self) -> None:
        """Returns when everything recorded before the call is durable. MemoryStoreError names entries that the memory refused since
        the last call, and why; the others are durable then.
        """
        await self.drain()
        refused, self._refusals = self._refusals, {}
        if refused:
            told = "; ".join(f"{id}: {error}" for id, error in refused.items())
            raise MemoryStoreError(f"{len(refused)} witness entries were refused and are not in the log, the others are: {told}")

    async def drain(self) -> None:
        """The same for whoever has something else to do: what was refused is told to the next ``flush``."""
        with self.memory.waiting.somebody():
            await self.queue.flush()

    async def close(self) -> None:
        await self.queue.close()

    async def _write(self, ids: "list[str]") -> None:
        """A batch of the queue: rows in, durable, forgotten here."""
        self._store(ids)
        stored, writable = [id for id in ids if id in self._waiting], self.memory.writable
        await self.memory.flush()
        if stored and not writable:  # the flush found nothing to do: the rows are of an image that another tab's takes the place of
            raise FencedError(f"another tab writes now; {len(stored)} witness entries are not durable and wait for it")
        for id in stored:
            self._waiting.pop(id, None)
            self._tried.pop(id, None)
        self._lately.update(dict.fromkeys(stored))
        for id in list(islice(self._lately, max(0, len(self._lately) - LATELY))):
            del self._lately[id]
        if len(self._fresh) >= AHEAD:
            self._soon()

    def settle(self) -> None:
        """Puts queued entries into the tables ahead of their turn, so that a query sees them; the queue makes them durable."""
        ids = list(self._waiting)
        try:
            for start in range(0, len(ids), self.queue.config.batch):
                self._store(ids[start : start + self.queue.config.batch])
        except StorageError as error:  # the queue meets it too, and says so to whoever flushes; what is there can be read
            log.warning("of %d queued witness entries some are not in the tables yet: %s", len(ids), error)

    def _soon(self) -> None:
        """Without an event loop what is fresh waits for its batch."""
        with suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(self._ahead)

    def _ahead(self) -> None:
        if len(self.queue) >= self.queue.config.batch:
            return
        with suppress(StorageError):  # the batch meets it again, and tells
            self._store(list(islice(self._fresh, AHEAD)))
            saving = asyncio.get_running_loop().create_task(self._save())
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)
        if len(self._fresh) >= AHEAD:
            self._soon()

    async def _save(self) -> None:
        with suppress(RuvLLMError):  # the same
            await self.memory.flush()

    def _store(self, ids: "list[str]") -> None:
        """Rows, vectors and edges of the entries that have none yet, in one transaction. StorageError: none was written."""
        ids = [id for id in dict.fromkeys(ids) if id in self._waiting]
        written = self.written([id for id in ids if self._tried.get(id) is False])
        entries = [self._waiting[id] for id in ids if id not in written and not self._tried.get(id)]
        for id in ids:
            self._tried.setdefault(id, False)
            self._fresh.pop(id, None)
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
                    self._refuse(entry.request_id, error)
        if not self.memory.busy:  # else a transaction around this may yet fail, and take them back
            self._tried.update((id, True) for id in ids if id in self._waiting)

    def _refuse(self, id: str, error: RuvLLMError) -> None:
        self.refused += 1
        self._refusals[id] = error
        del self._waiting[id], self._tried[id]
        log.error("the witness entry %s was refused: %s", id, error)

    def restore(self, entries: "Iterable[WitnessEntry]") -> None:
        self._insert(list(entries))

    def insert(self, entry: WitnessEntry) -> None:
        """Writes an entry at once, in the open transaction if there is one. DuplicateError, StorageError."""
        self._insert([entry])

    def _insert(self, entries: "list[WitnessEntry]") -> None:
        if not entries:
            return
        memory = self.memory
        with memory.transaction():
            users = self._users(entries)
            ready = list(prepared(memory, self.chain, entries, users))
            memory.put_rows(COLLECTION, [each.row for each in ready])
            memory.driver.executemany(INSERT, [(each.row.number, *each.columns, each.response, each.salt) for each in ready])
            # an edge from a session that is gone would dangle
            memory.graph.link_many(Edge(e.session_id, e.request_id, "contains") for e in entries if e.session_id in users)
            self.chain.link(RECORDED, {each.row.number: each.digest for each in ready})

    def _users(self, entries: "Iterable[WitnessEntry]") -> dict[str, str | None]:
        """Of those of their sessions that are there, by id."""
        sessions = json.dumps(list(dict.fromkeys(entry.session_id for entry in entries)))
        return dict(self.memory.driver.query(SESSIONS, (sessions,)))  # type: ignore[arg-type]

    def _found(self, id: str) -> WitnessEntry | None:
        rows = self.memory.driver.query(f"{SELECT} WHERE r.id = ?", (id,))
        return entry_of(rows[0]) if rows else None
