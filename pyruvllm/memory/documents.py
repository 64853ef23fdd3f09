"""Documents: texts that somebody gave, kept whole and as passages that a search can find.

A document whose metadata has a ``user_id``, a string, is that user's: who else remembers the same text has a document of it, too.

A passage is a record of the collection "documents" with the metadata ``document, title, ordinal, start, end, heading`` beside the
document's own, so that ``where={"document": id}`` and ``where={"notebook": "x"}`` narrow a search. ``start`` and ``end`` are
characters of the document's text. The graph has ``document contains passage`` and ``passage follows passage before it``.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embed.cache import clear
from ..embed.chunk import Chunk, chunks
from ..errors import ConfigError, NotFoundError, RuvLLMError, StorageError
from ..types import Draft, Metadata, Record
from .collection import check_space
from .columns import Removed, checked_text, shortened
from .graph import Edge
from .records import dump, record_of

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "documents"
RESERVED = ("document", "title", "ordinal", "start", "end", "heading")  # keys of a passage's metadata
SLICE = 16  # passages embedded before the next look at progress and cancellation
TITLE = 200  # characters at most
MARKDOWN = "text/markdown"

SELECT = """SELECT d.id, d.title, d.media_type, d.size, d.added_at, d.details,
    (SELECT count(*) FROM passages AS p WHERE p.document = d.id) FROM documents AS d"""


@dataclass(frozen=True)
class Document:
    id: str
    title: str
    media_type: str
    size: int  # bytes as UTF-8
    passages: int
    created_at: int  # UTC milliseconds
    metadata: Metadata = field(default_factory=dict)


class DocumentStore:
    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory
        memory.operations.add("documents.write", self._write)
        memory.operations.add("documents.delete", self._delete)

    async def add(
        self,
        title: str | None,
        text: str,
        *,
        media_type: str = "text/plain",
        metadata: Metadata | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Document:
        """Remembers a text and returns when it is durable. Without a title the first heading or line becomes it.

        A text that this user has already (without a ``user_id``: that is there already) is not added again: its document is returned as it
        is. ``progress`` counts passages. Cancelled or failed, nothing of the text stays. ConfigError: no text, binary, not Unicode, or
        metadata with a key of its own passages.
        """
        memory = self.memory
        checked_text(text, "the text")
        dump(self._own(metadata))
        title = shortened(checked_text(title, "the title"), TITLE) if title and not title.isspace() else title_of(text, media_type)
        known = self._same(text, metadata or {})
        if known is not None:
            return known

        parts = chunks(text, memory.embedder, memory.config.chunk)
        if not parts:
            raise ConfigError("the text has no words to remember")
        asked = {
            **{"title": title, "text": text, "media_type": media_type, "metadata": dict(metadata or {})},
            **{"parts": [[part.start, part.end, part.heading] for part in parts], "vectors": await self._embedded(parts, progress)},
            "space": memory.embedder.space.key,
        }
        writing = asyncio.ensure_future(memory.operations.run("documents.write", **asked))
        try:
            id, _ = await asyncio.shield(writing)
        except asyncio.CancelledError:  # it may be with another tab by now: it is let through, and taken back
            with suppress(RuvLLMError):
                id, added = await writing
                if added:
                    await self.delete(id)
            raise
        return self.get(id)

    async def _write(
        self,
        title: str,
        text: str,
        media_type: str,
        metadata: Metadata,
        parts: "list[list[Any]]",
        vectors: np.ndarray,
        space: str,
    ) -> tuple[str, bool]:
        """What was chunked and embedded, durably: the document's id, and whether it was not there before."""
        memory = self.memory
        check_space(COLLECTION, space, memory.embedder.space)
        with memory.transaction():
            known = self._same(text, metadata)  # added by somebody else while this one was being embedded
            if known is not None:
                return known.id, False
            id = memory.clock.new_id()
            memory.driver.execute(
                "INSERT INTO documents (id, hash, title, media_type, size, added_at, details, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (id, _hash(text, _owner(metadata)), title, media_type, len(text.encode()), memory.clock.now_ms(), dump(metadata), text),
            )
            self._put(id, title, [Chunk(start, end, text[start:end], heading) for start, end, heading in parts], vectors, metadata)
            memory.operations.record([id, True])
        try:
            await memory.flush()
        except BaseException:
            with suppress(StorageError):  # a writer that was replaced cannot take it back, and need not: nothing of it is durable
                self._remove(id)
            raise
        return id, True

    def get(self, id: str) -> Document:
        rows = self.memory.driver.query(f"{SELECT} WHERE d.id = ?", (id,))
        if not rows:
            raise NotFoundError(f"no document {id!r}")
        return _document(rows[0])

    def list(self) -> list[Document]:
        """All of them, in the order in which they were added."""
        return [_document(row) for row in self.memory.driver.query(f"{SELECT} ORDER BY d.added_at, d.rowid")]

    def text(self, id: str) -> str:
        """The text as it was given."""
        rows = self.memory.driver.query("SELECT content FROM documents WHERE id = ?", (id,))
        if not rows:
            raise NotFoundError(f"no document {id!r}")
        return str(rows[0][0])

    def passages(self, id: str) -> "list[Record]":
        """In the order of the text."""
        self.get(id)
        rows: Any = self.memory.driver.query(
            """SELECT r.id, r.collection, r.text, r.metadata, r.created_at, r.updated_at
            FROM passages AS p JOIN records AS r ON r.number = p.number WHERE p.document = ? ORDER BY p.ordinal""",
            (id,),
        )
        return [record_of(row) for row in rows]

    async def delete(self, id: str) -> Removed:
        """Removes the document with its passages, their vectors and edges; durable on return. NotFoundError.

        Turns that quote it and their witness entries stay, with its words: ``RuvLLM.forget(document=...)`` takes those out, too.
        """
        return Removed(**await self.memory.operations.run("documents.delete", of=id))

    async def _delete(self, of: str) -> dict[str, int]:
        removed = asdict(self._remove(of))
        await self.memory.flush()
        return removed

    async def _embedded(self, parts: "list[Chunk]", progress: Callable[[int, int], None] | None) -> np.ndarray:
        """(passages, 768) float32, a slice at a time."""
        tell = progress or (lambda done, total: None)
        tell(0, len(parts))
        vectors = []
        for start in range(0, len(parts), SLICE):
            vectors.append(await self.memory.embedder.embed([part.text for part in parts[start : start + SLICE]]))
            tell(min(start + SLICE, len(parts)), len(parts))
            await asyncio.sleep(0)  # where a cancellation gets in even if the embedder never really waits
        return np.concatenate(vectors)

    def _put(self, id: str, title: str, parts: "list[Chunk]", vectors: np.ndarray, metadata: Metadata) -> None:
        own = {"document": id, "title": title}
        drafts = [
            Draft(
                part.text,
                metadata={**metadata, **own, "ordinal": place, "start": part.start, "end": part.end, "heading": part.heading},
                vector=vector,
            )
            for place, (part, vector) in enumerate(zip(parts, vectors, strict=True))
        ]
        passages = [record.id for record in self.memory.put(COLLECTION, drafts)]
        self.memory.driver.executemany(
            "INSERT INTO passages (number, document, ordinal) SELECT number, ?, ? FROM records WHERE id = ?",
            [(id, place, passage) for place, passage in enumerate(passages)],
        )
        edges = [Edge(id, passage, "contains") for passage in passages]
        edges += [Edge(later, earlier, "follows") for earlier, later in zip(passages, passages[1:], strict=False)]
        self.memory.graph.link_many(edges)

    def _remove(self, id: str) -> Removed:
        memory, driver = self.memory, self.memory.driver
        with memory.transaction():
            self.get(id)
            rows: Any = driver.query(
                """SELECT r.id, v.number IS NOT NULL FROM passages AS p JOIN records AS r ON r.number = p.number
                LEFT JOIN vectors AS v ON v.number = p.number WHERE p.document = ?""",
                (id,),
            )
            passages = [row[0] for row in rows]
            edges = memory.graph.detach([id, *passages])
            if passages:
                memory.remove(passages)
            driver.execute("DELETE FROM documents WHERE id = ?", (id,))
            clear(driver)
            removed = Removed(passages=len(passages), vectors=sum(row[1] for row in rows), edges=edges)
            memory.operations.record(asdict(removed))
        return removed

    def _same(self, text: str, metadata: Metadata) -> Document | None:
        """The document of that text that its owner has: before documents had owners, one text was there once, whose ever it was."""
        owner = _owner(metadata)
        sql = f"{SELECT} WHERE d.hash = ?1 OR d.hash = ?2 AND json_extract(d.details, '$.user_id') = ?3"
        rows = self.memory.driver.query(sql, (_hash(text, owner), _hash(text, None), owner))
        return _document(rows[0]) if rows else None

    @staticmethod
    def _own(metadata: Metadata | None) -> Metadata:
        taken = sorted(set(metadata or {}) & set(RESERVED))
        if taken:
            raise ConfigError(f"metadata has the key {taken[0]!r}, which is one of a passage's own: {', '.join(RESERVED)}")
        return metadata or {}


def _owner(metadata: Metadata) -> str | None:
    owner = metadata.get("user_id")
    return owner if isinstance(owner, str) else None


def _hash(text: str, owner: str | None) -> bytes:
    """Of a text, which has no NUL, and whose it is."""
    return hashlib.sha256((text if owner is None else f"{owner}\0{text}").encode()).digest()


def title_of(text: str, media_type: str) -> str:
    """What to call a text that came without a title: its first heading if it is Markdown, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if media_type == MARKDOWN:
        for place, line in enumerate(lines):
            heading = re.fullmatch(r"#{1,6}\s+(.*?)\s*#*", line)
            underlined = place + 1 < len(lines) and re.fullmatch(r"=+|-{2,}", lines[place + 1]) and re.search(r"\w", line)
            if heading and heading[1]:
                return shortened(heading[1], TITLE)
            if underlined:
                return shortened(line, TITLE)
    return shortened(next((line for line in lines if re.search(r"\w", line)), lines[0]), TITLE)


def _document(row: Any) -> Document:
    id, title, media_type, size, added_at, details, passages = row
    return Document(id, title, media_type, size, passages, added_at, json.loads(details))
