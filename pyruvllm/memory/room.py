"""What a memory takes, by collection, and making room: letting go of what can be made again.

Bytes are those of texts and blobs as the tables hold them. Numbers, keys, SQL's own indexes and the structure of pages are "structure";
with the pages that are free they make up the rest of the database's size.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..embed.cache import clear
from ..storage.identity import number

if TYPE_CHECKING:
    from .unified import UnifiedMemory

# Whose rows a side table has, where it is not a table of records itself.
SIDES = {"documents": "documents", "passages": "documents", "sessions": "sessions", "turns": "sessions", "policies": "policies"}
SIDES |= {"witness": "witness", "witness_chain": "witness", "witness_keys": "witness", "witness_archived": "witness"}
SIDES |= {"witness_archives": "witness", "patterns": "patterns"}
CACHES = {"embeddings": "embeddings of texts seen before", "kernel_packs": "installed packs of kernels"}
CACHES |= {"kv_sessions": "states of conversations", "kv_pages": "states of conversations"}
CACHES |= {"changes": "for tabs that follow", "operations": "for tabs that follow"}
EDGES = ("edges", "nodes", "relations", "links")
VECTORS = ("embedding", "response_embedding", "fisher_diagonal")  # columns; every other blob counts as text
BY_COLLECTION = ("records", "vectors", "postings", "index_segments", "index_states", "index_changes", "collections")


@dataclass
class Share:
    """What one collection takes; everything in bytes but ``rows`` and ``edges``."""

    rows: int = 0
    text: int = 0  # texts and metadata, of its side tables too
    words: int = 0  # the words of each record, for the full text search
    vectors: int = 0
    index: int = 0  # the saved graph
    edges: int = 0  # that begin at one of its records or documents

    @property
    def bytes(self) -> int:
        return self.text + self.words + self.vectors + self.index


@dataclass
class StorageReport:
    """``collections`` + ``edges`` + ``caches`` + ``other`` + ``structure`` + ``free`` = ``size``, in bytes."""

    size: int
    collections: dict[str, Share] = field(default_factory=dict)
    edges: int = 0
    caches: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)  # by table
    free: int = 0  # pages without content, which the next writes fill
    structure: int = 0


@dataclass(frozen=True)
class Room:
    """What was let go of, and the database's bytes before and after. ``compacted``: whether free pages were given back to the disk."""

    embeddings: int  # rows of the cache
    conversations: int  # whose keys and values are computed anew when they go on
    packs: int  # files of kernels that were replaced by newer ones
    indexes: int  # saved segments; the next opening makes the graphs anew
    before: int
    after: int
    compacted: bool


async def report(memory: "UnifiedMemory") -> StorageReport:
    """Looks at every row, a table at a time."""
    driver, page = memory.driver, number(memory.driver, "PRAGMA page_size")
    found = StorageReport(driver.size(), {collection.name: Share() for collection in memory.collections()})
    for name, rows, text, metadata in _rows(
        memory, f"SELECT collection, count(*), {_bytes('id')} + {_bytes('text')}, {_bytes('metadata')} FROM records GROUP BY collection"
    ):
        share = found.collections.setdefault(name, Share())
        share.rows, share.text = rows, text + metadata
    for table, column, part in (("vectors", "embedding", "vectors"), ("postings", "terms", "words")):
        await asyncio.sleep(0)
        for name, size in _rows(
            memory, f"SELECT r.collection, sum(length(t.{column})) FROM {table} AS t JOIN records AS r ON r.number = t.number GROUP BY 1"
        ):
            setattr(found.collections[name], part, size)
    for name, size in _rows(memory, f"SELECT collection, {_bytes('name')} + {_bytes('content')} FROM index_segments GROUP BY collection"):
        found.collections.setdefault(name, Share()).index = size
    for (table,) in _rows(memory, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"):
        await asyncio.sleep(0)
        if table not in BY_COLLECTION:
            _add_table(memory, found, table)
    for name, count in _rows(memory, BEGINNING):
        found.collections.setdefault(name, Share()).edges = count
    found.collections = {name: share for name, share in found.collections.items() if share.rows or share.bytes or share.edges}
    found.free = number(driver, "PRAGMA freelist_count") * page
    counted = sum(share.bytes for share in found.collections.values()) + found.edges
    counted += sum(found.caches.values()) + sum(found.other.values())
    found.structure = found.size - found.free - counted
    return found


BEGINNING = """SELECT name, count(*) FROM (
    SELECT coalesce(r.collection, 'documents') AS name FROM edges AS e LEFT JOIN records AS r ON r.id = e.source
    WHERE r.id IS NOT NULL OR e.source IN (SELECT id FROM documents)) GROUP BY name"""


def _add_table(memory: "UnifiedMemory", found: StorageReport, table: str) -> None:
    columns = [str(row[1]) for row in _rows(memory, f'PRAGMA table_info("{table}")')]
    sizes = {column: _rows(memory, f'SELECT {_bytes(column)} FROM "{table}"')[0][0] for column in columns}
    vectors = sum(sizes[column] for column in columns if column in VECTORS)
    text = sum(sizes.values()) - vectors
    if table in SIDES:
        share = found.collections.setdefault(SIDES[table], Share())
        share.text, share.vectors = share.text + text, share.vectors + vectors
    elif table in EDGES:
        found.edges += text
    elif table in CACHES:
        found.caches[CACHES[table]] = found.caches.get(CACHES[table], 0) + text
    elif text:
        found.other[table] = text


def _bytes(column: str) -> str:
    """The sum over a column's texts and blobs."""
    cases = f"""WHEN 'text' THEN length(CAST("{column}" AS BLOB)) WHEN 'blob' THEN length("{column}")"""
    return f"""coalesce(sum(CASE typeof("{column}") {cases} ELSE 0 END), 0)"""


def _rows(memory: "UnifiedMemory", sql: str) -> Any:
    return memory.driver.query(sql)


async def make_room(memory: "UnifiedMemory", indexes: bool) -> Room:
    """See ``RuvLLM.make_room``."""
    driver, before = memory.driver, memory.driver.size()
    with memory.transaction():
        [(embeddings,)] = _rows(memory, "SELECT count(*) FROM embeddings")
        clear(driver)
        packs = driver.execute("DELETE FROM kernel_packs WHERE place = 'previous'")
        conversations = driver.execute("DELETE FROM kv_sessions")
        segments = 0
        if indexes:
            [(segments,)] = _rows(memory, "SELECT count(*) FROM index_segments")
            for collection in memory.collections():
                memory.saved.drop(collection.name)
                collection.index.stored = False
    free = number(driver, "PRAGMA freelist_count") / max(1, number(driver, "PRAGMA page_count"))
    if free > 0.05:
        await driver.compact()
    else:
        await memory.flush()
    return Room(embeddings, conversations, packs, segments, before, driver.size(), free > 0.05)
