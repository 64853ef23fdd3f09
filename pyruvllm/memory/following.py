"""A memory in a tab that follows the one that writes: its indexes take in what the other saved, and are ready to write when it is gone."""

import logging
from typing import TYPE_CHECKING

from .collection import Change
from .journal import UNSAID, Changed

if TYPE_CHECKING:
    from .unified import UnifiedMemory

log = logging.getLogger("pyruvllm.memory")

SLICE = 500  # records taken in between two looks into the tables


def told(memory: "UnifiedMemory", what: str, why: str) -> None:
    """The database is another one than a moment ago ("refreshed"), may be written now ("writer"), or no more ("follower")."""
    try:
        if what == "refreshed":
            catch_up(memory)
        elif what == "writer":
            lead(memory)
        else:
            _let_go(memory, memory.journal.since())
            reload(memory)
    except Exception:
        log.exception("the indexes could not follow what another tab saved: they are made anew")
        reload(memory)
    for callback in memory.told:
        callback(what, why)


def reload(memory: "UnifiedMemory") -> None:
    """Makes the indexes anew, at once."""
    memory.journal.mark()
    memory.graph.forget_adjacency()
    memory.distrust()
    for (name,) in memory.driver.query("SELECT name FROM collections"):
        memory.reload_collection(str(name))
    for collection in memory.collections():  # that are not there any more
        if memory.recorded_space(collection.name) is None:
            memory.reload_collection(collection.name)


def catch_up(memory: "UnifiedMemory") -> None:
    """Brings the indexes to what the tables say now."""
    changed = memory.journal.since()
    memory.journal.mark()
    _let_go(memory, changed)
    memory.graph.forget_adjacency()
    memory.distrust()
    if changed is None:
        reload(memory)
    for name, numbers in (changed or {}).items():
        if numbers is None:
            memory.reload_collection(name)
        else:
            _take_in(memory, name, numbers)
    memory.start_upkeep()


def _let_go(memory: "UnifiedMemory", changed: Changed | None) -> None:
    """Where something was forgotten, or that cannot be told, whoever holds what was said is told."""
    if changed is None or UNSAID in changed:
        for callback in memory.forgotten:
            callback()


def _take_in(memory: "UnifiedMemory", name: str, numbers: list[int]) -> None:
    collection = memory.collection(name)
    collection.space = memory.recorded_space(name)
    for start in range(0, len(numbers), SLICE):
        some = sorted(numbers[start : start + SLICE])
        words = memory.records.words_of(some)
        found, rows = memory.records.vectors_of(some, collection.dimension)
        vectors = dict(zip(found.tolist(), rows, strict=True))
        collection.apply(
            Change(name, number, gone=number not in words, vector=vectors.get(number), words=words.get(number, b"")) for number in some
        )
    collection.vectors = len(collection.index)


def lead(memory: "UnifiedMemory") -> None:
    """From now on this memory writes. What it knows of saved indexes is of when it opened: it counts anew, and saves whole ones."""
    catch_up(memory)
    memory.saved.count_changes()
    for collection in memory.collections():
        collection.vectors, collection.checksum = memory.records.fingerprint(collection.name)
        if collection.index.kind == "hnsw":
            collection.index.stored = False
            memory.saved.changes.setdefault(collection.name, 1)
    memory.start_upkeep()
