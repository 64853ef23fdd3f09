"""How records get into a memory: rows, vectors, words and edges, in one transaction, and what that means for the indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, DuplicateError
from ..types import Draft, Metadata, Record
from . import fulltext
from .collection import Change, Collection, check_space, check_text, check_vector, check_vectors
from .records import Records, Row, checksum, dump, to_blob

if TYPE_CHECKING:
    from ..config import Clock, Config
    from ..embed.embedder import Embedder
    from ..storage.driver import Driver
    from .graph import Graph
    from .writes import RecordWrites

Progress = Callable[[int, int], None]  # (done, total)
EMBED_SLICE = 32  # texts between two calls of progress


class Writable:
    """What is synchronous is durable with the next ``flush``, what is awaited on return."""

    driver: Driver
    embedder: Embedder
    config: Config
    clock: Clock
    records: Records
    graph: Graph
    writes: RecordWrites
    collection: Callable[[str], Collection]
    transaction: Callable[[], AbstractContextManager[None]]
    get: Callable[[str], Record]
    _pending: list[Change]  # of the open transaction

    def put(self, collection: str, drafts: Sequence[Draft]) -> list[Record]:
        """Writes records as they are: one without a vector is found by its words alone. All or none.

        Raises DuplicateError, SpaceError (another space or dimension), ConfigError (text or metadata that cannot be stored).
        """
        rows = self.rows_of(collection, drafts)
        self.put_rows(collection, rows)
        return [row.record for row in rows]

    def rows_of(self, collection: str, drafts: Sequence[Draft]) -> list[Row]:
        """Drafts as they will lie in the tables, but for their numbers. Writes nothing. ConfigError, SpaceError."""
        ids = [draft.id or self.clock.new_id() for draft in drafts]
        for id, draft in zip(ids, drafts, strict=True):
            check_text(id, "the id")
            check_text(draft.text, f"the text of {id!r}")
        now, dimension = self.clock.now_ms(), self.embedder.space.dimension
        vectors = check_vectors([draft.vector for draft in drafts], dimension, [f"the vector of {id!r}" for id in ids])
        rows = []
        for id, draft, (vector, blob) in zip(ids, drafts, vectors, strict=True):
            record = Record(id, collection, draft.text, dict(draft.metadata), now, now)
            rows.append(Row(record, fulltext.encode(record.text, record.metadata), dump(record.metadata), vector, blob))
        return rows

    def put_rows(self, collection: str, rows: Sequence[Row]) -> None:
        """Writes them, with the numbers that they get. DuplicateError, SpaceError."""
        self.collection(collection)
        if not rows:
            return
        ids = [row.record.id for row in rows]
        twice = next((id for place, id in enumerate(ids) if id in ids[:place]), None) if len(set(ids)) < len(ids) else None
        with self.transaction():
            taken = self.records.taken(ids) or ([twice] if twice is not None else [])
            if taken:
                raise DuplicateError(f"the id {taken[0]!r} is taken; nothing was written")
            self._record_space(collection)
            for number, row in enumerate(rows, self.records.next_number()):
                row.place(number)
            self.records.insert(rows)
            self._pending += [_placed(row) for row in rows]

    def _record_space(self, name: str) -> None:
        recorded = self.recorded_space(name)
        space = self.embedder.space
        check_space(name, recorded, space)
        if recorded is None:
            codec = self.config.index.codec
            self.driver.execute(
                "INSERT INTO collections (name, space, dimension, created_at, codec) VALUES (?, ?, ?, ?, ?)",
                [name, space.key, space.dimension, self.clock.now_ms(), None if codec == "auto" else codec],
            )

    def recorded_space(self, name: str) -> str | None:
        """The embedding space of a collection as the tables say."""
        rows = self.driver.query("SELECT space FROM collections WHERE name = ?", [name])
        return str(rows[0][0]) if rows else None

    def revise(self, id: str, *, text: str | None = None, vector: np.ndarray | None = None, metadata: Metadata | None = None) -> Record:
        """Replaces what is given. A text alone keeps the vector: the caller says that it still fits; ``update`` makes a new one.

        Raises NotFoundError, SpaceError, ConfigError.
        """
        number, old = self.records.get(id)
        if vector is not None:
            vector = check_vector(vector, self.embedder.space.dimension, f"the vector of {id!r}")
            check_space(old.collection, self.recorded_space(old.collection), self.embedder.space)
        if text is not None:
            check_text(text, f"the text of {id!r}")
        record = replace(
            old,
            text=old.text if text is None else text,
            metadata=old.metadata if metadata is None else dict(metadata),
            updated_at=max(self.clock.now_ms(), old.created_at),
        )
        stored = dump(record.metadata)
        with self.transaction():
            before = self.records.vector_of(number)
            after = before if vector is None else vector
            row = Row(record, fulltext.encode(record.text, record.metadata), stored, after, None if after is None else to_blob(after))
            row.place(number)
            self.records.rewrite(row, vector=vector is not None)
            self._pending.append(_placed(row, None if before is None else checksum(number, to_blob(before))))
        return record

    def remove(self, ids: Iterable[str]) -> int:
        """Rows, vectors, words and every edge that touches them; returns how many records. NotFoundError: then nothing was removed."""
        ids = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        if not ids:
            return 0
        with self.transaction():
            places = self.records.places(ids)
            numbers = [number for number, _ in places]
            sums = self.records.checksums(numbers)
            self.graph.detach(ids)
            self.records.delete(numbers)
            self._pending += [
                Change(name, number, gone=True, vectors=-(number in sums), checksum=-sums.get(number, 0)) for number, name in places
            ]
        return len(ids)

    async def add(self, collection: str, drafts: Sequence[Draft | str] | Draft | str, *, progress: Progress | None = None) -> list[Record]:
        """Embeds what has no vector, writes all in one transaction, durable on return. Cancelled or failed: nothing was written.

        Raises what ``put`` raises, and EmbeddingError.
        """
        given = [drafts] if isinstance(drafts, (Draft, str)) else drafts
        whole = [Draft(draft) if isinstance(draft, str) else draft for draft in given]
        check_space(collection, self.recorded_space(collection), self.embedder.space)
        bare = [place for place, draft in enumerate(whole) if draft.vector is None]
        vectors = await self._embed([whole[place].text for place in bare], progress)
        for place, vector in zip(bare, vectors, strict=True):
            whole[place] = replace(whole[place], vector=vector)
        return await self.writes.put(collection, whole)

    async def _embed(self, texts: Sequence[str], progress: Progress | None) -> list[np.ndarray]:
        vectors: list[np.ndarray] = []
        for start in range(0, len(texts), EMBED_SLICE):
            vectors.extend(await self.embedder.embed(texts[start : start + EMBED_SLICE]))
            if progress is not None:
                progress(len(vectors), len(texts))
            await asyncio.sleep(0)  # where a cancellation gets in
        return vectors

    async def update(self, id: str, *, text: str | None = None, metadata: Metadata | None = None) -> Record:
        """Replaces the text, embedding it anew, or the metadata, or both; durable on return. NotFoundError, EmbeddingError."""
        old = self.get(id)
        vector = (await self.embedder.embed([text]))[0] if text is not None and text != old.text else None
        await self.writes.update(id, text, vector, metadata)
        return self.get(id)

    async def delete(
        self, ids: Iterable[str] | None = None, *, collection: str | None = None, where: Mapping[str, Any] | None = None
    ) -> int:
        """Removes records by id, or those of a collection that a filter holds for; durable on return. NotFoundError, FilterError."""
        if (ids is None) == (collection is None) or (ids is not None and where is not None):
            raise ConfigError("delete() takes ids, or a collection with or without where; a whole collection is deleted by naming it")
        listed = None if ids is None else [ids] if isinstance(ids, str) else list(ids)
        return await self.writes.delete(listed, collection, where)


def _placed(row: Row, before: int | None = None) -> Change:
    """The change that a written row means; ``before`` is the checksum of the vector that it replaces."""
    return Change(
        row.record.collection,
        row.number,
        vector=row.vector,
        words=row.words,
        vectors=(row.checksum is not None) - (before is not None),
        checksum=(row.checksum or 0) - (before or 0),
    )
