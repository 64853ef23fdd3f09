"""Forgetting: all that a document, a session or a user left here is taken out, and that it is gone is looked up, not assumed.

What goes: rows, vectors, words, turns and edges; the vectors of the collection's graph and of its saved segments; answers that quote a
document, with their witness entries; what was learned from nothing else; the keys of archived witness entries; the cache of embeddings,
as a whole; and, in the stored database, the bytes of all that.

Of a user: the sessions opened or asked for that user, the witness entries that name the user, the documents and the records of any other
collection whose metadata has the key ``user_id`` with that string, at its top, and edges of a node that has the user's id.

What stays, and why:
- the chain of the witness log, in which each removed entry has a tombstone: digests that tell nothing without their salts, which go;
- a pattern or policy that was learned from other things too. What was forgotten is part of its centre and cannot be taken out of a mean;
  its edge to it goes, and the words that it had from it. The report counts these as ``blended``;
- what mentions a user without naming one in these places. Items of LangGraph's store are of a namespace, not of a user;
- archived entries of a session whose key is destroyed on account of one entry are lost with it: a key is of a session, not of an entry.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embed.cache import clear
from ..errors import ConfigError, MemoryStoreError, NotFoundError
from . import upkeep
from .audit.chain import FORGOTTEN, RELEASED, Chain
from .audit.retention import check_held
from .journal import UNSAID
from .learned import blended, cut, learned_from

if TYPE_CHECKING:
    from .unified import UnifiedMemory

PROBES = 64  # of the removed records at most that are searched for afterwards
WITHDRAWN = "This answer quoted a document that was forgotten."

OWNED = """SELECT id FROM records WHERE collection NOT IN ('sessions', 'witness') AND json_extract(metadata, '$.user_id') = ?1
    AND number NOT IN (SELECT p.number FROM passages AS p JOIN documents AS d ON d.id = p.document
        WHERE json_extract(d.details, '$.user_id') = ?1)"""
# of the user alone: the edges of a record or a document that is called the same are not the user's
NODE = """SELECT id FROM nodes WHERE id = ?1
    AND NOT EXISTS (SELECT 1 FROM records WHERE id = ?1 UNION ALL SELECT 1 FROM documents WHERE id = ?1)"""
PASSAGES = "SELECT r.id FROM passages AS p JOIN records AS r ON r.number = p.number WHERE p.document = ?"
ANSWERS = """SELECT t.session, t.ordinal, t.witness, t.details FROM turns AS t WHERE t.role = 'assistant' AND EXISTS (
    SELECT 1 FROM json_each(t.details, '$.sources') AS s WHERE json_extract(s.value, '$.id') IN (SELECT value FROM json_each(?1))
    UNION ALL SELECT 1 FROM json_each(t.details, '$.behind') AS b WHERE b.value IN (SELECT value FROM json_each(?1)))"""
WITNESSED = "SELECT r.id FROM witness AS w JOIN records AS r ON r.number = w.number WHERE w.{} = ?"
LISTED = "IN (SELECT value FROM json_each(?))"
# Wherever an id or a number of a record may stand, so that a report says what was found nowhere.
IDS = (("records", "id"), ("documents", "id"), ("passages", "document"), ("nodes", "id"), ("witness_archived", "id"))
NUMBERS = (("vectors", "number"), ("postings", "number"), ("passages", "number"), ("sessions", "number"), ("turns", "session"))
NUMBERS += (("witness", "number"), ("policies", "number"), ("patterns", "number"))
KEYS = (("witness_keys", "id"), ("witness_archived", "key"))


@dataclass(frozen=True)
class Forgotten:
    """What was removed, in rows, and how often it was searched for afterwards; every search found nothing of it."""

    documents: int = 0
    passages: int = 0
    records: int = 0  # of a user, in other collections
    sessions: int = 0
    turns: int = 0
    answers: int = 0  # that quoted a forgotten document and were withdrawn: their turns say so
    witness: int = 0
    archived: int = 0  # witness entries in archives that no copy of these opens any more: their keys are destroyed
    learned: int = 0  # patterns and policies that were learned from nothing else
    blended: int = 0  # patterns and policies that stay, and have something of it in their centre
    vectors: int = 0
    edges: int = 0
    embeddings: int = 0  # of the cache, which is emptied
    searches: int = 0  # by the words and vectors of what was removed


@dataclass(frozen=True)
class _Traces:
    """Ids of what goes, and the turns (session's number, ordinal) whose answers are withdrawn. ``keys`` are of archived entries."""

    documents: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    witness: tuple[str, ...] = ()
    answers: tuple[tuple[int, int], ...] = ()
    keys: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()

    @property
    def records(self) -> list[str]:
        return list(dict.fromkeys([*self.passages, *self.others, *self.sessions, *self.witness, *self.learned]))

    @property
    def ids(self) -> set[str]:
        """Of all that goes."""
        return {*self.documents, *self.nodes, *self.records}


class Forgetting:
    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory
        self.chain = Chain(memory.driver, memory.clock)

    async def forget(
        self, *, document: str | None = None, session: str | None = None, user: str | None = None, despite_hold: bool = False
    ) -> Forgotten:
        """Removes what one document, session or user left here; on return it is gone from the stored database as well.

        Of a user go the sessions, the witness entries, in whatever session, and what has that ``user_id`` in its metadata; see above.
        HeldError, and nothing is removed, if some of it is on legal hold: a hold is stronger than a wish to be forgotten, unless the
        caller says ``despite_hold``; the chain then says that it was released first. NotFoundError where there is nothing of it,
        MemoryStoreError if something was found afterwards: that is a defect, and it is named.
        """
        if sum(given is not None for given in (document, session, user)) != 1:
            raise ConfigError("forget() takes one of document=ID, session=ID and user=ID")
        traces = self._of_user(user) if user is not None else self._of(document, session)
        traces = replace(traces, learned=tuple(learned_from(self.memory, traces.ids)))
        if not despite_hold:
            check_held(self._held(traces.witness), f"forgetting {document or session or user!r}")
        samples = self._samples(traces.records)
        numbers = [number for number, _ in self.memory.records.places(traces.records)]
        removed = self._remove(traces, numbers)
        for name in dict.fromkeys(name for name, *_ in samples):
            await upkeep.purge(self.memory, self.memory.collection(name))
        await self.memory.flush()
        await self.memory.driver.scrub()
        self._prove(traces.ids, numbers, traces.keys, samples)
        return replace(removed, searches=len(samples))

    def _of(self, document: str | None, of: str | None) -> _Traces:
        if document is not None:
            if not self._ids("SELECT id FROM documents WHERE id = ?", document):
                raise NotFoundError(f"no document {document!r}")
            return self._of_documents([document])
        assert of is not None
        known = self._ids("SELECT r.id FROM sessions AS s JOIN records AS r ON r.number = s.number WHERE r.id = ?", of)
        traces = self._of_sessions([of])
        if not known and not traces.witness and not traces.keys:
            raise NotFoundError(f"no session {of!r}")
        return replace(traces, sessions=tuple(known))

    def _of_user(self, user: str) -> _Traces:
        owned = self._ids("SELECT id FROM documents WHERE json_extract(details, '$.user_id') = ?", user)
        sessions = self._ids("SELECT r.id FROM sessions AS s JOIN records AS r ON r.number = s.number WHERE s.user_id = ?", user)
        entries = self._ids(WITNESSED.format("user_id"), user)
        keys = self._ids("SELECT id FROM witness_keys WHERE user_id = ?", user)
        others, nodes = self._ids(OWNED, user), self._ids(NODE, user)
        if not (owned or sessions or entries or keys or others or nodes):
            raise NotFoundError(f"nothing here is of the user {user!r}")
        spoken, given = self._of_sessions(sessions), self._of_documents(owned, others)
        mine = {self.memory.records.places([id])[0][0] for id in sessions}
        return replace(
            given,
            nodes=tuple(nodes),
            sessions=spoken.sessions,
            witness=tuple(dict.fromkeys([*spoken.witness, *given.witness, *entries])),
            answers=tuple(answer for answer in given.answers if answer[0] not in mine),
            keys=tuple(dict.fromkeys([*spoken.keys, *given.keys, *keys])),
        )

    def _of_sessions(self, sessions: Sequence[str]) -> _Traces:
        entries = [id for of in sessions for id in self._ids(WITNESSED.format("session"), of)]
        keys = [id for of in sessions for id in self._ids("SELECT id FROM witness_keys WHERE session = ?", of)]
        return _Traces(sessions=tuple(sessions), witness=tuple(entries), keys=tuple(keys))

    def _of_documents(self, owned: Sequence[str], others: Sequence[str] = ()) -> _Traces:
        """``others``: records that are quoted like passages."""
        passages = [id for document in owned for id in self._ids(PASSAGES, document)]
        quoted = {*passages, *others}
        rows: Any = self.memory.driver.query(ANSWERS, (json.dumps(sorted(quoted)),)) if quoted else []
        quoting = [(number, ordinal, entry) for number, ordinal, entry, details in rows if _quotes(json.loads(details), quoted)]
        named = json.dumps([entry for *_, entry in quoting if entry])
        written = set(self._ids("SELECT value FROM json_each(?) WHERE value IN (SELECT id FROM records)", named))
        return _Traces(
            documents=tuple(owned),
            passages=tuple(passages),
            others=tuple(others),
            witness=tuple(dict.fromkeys(entry for *_, entry in quoting if entry in written)),
            answers=tuple((number, ordinal) for number, ordinal, _ in quoting),
            keys=tuple(self._ids(f"SELECT DISTINCT key FROM witness_archived WHERE id {LISTED}", named)),
        )

    def _held(self, entries: Sequence[str]) -> list[str]:
        sql = f"SELECT r.id FROM witness AS w JOIN records AS r ON r.number = w.number WHERE w.hold IS NOT NULL AND r.id {LISTED}"
        return self._ids(sql, json.dumps(entries))

    def _samples(self, ids: Sequence[str]) -> list[tuple[str, str, np.ndarray | None]]:
        """(collection, text, vector or None) of removed records, spread over all of them."""
        step = -(-len(ids) // PROBES) or 1
        found = [self.memory.records.get(id) for id in ids[::step]]
        return [(record.collection, record.text, self.memory.records.vector_of(number)) for number, record in found]

    def _remove(self, traces: _Traces, numbers: Sequence[int]) -> Forgotten:
        memory, driver = self.memory, self.memory.driver
        ids = traces.records
        with memory.transaction():
            turns = driver.query(f"SELECT count(*) FROM turns WHERE session {LISTED}", [json.dumps(numbers)])
            vectors = len(memory.records.checksums(numbers))
            for number, ordinal in traces.answers:
                driver.execute(
                    "UPDATE turns SET content = ?, witness = NULL WHERE session = ? AND ordinal = ?", [WITHDRAWN, number, ordinal]
                )
            archived = self._shred(traces.keys)
            self._entomb(traces.witness)
            left = blended(memory, traces.ids)
            cut(memory, left, traces.ids)
            edges = memory.graph.detach(sorted(traces.ids))
            memory.remove(ids)
            driver.execute(f"DELETE FROM documents WHERE id {LISTED}", [json.dumps(traces.documents)])
            embeddings = driver.query("SELECT count(*) FROM embeddings")
            clear(driver)
            for callback in memory.forgotten:  # they may have keys and values of what was said, which any conversation may have taken up
                callback()
            driver.execute("DELETE FROM kv_sessions")
            memory.journal.note_all(UNSAID)
            removed = Forgotten(
                documents=len(traces.documents),
                passages=len(traces.passages),
                records=len(traces.others),
                sessions=len(traces.sessions),
                turns=int(turns[0][0]),  # type: ignore[arg-type]
                answers=len(traces.answers),
                witness=len(traces.witness),
                archived=archived,
                learned=len(traces.learned),
                blended=len(left),
                vectors=vectors,
                edges=edges,
                embeddings=int(embeddings[0][0]),  # type: ignore[arg-type]
            )
            memory.operations.record(asdict(removed))
        return removed

    def _entomb(self, entries: Sequence[str]) -> None:
        """A tombstone for each of the witness entries that are about to go. Those on hold are released."""
        for event, ids in ((RELEASED, self._held(entries)), (FORGOTTEN, entries)):
            numbers = [number for number, _ in self.memory.records.places(ids)]
            if event == RELEASED:
                self.memory.driver.execute(f"UPDATE witness SET hold = NULL WHERE number {LISTED}", [json.dumps(numbers)])
            self.chain.append(event, numbers, b"")

    def _shred(self, keys: Sequence[str]) -> int:
        """Destroys keys, with a tombstone for each entry that is in archives only; returns how many entries they sealed."""
        listed = [json.dumps(keys)]
        rows: Any = self.memory.driver.query(
            f"""SELECT DISTINCT a.number, w.number IS NULL FROM witness_archived AS a LEFT JOIN witness AS w ON w.number = a.number
            WHERE a.key {LISTED} ORDER BY a.number""",
            listed,
        )
        self.chain.append(FORGOTTEN, [number for number, gone in rows if gone], b"")
        for table, column in KEYS:
            self.memory.driver.execute(f"DELETE FROM {table} WHERE {column} {LISTED}", listed)
        return len(rows)

    def _prove(
        self, ids: set[str], numbers: Sequence[int], keys: Sequence[str], samples: Iterable[tuple[str, str, np.ndarray | None]]
    ) -> None:
        """Looks for what was removed wherever it could be. Raises MemoryStoreError, naming the place."""
        for places, sought in ((IDS, list(ids)), (NUMBERS, list(numbers)), (KEYS, list(keys))):
            for table, column in places:
                sql = f"SELECT count(*) FROM {table} WHERE {column} {LISTED}"
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


def _quotes(details: dict[str, Any], passages: set[str]) -> bool:
    """Whether an answer has words of one of the passages: an extractive one of those it highlights, any other of all it was given and
    of those behind earlier answers that it was told of.
    """
    if passages.intersection(details.get("behind", ())):
        return True
    cited = [source for source in details["sources"] if source["id"] in passages]
    return any(source["highlight"] for source in cited) if details["kind"] == "extractive" else bool(cited)
