"""The operations on records that a tab may ask of the one that writes: what ``UnifiedMemory.add``, ``update`` and ``delete`` come to."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Draft, Metadata, Record
from .collection import check_space, check_vector
from .records import dump

if TYPE_CHECKING:
    from .unified import UnifiedMemory


class RecordWrites:
    def __init__(self, memory: "UnifiedMemory"):
        self.memory = memory
        for name in ("put", "update", "delete"):
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
