"""What keeps the indexes of a memory as its rows say: loading them, letting them grow into HNSW, and moving to another model."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .collection import Collection
from .records import from_blobs

if TYPE_CHECKING:
    from .unified import UnifiedMemory

log = logging.getLogger("pyruvllm.memory")

Progress = Callable[[int, int], None]  # (done, total)
SLICE = 32  # texts embedded between two calls of progress


def load(memory: "UnifiedMemory", name: str, space: str, dimension: int) -> Collection:
    """A collection with the indexes that its rows say."""
    collection = memory.new_collection(name, space, dimension)
    collection.vectors, collection.checksum = memory.records.fingerprint(name)

    def fetch(numbers: np.ndarray) -> np.ndarray:
        found, vectors = memory.records.vectors_of(numbers.tolist(), dimension)
        return vectors[np.searchsorted(found, numbers)] if len(found) == len(numbers) else vectors  # fewer: refused by its caller

    restored = memory.saved.load(collection, fetch)
    for rows in memory.records.load(name, vectors=not restored):
        collection.fulltext.add([row[0] for row in rows], [row[1] for row in rows])
        placed = [(number, blob) for number, _, blob in rows if blob is not None]
        if placed:
            collection.index.add([number for number, _ in placed], from_blobs([blob for _, blob in placed], dimension))
    return collection


def due(memory: "UnifiedMemory") -> Collection | None:
    """A collection whose index should become another kind."""
    return next((each for each in memory.collections() if each.index.outgrown or each.index.shrunk or each.index.growth), None)


async def tend(memory: "UnifiedMemory") -> None:
    """Turns every collection that has outgrown the scan into HNSW, a slice at a time, and what has shrunk back, and saves it."""
    while collection := due(memory):
        index, changed = collection.index, False
        if index.kind == "exact" and not index.outgrown:
            log.info("the index of %r stays a scan: over %d vectors a walk is no faster here", collection.name, len(index))
            index.give_up()
        elif index.kind == "exact" and index.grow():
            await asyncio.sleep(0)
        elif memory.busy:
            await asyncio.sleep(0)
        elif index.shrunk:
            index.retreat()
            changed = True
        else:
            index.take_over()
            changed = True
        if changed:
            with memory.driver.transaction():
                memory.saved.drop(collection.name)
                memory.saved.write(collection)
            index.mark_saved()
            log.info("the index of %r is %s now, over %d vectors", collection.name, index.kind, len(index))
    await memory.flush()


async def reembed(memory: "UnifiedMemory", name: str, progress: Progress | None = None) -> int:
    """Makes every vector of a collection anew from its text, then swaps all at once. Returns how many. Durable on return.

    What is written meanwhile is taken in. A record with an empty text is left without a vector. EmbeddingError, cancelled: as before.
    """
    space, made = memory.embedder.space, dict[int, tuple[str, np.ndarray]]()
    while True:
        texts = [(number, text) for number, text in memory.records.texts(name) if text.strip()]
        stale = [(number, text) for number, text in texts if number not in made or made[number][0] != text]
        if not stale:
            break
        for number, text, vector in await _embedded(memory, stale[:SLICE]):
            made[number] = (text, vector)
        if progress is not None:
            progress(len(texts) - len(stale) + min(SLICE, len(stale)), len(texts))
        await asyncio.sleep(0)
    vectors = [(number, made[number][1]) for number, _ in texts]
    with memory.driver.transaction():
        memory.saved.drop(name)
        memory.records.drop_vectors(name)
        memory.records.write_vectors(vectors)
        memory.driver.execute("UPDATE collections SET space = ?, dimension = ? WHERE name = ?", [space.key, space.dimension, name])
    memory.reload_collection(name)
    await memory.flush()
    return len(vectors)


async def _embedded(memory: "UnifiedMemory", texts: list[tuple[int, str]]) -> list[tuple[int, str, np.ndarray]]:
    vectors = await memory.embedder.embed([text for _, text in texts])
    return [(number, text, vector) for (number, text), vector in zip(texts, vectors, strict=True)]
