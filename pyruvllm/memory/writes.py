"""The operations on records that a tab may ask of the one that writes: what ``UnifiedMemory.add``, ``update`` and ``delete``, and
the writes of the adapters come to.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DuplicateError
from ..types import Draft, Metadata, Record
from .collection import check_space, check_vector
from .records import dump

if TYPE_CHECKING:
    from .unified import UnifiedMemory


class RecordWrites:
    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory
        for name in ("put", "replace", "update", "delete"):
            memory.operations.add(f"records.{name}", getattr(self, f"_{name}"))

    async def put(self, collection: str, drafts: Sequence[Draft]) -> list[Record]:
        """Drafts with their vectors, durably."""
        memory = self.memory
        if memory.driver.role != "follower":
            written = memory.put(collection, drafts)
            await memory.flush()
            return written
        dimension = memory.embedder.space.dimension
        vectors = np.array([check_vector(draft.vector, dimension, "a vector") for draft in drafts], np.float32)  # type: ignore[arg-type]
        plain = [[draft.text, draft.id, dump(draft.metadata)] for draft in drafts]
        asked = {"collection": collection, "drafts": plain, "vectors": vectors, "space": memory.embedder.space.key}
        return [memory.get(id) for id in await memory.operations.run("records.put", **asked)] if drafts else []

    async def replace(self, collection: str, drafts: Sequence[Draft], gone: Sequence[str] = ()) -> None:
        """Writes records with an id each, in the place of those of the same ids where there are some, and removes those of ``gone`` that
        are there. All or none, durably.

        A draft without a vector is a record without one, whatever was there. DuplicateError for an id of another collection.
        """
        space = self.memory.embedder.space
        placed = [draft.id for draft in drafts if draft.vector is not None]
        vectors = [
            check_vector(draft.vector, space.dimension, f"the vector of {draft.id!r}") for draft in drafts if draft.vector is not None
        ]
        asked = {
            **{"collection": collection, "gone": list(gone), "placed": placed, "space": space.key},
            **{"drafts": [[draft.text, draft.id, dump(draft.metadata)] for draft in drafts]},
            **{"vectors": np.array(vectors, np.float32).reshape(len(vectors), space.dimension)},
        }
        await self.memory.operations.run("records.replace", **asked)

    async def update(self, id: str, text: str | None, vector: np.ndarray | None, metadata: Metadata | None) -> None:
        space = self.memory.embedder.space.key
        await self.memory.operations.run("records.update", of=id, text=text, vector=vector, metadata=metadata, space=space)

    async def delete(self, ids: list[str] | None, collection: str | None, where: Mapping[str, Any] | None) -> int:
        return int(await self.memory.operations.run("records.delete", ids=ids, collection=collection, where=where))

    async def _put(self, collection: str, drafts: list[list[Any]], vectors: np.ndarray, space: str) -> list[str]:
        memory = self.memory
        check_space(collection, space, memory.embedder.space)
        whole = [Draft(text, id, json.loads(details), vector) for (text, id, details), vector in zip(drafts, vectors, strict=True)]
        with memory.transaction():
            ids = [record.id for record in memory.put(collection, whole)]
            memory.operations.record(ids)
        await memory.flush()
        return ids

    async def _replace(
        self, collection: str, gone: list[str], placed: list[str], space: str, drafts: list[list[Any]], vectors: np.ndarray
    ) -> None:
        memory, found = self.memory, dict(zip(placed, vectors, strict=True))
        if placed:
            check_space(collection, space, memory.embedder.space)
        there = set(memory.records.taken([*gone, *(draft[1] for draft in drafts)]))
        others = [id for id in there if memory.get(id).collection != collection]
        if others:
            raise DuplicateError(f"the id {others[0]!r} is taken, in {memory.get(others[0]).collection!r}; nothing was written")
        whole = [Draft(text, id, json.loads(details), found.get(id)) for text, id, details in drafts]
        with memory.transaction():
            memory.remove([id for id in gone if id in there])
            for draft in whole:
                if draft.id in there and draft.vector is not None:
                    memory.revise(draft.id, text=draft.text, vector=draft.vector, metadata=draft.metadata)
            memory.remove([draft.id for draft in whole if draft.id in there and draft.vector is None])  # type: ignore[misc]
            memory.put(collection, [draft for draft in whole if draft.id not in there or draft.vector is None])
            memory.operations.record()
        await memory.flush()

    async def _update(self, of: str, text: str | None, vector: np.ndarray | None, metadata: Metadata | None, space: str) -> None:
        memory = self.memory
        check_space(memory.get(of).collection, None if vector is None else space, memory.embedder.space)
        with memory.transaction():
            memory.revise(of, text=text, vector=vector, metadata=metadata)
            memory.operations.record()
        await memory.flush()

    async def _delete(self, ids: list[str] | None, collection: str, where: Mapping[str, Any] | None) -> int:
        memory = self.memory
        with memory.transaction():
            removed = memory.remove(memory.records.ids_where(collection, where) if ids is None else ids)
            memory.operations.record(removed)
        await memory.flush()
        return removed
