"""What a request leaves behind: its turns in the session, its entry in the witness log. Written here, or by the tab that writes."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RuvLLMError, StorageError
from ..types import ErrorInfo, Generated, Latency, RoutingDecision
from .session import SessionIndex
from .witness import WitnessEntry, WitnessLog
from .writeback import WritebackQueue

if TYPE_CHECKING:
    from .unified import UnifiedMemory

log = logging.getLogger("pyruvllm.memory")

# of an entry, where it has them
PARTS = {"routing_decision": RoutingDecision, "latency": Latency, "error": ErrorInfo, "generated": Generated}

SAID = "SELECT 1 FROM turns AS t JOIN records AS r ON r.number = t.session WHERE r.id = ? AND t.witness = ? LIMIT 1"

Request = dict[str, Any]  # session, turns, entry: as another tab can be told them


class Requests:
    """``record`` returns at once; durable after ``flush``."""

    def __init__(self, memory: "UnifiedMemory", sessions: SessionIndex, witness: WitnessLog):
        self.memory, self.sessions, self.witness = memory, sessions, witness
        self.queue: WritebackQueue[Request] = WritebackQueue(self._hand_over, memory.config.writeback, memory.clock)
        self._kept: dict[str, Request] = {}  # by id: written here, and not durable yet
        memory.operations.add("request", self._write)
        memory.told.append(self._told)

    def record(self, session: str, turns: Sequence[Mapping[str, Any]], entry: WitnessEntry) -> bool:
        """``turns``: arguments of ``SessionIndex.append``. False where there will be no witness entry: nothing can be written, or the log
        does not take it, and then the turns are there all the same.
        """
        role, request = self.memory.driver.role, {"session": session, "turns": turns, "entry": _plain(entry)}
        if role == "follower":
            return self.queue.put(request)
        if role == "reader":
            return False
        with self.memory.transaction():
            self._append(session, turns, entry.user_id, always=True)
        try:
            recorded = self.witness.record(entry)
        except RuvLLMError as error:
            recorded = False
            log.error("the witness entry %s was refused: %s", entry.request_id, error)
        self._kept = {id: kept for id, kept in self._kept.items() if self.witness.waits(id)}
        if recorded:
            self._kept[entry.request_id] = request
        return recorded

    async def flush(self) -> None:
        """Returns when all that was recorded before the call is durable."""
        await self.queue.flush()
        await self.witness.drain()

    async def close(self) -> None:
        await self.queue.close()
        await self.witness.close()

    def release(self) -> None:
        """What this tab had not saved when it stopped being the writer is for the next one to write."""
        entries = self.witness.give_up()
        saved = self.witness.written([entry.request_id for entry in entries])
        for entry in entries:
            id, bare = entry.request_id, {"session": entry.session_id, "turns": [], "entry": _plain(entry)}
            request = self._kept.pop(id, bare)
            if id in saved:  # and its turns, which were written before it
                continue
            said = self.memory.driver.query(SAID, [entry.session_id, id])
            self.queue.put(bare if said else request)

    def _told(self, what: str, why: str) -> None:
        if what == "follower":
            self.release()

    async def _hand_over(self, requests: list[Request]) -> None:
        for request in requests:
            id = request["entry"]["request_id"]
            try:
                await self.memory.operations.run("request", id, **request)
            except StorageError:
                raise
            except RuvLLMError as error:  # a request that can never be written must not hold up the others
                log.error("the request %s was refused: %s", id, error)

    async def _write(self, session: str, turns: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> None:
        with self.memory.transaction():
            self._append(session, turns, entry["user_id"])
            self.witness.insert(_entry(entry))
            self.memory.operations.record()
        await self.memory.flush()

    def _append(self, session: str, turns: Sequence[Mapping[str, Any]], user: str | None, always: bool = False) -> None:
        if turns or always:
            self.sessions.open(session, user)
        for turn in turns:
            self.sessions.append(session, **turn)


def _plain(entry: WitnessEntry) -> dict[str, Any]:
    return {name: vars(value) if name in PARTS and value is not None else value for name, value in vars(entry).items()}


def _entry(plain: Mapping[str, Any]) -> WitnessEntry:
    parts = {name: None if plain[name] is None else kind(**plain[name]) for name, kind in PARTS.items()}
    parts["routing_decision"] = RoutingDecision(
        **{**plain["routing_decision"], "model_probs": tuple(plain["routing_decision"]["model_probs"])}
    )
    return WitnessEntry(**{**plain, **parts, "context_doc_ids": tuple(plain["context_doc_ids"])})
