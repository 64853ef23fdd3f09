"""What keeps indexes and edges of a memory as its rows say: loading, growing into HNSW, laying edges, and moving to another model."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..config import CODECS
from ..errors import ConfigError, NotFoundError
from .audit.chain import REEMBEDDED, Chain
from .audit.entry import COLLECTION as WITNESS
from .collection import Collection

if TYPE_CHECKING:
    from .unified import UnifiedMemory

log = logging.getLogger("pyruvllm.memory")

Progress = Callable[[int, int], None]  # (done, total)
SLICE = 32  # texts embedded between two calls of progress


def load(memory: "UnifiedMemory", name: str, space: str, dimension: int, codec: str | None) -> Collection:
    """A collection with the indexes that its rows say."""
    collection = memory.new_collection(name, space, dimension, codec)
    collection.vectors, collection.checksum = memory.records.fingerprint(name)
    changed = memory.saved.load(collection)
    if changed is None and memory.writable and name in memory.saved.names():
        with memory.driver.transaction():
            memory.saved.drop(name)
    for words in memory.records.words(name):
        collection.fulltext.extend(words.numbers, words.sizes, words.content)
    if changed is None:
        collection.index.expect(collection.vectors)
        for numbers, vectors in memory.records.vectors(name, dimension):
            collection.index.add(numbers, vectors)
    if changed:
        collection.index.remove(changed)
        collection.index.add(*memory.records.vectors_of(changed, dimension))
    return collection


def due(memory: "UnifiedMemory") -> Collection | None:
    """A collection whose index has something to be done."""
    for collection in memory.collections():
        index = collection.index
        if index.unsettled or index.outgrown or index.shrunk or index.recoded or index.growth:
            return collection
        if memory.writable and memory.saved.foldable(collection):
            return collection
    return None


def wanted(memory: "UnifiedMemory") -> bool:
    """Whether anything is to be done."""
    return (memory.writable and bool(memory.likeness.behind)) or memory.graph.awaited or due(memory) is not None


async def tend(memory: "UnifiedMemory") -> None:
    """Brings every index to what it should be, a slice at a time, and saves it; then the edges that are still to be laid or read."""
    await memory.waiting.nobody()
    while wanted(memory):
        if collection := due(memory):
            if _step(collection) and memory.writable:  # a tab that follows has its own, for as long as it is open
                save(memory, collection)
                await memory.flush()  # so much that nobody's next flush should have to write it
        elif memory.likeness.behind and memory.writable:
            memory.likeness.step()
        else:
            memory.graph.prepare()
        await memory.waiting.nobody()


def _step(collection: Collection) -> bool:
    """The next slice of work on an index; whether it is to be saved now."""
    index = collection.index
    if index.outgrown or index.recoded:
        if index.grow():
            return False
        index.take_over()
    elif index.growth:
        log.info("the index of %r stays as it is: over %d vectors a walk is no faster here", collection.name, len(index))
        index.give_up()
        return False
    elif index.shrunk:
        index.retreat()
    elif index.unsettled:
        index.settle()
        return False
    if not index.stored:
        log.info("the index of %r is %s of %s now, over %d vectors", collection.name, index.kind, index.codec, len(index))
    return True


def save(memory: "UnifiedMemory", collection: Collection) -> None:
    """Writes what changed of a settled index since it was saved."""
    with memory.driver.transaction():
        memory.saved.write(collection)
    collection.index.mark_saved()


def save_all(memory: "UnifiedMemory") -> None:
    """Saves every index that has nothing waiting, so that the next open finds it as it is."""
    for collection in memory.collections() if memory.writable else ():
        if memory.saved.changes.get(collection.name) and not collection.index.unsettled and not collection.index.growth:
            save(memory, collection)


async def purge(memory: "UnifiedMemory", collection: Collection) -> None:
    """Takes what was deleted out of the graph of a collection and out of its saved segments, a slice at a time."""
    index = collection.index
    while index.unsettled and not index.growth:
        index.settle()
        await asyncio.sleep(0)
    if index.growth:  # which saves what it becomes; the segments of before go now
        with memory.driver.transaction():
            memory.saved.drop(collection.name)
        index.stored = False
    elif index.stored:
        save(memory, collection)


async def recode(memory: "UnifiedMemory", name: str, codec: str) -> None:
    """See ``UnifiedMemory.recode``."""
    if codec not in CODECS:
        raise ConfigError(f"codec is {codec!r}; one of {', '.join(CODECS)} would be right")
    with memory.driver.transaction():
        changed = memory.driver.execute("UPDATE collections SET codec = ? WHERE name = ?", [None if codec == "auto" else codec, name])
        if not changed:
            raise NotFoundError(f"no collection {name!r}: it is there from its first record on")
    memory.collection(name).index.wanted = codec
    memory.start_upkeep()
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
        chain = Chain(memory.driver, memory.clock)
        witnessed = chain.sound() if name == WITNESS else []  # what is not as it was recorded must not come to look as if it were
        memory.saved.drop(name)
        memory.records.drop_vectors(name)
        memory.records.write_vectors(vectors)
        memory.driver.execute("UPDATE collections SET space = ?, dimension = ? WHERE name = ?", [space.key, space.dimension, name])
        if witnessed:
            chain.append(REEMBEDDED, witnessed)
        memory.journal.note_all(name)
    memory.reload_collection(name)
    await memory.flush()
    return len(vectors)


async def _embedded(memory: "UnifiedMemory", texts: list[tuple[int, str]]) -> list[tuple[int, str, np.ndarray]]:
    vectors = await memory.embedder.embed([text for _, text in texts])
    return [(number, text, vector) for (number, text), vector in zip(texts, vectors, strict=True)]
