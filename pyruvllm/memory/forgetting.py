"""Forgetting: all that a document, a session or a user left here is taken out, and that it is gone is looked up, not assumed.

What goes: rows, vectors, words, turns and edges; the vectors of the collection's graph and of its saved segments; answers that quote a
document, with their witness entries; the cache of embeddings, as a whole; and, in the stored database, the bytes of all that.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embed.cache import clear
from ..errors import ConfigError, MemoryStoreError, NotFoundError
from . import upkeep

if TYPE_CHECKING:
    from .unified import UnifiedMemory

PROBES = 64  # of the removed records at most that are searched for afterwards
WITHDRAWN = "This answer quoted a document that was forgotten."

PASSAGES = "SELECT r.id FROM passages AS p JOIN records AS r ON r.number = p.number WHERE p.document = ?"
ANSWERS = """SELECT t.session, t.ordinal, t.witness, t.details FROM turns AS t WHERE t.role = 'assistant' AND EXISTS (
    SELECT 1 FROM json_each(t.details, '$.sources') AS s WHERE json_extract(s.value, '$.id') IN (SELECT value FROM json_each(?)))"""
# Wherever an id or a number of a record may stand, so that a report says what was found nowhere.
IDS = (("records", "id"), ("documents", "id"), ("passages", "document"), ("nodes", "id"))
NUMBERS = (("vectors", "number"), ("postings", "number"), ("passages", "number"), ("sessions", "number"), ("turns", "session"))
NUMBERS += (("witness", "number"), ("policies", "number"))


@dataclass(frozen=True)
class Forgotten:
    """What was removed, in rows, and how often it was searched for afterwards; every search found nothing of it."""

    documents: int = 0
    passages: int = 0
    sessions: int = 0
    turns: int = 0
    answers: int = 0  # that quoted a forgotten document and were withdrawn: their turns say so
    witness: int = 0
    vectors: int = 0
    edges: int = 0
    embeddings: int = 0  # of the cache, which is emptied
    searches: int = 0  # by the words and vectors of what was removed


@dataclass(frozen=True)
class _Traces:
    """Ids of what goes, and the turns (session's number, ordinal) whose answers are withdrawn."""

    documents: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    witness: tuple[str, ...] = ()
    answers: tuple[tuple[int, int], ...] = ()

    @property
    def records(self) -> list[str]:
        return [*self.passages, *self.sessions, *self.witness]


class Forgetting:
    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory

    async def forget(self, *, document: str | None = None, session: str | None = None, user: str | None = None) -> Forgotten:
        """Removes what one document, session or user left here; on return it is gone from the stored database as well.

        Of a user go the sessions and the documents whose metadata has that ``user_id``. NotFoundError where there is nothing of it,
        MemoryStoreError if something was found afterwards: that is a defect, and it is named.
        """
        if sum(given is not None for given in (document, session, user)) != 1:
            raise ConfigError("forget() takes one of document=ID, session=ID and user=ID")
        traces = self._of_user(user) if user is not None else self._of(document, session)
        samples = self._samples(traces.records)
        numbers = [number for number, _ in self.memory.records.places(traces.records)]
        removed = self._remove(traces, numbers)
        for name in dict.fromkeys(name for name, *_ in samples):
            await upkeep.purge(self.memory, self.memory.collection(name))
        await self.memory.flush()
        await self.memory.driver.scrub()
        self._prove({*traces.documents, *traces.records}, numbers, samples)
        return replace(removed, searches=len(samples))

    def _of(self, document: str | None, of: str | None) -> _Traces:
        if document is not None:
            self._known("SELECT 1 FROM documents WHERE id = ?", document, "document")
            return self._of_documents([document])
        assert of is not None
        self._known("SELECT 1 FROM sessions AS s JOIN records AS r ON r.number = s.number WHERE r.id = ?", of, "session")
        return self._of_sessions([of])

    def _of_user(self, user: str) -> _Traces:
        owned = self._ids("SELECT id FROM documents WHERE json_extract(details, '$.user_id') = ?", user)
        sessions = self._ids("SELECT r.id FROM sessions AS s JOIN records AS r ON r.number = s.number WHERE s.user_id = ?", user)
        if not owned and not sessions:
            raise NotFoundError(f"nothing here is of the user {user!r}")
        spoken, given = self._of_sessions(sessions), self._of_documents(owned)
        mine = {self.memory.records.places([id])[0][0] for id in sessions}
        return replace(
            given,
            sessions=spoken.sessions,
            witness=tuple(dict.fromkeys(spoken.witness + given.witness)),
            answers=tuple(answer for answer in given.answers if answer[0] not in mine),
        )

    def _of_sessions(self, sessions: Sequence[str]) -> _Traces:
        entries = [
            id
            for of in sessions
            for id in self._ids("SELECT r.id FROM witness AS w JOIN records AS r ON r.number = w.number WHERE w.session = ?", of)
        ]
        return _Traces(sessions=tuple(sessions), witness=tuple(entries))

    def _of_documents(self, owned: Sequence[str]) -> _Traces:
        passages = [id for document in owned for id in self._ids(PASSAGES, document)]
        rows: Any = self.memory.driver.query(ANSWERS, (json.dumps(passages),)) if passages else []
        quoting = [(number, ordinal, entry) for number, ordinal, entry, details in rows if _quotes(json.loads(details), set(passages))]
        written = set(
            self._ids("SELECT value FROM json_each(?) WHERE value IN (SELECT id FROM records)", json.dumps([e for *_, e in quoting if e]))
        )
        return _Traces(
            documents=tuple(owned),
            passages=tuple(passages),
            witness=tuple(dict.fromkeys(entry for *_, entry in quoting if entry in written)),
            answers=tuple((number, ordinal) for number, ordinal, _ in quoting),
        )

    def _samples(self, ids: Sequence[str]) -> list[tuple[str, str, np.ndarray | None]]:
        """(collection, text, vector or None) of removed records, spread over all of them."""
        step = -(-len(ids) // PROBES) or 1
        found = [self.memory.records.get(id) for id in ids[::step]]
        return [(record.collection, record.text, self.memory.records.vector_of(number)) for number, record in found]

    def _remove(self, traces: _Traces, numbers: Sequence[int]) -> Forgotten:
        memory, driver = self.memory, self.memory.driver
        ids = traces.records
        with memory.transaction():
            turns = driver.query("SELECT count(*) FROM turns WHERE session IN (SELECT value FROM json_each(?))", [json.dumps(numbers)])
            vectors = len(memory.records.checksums(numbers))
            for number, ordinal in traces.answers:
                driver.execute(
                    "UPDATE turns SET content = ?, witness = NULL WHERE session = ? AND ordinal = ?", [WITHDRAWN, number, ordinal]
                )
            edges = memory.graph.detach([*traces.documents, *ids])
            memory.remove(ids)
            driver.execute("DELETE FROM documents WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(traces.documents)])
            embeddings = driver.query("SELECT count(*) FROM embeddings")
            clear(driver)
        return Forgotten(
            documents=len(traces.documents),
            passages=len(traces.passages),
            sessions=len(traces.sessions),
            turns=int(turns[0][0]),  # type: ignore[arg-type]
            answers=len(traces.answers),
            witness=len(traces.witness),
            vectors=vectors,
            edges=edges,
            embeddings=int(embeddings[0][0]),  # type: ignore[arg-type]
        )

    def _prove(self, ids: set[str], numbers: Sequence[int], samples: Iterable[tuple[str, str, np.ndarray | None]]) -> None:
        """Looks for what was removed wherever it could be. Raises MemoryStoreError, naming the place."""
        for places, sought in ((IDS, list(ids)), (NUMBERS, list(numbers))):
            for table, column in places:
                sql = f"SELECT count(*) FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))"
                if left := self.memory.driver.query(sql, [json.dumps(sought)])[0][0]:
                    raise MemoryStoreError(f"forgetting left {left} rows in {table}; the rest is gone")
        for collection in self.memory.collections():
            if left := sum(number in collection.index for number in numbers):
                raise MemoryStoreError(f"forgetting left {left} vectors in the index of {collection.name!r}; the rest is gone")
        for name, text, vector in samples:
            hits = self.memory.search_with(text, vector, 10, collections=(name,))
            if found := next((hit.id for hit in hits if hit.id in ids), None):
                raise MemoryStoreError(f"forgetting left {found!r}, which a search of {name!r} found; the rest is gone")

    def _ids(self, sql: str, parameter: str) -> list[str]:
        return [str(id) for (id,) in self.memory.driver.query(sql, [parameter])]

    def _known(self, sql: str, id: str, what: str) -> None:
        if not self.memory.driver.query(sql, [id]):
            raise NotFoundError(f"no {what} {id!r}")


def _quotes(details: dict[str, Any], passages: set[str]) -> bool:
    """Whether an answer has words of one of the passages: an extractive one of those it highlights, any other of all it was given."""
    cited = [source for source in details["sources"] if source["id"] in passages]
    return any(source["highlight"] for source in cited) if details["kind"] == "extractive" else bool(cited)
