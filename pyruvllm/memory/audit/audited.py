"""What can be asked of the witness log, and what becomes of its entries: search, figures, proof, holds, retention, archives, export."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ...errors import ConfigError
from ..collection import check_space, check_vector
from ..recall import Question, recall
from . import archive, otlp, questions, retention
from .aggregates import Bucket, Summary, summarize
from .archive import Archive, OpenArchive
from .chain import HELD, RELEASED, Chain, Progress, Verdict
from .criteria import Criteria, matching
from .entry import COLLECTION, SELECT, WitnessEntry, entry_of
from .frames import opened
from .questions import HOUR_MS, POOR, Found, Spikes
from .retention import Cleared, Retention

if TYPE_CHECKING:
    from ..unified import UnifiedMemory

Where = Mapping[str, Any]
ORDERS = {"timestamp": "w.timestamp", "total_ms": "w.total_ms", "quality": "w.quality"}
PAGE = 500  # entries read at a time when many are written out


class Audited:
    """The part of ``WitnessLog`` that reads and keeps. Criteria, in any combination: see ``criteria.Criteria``.

    Raises FilterError and ConfigError for criteria that cannot be, NotFoundError for an id that is not there.
    """

    memory: UnifiedMemory
    chain: Chain
    _retained_at: float | None = None  # elapsed_ms

    def get(self, id: str) -> WitnessEntry:
        raise NotImplementedError

    def settle(self) -> None:
        """Puts what is queued into the tables, so that a query sees it."""
        raise NotImplementedError

    async def drain(self) -> None:
        raise NotImplementedError

    def restore(self, entries: Iterable[WitnessEntry]) -> None:
        """Writes entries as they are, at once."""
        raise NotImplementedError

    def serve(self) -> None:
        """What a tab that follows has the one that writes do. Doing any of it twice changes nothing."""
        for name in ("hold", "keep", "retain", "clear", "archive"):
            self.memory.operations.add(f"witness.{name}", getattr(self, f"_{name}"))

    # Search

    def list(self, where: Where | None = None, limit: int | None = 50, offset: int = 0, *, order: str = "timestamp") -> list[WitnessEntry]:
        """The newest first; or by ``order`` "total_ms" or "quality", the largest first."""
        if order not in ORDERS:
            raise ConfigError(f"order is {order!r}; one of {', '.join(ORDERS)} would be right")
        self.settle()
        test, values = matching(where)
        rows = self.memory.driver.query(
            f"{SELECT} WHERE {test} ORDER BY {ORDERS[order]} DESC, w.number DESC LIMIT ? OFFSET ?",
            [*values, -1 if limit is None else limit, offset],
        )
        return [entry_of(row) for row in rows]

    def count(self, where: Where | None = None) -> int:
        return int(self.rows("count(*)", where)[0][0])

    def rows(self, columns: str, where: Where | None = None) -> Any:
        """Columns of ``witness AS w`` that a filter holds for, in no order."""
        self.settle()
        test, values = matching(where)
        return self.memory.driver.query(f"SELECT {columns} FROM witness AS w WHERE {test}", values)

    async def search(self, query: str | np.ndarray, k: int = 10, where: Where | None = None) -> list[WitnessEntry]:
        """Entries whose query is like this text or vector, best first. EmbeddingError."""
        self.settle()
        if not isinstance(query, str):
            return self._nearest(None, query, k, where)
        vector = (await self.memory.embedder.embed([query]))[0] if query.strip() else None
        return self._nearest(query, vector, k, where)

    def _nearest(self, text: str | None, vector: np.ndarray | None, k: int, where: Where | None) -> list[WitnessEntry]:
        """By words and meaning, among what a filter holds for, which the typed columns find faster than the metadata."""
        chosen = self.memory.collection(COLLECTION)
        if vector is not None:
            vector = check_vector(vector, self.memory.embedder.space.dimension, "the query's vector")
            check_space(COLLECTION, chosen.space, self.memory.embedder.space)
        allowed = np.sort(np.array([number for (number,) in self.rows("w.number", where)], np.int64)) if where else None
        question = Question(text, vector, k, allowed, self.memory.unindexed())
        return [self.get(hit.id) for hit in recall(self.memory.records, self.memory.graph, [chosen], question)]

    async def find(
        self, about: str | np.ndarray | None = None, *, like: str | None = None, limit: int = 50, offset: int = 0, **criteria: Any
    ) -> Found:
        """Entries that meet all criteria: the newest first, or those nearest to ``about`` or to the entry ``like``, which is left out."""
        if about is not None and like is not None:
            raise ConfigError("find() takes about=TEXT or like=ID, not both")
        where = Criteria.of(criteria).filter()
        if like is not None:
            where = {"$and": [where, {"id": {"$ne": like}}]} if where else {"id": {"$ne": like}}
            entry = self.get(like)
            self.settle()
            entries = self._nearest(entry.query, entry.query_embedding, offset + limit, where)[offset:]
        elif about is not None and not (isinstance(about, str) and not about.strip()):
            entries = (await self.search(about, offset + limit, where))[offset:]
        else:
            entries = self.list(where, limit, offset)
        return Found(entries, self.count(where))

    # The questions of a postmortem

    def low_quality(self, below: float = POOR, *, limit: int = 50, offset: int = 0) -> Found:
        """Requests that were rated lower than that, the newest first."""
        where = Criteria(quality_below=below).filter()
        return Found(self.list(where, limit, offset), self.count(where))

    async def similar_errors(self, id: str, limit: int = 50) -> Found:
        """Failed requests like the one with that id: first those that failed in the same way, each part nearest in meaning first."""
        return await questions.similar_errors(self, id, limit)

    def latency_spikes(self, within_ms: int = HOUR_MS, limit: int = 50) -> Spikes:
        """Requests of the last hour, or of that many milliseconds, that took much longer than usual, the slowest first.

        Usual is the median of the last 24 hours. A spike takes at least twice that, and at least five scaled median absolute deviations
        more: unlike a mean and its deviation, neither is moved by the spikes themselves.
        """
        return questions.latency_spikes(self, within_ms, limit)

    def aggregate(self, bucket_ms: Bucket = "auto", *, origin: int = 0, **criteria: Any) -> Summary:
        """Figures of the entries that meet the criteria, in all and for each ``bucket_ms``; None: in all only; "auto": for each hour,
        or day, week or more where that would be more than 5,000.

        Buckets begin at ``origin`` (UTC milliseconds) and whole multiples from it on: give a local midnight for local days.
        """
        self.settle()
        return summarize(self.memory.driver, matching(Criteria.of(criteria).filter()), bucket_ms, origin)

    # Proof

    async def verify(self, head: str | None = None, *, progress: Progress | None = None) -> Verdict:
        """Looks at every link and every entry: what was altered, added or removed behind the log's back shows, the first of it by name.

        ``head``: one that was noted earlier; its link must still be there, so that what followed was not cut off. ConfigError.
        """
        self.settle()
        return await self.chain.verify(head, progress)

    # Holds and retention

    async def hold(self, reason: str, ids: Iterable[str] | None = None, **criteria: Any) -> int:
        """Puts entries on legal hold, those with the ids or all that meet the criteria; returns how many. Durable on return.

        Whatever is on hold stays: retention passes it over, forgetting is refused with HeldError, the database itself refuses to delete it.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError("a hold has a reason: who asked for it, and why?")
        return await self._held(reason, ids, criteria)

    async def release(self, ids: Iterable[str] | None = None, **criteria: Any) -> int:
        """Ends the hold of entries; returns of how many. Durable on return."""
        return await self._held(None, ids, {**criteria, "held": True} if ids is None else criteria)

    async def _held(self, reason: str | None, ids: Iterable[str] | None, criteria: Mapping[str, Any]) -> int:
        if (ids is None) == (not criteria):
            raise ConfigError("a hold names its entries: by ids, or by criteria such as session=...")
        listed = None if ids is None else [ids] if isinstance(ids, str) else [*ids]
        return int(await self.memory.operations.run("witness.hold", reason=reason, ids=listed, criteria=dict(criteria)))

    async def _hold(self, reason: str | None, ids: Iterable[str] | None, criteria: Mapping[str, Any]) -> int:
        self.settle()
        if ids is None:
            where = Criteria.of(criteria).filter()
            chosen = [str(id) for (id,) in self.rows("(SELECT id FROM records WHERE number = w.number)", where)]
        else:
            chosen = list(dict.fromkeys(ids))
        with self.memory.transaction():
            entries = [entry for entry in map(self.get, chosen) if entry.hold != reason]
            for entry in entries:
                self.amend(entry, RELEASED if reason is None else HELD, "hold", reason)
        await self.memory.flush()
        return len(entries)

    def amend(self, entry: WitnessEntry, event: str, column: str, value: Any) -> None:
        """Sets a value of a written entry, and says so in the chain. Inside a transaction."""
        number = self.memory.records.places([entry.request_id])[0][0]
        metadata = {**self.memory.get(entry.request_id).metadata, column: value}
        self.memory.revise(entry.request_id, metadata=metadata)
        self.memory.driver.execute(f"UPDATE witness SET {column} = ? WHERE number = ?", (value, number))
        self.chain.append(event, [number])

    @property
    def retention(self) -> Retention:
        """What is kept, as this memory's own setting; nothing goes until it is set. To be set with ``keep``."""
        return retention.kept(self)

    async def keep(self, setting: Retention) -> Cleared:
        """Sets the retention, in the memory, and applies it. Durable on return."""
        return Cleared(**await self.memory.operations.run("witness.keep", **asdict(setting)))

    async def _keep(self, max_age_ms: int | None, max_entries: int | None) -> dict[str, int]:
        retention.keep(self, Retention(max_age_ms, max_entries))
        await self.memory.flush()
        return await self._retain()

    async def retain(self, setting: Retention | None = None, *, progress: Progress | None = None) -> Cleared:
        """Removes the entries that the memory's setting, or the given one, does not keep; those on hold stay. Durable on return."""
        if self.memory.driver.role == "follower":
            return Cleared(**await self.memory.operations.run("witness.retain", setting=None if setting is None else asdict(setting)))
        await self.drain()
        self._retained_at = self.memory.clock.elapsed_ms()
        return await retention.retain(self, retention.kept(self) if setting is None else setting, progress)

    async def _retain(self, setting: Mapping[str, Any] | None = None) -> dict[str, int]:
        return asdict(await self.retain(Retention(**setting) if setting is not None else None))

    async def retain_if_due(self) -> Cleared:
        """Applies the memory's setting if that was not done for an hour."""
        due = self._retained_at is None or self.memory.clock.elapsed_ms() - self._retained_at >= HOUR_MS
        return await self.retain() if due and self.memory.driver.role == "writer" else Cleared()

    # Archives

    async def archive(self, target: str | Path | Callable[[bytes], Any], *, progress: Progress | None = None, **criteria: Any) -> Archive:
        """Writes the entries that meet the criteria into a compressed, sealed file: to a path, or to a function that takes bytes.

        The log keeps them until ``clear``. Their keys are in this memory and durable on return. HostError where nothing can encrypt.
        """
        if self.memory.driver.role == "follower":
            made = await self.memory.operations.run("witness.archive", **criteria)
            with opened(target) as put:
                put(made.pop("file"))
            return Archive(**made)
        self.settle()
        return await archive.write(self, target, Criteria.of(criteria).filter(), progress)

    async def _archive(self, **criteria: Any) -> dict[str, Any]:
        file = io.BytesIO()
        return {**asdict(await self.archive(file.write, **criteria)), "file": file.getvalue()}

    async def clear(self, id: str, *, progress: Progress | None = None) -> Cleared:
        """Removes from the log what that archive has, but for what is on hold or was changed since. Durable on return. NotFoundError."""
        if self.memory.driver.role == "follower":
            return Cleared(**await self.memory.operations.run("witness.clear", of=id))
        await self.drain()
        return await archive.clear(self, id, progress)

    async def _clear(self, of: str) -> dict[str, int]:
        return asdict(await self.clear(of))

    async def open_archive(self, source: str | Path | bytes | BinaryIO, *, progress: Progress | None = None) -> OpenArchive:
        """An archive of this memory as a log of its own, in which everything can be asked; close it after use. ArchiveError."""
        return await archive.read(self, source, progress)

    # Export

    def otlp(self, *, text: bool = False, **criteria: Any) -> str:
        """The entries that meet the criteria as an ExportTraceServiceRequest of OTLP in JSON; with ``text`` also what was asked."""
        spans = (span for entry in self._oldest_first(criteria) for span in otlp.spans(entry, text))
        return json.dumps(otlp.request(spans), ensure_ascii=False, separators=(",", ":"))

    def jsonl(self, *, text: bool = False, embeddings: bool = False, **criteria: Any) -> Iterator[str]:
        """The same as lines of JSON, see ``otlp.lines``."""
        return otlp.lines(self._oldest_first(criteria), text, embeddings)

    def _oldest_first(self, criteria: Mapping[str, Any]) -> Iterator[WitnessEntry]:
        self.settle()
        test, values = matching(Criteria.of(criteria).filter())
        since, last = -(2**62), 0
        while True:
            rows: Any = self.memory.driver.query(
                f"{SELECT.replace('SELECT', 'SELECT w.timestamp, w.number,', 1)} WHERE (w.timestamp, w.number) > (?, ?) AND {test} "
                f"ORDER BY w.timestamp, w.number LIMIT {PAGE}",
                [since, last, *values],
            )
            if not rows:
                return
            yield from (entry_of(row[2:]) for row in rows)
            since, last = rows[-1][:2]
