"""Queued witness entries are made ready to be written while the event loop is free, so that a batch takes little more than its SQL."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ...errors import RuvLLMError
from ...storage.driver import Value
from ...types import Draft
from ..columns import to_blob
from ..records import Row
from .chain import Chain, digest
from .entry import COLLECTION, WitnessEntry, columns_of, metadata_of

if TYPE_CHECKING:
    from ..unified import UnifiedMemory

SLICE = 8  # entries between two turns of the event loop
SESSIONS = """SELECT r.id, s.user_id FROM json_each(?) AS j JOIN records AS r ON r.id = j.value
    LEFT JOIN sessions AS s ON s.number = r.number"""

Users = dict[str, str | None]  # of sessions that are there, by id


@dataclass(slots=True)
class Prepared:
    """An entry as it will lie in the tables, but for its number."""

    entry: WitnessEntry
    user: str | None  # of its session
    row: Row
    columns: tuple[Value, ...]
    response: bytes | None  # its embedding, float16
    salt: bytes
    digest: bytes

    def fits(self, entry: WitnessEntry, users: Users) -> bool:
        """Whether it was made of just that: an entry may be rated while it waits, and its session may change hands."""
        return self.entry is entry and self.user == users.get(entry.session_id)


class Preparation:
    def __init__(self, memory: "UnifiedMemory", chain: Chain):
        self._memory, self._chain = memory, chain
        self._raw: dict[str, WitnessEntry] = {}
        self._ready: dict[str, Prepared] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # that has the next slice to do

    def soon(self, entry: WitnessEntry) -> None:
        """Takes an entry that will be written. Where no event loop runs it is made ready when it is."""
        self._raw[entry.request_id] = entry
        if self._loop is None or self._loop.is_closed():
            self._wake()

    def done(self, ids: Iterable[str]) -> None:
        """They are written, or will not be."""
        for id in ids:
            self._raw.pop(id, None)
            self._ready.pop(id, None)

    def users(self, entries: Iterable[WitnessEntry]) -> Users:
        sessions = json.dumps(list(dict.fromkeys(entry.session_id for entry in entries)))
        return dict(self._memory.driver.query(SESSIONS, (sessions,)))  # type: ignore[arg-type]

    def of(self, entries: Sequence[WitnessEntry], users: Users) -> list[Prepared]:
        """All of these, in their order. ConfigError, SpaceError for one that cannot be stored."""
        self._take(entries)
        found = [self._ready.get(entry.request_id) for entry in entries]
        fit = [each is not None and each.fits(entry, users) for each, entry in zip(found, entries, strict=True)]
        made = self._made([entry for entry, there in zip(entries, fit, strict=True) if not there], users)
        return [each if there else next(made) for each, there in zip(found, fit, strict=True)]  # type: ignore[misc]

    def _wake(self) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._loop.call_soon(self._some)

    def _some(self) -> None:
        self._loop, entries = None, list(islice(self._raw.values(), SLICE))
        self._take(entries)
        try:
            for each in self._made(entries, self.users(entries)) if entries else ():
                self._ready[each.entry.request_id] = each
        except RuvLLMError:
            pass  # the write meets it again, and tells
        if self._raw:
            self._wake()

    def _take(self, entries: Iterable[WitnessEntry]) -> None:
        for entry in entries:
            self._raw.pop(entry.request_id, None)

    def _made(self, entries: Sequence[WitnessEntry], users: Users) -> Iterator[Prepared]:
        drafts = [Draft(e.query, e.request_id, metadata_of(e, users.get(e.session_id)), e.query_embedding) for e in entries]
        rows, salts = self._memory.rows_of(COLLECTION, drafts), self._chain.salts(len(entries))
        for entry, draft, row, salt in zip(entries, drafts, rows, salts, strict=True):
            response, record = to_blob(entry.response_embedding, "<f2"), row.record
            content = digest(salt, record.id, record.text, row.metadata, record.created_at, row.blob, response)
            yield Prepared(entry, users.get(entry.session_id), row, columns_of(draft.metadata), response, salt, content)
